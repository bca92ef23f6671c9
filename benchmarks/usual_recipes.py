"""The recipes that people use without a search: a recommendation must beat them."""

from __future__ import annotations

from typing import Any

from autodistill.errors import RecipeError
from autodistill.recipe import Recipe
from autodistill.task_types import modality_of, target_of

TRANSFORMER = {"family": "bert", "layers": 4, "hidden_size": 128, "heads": 4, "init": "teacher"}
"""The student that papers distil texts into: 4.7 M parameters with the default teacher's vocabulary."""
TRANSFORMER_RATE = 3e-4


def default_recipes(base: Recipe) -> dict[str, Recipe]:
    """Plain KD, and recipes like PKD, TinyBERT and MiniLM, by name; without those whose objectives do not fit the task.

    Each has the losses of its paper at equal weights, and no augmentation: Hinton et al. 2015 (soft labels at temperature 2), Sun et al.
    2019 (normalised CLS states of every few layers), Jiao et al. 2020 (states and attention of every few layers), Wang et al. 2020 (the
    last layer's attention and value relations). For images there are no transformer students here, so they have the first two only, and
    PKD reads means instead of CLS states.

    Args:
        base: the recipes have its teacher and training; plain KD and images have its student too, the others a transformer.
    """
    pooled = modality_of(base.task).pooled_forms[0]
    mixes: dict[str, dict[str, Any]] = {
        "plain KD": {},
        "PKD": {"intermediate": {"kind": "pkd", "layer_map": "skip", "tokens": pooled}},
        "TinyBERT-like": {
            "intermediate": {"kind": "mse", "layer_map": "skip", "tokens": "tokens"},
            "attention": {"kind": "mse", "layer_map": "skip"},
        },
        "MiniLM-like": {"attention": {"kind": "minilm"}},
    }
    recipes: dict[str, Recipe] = {}
    for name, mix in mixes.items():
        plain = target_of(base.task).plain_objective
        objective = {"class_weights": base.objective.class_weights, **plain, **mix}
        data = base.model_dump() | {"objective": objective, "augmentation": {"kind": "none"}}
        if name != "plain KD" and not base.task.startswith("image"):
            data |= {"student": TRANSFORMER, "training": data["training"] | {"learning_rate": TRANSFORMER_RATE}}
        try:
            recipes[name] = Recipe.parse(data)
        except RecipeError:  # the task has no such objective
            continue
    return recipes
