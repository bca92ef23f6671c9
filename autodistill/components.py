"""Components: the objectives, students and augmentations that a recipe can name.

A component is a plain function marked with `@component(slot)`. Its name is the recipe's `kind` (or `family`), its
keyword-only parameters are the recipe's fields, its positional parameters name the tensors and modules it is given:

    @component("objective.prediction", tasks=CLASSIFICATION)
    def kl(student_logits, teacher_logits, *, temperature: Annotated[float, Field(gt=0)] = 2.0): ...

So the signature is the schema, and a new component is one function in one file. Recipes must be read where torch is not
wanted (spaces, records, recommendations), so the signatures are read from the source files, not by importing them.
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from autodistill.task_types import CLASSIFICATION, IMAGE, TASKS, TEXT, TEXT_CLASSIFICATION, TEXT_REGRESSION

_SCANNED = ("losses", "models", "augment")
_NAMES = {
    "Annotated": Annotated, "Literal": Literal, "Field": Field, "float": float, "int": int, "bool": bool, "str": str,
    "TEXT_CLASSIFICATION": TEXT_CLASSIFICATION, "TEXT_REGRESSION": TEXT_REGRESSION, "IMAGE": IMAGE, "TEXT": TEXT,
    "CLASSIFICATION": CLASSIFICATION, "TASKS": TASKS,
}  # fmt: skip

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Spec:
    """What is known of a component without importing it."""

    slot: str
    kind: str
    tasks: tuple[str, ...]
    inputs: tuple[str, ...]
    fields: type[BaseModel]
    summary: str
    module: str
    function: str
    options: dict[str, Any]

    def load(self) -> Callable[..., Any]:
        """Import the component's module and return its function."""
        return getattr(importlib.import_module(self.module), self.function)

    def builders(self) -> dict[str, Callable[..., Any]]:
        """Import the component's module and return what builds those of its inputs that are torch modules, by name."""
        found: dict[str, Callable[..., Any]] = self.load().modules  # type: ignore[attr-defined]
        return found


def component(
    slot: str,
    *,
    kind: str | None = None,
    tasks: tuple[str, ...] = TASKS,
    modules: dict[str, Callable[..., Any]] | None = None,
    **options: Any,
) -> Callable[[Function], Function]:
    """Mark a function as a component.

    Args:
        slot: where a recipe names it: `objective.prediction`, `objective.intermediate`, …, `student`, `augmentation`.
        kind: its name in a recipe; the function's name where not given (`kind="none"` needs it, say).
        tasks: the task types it fits; elsewhere it is not in the space and a recipe that asks for it is refused.
        modules: builders of the positional parameters that are torch modules (critics, memory banks), by parameter name.
        options: literal facts for whoever uses the slot, read back from `Spec.options`.
    """

    def mark(function: Function) -> Function:
        function.modules = modules or {}  # type: ignore[attr-defined]
        return function

    return mark


@functools.cache
def _all_specs() -> dict[str, dict[str, Spec]]:
    found: dict[str, dict[str, Spec]] = {}
    root = Path(__file__).parent
    for package in _SCANNED:
        for path in sorted((root / package).rglob("*.py")):
            module = ".".join(("autodistill", *path.relative_to(root).with_suffix("").parts))
            for node in ast.parse(path.read_text(encoding="utf-8"), str(path)).body:
                spec = _spec(node, module) if isinstance(node, ast.FunctionDef) else None
                if spec is None:
                    continue
                slot = found.setdefault(spec.slot, {})
                if spec.kind in slot:
                    raise TypeError(f"{spec.slot} {spec.kind!r} is defined in both {slot[spec.kind].module} and {module}")
                slot[spec.kind] = spec
    return found


def _spec(node: ast.FunctionDef, module: str) -> Spec | None:
    for mark in node.decorator_list:
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "component":
            break
    else:
        return None
    given = {word.arg: _value(word.value) for word in mark.keywords if word.arg and word.arg != "modules"}
    slot = _value(mark.args[0])
    kind = given.pop("kind", node.name)
    tasks = given.pop("tasks", TASKS)
    fields: dict[str, Any] = {}
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if argument.annotation is None:
            raise TypeError(f"{module}.{node.name}: parameter {argument.arg} needs an annotation, it is a recipe field")
        fields[argument.arg] = (_value(argument.annotation), ... if default is None else _value(default))
    model = create_model(f"{slot}.{kind}", __config__=ConfigDict(extra="forbid", frozen=True), **fields)
    inputs = tuple(item.arg for item in node.args.args)
    summary = (ast.get_docstring(node) or "").split("\n")[0]
    return Spec(slot, kind, tuple(tasks), inputs, model, summary, module, node.name, given)


def _value(node: ast.expr) -> Any:
    return eval(compile(ast.Expression(node), "<component>", "eval"), {"__builtins__": {}}, dict(_NAMES))  # our own source


def slots() -> tuple[str, ...]:
    """The slots that have components, sorted."""
    return tuple(sorted(_all_specs()))


def specs(slot: str, task: str | None = None) -> dict[str, Spec]:
    """The components of a slot by kind, all or those that fit a task type."""
    return {kind: spec for kind, spec in _all_specs().get(slot, {}).items() if task is None or task in spec.tasks}
