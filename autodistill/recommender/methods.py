"""What recommends: methods with one contract, from chance to a surrogate over recipes and datasets.

A method is fitted on a table, and then puts recipes in order for a dataset that is not in it. Scores of different datasets are
compared in one unit (`Units`): 0 is a dataset's median recipe, 1 its recipe at the ninth decile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor

from autodistill.recommender.encoding import DatasetEncoder, RecipeEncoder
from autodistill.recommender.table import NewDataset, Table
from autodistill.task_types import modality_name

WORST = -2.0
"""What a recipe is worth at least, in units: how bad a bad one is teaches nothing about the good ones."""
BEST = 1.5
"""And at most: a dataset on which few recipes stand far out must not decide for the others."""
TREES = 60
PORTFOLIO = 20
"""So many recipes a portfolio puts in an order of its own; the others follow by their mean."""


class Units:
    """The scale of each dataset of a table: the median of its scores, and how far the ninth decile is above it."""

    def __init__(self, table: Table) -> None:
        place = table.index
        scores = [table.scores[place == number] for number in range(len(table.names))]
        self.levels = np.array([np.median(item) for item in scores])
        self.spreads = np.array([_spread(item) for item in scores])
        self.values = np.clip((table.scores - self.levels[place]) / self.spreads[place], WORST, BEST)
        self.weights = 1.0 / np.bincount(place)[place]
        self.weights *= len(place) / self.weights.sum()


def _spread(scores: np.ndarray) -> float:
    above = float(np.quantile(scores, 0.9) - np.median(scores))
    return above or float(scores.std()) or 1.0


class Method(Protocol):
    """Fitted, it says what recipes (a frame, a row each) are worth on a dataset, in units, and in which order to try them."""

    def merit(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """(N,) what each recipe is worth, in units; higher is better."""
        ...

    def order(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """(N,) the places of the recipes, the one to try first in front."""
        ...


Fit = Callable[[Table], Method]
"""Fits a method to a table."""


class ByMerit:
    """Base of the methods whose order is that of the merits."""

    def merit(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """Said by the method."""
        raise NotImplementedError

    def order(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """The best first; equal ones as they stand."""
        return np.argsort(-self.merit(recipes, target), kind="stable")


class Nearest(ByMerit):
    """What similar recipes were worth on similar datasets: a mean over all rows, weighted by a kernel of both distances.

    Nadaraya-Watson regression with Gaussian kernels: over recipes of the width `recipe_width` (Gower distance), over datasets of half
    the usual distance between neighbours.
    """

    def __init__(self, table: Table, recipe_width: float = 0.12) -> None:
        self.table, self.recipe_width, self.units = table, recipe_width, Units(table)
        self.recipes, self.datasets = RecipeEncoder(table.recipes), DatasetEncoder(table)

    def merit(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """The weighted means."""
        apart = self.recipes.distances(recipes, self.table.recipes)
        apart = apart - apart.min(axis=1, keepdims=True)  # the nearest recorded recipe always counts in full
        alike = np.exp(-0.5 * (apart / self.recipe_width) ** 2)
        weights = alike * (dataset_weights(self.datasets, target)[self.table.index] * self.units.weights)[None, :]
        return (weights @ self.units.values) / weights.sum(axis=1)


def dataset_weights(datasets: DatasetEncoder, target: NewDataset) -> np.ndarray:
    """(datasets,) a Gaussian kernel of their distances from the target; the nearest has weight 1."""
    apart = datasets.distances(target)
    if not np.isfinite(apart).any():
        return np.ones_like(apart)
    return np.exp(-0.5 * ((apart - apart.min()) / (datasets.usual_distance() / 2 or 1.0)) ** 2)


class Portfolio:
    """Recipes that together do well on all datasets, without a look at what a dataset is like.

    Greedy: each next recipe is the one that brings the mean over datasets of the best so far up the most (a submodular gain, so greedy
    is within 1 - 1/e of the best portfolio; Nemhauser et al. 1978). What a recipe is worth on a dataset is what was recorded, or, as each
    dataset has mostly recipes of its own, what trees over recipe fields and the dataset's identity say.
    """

    def __init__(self, table: Table) -> None:
        self.table, self.units, self.recipes = table, Units(table), RecipeEncoder(table.recipes)
        identity = np.eye(len(table.names))
        inputs = np.hstack([self.recipes.encode(table.recipes), identity[table.index]])
        self.model = _trees().fit(inputs, self.units.values, sample_weight=self.units.weights)
        self.identity = identity
        self.known = {(place, key): value for place, key, value in zip(table.index, _keys(table.recipes), self.units.values, strict=True)}

    def worth(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """(N, datasets) each recipe on each recorded dataset of the target's task type, or where none is, of its modality, or any."""
        kept = fitting(self.table, target)
        encoded = self.recipes.encode(recipes)
        inputs = np.hstack([np.repeat(encoded, len(kept), axis=0), np.tile(self.identity[kept], (len(recipes), 1))])
        worth = self.model.predict(inputs).reshape(len(recipes), len(kept))
        for row, key in enumerate(_keys(recipes.reindex(columns=self.table.recipes.columns))):
            for column, place in enumerate(kept):
                worth[row, column] = self.known.get((place, key), worth[row, column])
        return worth

    def merit(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """The mean over datasets."""
        return self.worth(recipes, target).mean(axis=1)

    def order(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """The greedy portfolio, then the others by merit."""
        worth = self.worth(recipes, target)
        best = np.full(worth.shape[1], WORST)
        chosen: list[int] = []
        for _ in range(min(PORTFOLIO, len(worth))):
            gain = np.maximum(worth, best[None, :]).mean(axis=1)
            gain += 1e-6 * worth.mean(axis=1)  # where nothing is gained any more, the mean decides
            gain[chosen] = -np.inf
            chosen.append(int(np.argmax(gain)))
            best = np.maximum(best, worth[chosen[-1]])
        rest = np.argsort(-worth.mean(axis=1), kind="stable")
        return np.concatenate([chosen, rest[~np.isin(rest, chosen)]]).astype(int)


def _keys(recipes: pd.DataFrame) -> list[tuple[object, ...]]:
    """Each row as something that can be looked up; missing values equal each other."""
    columns = [[None if pd.isna(value) else value for value in recipes[name]] for name in recipes.columns]
    return list(zip(*columns, strict=True)) if columns else [()] * len(recipes)


def fitting(table: Table, target: NewDataset) -> np.ndarray:
    """The places of the datasets of the target's task type; of its modality where none is; all where none is either."""
    tasks = np.array([str(task) for task in table.about["task"]])
    same = np.flatnonzero(tasks == target.task)
    if not same.size:
        same = np.flatnonzero([modality_name(task) == target.modality_name for task in tasks])
    return same if same.size else np.arange(len(tasks))


class Surrogate(ByMerit):
    """A regression of merit on recipe fields, task type and dataset features."""

    def __init__(self, table: Table, model: ExtraTreesRegressor | HistGradientBoostingRegressor) -> None:
        self.units, self.recipes, self.datasets = Units(table), RecipeEncoder(table.recipes), DatasetEncoder(table)
        inputs = np.hstack([self.recipes.encode(table.recipes), self.datasets.encode_recorded()[table.index]])
        self.model = model.fit(inputs, self.units.values, sample_weight=self.units.weights)

    def merit(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """What the model says."""
        encoded = self.recipes.encode(recipes)
        said: np.ndarray = self.model.predict(np.hstack([encoded, np.tile(self.datasets.encode(target), (len(recipes), 1))]))
        return said


def forest(table: Table) -> Surrogate:
    """A surrogate of extremely randomised trees (Geurts et al. 2006)."""
    return Surrogate(table, _trees())


def boosting(table: Table) -> Surrogate:
    """A surrogate of gradient-boosted small trees (Friedman 2001)."""
    model = HistGradientBoostingRegressor(
        max_iter=150, learning_rate=0.06, max_leaf_nodes=8, min_samples_leaf=8, l2_regularization=1.0, early_stopping=False, random_state=0
    )
    return Surrogate(table, model)


def _trees() -> ExtraTreesRegressor:
    return ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=0.5, random_state=0, n_jobs=1)


class Committee(ByMerit):
    """The mean of what several methods say: each errs in its own places, so the mean errs less than most (Krogh and Vedelsby 1995).

    A portfolio, which goes by what a recipe itself reached elsewhere, and boosting, which goes by what its parts and the dataset are like.
    """

    def __init__(self, table: Table, members: tuple[Fit, ...] = (Portfolio, boosting)) -> None:
        self.members = [fit(table) for fit in members]

    def merit(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """The members' mean."""
        said: np.ndarray = np.mean([member.merit(recipes, target) for member in self.members], axis=0)
        return said


METHODS: dict[str, Fit] = {"portfolio": Portfolio, "nearest": Nearest, "forest": forest, "boosting": boosting, "committee": Committee}
"""The methods that learn, by name."""
SHIPPED = "committee"
"""The one that recommends: docs/recommender.md says what the others reach."""
