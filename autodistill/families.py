"""Facts of a student family, read without torch: how it is named for people, and which objectives its students fit.

A family says it in the mark of its class (`@component("student", …)`, models/family.py):

    title                   what people call it ("CNN"); of a family with variants, a variant is its own title
    size                    the fields that say how large a student is, for `cnn 128`
    attention               True where the queries, keys and values of its students can be tapped
    usual                   the fields of the student that papers distil into, for a family that stands for them;
    usual_learning_rate     and its learning rate

The functions take plain data, as records keep it: records outlive a recipe's schema, and the packages that brought a family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from autodistill.components import Spec, specs

_ATTENTION = {"student_queries", "student_keys", "student_values"}


@dataclass(frozen=True)
class UsualStudent:
    """The student that papers distil into. part: `student` of a recipe."""

    part: dict[str, Any]
    learning_rate: float


def family_spec(name: str) -> Spec | None:
    """The family of a student by its name, as a recipe says it (`cnn`, `timm:resnet10t`); None where none of that name is installed."""
    return specs("student").get(name.partition(":")[0])


def title(student: Mapping[str, Any]) -> str:
    """What people call a student: `transformer`, `CNN`, `resnet10t`."""
    name = str(student.get("family", "student"))
    spec = family_spec(name)
    return str((spec.options.get("title") if spec else None) or name.partition(":")[2] or name)


def short(student: Mapping[str, Any]) -> str:
    """A student in a few characters: `bert 3×192`, `cnn 128`, `encoder all-MiniLM-L6-v2`, `timm:resnet10t`."""
    name = str(student.get("family", "?"))
    spec = family_spec(name)
    sizes = [student.get(field) for field in spec.options.get("size", ())] if spec else []
    return f"{name} {'×'.join(PurePath(str(size)).name for size in sizes if size is not None)}".strip()


def fitting_families(objective: Spec, task: str) -> tuple[str, ...] | None:
    """The families whose students an objective fits; None where it fits all. It may name them itself, by its option `families`."""
    if "families" in objective.options:
        return tuple(objective.options["families"])
    if not _ATTENTION & set(objective.inputs):
        return None
    return tuple(kind for kind, spec in specs("student", task).items() if spec.options.get("attention"))


def usual_student(task: str) -> UsualStudent | None:
    """The student that papers distil into, where a family of the task stands for them."""
    for kind, spec in specs("student", task).items():
        if "usual" in spec.options:
            return UsualStudent({"family": kind, **spec.options["usual"]}, spec.options["usual_learning_rate"])
    return None
