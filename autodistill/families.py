"""Facts of a student family, read without torch: its names for people, and the objectives that its students fit.

They are in the mark of the family's class (`@component("student", …)`, models/family.py):

    title                   the name for people ("CNN"); in a family with variants, each variant is its own title
    size                    the fields that give a student's size, for `cnn 128`
    teacher_width           the field that is at most the teacher's width, unless `init` is `random`
    teacher_layers          the field that is at most half of the layers of the teacher, which its students are made of
    attention               True if the queries, keys and values of its students can be tapped

The functions take plain data, as in records, because records may outlive a recipe's schema or the package of a family.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from autodistill.components import Spec, specs

_ATTENTION = {"student_queries", "student_keys", "student_values"}


def family_spec(name: str) -> Spec | None:
    """The family of a student, by its name in a recipe (`cnn`, `timm:resnet10t`); None if no such family is installed."""
    return specs("student").get(name.partition(":")[0])


def title(student: Mapping[str, Any]) -> str:
    """A student's name for people: `transformer`, `CNN`, `resnet10t`."""
    name = str(student.get("family", "student"))
    spec = family_spec(name)
    return str((spec.options.get("title") if spec else None) or name.partition(":")[2] or name)


def short(student: Mapping[str, Any]) -> str:
    """A student in a few characters: `bert 3×192`, `cnn 128`, `encoder all-MiniLM-L6-v2`, `timm:resnet10t`. A size of 0 is left out."""
    name = str(student.get("family", "?"))
    spec = family_spec(name)
    sizes = [student.get(field) for field in spec.options.get("size", ())] if spec else []
    return f"{name} {'×'.join(PurePath(str(size)).name for size in sizes if size)}".strip()


def fitting_families(objective: Spec, task: str) -> tuple[str, ...] | None:
    """The families whose students an objective fits; None if it fits all. The objective's option `families` may name them."""
    if "families" in objective.options:
        return tuple(objective.options["families"])
    if not _ATTENTION & set(objective.inputs):
        return None
    return tuple(kind for kind, spec in specs("student", task).items() if spec.options.get("attention"))
