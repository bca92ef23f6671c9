"""Older recipes: the fields that were added later, and the conversion from older versions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from autodistill.errors import RecipeError

VERSION = 1

ADDED: dict[tuple[str, str], Any] = {
    ("teacher", "min_steps"): 0,
    ("teacher", "pooling"): "model",
    ("teacher", "head_init"): "random",
    ("teacher", "max_steps"): None,
    ("teacher", "patience"): 100,
    ("teacher", "head_learning_rate"): None,
    ("teacher", "calibration"): "none",
    ("teacher", "image_size"): None,
    ("teacher", "batch_norm"): "trained",
    ("teacher", "scores"): None,
    ("teacher", "members"): 1,
    ("teacher", "class_weights"): "none",
    ("teacher", "vector_size"): None,
    ("student", "vocabulary"): "full",
    ("student", "pooling"): "model",
    ("student", "blocks"): 0,
    ("student", "image_size"): 0,
    ("objective", "class_weights"): "none",
    ("objective", "self_distillation"): 0.0,
    ("objective.intermediate", "layers"): None,
    ("objective.attention", "layers"): None,
    ("training", "steps"): 0,
    ("training", "passes"): 0.0,
    ("training", "max_steps"): 0,
    ("training", "unlabelled_share"): 0.0,
    ("training", "unlabelled_choice"): "all",
    ("training", "unlabelled_keep"): 1.0,
    ("training", "stages"): "mixed",
    ("training", "optimizer"): "adamw",
    ("training", "momentum"): 0.9,
    ("training", "dot_difference"): 0.075,
}
"""Fields that were added later, by part and name, with the value that older recipes imply. A field with that value is left out of the
canonical text, so that a recipe keeps its id when fields are added."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: dict[int, Migration] = {}
"""By version: each takes that version's plain data and returns the next version's."""


def migrate(data: Mapping[str, Any], steps: Mapping[int, Migration] = MIGRATIONS, newest: int = VERSION) -> dict[str, Any]:
    """A recorded recipe's plain data, converted to the newest version one step at a time.

    Raises:
        RecipeError: a newer autodistill wrote it, or there is no conversion from its version.
    """
    migrated = copy.deepcopy(dict(data))
    while (version := migrated.get("version", 1)) != newest:
        if version not in steps:
            raise RecipeError(f"the recipe is of version {version!r}; this autodistill reads up to version {newest}; upgrade autodistill")
        migrated = {**steps[version](migrated), "version": version + 1}
    return migrated
