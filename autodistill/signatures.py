"""Reads components from source: functions and classes marked with `@component`, their signatures and marks. Nothing is imported."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from autodistill.extensions import Extension
from autodistill.task_types import CLASSIFICATION, EMBEDDING, IMAGE, MULTILABEL, TASKS, TEXT, TEXT_CLASSIFICATION, TEXT_REGRESSION


def _is_folder(value: str) -> str:
    if "/" not in value:
        raise ValueError("or a folder that `autodistill pretrain` wrote, with a slash in it, as in ./cnn-start")
    return value


FOLDER = Annotated[str, AfterValidator(_is_folder)]
"""The type of a field that names a folder. It has a slash, which tells it from the words that the field may have."""

_NAMES = {
    "Annotated": Annotated, "Literal": Literal, "Field": Field, "float": float, "int": int, "bool": bool, "str": str,
    "TEXT_CLASSIFICATION": TEXT_CLASSIFICATION, "TEXT_REGRESSION": TEXT_REGRESSION, "IMAGE": IMAGE, "TEXT": TEXT,
    "FOLDER": FOLDER, "CLASSIFICATION": CLASSIFICATION, "MULTILABEL": MULTILABEL, "EMBEDDING": EMBEDDING, "TASKS": TASKS,
}  # fmt: skip
"""The names that may be used in the annotations and defaults of recipe fields, and in the marks of components."""

BUILD = "build"
"""The method of a class whose signature is the recipe's fields."""

_OUTPUTS = ("logits", "embedding", "state", "states", "maps", "queries", "keys", "values")
_OBJECTIVE = {"labels", "index", "mask"} | {f"{of}_{what}" for of in ("student", "teacher") for what in _OUTPUTS}
_READER = {"rng", "tokenizer", "max_length", "teacher", "teacher_model", "device"}
_LEVELS = {
    "words": {"words"} | _READER,
    "texts": {"texts"} | _READER,
    "keep": {"ids", "offsets", "special"} | _READER,
    "replace": {"ids", "offsets", "special"} | _READER,
    "pixels": {"images", "rng"},
}
"""The positional parameters that an augmentation may have, by its level (augment/views.py)."""


class SignatureError(TypeError):
    """A component's source is invalid; it says where and why."""


@dataclass(frozen=True)
class Spec:
    """Facts of a component, read without importing it. extension: the package that it comes from; None for our own."""

    slot: str
    kind: str
    tasks: tuple[str, ...]
    inputs: tuple[str, ...]
    fields: type[BaseModel]
    summary: str
    module: str
    function: str
    options: dict[str, Any]
    extension: Extension | None = None

    @property
    def reads_states(self) -> bool:
        """Whether an objective needs more of a teacher than logits: embeddings or states, which a file of scores does not have."""
        return not {name for name in self.inputs if name.startswith("teacher_")} <= {"teacher_logits"}

    def load(self) -> Any:
        """Import the component's module and return its function or class.

        Raises:
            ComponentError: another package's module cannot be imported.
        """
        if self.extension is None:
            return getattr(importlib.import_module(self.module), self.function)
        try:
            return getattr(importlib.import_module(self.module), self.function)
        except Exception as cause:  # a package's module may raise anything
            raise self.extension.error(f"{self.module} cannot be imported: {type(cause).__name__}: {cause}") from cause

    def builders(self) -> dict[str, Callable[..., Any]]:
        """Import the component's module and return the builders of those of its inputs that are torch modules, by name."""
        modules: dict[str, Callable[..., Any]] = self.load().modules
        return modules


def read_components(path: Path, module: str, extension: Extension | None = None) -> Iterator[Spec]:
    """The components of a source file, in order.

    Raises:
        SignatureError: a component is invalid.
        SyntaxError, UnicodeDecodeError, OSError: the file cannot be read.
    """
    for node in ast.parse(path.read_text(encoding="utf-8"), str(path)).body:
        mark = _mark(node)
        if mark is None:
            continue
        assert isinstance(node, ast.FunctionDef | ast.ClassDef)
        try:
            yield _spec(node, mark, module, extension)
        except Exception as cause:  # an annotation can raise anything when it is evaluated
            reason = str(cause) if isinstance(cause, SignatureError) else f"{type(cause).__name__}: {cause}"
            raise SignatureError(f"{path.name}, line {node.lineno}, {node.name}: {reason}") from None


def _mark(node: ast.stmt) -> ast.Call | None:
    """The call of `component` that decorates a function or class; None without one."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func).rpartition(".")[2] == "component":
                return mark
    return None


def _spec(node: ast.FunctionDef | ast.ClassDef, mark: ast.Call, module: str, extension: Extension | None) -> Spec:
    options = {word.arg: _value(word.value, word.arg) for word in mark.keywords if word.arg and word.arg != "modules"}
    slot = str(_value(mark.args[0], "the slot"))
    kind = str(options.pop("kind", node.name))
    tasks = tuple(options.pop("tasks", TASKS))
    if not set(tasks) <= set(TASKS):
        raise SignatureError(f"tasks is {tasks!r}; allowed: {', '.join(TASKS)}")
    signature, inputs = _signature(node)
    fields: dict[str, Any] = {}
    for argument, default in zip(signature.kwonlyargs, signature.kw_defaults, strict=True):
        if argument.annotation is None:
            raise SignatureError(f"parameter {argument.arg} needs an annotation, it is a recipe field")
        fields[argument.arg] = (_value(argument.annotation, argument.arg), ... if default is None else _value(default, argument.arg))
    _check_inputs(slot, inputs, options, {_key(key) for word in mark.keywords if word.arg == "modules" for key in _keys(word.value)})
    model = create_model(f"{slot}.{kind}", __config__=ConfigDict(extra="forbid", frozen=True), **fields)
    summary = (ast.get_docstring(node) or "").split("\n")[0]
    return Spec(slot, kind, tasks, inputs, model, summary, module, node.name, options, extension)


def _signature(node: ast.FunctionDef | ast.ClassDef) -> tuple[ast.arguments, tuple[str, ...]]:
    """The signature with the recipe's fields, and the names of its positional parameters."""
    if isinstance(node, ast.FunctionDef):
        return node.args, tuple(item.arg for item in node.args.args)
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == BUILD:
            return method.args, tuple(item.arg for item in method.args.args[1:])
    raise SignatureError(f"the class has no method {BUILD} of its own, whose signature is the recipe's fields")


def _check_inputs(slot: str, inputs: tuple[str, ...], options: dict[str, Any], modules: set[str]) -> None:
    """Refuse positional parameters for which there is no value."""
    if slot == "student":
        allowed = {"context", "variant"}
    elif slot == "augmentation":
        level = options.get("level")
        if level not in _LEVELS:
            raise SignatureError(f"level is {level!r}; allowed: {', '.join(_LEVELS)}")
        allowed = _LEVELS[level]
    else:
        allowed = _OBJECTIVE | modules
    for name in inputs:
        if name not in allowed:
            raise SignatureError(f"it asks for {name!r}; a component of the slot {slot} may ask for {', '.join(sorted(allowed))}")


def _keys(node: ast.expr) -> list[ast.expr | None]:
    return list(node.keys) if isinstance(node, ast.Dict) else []


def _key(node: ast.expr | None) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _value(node: ast.expr, what: str) -> Any:
    try:  # the source belongs to an installed package; builtins are off
        return eval(compile(ast.Expression(node), "<component>", "eval"), {"__builtins__": {}}, dict(_NAMES))
    except NameError as cause:
        raise SignatureError(f"{what}: {cause}, as it is read without being imported; it may use {', '.join(sorted(_NAMES))}") from None
