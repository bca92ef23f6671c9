"""Students of a space that are pretrained models, and the space for those that read other tokens than their teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autodistill.components import specs
from autodistill.recipe import SHARED, SLOTS, Teacher
from autodistill.space import FAMILY, NONE, TEACHER, Domain, Scalar, Space

MODEL = "student.model"
"""The path in a space of a field of students that are a pretrained model, which may have a tokenizer of its own."""
TOKENS = "tokens"
"""The form of a layer's states with a vector for each token."""
_ATTENTION = {"student_queries", "student_keys", "student_values"}


def pretrained_students(space: Space) -> list[tuple[dict[str, str], Teacher]]:
    """The students of the space that are a pretrained model, each with one teacher of each model that it can have.

    Returns:
        `family` and `model` of the recipe's student, and the teacher.
    """
    pairs: dict[tuple[str, ...], tuple[dict[str, str], Teacher]] = {}
    for teacher in space.teachers():
        values: list[dict[str, Any]] = [{f"{TEACHER}{name}": value for name, value in teacher.model_dump().items()}]
        for path in (FAMILY, MODEL):
            values = [each | {path: value} for each in values for value in _values(space.parameters.get(path, ()), each)]
        for each in values:
            part = {"family": str(each[FAMILY]), "model": str(each[MODEL])}
            pairs.setdefault((*part.values(), teacher.model), (part, teacher))
    return list(pairs.values())


def _values(domains: tuple[Domain, ...], values: Mapping[str, Any]) -> tuple[Scalar, ...]:
    """The values that a parameter can have together with these values."""
    return next((domain.values for domain in domains if domain.applies(values)), ())


def without_student(space: Space, family: str, model: str) -> Space | None:
    """A copy of the space without students of this model; None if there are no others."""
    return without_value(space, MODEL, model) or without_value(space, FAMILY, family)


def without_value(space: Space, path: str, value: str) -> Space | None:
    """A copy of the space in which a parameter cannot have this value; None if it can have no other."""
    domains = space.parameters[path]
    if all(other == value for domain in domains for other in domain.values):
        return None
    kept = (domain.without({value}, domain.default) for domain in domains if domain.values != (value,))
    return replace(space, parameters={**space.parameters, path: tuple(kept)})


def comparing_tokens(space: Space) -> list[str]:
    """The objectives of the space that compare single tokens, by name, sorted: `attention mse`, `intermediate tokens`."""
    names = {f"{slot} {kind}" for slot in SLOTS for kind in _kinds(space, slot)}
    names |= {f"{slot} {TOKENS}" for slot in SLOTS if TOKENS in _forms(space, slot)}
    return sorted(names)


def without_single_tokens(space: Space, student: str, teacher: str) -> Space:
    """A copy of the space in which no objective compares single tokens between this student and this teacher (names of models)."""
    when = ((MODEL, (student,)), (f"{TEACHER}model", (teacher,)))
    added: dict[str, tuple[Domain, ...]] = {}
    for slot in SLOTS:
        for path, left_out, instead in (
            (f"objective.{slot}.kind", _kinds(space, slot), NONE),
            (f"objective.{slot}.tokens", {TOKENS} & _forms(space, slot), "mean"),
        ):
            domains = space.parameters.get(path, ())
            affected = [domain for domain in domains if left_out & set(domain.values)]
            added[path] = tuple(replace(domain, when=(*domain.when, *when)).without(left_out, instead) for domain in affected)
    return replace(space, parameters={path: (*added.get(path, ()), *domains) for path, domains in space.parameters.items()})


def _kinds(space: Space, slot: str) -> set[Scalar]:
    """The kinds of a slot that compare single tokens, whatever their fields."""
    path = f"objective.{slot}"
    kinds = {kind for domain in space.parameters.get(f"{path}.kind", ()) for kind in domain.values if kind != NONE}

    def compares(kind: Scalar) -> bool:
        spec = specs(path)[str(kind)]
        has_forms = TOKENS in SHARED[path] and TOKENS not in spec.options.get("drop", ())
        return bool(_ATTENTION & set(spec.inputs)) or ("student_state" in spec.inputs and not has_forms)

    return {kind for kind in kinds if compares(kind)}


def _forms(space: Space, slot: str) -> set[Scalar]:
    """The forms in which a slot's objectives may read states."""
    return {value for domain in space.parameters.get(f"objective.{slot}.tokens", ()) for value in domain.values}
