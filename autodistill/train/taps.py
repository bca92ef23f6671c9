"""Which outputs of which layers of the student and the teacher a recipe, or a whole space, needs. Layers are numbered from 1."""

from __future__ import annotations

from autodistill.components import Spec, specs
from autodistill.losses.layer_map import layer_pairs
from autodistill.modality import Modality
from autodistill.recipe import SHARED, SLOTS, Recipe
from autodistill.recipe.parts import Component, LayerMapped, TokenReading, Weighted
from autodistill.space import Space
from autodistill.task_types import modality_of
from autodistill.teacher.plan import Taps, TeacherShape

STATES = {"state", "states", "maps"}
ATTENTION = {"queries", "keys", "values"}


def term_tokens(part: Component, modality: Modality) -> str:
    """Which form of the states a term reads: its own `tokens`; else single tokens for a relation between tokens; else pooled states."""
    return part.tokens if isinstance(part, TokenReading) else _default_tokens(part.spec, modality)


def _default_tokens(spec: Spec, modality: Modality) -> str:
    return "tokens" if "student_state" in spec.inputs else modality.pooled_forms[0]


def term_layers(part: Component, student_layers: int, teacher_layers: int) -> list[tuple[int, int]]:
    """The layer pairs of a term: those of its layer map. Without a map: all pairs of `skip` for a list of states, else the last pair."""
    if isinstance(part, LayerMapped):
        return layer_pairs(part.layer_map, student_layers, teacher_layers, part.layers)
    if "student_states" in part.spec.inputs:
        return layer_pairs("skip", student_layers, teacher_layers)
    return [(student_layers, teacher_layers)]


def _wanted(spec: Spec) -> set[str]:
    """The model outputs that a term needs: `state`, `queries`, …"""
    return {name.partition("_")[2] for name in spec.inputs if name.startswith(("student_", "teacher_"))}


def student_taps(recipe: Recipe) -> frozenset[str]:
    """Which of the student's lists of outputs have to be filled."""
    wanted = {name for part in recipe.objective.terms.values() for name in _wanted(part.spec)}
    return frozenset({"states"} if wanted & STATES else ()) | frozenset({"attention"} if wanted & ATTENTION else ())


def reads_single_tokens(recipe: Recipe) -> bool:
    """Whether a term reads states of tokens beyond a text's first, one by one or as a mean."""
    parts = [part for part in recipe.objective.terms.values() if _wanted(part.spec) & STATES]
    return any(term_tokens(part, modality_of(recipe.task)) != "cls" for part in parts)


def single_token_terms(recipe: Recipe) -> dict[str, Weighted]:
    """The objectives that compare the student with its teacher token by token, by slot."""
    modality = modality_of(recipe.task)

    def compares(part: Weighted) -> bool:
        wanted = _wanted(part.spec)
        return bool(wanted & ATTENTION or (wanted & STATES and term_tokens(part, modality) == "tokens"))

    return {slot: part for slot, part in recipe.objective.terms.items() if compares(part)}


def teacher_taps(recipe: Recipe, student_layers: int, student_attention: int, shape: TeacherShape) -> Taps:
    """The teacher outputs that a trial needs, layer by layer."""
    taps = Taps()
    modality = shape.modality
    for part in recipe.objective.terms.values():
        wanted = _wanted(part.spec)
        tokens = term_tokens(part, modality)
        if wanted & ATTENTION:
            pairs = term_layers(part, student_attention, len(shape.attention))
            taps |= Taps(attention=tuple(sorted({layer - 1 for _, layer in pairs})))
        if not wanted & STATES:
            continue
        pairs = term_layers(part, student_layers, modality.layers(len(shape.states)))
        entries = tuple(sorted({modality.entry(layer) for _, layer in pairs}))
        if tokens != "tokens" and "maps" not in wanted:
            taps |= Taps(pooled=frozenset({tokens}), entries=entries)
        else:
            taps |= modality.whole_states(entries)
    return taps


def recipe_taps(recipe: Recipe) -> Taps:
    """The teacher outputs that a recipe needs from all layers: pooled states. As in `space_taps`, the rest depends on the student."""
    modality = modality_of(recipe.task)
    parts = [part for part in recipe.objective.terms.values() if _wanted(part.spec) & STATES]
    tokens = {term_tokens(part, modality) for part in parts if "maps" not in _wanted(part.spec)}
    return Taps(pooled=frozenset(tokens & set(modality.pooled_forms)))


def space_taps(space: Space) -> Taps:
    """The teacher outputs that any recipe of a space can need from all layers: pooled states. Single tokens, attention and maps are stored
    when a trial first asks for a layer of them, because the layers depend on its student.
    """
    modality = modality_of(space.task)
    pooled: set[str] = set()
    for slot in SLOTS:
        kinds = {kind for domain in space.parameters.get(f"objective.{slot}.kind", ()) for kind in (domain.choices or (domain.default,))}
        for kind in kinds - {"none"}:
            spec = specs(f"objective.{slot}")[str(kind)]
            if not _wanted(spec) & STATES:
                continue
            asked = space.parameters.get(f"objective.{slot}.tokens", ())
            values = {str(value) for domain in asked for value in (domain.choices or (domain.default,))}
            own = SHARED[f"objective.{slot}"].get("tokens")  # the recipe's default, if its slot has the field
            pooled |= values or {str(own[1]) if own else _default_tokens(spec, modality)}
    return Taps(pooled=frozenset(pooled & set(modality.pooled_forms)))
