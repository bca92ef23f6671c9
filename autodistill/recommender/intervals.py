"""From merit in units to retention or score, with intervals from the errors on held-out groups of datasets."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from autodistill.recommender.encoding import DatasetEncoder
from autodistill.recommender.methods import Fit, Units, dataset_weights
from autodistill.recommender.table import NewDataset, Table

FOLDS = 5
NEIGHBOURS = 0.35
"""An interval is computed from this share of the residuals: those with the nearest predicted merits."""


class Scale:
    """An estimate of a new dataset's median and ninth decile: the mean over recorded datasets, weighted by similarity.

    It is in retention (score over the teacher's), or in score where no dataset of the table has a teacher score.
    """

    def __init__(self, table: Table) -> None:
        units = Units(table)
        teachers = table.about["teacher_score"].to_numpy(float)
        divisor = np.where(teachers > 0, teachers, np.nan)
        self.retention = bool(np.isfinite(divisor).any())
        divisor = divisor if self.retention else np.ones_like(divisor)
        self.kept = np.isfinite(divisor)
        self.levels, self.spreads = units.levels / divisor, units.spreads / divisor
        self.datasets = DatasetEncoder(table)

    def values(self, merit: np.ndarray, target: NewDataset) -> np.ndarray:
        """(N,) merits as retentions (or scores)."""
        weights = np.where(self.kept, dataset_weights(self.datasets, target), 0.0)
        if weights.sum() < 1e-9:
            weights = self.kept.astype(float)
        level = np.average(self.levels[self.kept], weights=weights[self.kept])
        spread = np.average(self.spreads[self.kept], weights=weights[self.kept])
        values: np.ndarray = level + merit * spread
        return values


@dataclass(frozen=True)
class Residuals:
    """Rows whose group was held out: predicted merit, error (recorded − predicted value), and weight (each dataset has the same sum)."""

    merit: np.ndarray
    error: np.ndarray
    weight: np.ndarray


def held_out_residuals(table: Table, fit: Fit, seed: int = 0) -> Residuals:
    """Predict each row with a method and a scale that are fitted without its group: cross-conformal by group (Vovk 2015).

    With only one group nothing can be held out, so there are no residuals.
    """
    groups = np.array(table.groups)
    np.random.default_rng(seed).shuffle(groups)
    merits, errors, weights = [], [], []
    for fold in np.array_split(groups, min(FOLDS, len(groups))) if len(groups) > 1 else []:
        train = table.without_groups(set(fold))
        method, scale = fit(train), Scale(train)
        for name in table.names:
            if table.about["group"][name] not in fold:
                continue
            rows, target = table.select([name]), table.target(name)
            if scale.retention and not np.isfinite(rows.teacher_scores).any():
                continue
            merit = method.merit(rows.recipes, target)
            recorded = rows.scores / rows.teacher_scores if scale.retention else rows.scores
            merits.append(merit)
            errors.append(recorded - scale.values(merit, target))
            weights.append(np.full(len(rows), 1 / len(rows)))
    if not merits:
        return Residuals(np.zeros(0), np.zeros(0), np.zeros(0))
    return Residuals(np.concatenate(merits), np.concatenate(errors), np.concatenate(weights))


class Predictor:
    """A fitted method that also predicts retention (or score), with an interval."""

    def __init__(self, table: Table, fit: Fit, seed: int = 0) -> None:
        self.method, self.scale = fit(table), Scale(table)
        self.table, self.fit, self.seed = table, fit, seed

    @functools.cached_property
    def residuals(self) -> Residuals:
        """The held-out errors. They take several fits, so they are computed when the first interval is asked for."""
        return held_out_residuals(self.table, self.fit, self.seed)

    def intervals(self, merit: np.ndarray, target: NewDataset, coverage: float = 0.8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N,) each: value, lower end and upper end. The ends are infinite where nothing could be held out.

        The ends are quantiles of the held-out errors at similar predicted merits, because bad recipes are less predictable than good
        ones. The errors are those of methods that were fitted without a fifth of the groups, so they tend to be too large.
        """
        value = self.scale.values(merit, target)
        if not len(self.residuals.error):
            return value, np.full_like(value, -np.inf), np.full_like(value, np.inf)
        tail = (1 - coverage) / 2
        sorted_merit = np.argsort(self.residuals.merit)
        count = max(round(NEIGHBOURS * len(sorted_merit)), min(len(sorted_merit), 20))
        place = np.searchsorted(self.residuals.merit[sorted_merit], merit)
        starts = np.clip(place - count // 2, 0, len(sorted_merit) - count)
        ends = {start: self._ends(sorted_merit[start : start + count], tail) for start in set(starts.tolist())}
        low, high = np.array([ends[start] for start in starts.tolist()]).T
        return value, value + low, value + high

    def _ends(self, rows: np.ndarray, tail: float) -> tuple[float, float]:
        error, weight = self.residuals.error[rows], self.residuals.weight[rows]
        order = np.argsort(error)
        share = np.cumsum(weight[order]) / weight.sum()
        low, high = (error[order][min(np.searchsorted(share, at), len(order) - 1)] for at in (tail, 1 - tail))
        return float(low), float(high)
