"""Components: the objectives, students and augmentations that a recipe can name, ours and those of installed packages.

A component is marked with `@component(slot)`. It is a plain function or, for students, a class (models/family.py). Its name is the
recipe's `kind` (or `family`). Its keyword-only parameters (for a class, those of its method `build`) are the recipe's fields. Its
positional parameters name the tensors and modules that it receives:

    @component("objective.prediction", tasks=CLASSIFICATION)
    def kl(student_logits, teacher_logits, *, temperature: Annotated[float, Field(gt=0)] = 2.0): ...

So the signature is the schema, and a new component is one function or class in one file. Recipes must be readable without torch (spaces,
records, recommendations), so signatures are read from the source files, not by importing them (signatures.py).
Other packages name their modules with components in an entry point (extensions.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from autodistill.errors import ComponentError, not_allowed
from autodistill.extensions import Extension, extensions
from autodistill.signatures import FOLDER as FOLDER
from autodistill.signatures import SignatureError, read_components
from autodistill.signatures import Spec as Spec
from autodistill.task_types import CLASSIFICATION as CLASSIFICATION
from autodistill.task_types import EMBEDDING as EMBEDDING
from autodistill.task_types import IMAGE as IMAGE
from autodistill.task_types import MULTILABEL as MULTILABEL
from autodistill.task_types import TASKS as TASKS
from autodistill.task_types import TEXT as TEXT
from autodistill.task_types import TEXT_CLASSIFICATION as TEXT_CLASSIFICATION
from autodistill.task_types import TEXT_REGRESSION as TEXT_REGRESSION

_SCANNED = ("losses", "models", "augment")

Marked = TypeVar("Marked", bound=Callable[..., Any])


def component(
    slot: str,
    *,
    kind: str | None = None,
    tasks: tuple[str, ...] = TASKS,
    modules: dict[str, Callable[..., Any]] | None = None,
    **options: Any,
) -> Callable[[Marked], Marked]:
    """Mark a function or a class as a component.

    Args:
        slot: where a recipe names it: `objective.prediction`, `objective.intermediate`, …, `student`, `augmentation`.
        kind: its name in a recipe; by default the function's name.
        tasks: the task types it fits. For others it is left out of spaces, and a recipe that names it is refused.
        modules: builders of the positional parameters that are torch modules (critics, memory banks), by parameter name.
        options: literal facts for the code that uses the slot, available as `Spec.options`.
    """

    def mark(marked: Marked) -> Marked:
        marked.modules = modules or {}  # type: ignore[attr-defined]
        return marked

    return mark


@dataclass
class _Registry:
    """specs: by slot and kind. problems: why packages' components were left out."""

    specs: dict[str, dict[str, Spec]] = field(default_factory=dict)
    problems: list[ComponentError] = field(default_factory=list)

    def add(self, spec: Spec) -> None:
        """Add a component.

        Raises:
            SignatureError: there is already one with its name.
        """
        slot = self.specs.setdefault(spec.slot, {})
        if spec.kind in slot:
            other = slot[spec.kind]
            where = other.module if other.extension is None else f"{other.module} of {other.extension.distribution}"
            raise SignatureError(f"{spec.slot} {spec.kind!r} is defined in both {where} and {spec.module}")
        slot[spec.kind] = spec

    def extend(self, extension: Extension) -> None:
        """Add the components of another package, all of them or none.

        Raises:
            ComponentError: one of them cannot be used.
        """
        before = {slot: dict(kinds) for slot, kinds in self.specs.items()}
        try:
            components = [spec for module, path in extension.sources() for spec in read_components(path, module, extension)]
            if not components:
                raise SignatureError("nothing in it is marked with @component")
            for spec in components:
                if spec.slot not in before:
                    raise SignatureError(f"{spec.function}: {not_allowed('the slot', spec.slot, sorted(before))}")
                self.add(spec)
        except (SignatureError, SyntaxError, UnicodeDecodeError, OSError) as cause:
            self.specs = before
            raise extension.error(str(cause)) from None


@functools.cache
def _registry() -> _Registry:
    registry = _Registry()
    root = Path(__file__).parent
    for package in _SCANNED:
        for path in sorted((root / package).rglob("*.py")):
            for spec in read_components(path, ".".join(("autodistill", *path.relative_to(root).with_suffix("").parts))):
                registry.add(spec)
    for extension in extensions():
        try:
            registry.extend(extension)
        except ComponentError as problem:  # `check` reports it, so that code without recipes keeps working
            registry.problems.append(problem)
    return registry


def check() -> None:
    """Raise an error if an installed package has components that cannot be used. Code that reads a recipe or a space calls it.

    Raises:
        ComponentError: there is one; names the package, the place and the reason.
    """
    problems = _registry().problems
    if problems:
        raise ComponentError("\n".join(map(str, problems)))


def refuse(spec: Spec, why: Exception) -> None:
    """Remove a component of another package, with a reason that `check` reports.

    Raises:
        Exception: `why` itself, for a component of our own.
    """
    if spec.extension is None:
        raise why
    registry = _registry()
    del registry.specs[spec.slot][spec.kind]
    registry.problems.append(spec.extension.error(f"{spec.slot} {spec.kind!r} makes no recipe: {why}"))


def slots() -> tuple[str, ...]:
    """The slots that have components, sorted."""
    return tuple(sorted(_registry().specs))


def specs(slot: str, task: str | None = None) -> dict[str, Spec]:
    """The components of a slot by kind, all or those that fit a task type."""
    return {kind: spec for kind, spec in _registry().specs.get(slot, {}).items() if task is None or task in spec.tasks}
