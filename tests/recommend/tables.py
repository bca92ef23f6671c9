"""Tables with known optima."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from autodistill.recommender.table import Table, make_table

Effect = Callable[[dict, float, np.random.Generator], float]
"""Recipe, the dataset's feature, randomness → score."""


def made(effect: Effect, datasets: int = 6, recipes: int = 50, seed: int = 0, teacher: float | None = 0.9) -> Table:
    """Datasets of one feature (evenly spread from 0 to 1), each with random recipes of its own."""
    rng = np.random.default_rng(seed)
    rows, features = [], {}
    for number in range(datasets):
        name, feature = f"d{number}", number / (datasets - 1)
        features[name] = {"feature": feature}
        for _ in range(recipes):
            recipe = {"kind": str(rng.choice(["a", "b"])), "rate": 10 ** rng.uniform(-5, -2), "depth": np.nan}
            if recipe["kind"] == "b":
                recipe["depth"] = float(rng.integers(1, 5))
            score = effect(recipe, feature, rng)
            rows.append({"dataset": name, "task": "text-classification", "teacher_score": teacher, "score": score} | recipe)
    return make_table(pd.DataFrame(rows), ["kind", "rate", "depth"], pd.DataFrame(features).T)


def shared(recipe: dict, feature: float, rng: np.random.Generator) -> float:
    """The best recipe is the same everywhere: kind a near a rate of 1e-3."""
    return 0.8 + 0.05 * (recipe["kind"] == "a") - 0.01 * (np.log10(recipe["rate"]) + 3) ** 2 - 0.1 * feature


def depends(recipe: dict, feature: float, rng: np.random.Generator) -> float:
    """Kind a is best where the feature is low, kind b where it is high."""
    return 0.7 + 0.1 * ((recipe["kind"] == "b") == (feature > 0.5)) - 0.005 * (np.log10(recipe["rate"]) + 3) ** 2


def noise(recipe: dict, feature: float, rng: np.random.Generator) -> float:
    """Nothing matters."""
    return 0.8 + 0.02 * rng.standard_normal()
