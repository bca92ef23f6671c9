"""How good recommendations are: each group of datasets is held out in turn, and the methods rank its recorded recipes unseen."""

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
"""From a dataset's name to its default recipes, a row each; each is scored as the nearest recorded recipe."""


@dataclass(frozen=True)
class Outcome:
    """The result of a method on one dataset.

    regret: by depth k, the best recorded score minus the best score of the first k. retention_regret: the same over the teacher's score;
    empty if that is unknown. percentile: the share of the other recorded recipes that are not better than the first one, in percent.
    spearman: the rank correlation of merit and score. covered: the share of recipes whose score lies in its 80% interval. width: the mean
    width of the intervals, in retention or score.
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
        """The methods, in the order in which they were evaluated."""
        return list(dict.fromkeys(item.method for item in self.outcomes))

    def of(self, method: str) -> list[Outcome]:
        """A method's outcomes."""
        return [item for item in self.outcomes if item.method == method]

    def mean(self, method: str) -> dict[str, Any]:
        """A method's figures: means over datasets, and the worst percentile."""
        outcomes = self.of(method)

        def mean(values: Sequence[float | None]) -> float | None:
            present = [value for value in values if value is not None]
            return statistics.fmean(present) if present else None

        return {
            "regret": {str(k): mean([item.regret[k] for item in outcomes]) for k in DEPTHS},
            "retention_regret": {str(k): mean([item.retention_regret.get(k) for item in outcomes]) for k in DEPTHS},
            "top1_percentile": {"mean": mean([item.percentile for item in outcomes]), "worst": min(item.percentile for item in outcomes)},
            "spearman": mean([item.spearman for item in outcomes]),
            "coverage_80": mean([item.covered for item in outcomes]),
            "interval_width": mean([item.width for item in outcomes]),
        }

    def winner(self) -> str:
        """The learning method with the smallest regret@1."""
        learn = [name for name in self.methods if name in METHODS]
        return min(learn, key=lambda name: statistics.fmean(item.regret[1] for item in self.of(name)))


def evaluate(
    table: Table,
    defaults: Defaults | None = None,
    methods: Sequence[str] = tuple(METHODS),
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Hold out each group in turn.

    Datasets without labels are learned from apart (`Table.lots`). If all of a lot are of one group, it is left out.

    Args:
        table: with at least two groups in a lot.
        defaults: the default recipes; without them, they are not among the results.
        methods: names in METHODS.
        jobs: how many processes run at once.
        progress: called with the number of finished fits, and of all.

    Raises:
        DataError: no lot has two groups, so nothing can be held out.
    """
    lots = [lot for lot in table.lots if len(lot.groups) > 1]
    if not lots:
        raise DataError(f"all datasets of the table are of one group ({table.groups[0]!r}); two or more are needed to hold one out")
    evaluation = Evaluation()
    for lot in lots:
        for name in lot.names:
            rows = lot.select([name])
            evaluation.outcomes.append(_by_chance("random", rows, np.arange(len(rows))))
            if defaults is not None:
                evaluation.outcomes.append(_by_chance("defaults", rows, _nearest(lot, rows, defaults(name))))
    work = [(lot, method, group) for method in methods for lot in lots for group in lot.groups]
    progress(0, len(work))
    held_out = Parallel(n_jobs=jobs, return_as="generator")(delayed(_hold_out)(*one) for one in work)
    for done, outcomes in enumerate(held_out, 1):
        evaluation.outcomes += outcomes
        progress(done, len(work))
    return evaluation


def _hold_out(table: Table, method: str, group: str) -> list[Outcome]:
    names = [name for name in table.names if table.about["group"][name] == group]
    with threadpool_limits(
        1, user_api="openmp"
    ):  # small fits, one in each process: with more threads than cores they take ten times as long
        predictor = Predictor(table.without_groups({group}), METHODS[method])
        return [_held_out(method, predictor, table.select([name]), table, name) for name in names]


def _held_out(method: str, predictor: Predictor, rows: Table, table: Table, name: str) -> Outcome:
    target = table.target(name)
    order = predictor.method.order(rows.recipes, target)
    merit = predictor.method.merit(rows.recipes, target)
    _, low, high = predictor.intervals(merit, target, COVERAGE)
    teacher = float(rows.teacher_scores[0])
    recorded = rows.scores / teacher if predictor.scale.retention else rows.scores
    comparable = bool(np.isfinite(recorded).all()) and bool(np.isfinite(high).all())
    regret = {k: float(rows.scores.max() - rows.scores[order[:k]].max()) for k in DEPTHS}
    return Outcome(
        method,
        name,
        regret,
        _over(regret, teacher),
        _percentiles(rows.scores)[order[0]],
        _spearman(merit, rows.scores),
        float(np.mean((low <= recorded) & (recorded <= high))) if comparable else None,
        float(np.mean(high - low)) if comparable else None,
    )


def _by_chance(method: str, rows: Table, pool: np.ndarray) -> Outcome:
    """The outcome of drawing recipes from a pool at random: expectations over all draws of k recipes."""
    scores = np.sort(rows.scores[pool])
    regret = {k: float(rows.scores.max() - _expected_best(scores, k)) for k in DEPTHS}
    return Outcome(
        method, rows.names[0], regret, _over(regret, float(rows.teacher_scores[0])), float(_percentiles(rows.scores)[pool].mean())
    )


def _expected_best(scores: np.ndarray, draws: int) -> float:
    """The expected best of `draws` of the (ascending) scores, drawn without replacement."""
    draws = min(draws, len(scores))
    ways = [math.comb(place, draws - 1) for place in range(len(scores))]  # the number of draws in which this one is the best
    return float(np.dot(scores, [way / math.comb(len(scores), draws) for way in ways]))


def _percentiles(scores: np.ndarray) -> np.ndarray:
    """(N,) the share of the other recipes that are not better, in percent; 100 for a single recipe."""
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
    """The indices of the recorded recipes (`rows`) that are nearest to some recipes, each once."""
    apart = RecipeEncoder(table.recipes).distances(recipes, rows.recipes)
    return np.array(list(dict.fromkeys(apart.argmin(axis=1).tolist())))
