"""Students that start from a folder have its sizes: a space in which `student.init` is a folder, adapted to the student in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from autodistill.components import specs
from autodistill.errors import SpaceError
from autodistill.space import FAMILY, INIT, Domain, Scalar, Space


def folders_of(space: Space) -> list[str]:
    """The folders that students of the space may start from: the values of `student.init` with a slash."""
    values = (str(value) for domain in space.parameters.get(INIT, ()) for value in domain.values)
    return list(dict.fromkeys(value for value in values if "/" in value))


def fit_start(space: Space, folder: str, family: str, sizes: Mapping[str, Any]) -> Space:
    """The space in which only students of the folder's family and sizes start from it.

    family, sizes: of the folder's student; `sizes` by the names of recipe fields. For other students another value of `student.init` is
    proposed.

    Raises:
        SpaceError: a student that does not fit has no other value of `student.init`, or `student.init` is asked for before a size.
    """
    order = list(space.parameters)
    init = space.parameters[INIT]
    for name, value in sizes.items():
        path = f"student.{name}"
        domains = space.parameters.get(path, ())
        usual = specs("student")[family.partition(":")[0]].fields.model_fields[name].default
        if not domains and usual != value:
            raise SpaceError(
                f"{INIT} of the space {space.name!r} may be {folder!r}, whose student has {name} {value!r}, and the space's students have "
                f"{usual!r}; add the line {path}: {{value: {value}}} above {INIT}"
            )
        others = _others(domains, value)
        if not others:
            continue
        if order.index(path) > order.index(INIT) or any(domain.kind in ("float", "int") for domain in domains):
            raise SpaceError(
                f"{INIT} of the space {space.name!r} may be {folder!r}, whose student has {name} {value!r}; {path} has to be a choice or a "
                f"value, in a line above {INIT}"
            )
        init = (*_without(space, init, folder, (path, others), f"{path} {others[0]!r}", f"{name} {value!r}"), *init)
    families = _others(space.parameters.get(FAMILY, ()), family)
    if families:
        init = (*_without(space, init, folder, (FAMILY, families), f"the family {families[0]}", f"the family {family}"), *init)
    return replace(space, parameters={**space.parameters, INIT: init})


def _others(domains: Iterable[Domain], value: Any) -> tuple[Scalar, ...]:
    """The values of some domains other than this one."""
    return tuple(dict.fromkeys(other for domain in domains for other in domain.values if other != value))


def _without(
    space: Space, init: tuple[Domain, ...], folder: str, when: tuple[str, tuple[Scalar, ...]], theirs: str, own: str
) -> tuple[Domain, ...]:
    """Copies of the domains of `student.init` that have the folder, without it, for students that do not fit."""
    path, values = when
    added = []
    for domain in init:
        conditions = dict(domain.when)
        if folder not in domain.values or (path in conditions and not set(conditions[path]) & set(values)):
            continue
        left = [value for value in domain.values if value != folder]
        if not left:
            raise SpaceError(
                f"{INIT} of the space {space.name!r} is {folder!r}, whose student has {own}, and the space has {theirs} too; fix that, or "
                f"add another value to {INIT}"
            )
        added.append(replace(domain, when=(*domain.when, when)).without({folder}, left[0]))
    return tuple(added)
