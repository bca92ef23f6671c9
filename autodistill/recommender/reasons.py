"""Why a recipe is recommended: what each of its parts adds to the prediction."""

from __future__ import annotations

from typing import Any

from autodistill.errors import RecipeError
from autodistill.recipe import SLOTS, Recipe
from autodistill.recommender.intervals import Predictor
from autodistill.recommender.table import NewDataset, recipe_frame
from autodistill.space import Space

LEAST = 0.001
"""Changes of the predicted retention below this are not named."""


def drivers(predictor: Predictor, recipe: Recipe, space: Space, target: NewDataset, retention: float) -> tuple[tuple[str, float], ...]:
    """The three parts that change the predicted retention most, with the change: the prediction minus that for the recipe with the
    default's part.
    """
    swapped: dict[str, Recipe] = {}
    data, default = recipe.model_dump(), space.defaults().model_dump()
    for name, part in _swaps(data, default).items():
        part["training"] = part["training"] | space.length_for(part)  # another student may be trained for longer
        try:
            swapped[name] = Recipe.parse(part)
        except RecipeError:  # the default's part does not fit the rest, such as attention and a CNN
            continue
    if not swapped:
        return ()
    frame = recipe_frame(item.model_dump() for item in swapped.values())
    values = predictor.scale.values(predictor.method.merit(frame, target), target)
    gains = [(name, retention - float(value)) for name, value in zip(swapped, values, strict=True)]
    return tuple(sorted((item for item in gains if abs(item[1]) >= LEAST), key=lambda item: -abs(item[1]))[:3])


def _swaps(data: dict, default: dict) -> dict[str, dict]:
    """For each part that differs from the default, the recipe with that part replaced by the default's."""
    swapped = {}
    if data["student"] != default["student"]:
        # another student family needs another learning rate, so that is replaced with the student
        training, name = data["training"], f"student {data['student']['family']}"
        if data["student"]["family"] != default["student"]["family"]:
            training = training | {"learning_rate": default["training"]["learning_rate"]}
        else:
            changed = [f"{field} {value}" for field, value in data["student"].items() if value != default["student"].get(field)]
            name += f" ({', '.join(changed)})"
        swapped[name] = data | {"student": default["student"], "training": training}
    mix, usual = data["objective"], default["objective"]
    for slot in SLOTS:
        if mix[slot] != usual[slot]:
            swapped[f"{slot} {mix[slot]['kind']}"] = data | {"objective": mix | {slot: usual[slot]}}
    if mix["hard_label_weight"] != usual["hard_label_weight"]:
        weight = {"hard_label_weight": usual["hard_label_weight"]}
        swapped[f"hard labels {mix['hard_label_weight']:.2g}"] = data | {"objective": mix | weight}
    if data["augmentation"] != default["augmentation"]:
        swapped[f"augmentation {data['augmentation']['kind']}"] = data | {"augmentation": default["augmentation"]}
    learning = {name: value for name, value in data["training"].items() if value != default["training"][name]}
    if data["student"]["family"] == default["student"]["family"] and learning:
        fields = [f"{name.replace('_', ' ')} {_short(value)}" for name, value in learning.items()]
        swapped[f"training ({', '.join(fields)})"] = data | {"training": default["training"]}
    return swapped


def _short(value: Any) -> str:
    """A field's value for people."""
    return f"{value:.2g}" if isinstance(value, float) else str(value)
