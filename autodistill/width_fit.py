"""Students that start from their teacher are at most as wide as it: a space, adapted to the widths of its teachers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from autodistill.components import specs
from autodistill.errors import SpaceError
from autodistill.space import FAMILY, INIT, TEACHER, Domain, Scalar, Space

RANDOM = "random"


def fit_widths(space: Space, widths: Mapping[str, int]) -> tuple[Space, list[str]]:
    """The space without students that are wider than the teacher that they start from.

    A family's mark names the field that is bounded (`teacher_width`, families.py). Its larger values stay for students with random
    weights, if the space has those and asks for the width before `student.init`; else they are left out.

    Args:
        space: the space.
        widths: of the teachers' vectors, by model. Teachers that are missing are not looked at.

    Returns:
        the space, and for each teacher with something left out a text for people.

    Raises:
        SpaceError: no width of the space is small enough.
    """
    notes: list[str] = []
    models = list(dict.fromkeys(teacher.model for teacher in space.teachers()))
    for model in models:
        for family, spec in specs("student", space.task).items():
            field = spec.options.get("teacher_width")
            if field is None or model not in widths or f"student.{field}" not in space.parameters:
                continue
            only = ((FAMILY, (family,)), *(((f"{TEACHER}model", (model,)),) if len(models) > 1 else ()))
            fitted, left_out = _fitted(space, f"student.{field}", only, widths[model], model)
            if left_out:
                values = ", ".join(map(str, left_out))
                notes.append(f"{family} students of {field} {values} do not start from the teacher {model}, whose width is {widths[model]}")
            space = fitted
    return space, notes


def _fitted(
    space: Space, path: str, only: tuple[tuple[str, tuple[Scalar, ...]], ...], width: int, model: str
) -> tuple[Space, list[Scalar]]:
    """The space for one family and one teacher (`only`), and the values of the path that are too large."""
    family = str(only[0][1][0])
    if not any(family in map(str, domain.values) for domain in space.parameters.get(FAMILY, ())):
        return space, []
    sizes = [domain for domain in space.parameters[path] if domain.allows(FAMILY, family)]
    starts = [domain for domain in space.parameters.get(INIT, ()) if domain.allows(FAMILY, family)]
    if starts and all(domain.values == (RANDOM,) for domain in starts):
        return space, []
    ranges = [domain for domain in sizes if domain.kind == "int" and domain.high > width]
    wide = list(dict.fromkeys(value for domain in sizes for value in domain.values if domain.kind != "int" and _above(value, width)))
    wide += [f"above {width}" for _ in ranges[:1]]
    if not wide:
        return space, []
    order = list(space.parameters)
    init_is_later = INIT in order and order.index(INIT) > order.index(path)
    if not ranges and init_is_later and all(RANDOM in domain.values for domain in starts):
        needing = {value for domain in starts for value in domain.values if value != RANDOM}
        when = (*only, (path, tuple(wide)))
        added = tuple(replace(domain, when=(*domain.when, *when)).without(needing, RANDOM) for domain in starts)
        return space.with_first(INIT, added), wide
    when = only
    if starts and not init_is_later:
        when = (*only, (INIT, tuple({value: None for domain in starts for value in domain.values if value != RANDOM})))
    return space.with_first(path, [_narrowed(domain, width, when, space, path, model) for domain in sizes]), wide


def _narrowed(domain: Domain, width: int, when: tuple[tuple[str, tuple[Scalar, ...]], ...], space: Space, path: str, model: str) -> Domain:
    fitted = domain.at_most(width)
    if fitted is None:
        raise SpaceError(
            f"{path} of the space {space.name!r} ({domain.describe()}) is wider than the teacher {model}, whose width is {width}, and "
            f"students start from their teacher; add a value of at most {width}, or let {INIT} be {RANDOM}"
        )
    return replace(fitted, when=(*domain.when, *when))


def _above(value: Scalar, width: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > width
