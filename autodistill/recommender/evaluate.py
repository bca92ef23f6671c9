"""How good a recommendation is: each group of datasets held out in turn, its recorded recipes put in order unseen."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from autodistill.errors import DataError
from autodistill.recommender.encoding import RecipeEncoder
from autodistill.recommender.intervals import Predictor
from autodistill.recommender.methods import METHODS
from autodistill.recommender.table import Table

DEPTHS = (1, 3, 5)
COVERAGE = 0.8
Defaults = Callable[[str], pd.DataFrame]
"""The default recipes for a dataset's name, a row each; each stands for the recorded recipe that is nearest."""


@dataclass(frozen=True)
class Outcome:
    """How a method did on one dataset.

    regret: by depth k, the best recorded score minus the best of the first k. retention_regret: the same over the teacher's score; empty
    where that is unknown. percentile: share of the other recorded recipes that are no better than the first one, in percent.
    spearman: of merit and score. covered: share of the recipes whose score lay in its 80% interval. width: mean, in retention or score.
    """

    method: str
    dataset: str
    regret: dict[int, float]
    retention_regret: dict[int, float]
    percentile: float
    spearman: float | None = None
    covered: float | None = None
    width: float | None = None


@dataclass
class Evaluation:
    """The outcomes of all methods on all datasets."""

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def methods(self) -> list[str]:
        """In the order in which they were evaluated."""
        return list(dict.fromkeys(item.method for item in self.outcomes))

    def of(self, method: str) -> list[Outcome]:
        """A method's outcomes."""
        return [item for item in self.outcomes if item.method == method]

    def mean(self, method: str) -> dict[str, Any]:
        """A method's figures: means over datasets, and the worst percentile."""
        found = self.of(method)

        def mean(values: Sequence[float | None]) -> float | None:
            known = [value for value in values if value is not None]
            return statistics.fmean(known) if known else None

        return {
            "regret": {str(k): mean([item.regret[k] for item in found]) for k in DEPTHS},
            "retention_regret": {str(k): mean([item.retention_regret.get(k) for item in found]) for k in DEPTHS},
            "top1_percentile": {"mean": mean([item.percentile for item in found]), "worst": min(item.percentile for item in found)},
            "spearman": mean([item.spearman for item in found]),
            "coverage_80": mean([item.covered for item in found]),
            "interval_width": mean([item.width for item in found]),
        }

    def winner(self) -> str:
        """Of the methods that learn, the one of the smallest regret@1."""
        learn = [name for name in self.methods if name in METHODS]
        return min(learn, key=lambda name: statistics.fmean(item.regret[1] for item in self.of(name)))


def evaluate(table: Table, defaults: Defaults | None = None, methods: Sequence[str] = tuple(METHODS), jobs: int = 1) -> Evaluation:
    """Hold out each group in turn.

    Args:
        table: of at least two groups.
        defaults: the default recipes; without, there is no such line.
        methods: of METHODS.
        jobs: processes at once.

    Raises:
        DataError: there is a single group, so nothing can be held out.
    """
    if len(table.groups) < 2:
        raise DataError(f"all datasets of the table are of one group ({table.groups[0]!r}); two or more are needed to hold one out")
    found = Evaluation()
    for name in table.names:
        rows = table.select([name])
        found.outcomes.append(_by_chance("random", rows, np.arange(len(rows))))
        if defaults is not None:
            found.outcomes.append(_by_chance("defaults", rows, _nearest(table, rows, defaults(name))))
    work = [(method, group) for method in methods for group in table.groups]
    for outcomes in Parallel(n_jobs=jobs)(delayed(_hold_out)(table, method, group) for method, group in work):
        found.outcomes += outcomes
    return found


def _hold_out(table: Table, method: str, group: str) -> list[Outcome]:
    names = [name for name in table.names if table.about["group"][name] == group]
    with threadpool_limits(1, user_api="openmp"):  # small fits, one in each process: threads that wait for a core cost tenfold
        predictor = Predictor(table.without_groups({group}), METHODS[method])
        return [_held_out(method, predictor, table.select([name]), table, name) for name in names]


def _held_out(method: str, predictor: Predictor, rows: Table, table: Table, name: str) -> Outcome:
    target = table.target(name)
    order = predictor.method.order(rows.recipes, target)
    merit = predictor.method.merit(rows.recipes, target)
    _, low, high = predictor.intervals(merit, target, COVERAGE)
    teacher = float(rows.teacher_scores[0])
    recorded = rows.scores / teacher if predictor.scale.retention else rows.scores
    known = bool(np.isfinite(recorded).all()) and bool(np.isfinite(high).all())
    regret = {k: float(rows.scores.max() - rows.scores[order[:k]].max()) for k in DEPTHS}
    return Outcome(
        method,
        name,
        regret,
        _over(regret, teacher),
        _percentiles(rows.scores)[order[0]],
        _spearman(merit, rows.scores),
        float(np.mean((low <= recorded) & (recorded <= high))) if known else None,
        float(np.mean(high - low)) if known else None,
    )


def _by_chance(method: str, rows: Table, pool: np.ndarray) -> Outcome:
    """Somebody who takes any of a pool of recipes: expectations over all ways to draw k of them."""
    scores = np.sort(rows.scores[pool])
    regret = {k: float(rows.scores.max() - _expected_best(scores, k)) for k in DEPTHS}
    return Outcome(
        method, rows.names[0], regret, _over(regret, float(rows.teacher_scores[0])), float(_percentiles(rows.scores)[pool].mean())
    )


def _expected_best(scores: np.ndarray, draws: int) -> float:
    """The mean of the best of `draws` of the (ascending) scores, drawn without putting back."""
    draws = min(draws, len(scores))
    ways = [math.comb(place, draws - 1) for place in range(len(scores))]  # in which this one is the best
    return float(np.dot(scores, [way / math.comb(len(scores), draws) for way in ways]))


def _percentiles(scores: np.ndarray) -> np.ndarray:
    """(N,) the share of the others that are no better, in percent; 100 for a single recipe."""
    if len(scores) == 1:
        return np.array([100.0])
    return np.array([100.0 * (np.sum(scores <= score) - 1) / (len(scores) - 1) for score in scores])


def _over(regret: Mapping[int, float], teacher: float) -> dict[int, float]:
    return {k: value / teacher for k, value in regret.items()} if math.isfinite(teacher) else {}


def _spearman(merit: np.ndarray, scores: np.ndarray) -> float | None:
    if len(set(merit)) < 2 or len(set(scores)) < 2:
        return None
    return float(spearmanr(merit, scores).statistic)


def _nearest(table: Table, rows: Table, recipes: pd.DataFrame) -> np.ndarray:
    """The places of the recorded recipes that are nearest to given ones, each once."""
    apart = RecipeEncoder(table.recipes).distances(recipes, rows.recipes)
    return np.array(list(dict.fromkeys(apart.argmin(axis=1).tolist())))
