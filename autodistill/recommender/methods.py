"""Methods that recommend, all with one interface (`Method`): portfolios, neighbours, surrogates, and a committee.

A method is fitted on a table, and then ranks recipes for a dataset that is not in it. Scores of different datasets are compared in
one unit (`Units`): 0 is a dataset's median recipe, 1 its recipe at the ninth decile, or 2% above the median if that is more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Protocol

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor

from autodistill.recommender.encoding import DatasetEncoder, RecipeEncoder
from autodistill.recommender.table import NewDataset, Table
from autodistill.task_types import standing_for

WORST = -2.0
"""The smallest merit, in units. How bad a bad recipe is does not help to choose a good one."""
BEST = 1.5
"""The largest merit, so that a dataset with a few outstanding recipes does not decide for the others."""
LEAST_SPREAD = 0.02
"""The smallest unit, as a share of the median score. Where all recipes are within a percent, their order is mostly noise, and must not
count as much as elsewhere."""
TREES = 60
PORTFOLIO = 20
"""How many recipes a portfolio chooses greedily; the others follow by their mean merit."""
CAUTION = 0.25
"""The quantile, over datasets, of a recipe's merits that a cautious method uses."""


class Units:
    """The scale of each dataset of a table: the median of its scores (level), and the ninth decile's distance from it (spread, at least
    `LEAST_SPREAD`).
    """

    def __init__(self, table: Table) -> None:
        place = table.index
        scores = [table.scores[place == number] for number in range(len(table.names))]
        self.levels = np.array([np.median(item) for item in scores])
        self.spreads = np.array([_spread(item) for item in scores])
        self.values = np.clip((table.scores - self.levels[place]) / self.spreads[place], WORST, BEST)
        self.weights = 1.0 / np.bincount(place)[place]
        self.weights *= len(place) / self.weights.sum()


def _spread(scores: np.ndarray) -> float:
    median = float(np.median(scores))
    return max(float(np.quantile(scores, 0.9)) - median, LEAST_SPREAD * abs(median)) or 1.0


