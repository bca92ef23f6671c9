"""What a recipe, or a whole space, needs of the teacher: which outputs, of which layers."""

from __future__ import annotations

from autodistill.losses.layer_map import layer_pairs
from autodistill.recipe import Component


def term_tokens(part: Component, is_image: bool) -> str:
    """Which form of the states a term reads: its own `tokens`, else single tokens for a relation between tokens, else sentence vectors."""
    if hasattr(part, "tokens"):
        return str(part.tokens)
    if "student_state" in part.spec.inputs:
        return "tokens"
    return "mean" if is_image else "cls"


def term_layers(part: Component, student_layers: int, teacher_layers: int) -> list[tuple[int, int]]:
    """The layer pairs of a term: its layer map's; without one, all by `skip` for a list of states, else the last pair."""
    if hasattr(part, "layer_map"):
        return layer_pairs(part.layer_map, student_layers, teacher_layers)
    if "student_states" in part.spec.inputs:
        return layer_pairs("skip", student_layers, teacher_layers)
    return [(student_layers, teacher_layers)]
