"""Students that fit the size of their teacher: a space, adapted to its teachers' layers and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from autodistill.components import specs
from autodistill.errors import SpaceError
from autodistill.space import FAMILY, TEACHER, Domain, Scalar, Space
from autodistill.token_fit import pretrained_students


def fit_depths(space: Space, depths: Mapping[str, int | None]) -> Space:
    """The space without students that have more than half of the layers of the teacher that they are made of.

    A family's mark names the field that is bounded (`teacher_layers`, families.py). If no value of it is small enough, the teacher has no
    student of the family.

    depths: the number of each teacher's layers, by model; None for a teacher whose layers students cannot have.

    Raises:
        SpaceError: then a teacher has no student at all.
    """
    for family, spec in specs("student", space.task).items():
        path = f"student.{spec.options.get('teacher_layers')}"
        if path not in space.parameters or not any(family in domain.values for domain in space.parameters[FAMILY]):
            continue
        for model, depth in depths.items():
            most = 0 if depth is None else depth // 2
            own = [domain for domain in space.parameters[path] if domain.allows(FAMILY, family)]
            small = [fitted for domain in own if (fitted := domain.at_most(most)) is not None]
            if small:
                space = _with_first(space, path, small, {FAMILY: family, f"{TEACHER}model": model})
                continue
            domains = [domain for domain in space.parameters[FAMILY] if family in domain.values]
            if any(domain.values == (family,) for domain in domains):
                raise SpaceError(
                    f"{path} of the space {space.name!r} ({own[0].describe()}) is more than half of the layers of the teacher {model} "
                    f"({'which it cannot share' if depth is None else depth}); add a smaller value, or another {FAMILY}"
                )
            space = _with_first(space, FAMILY, [domain.without({family}, family) for domain in domains], {f"{TEACHER}model": model})
    return space


def without_larger(space: Space, sizes: Mapping[str, int | None], students: Mapping[str, int]) -> tuple[Space, list[str]]:
    """The space without pretrained encoders that are larger than their teacher, where it has other students.

    Args:
        space: the space.
        sizes: of the teachers, in parameters, by model; missing or None where it is not known.
        students: of pretrained encoders that students can be, by model (`student.model`).

    Returns:
        the space, and for each teacher with something left out a text for people.
    """
    notes = []
    for part, teacher in pretrained_students(space):
        own, size = students.get(part["model"]), sizes.get(teacher.model)
        if own is None or size is None or own <= size:
            continue
        family = part["family"]
        domains = [domain for domain in space.parameters[FAMILY] if family in domain.values and domain.values != (family,)]
        if domains:
            instead = [domain.without({family}, family) for domain in domains]
            space = _with_first(space, FAMILY, instead, {f"{TEACHER}model": teacher.model})
            notes.append(
                f"left out: the student {part['model']}, which has {own:,} parameters, more than the teacher {teacher.model} ({size:,})"
            )
    return space, notes


def _with_first(space: Space, path: str, domains: list[Domain], when: Mapping[str, Scalar]) -> Space:
    """The space with more domains of a path, under conditions, which are looked at before the others."""
    held = tuple((other, (value,)) for other, value in when.items())
    return space.with_first(path, [replace(domain, when=(*domain.when, *held)) for domain in domains])