class Method(Protocol):
    """A fitted method: the merit of recipes (a frame, a row each) on a dataset, in units, and the order in which to try them."""

    def merit(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """(N,) the merit of each recipe, in units; higher is better."""
        ...

    def order(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """(N,) the indices of the recipes, in the order in which to try them."""
        ...


Fit = Callable[[Table], Method]
"""Fits a method to a table."""


class ByMerit:
    """Base class of the methods that order recipes by their merits."""

    def merit(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """Computed by the method."""
        raise NotImplementedError

    def order(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """The best first; recipes of equal merit keep their order."""
        return np.argsort(-self.merit(recipes, target), kind="stable")


class Nearest(ByMerit):
    """The merit of similar recipes on similar datasets: a mean over all rows, weighted by a kernel of both distances.

    This is Nadaraya-Watson regression with Gaussian kernels. The kernel over recipes has the width `recipe_width` (Gower distance), the
    kernel over datasets half the usual distance between neighbours.
    """

    def __init__(self, table: Table, recipe_width: float = 0.12) -> None:
        self.table, self.recipe_width, self.units = table, recipe_width, Units(table)
        self.recipes, self.datasets = RecipeEncoder(table.recipes), DatasetEncoder(table)

    def merit(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """The weighted means."""
        distances = self.recipes.distances(recipes, self.table.recipes)
        distances = distances - distances.min(axis=1, keepdims=True)  # the nearest recorded recipe always counts in full
        similarity = np.exp(-0.5 * (distances / self.recipe_width) ** 2)
        weights = similarity * (dataset_weights(self.datasets, target)[self.table.index] * self.units.weights)[None, :]
        return (weights @ self.units.values) / weights.sum(axis=1)


def dataset_weights(datasets: DatasetEncoder, target: NewDataset) -> np.ndarray:
    """(datasets,) a Gaussian kernel of their distances from the target; the nearest has weight 1."""
    apart = datasets.distances(target)
    if not np.isfinite(apart).any():
        return np.ones_like(apart)
    return np.exp(-0.5 * ((apart - apart.min()) / (datasets.usual_distance() / 2 or 1.0)) ** 2)


class Portfolio:
    """Recipes that together do well on all datasets; the features of a dataset are not used.

    The choice is greedy: each next recipe is the one that most raises the mean, over datasets, of the best merit so far. The gain is
    submodular, so the greedy portfolio reaches at least 1 - 1/e of the best one (Nemhauser et al. 1978). A recipe's merit on a dataset is
    the recorded one. If there is none (most recipes are recorded on only one dataset), trees predict it from the recipe's fields and the
    dataset's identity.
    """

    def __init__(self, table: Table) -> None:
        self.table, self.units, self.recipes = table, Units(table), RecipeEncoder(table.recipes)
        identity = np.eye(len(table.names))
        inputs = np.hstack([self.recipes.encode(table.recipes), identity[table.index]])
        self.model = _trees().fit(inputs, self.units.values, sample_weight=self.units.weights)
        self.identity = identity
        rows = zip(table.index, _keys(table.recipes), self.units.values, strict=True)
        self.recorded = {(place, key): value for place, key, value in rows}

    def merits(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """(N, datasets) the merit of each recipe on each of the recorded datasets that `fitting` selects for the target."""
        kept = fitting(self.table, target)
        encoded = self.recipes.encode(recipes)
        inputs = np.hstack([np.repeat(encoded, len(kept), axis=0), np.tile(self.identity[kept], (len(recipes), 1))])
        merits = self.model.predict(inputs).reshape(len(recipes), len(kept))
        for row, key in enumerate(_keys(recipes.reindex(columns=self.table.recipes.columns))):
            for column, place in enumerate(kept):
                merits[row, column] = self.recorded.get((place, key), merits[row, column])
        return merits

    def merit(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """The mean over datasets."""
        return self.merits(recipes, target).mean(axis=1)

    def order(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """The greedy portfolio, then the others by merit."""
        merits = self.merits(recipes, target)
        best = np.full(merits.shape[1], WORST)
        chosen: list[int] = []
        for _ in range(min(PORTFOLIO, len(merits))):
            gain = np.maximum(merits, best[None, :]).mean(axis=1)
            gain += 1e-6 * merits.mean(axis=1)  # if no recipe gains anything, the mean decides
            gain[chosen] = -np.inf
            chosen.append(int(np.argmax(gain)))
            best = np.maximum(best, merits[chosen[-1]])
        rest = np.argsort(-merits.mean(axis=1), kind="stable")
        return np.concatenate([chosen, rest[~np.isin(rest, chosen)]]).astype(int)


class Cautious(ByMerit, Portfolio):
    """A portfolio by a lower quantile of a recipe's merits on the recorded datasets, instead of their mean.

    A recipe that does well on average but fails on some datasets comes after one that does nearly as well on all of them.
    """

    def merit(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """The quantile `CAUTION` over datasets."""
        lower: np.ndarray = np.quantile(self.merits(recipes, target), CAUTION, axis=1)
        return lower

    def gains(self, recipes: pd.DataFrame, reference: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """(N,) for each recipe: its predicted score minus that of the reference (one recipe) on a new dataset, as a share of the score; of
        this the quantile `CAUTION`, see `lower_gain`.
        """
        kept = fitting(self.table, target)
        level = np.where(self.units.levels[kept] == 0, 1.0, np.abs(self.units.levels[kept]))
        apart = (self.merits(recipes, target) - self.merits(reference, target)) * self.units.spreads[kept] / level
        noise = _noise(level, self.table.about["validation_rows"].to_numpy(float)[kept])
        return np.array([lower_gain(row, noise) for row in apart])


def _noise(level: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(D,) the variance of the difference of two scores near `level`, as a share of it, on so many validation rows each (NaN if unknown).

    As if both were shares of correct rows, and of different ones. That the rows are the same makes it smaller, that each recipe is
    trained with one seed larger. One row more of each kind is counted, so that a perfect score is noisy, too. Where rows are unknown
    the noise is the median of the others; 0 if all are.
    """
    share = (level.clip(0.0, 1.0) * rows + 1) / (rows + 2)
    noise = 2 * share * (1 - share) / rows / level**2
    known = np.isfinite(noise)
    return np.where(known, noise, np.median(noise[known]) if known.any() else 0.0)


def lower_gain(gains: np.ndarray, noise: np.ndarray) -> float:
    """The quantile `CAUTION` of the true gain on a new dataset, from measured gains on recorded ones.

    The true gains are taken as normal, each measured with its own noise, so a loss on few validation rows counts little, and one that no
    noise explains counts much: a quantile of the measured gains would do neither.

    gains, noise: (D,) measured gains, and the variance of what they are wrong by.

    Source: DerSimonian and Laird 1986 (the variance between studies), Higgins, Thompson and Spiegelhalter 2009 (the prediction for a new
    one, with a normal distribution in place of Student's).
    """
    noise = np.maximum(noise, 1e-12)
    weights = 1 / noise
    mean = np.average(gains, weights=weights)
    excess = weights @ (gains - mean) ** 2 - (len(gains) - 1)
    between = max(0.0, excess / (weights.sum() - weights @ weights / weights.sum())) if len(gains) > 1 else 0.0
    weights = 1 / (noise + between)
    mean = float(np.average(gains, weights=weights))
    return mean + NormalDist().inv_cdf(CAUTION) * math.sqrt(between + 1 / weights.sum())


def _keys(recipes: pd.DataFrame) -> list[tuple[object, ...]]:
    """Each row as a hashable key; missing values equal each other."""
    columns = [[None if pd.isna(value) else value for value in recipes[name]] for name in recipes.columns]
    return list(zip(*columns, strict=True)) if columns else [()] * len(recipes)


def fitting(table: Table, target: NewDataset) -> np.ndarray:
    """The indices of the datasets of the task types that stand for the target's; if there are none, all.

    Of these, only those that agree with the target in having unlabelled rows or none, if there are any.
    """
    tasks = table.about["task"].astype(str)
    places = np.flatnonzero(tasks.isin(standing_for(target.task, tasks)))
    places = places if places.size else np.arange(len(tasks))
    alike = places[table.about["unlabelled"].to_numpy(bool)[places] == target.unlabelled]
    return alike if alike.size else places


class Surrogate(ByMerit):
    """A regression of merit on recipe fields, task type and dataset features."""

    def __init__(self, table: Table, model: ExtraTreesRegressor | HistGradientBoostingRegressor) -> None:
        self.units, self.recipes, self.datasets = Units(table), RecipeEncoder(table.recipes), DatasetEncoder(table)
        inputs = np.hstack([self.recipes.encode(table.recipes), self.datasets.encode_recorded()[table.index]])
        self.model = model.fit(inputs, self.units.values, sample_weight=self.units.weights)

    def merit(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """The model's predictions."""
        encoded = self.recipes.encode(recipes)
        predicted: np.ndarray = self.model.predict(np.hstack([encoded, np.tile(self.datasets.encode(target), (len(recipes), 1))]))
        return predicted


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
    """The mean of several methods' merits. Their errors differ, so the mean has a smaller error than most (Krogh and Vedelsby 1995).

    By default its members are a cautious portfolio, which uses a recipe's own results on other datasets, and boosting, which uses the
    recipe's fields and the dataset's features.
    """

    def __init__(self, table: Table, members: tuple[Fit, ...] = (Cautious, boosting)) -> None:
        self.members = [fit(table) for fit in members]

    def merit(self, recipes: pd.DataFrame, target: NewDataset) -> np.ndarray:
        """The members' mean."""
        mean: np.ndarray = np.mean([member.merit(recipes, target) for member in self.members], axis=0)
        return mean


METHODS: dict[str, Fit] = {
    "portfolio": Portfolio, "cautious": Cautious, "nearest": Nearest, "forest": forest, "boosting": boosting, "committee": Committee,
}  # fmt: skip
"""The methods that learn, by name."""
SHIPPED = "committee"
"""The default method. docs/recommender.md compares it with the others."""
