"""Which of the student's layers learns from which of the teacher's.

Layers are numbered from 1, the nearest to the input, to their number; 0 is the embeddings, which are never mapped.
For image models a layer is a feature stage.
"""

from __future__ import annotations

from autodistill.errors import RecipeError, not_allowed

LAYER_MAPS = ("skip", "last", "first", "emd", "all")


def layer_pairs(layer_map: str, student_layers: int, teacher_layers: int) -> list[tuple[int, int]]:
    """The pairs (student's layer, teacher's layer), by the student's layer.

    skip: every layer of the student, with the teacher's at the same share of its depth: layer s of S with round(s · T/S), a half
    being rounded up (PKD-Skip, Sun et al. 2019; TinyBERT's uniform map, Jiao et al. 2020). last: the last min(S, T) of each, aligned
    at the top (PKD-Last). first: the first min(S, T) of each. emd, all: every pair; `PairWeights` weighs them.

    Raises:
        RecipeError: an unknown map, or a model without layers to tap.
    """
    if min(student_layers, teacher_layers) < 1:
        raise RecipeError(
            f"layer_map {layer_map!r} needs a student and a teacher of at least one layer; they have {student_layers} and {teacher_layers}"
        )
    both = min(student_layers, teacher_layers)
    match layer_map:
        case "skip":
            return [
                (layer, max(1, (2 * layer * teacher_layers + student_layers) // (2 * student_layers)))
                for layer in range(1, student_layers + 1)
            ]
        case "last":
            return [(student_layers - back, teacher_layers - back) for back in range(both - 1, -1, -1)]
        case "first":
            return [(layer, layer) for layer in range(1, both + 1)]
        case "emd" | "all":
            return [(student, teacher) for student in range(1, student_layers + 1) for teacher in range(1, teacher_layers + 1)]
    raise RecipeError(not_allowed("layer_map", layer_map, LAYER_MAPS))
