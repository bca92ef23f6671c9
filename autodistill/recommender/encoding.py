"""Recipe fields and dataset features as numbers, and distances between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from autodistill.recommender.table import NewDataset, Table
from autodistill.task_types import kin

_LOG_RATIO = 10.0
"""A positive field that spans this factor is compared on a log scale, as learning rates and weights are."""
_STRANGERS = math.sqrt(2.0)
"""The distance of two datasets that have no feature in common: what two drawn at random have, as a root mean square, if features are
standardised and independent. 0 would say that they are alike, and infinity that nothing carries over."""


@dataclass(frozen=True)
class _Number:
    low: float
    width: float
    log: bool

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Values scaled so that the fitted range is 0 to 1. Missing values stay missing, and values outside the range stay outside."""
        with np.errstate(divide="ignore", invalid="ignore"):
            on_scale = np.log(np.where(values > 0, values, np.nan)) if self.log else values
        scaled = (on_scale - self.low) / self.width
        return np.where(self.log & (values <= 0), 0.0, scaled)


class RecipeEncoder:
    """Fitted on recipes; fields that do not vary among them are left out."""

    def __init__(self, recipes: pd.DataFrame) -> None:
        self.numbers: dict[str, _Number] = {}
        self.texts: dict[str, list[str]] = {}
        for name in recipes.columns:
            present = recipes[name].dropna()
            if present.empty or (present.nunique() == 1 and len(present) == len(recipes)):
                continue
            if not pd.api.types.is_numeric_dtype(present):
                self.texts[name] = sorted(set(present))
            else:
                values = present.to_numpy(float)
                low, high = float(values.min()), float(values.max())
                log = low > 0 and high / low >= _LOG_RATIO
                if log:
                    low, high = float(np.log(low)), float(np.log(high))
                self.numbers[name] = _Number(low, (high - low) or 1.0, log)

    def encode(self, recipes: pd.DataFrame) -> np.ndarray:
        """(N, columns): numbers scaled to 0 to 1, -1 if missing; a column for each text value, all 0 for an unknown one."""
        columns = [np.nan_to_num(item.scaled(_floats(recipes, name)), nan=-1.0) for name, item in self.numbers.items()]
        for name, values in self.texts.items():
            column = _texts(recipes, name)
            columns += [(column == value).astype(float) for value in values]
        return np.column_stack(columns) if columns else np.zeros((len(recipes), 1))

    def distances(self, recipes: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
        """(N, M) Gower distances, 0 to 1: the mean over fields of |difference| for numbers, and of 0 (equal) or 1 for texts.

        A field that both recipes lack does not count; a field that one of them has counts as 1 (Gower 1971).
        """
        total = np.zeros((len(recipes), len(others)))
        counted = np.zeros_like(total)
        for name, item in self.numbers.items():
            mine, theirs = item.scaled(_floats(recipes, name)), item.scaled(_floats(others, name))
            apart = np.minimum(np.abs(mine[:, None] - theirs[None, :]), 1.0)
            total += np.nan_to_num(apart, nan=0.0)
            total += np.isnan(mine)[:, None] ^ np.isnan(theirs)[None, :]
            counted += ~(np.isnan(mine)[:, None] & np.isnan(theirs)[None, :])
        for name in self.texts:
            mine_text, theirs_text = _texts(recipes, name), _texts(others, name)
            total += mine_text[:, None] != theirs_text[None, :]
            counted += ~((mine_text == "")[:, None] & (theirs_text == "")[None, :])
        return total / np.maximum(counted, 1)


def _floats(recipes: pd.DataFrame, name: str) -> np.ndarray:
    if name not in recipes:
        return np.full(len(recipes), np.nan)
    return pd.to_numeric(recipes[name], errors="coerce").to_numpy(float)


def _texts(recipes: pd.DataFrame, name: str) -> np.ndarray:
    """The field as text, empty if it is missing."""
    if name not in recipes:
        return np.full(len(recipes), "", dtype=object)
    return np.array(["" if pd.isna(value) else str(value) for value in recipes[name]], dtype=object)


class DatasetEncoder:
    """Fitted on the recorded datasets: encodes them and new datasets by task type and standardised features.

    A feature may be missing, as those of labels are where there are none (`features.names.OF_LABELS`). Means and deviations are over the
    datasets that have it, and a distance is over the features that both datasets have.
    """

    def __init__(self, table: Table) -> None:
        self.tasks = sorted(set(table.about["task"]))
        features = table.features.loc[:, table.features.notna().any() & (table.features.nunique() > 1)]
        self.center, self.scale = features.mean(), features.std(ddof=0).replace(0.0, 1.0)
        self.recorded = self._standard(features)
        self.gaps = np.isnan(self.recorded).any(axis=0)
        self.recorded_tasks = [str(task) for task in table.about["task"]]
        self.groups = [str(group) for group in table.about["group"]]

    def _standard(self, features: pd.DataFrame) -> np.ndarray:
        return ((features - self.center) / self.scale).to_numpy(float)

    def encode(self, target: NewDataset) -> np.ndarray:
        """(columns,) the standardised features, and a column for each task type.

        A missing feature is 0, the mean. So that this is told from a value at the mean, a feature that a recorded dataset lacks has another
        column, which is 1 if it is missing.
        """
        return self._columns(self._features(target)[None, :], [target.task])[0]

    def encode_recorded(self) -> np.ndarray:
        """(datasets, columns) the recorded datasets, encoded as by `encode`."""
        return self._columns(self.recorded, self.recorded_tasks)

    def _columns(self, features: np.ndarray, tasks: Sequence[str]) -> np.ndarray:
        ones = np.array([[float(own == task) for task in self.tasks] for own in tasks])
        return np.hstack([np.nan_to_num(features), np.isnan(features[:, self.gaps]).astype(float), ones])

    def _features(self, target: NewDataset) -> np.ndarray:
        features = target.features.reindex(self.center.index).astype(float)
        return np.clip(self._standard(features.to_frame().T)[0], -4, 4)

    def distances(self, target: NewDataset) -> np.ndarray:
        """(datasets,) the distance of each recorded dataset.

        It is the root mean square difference over the features that both have, in standard deviations, and √2 if they have none in common;
        another task type adds 1. A dataset of another modality, or with labels where the other has none, has other features and other
        students, so it is infinitely far.
        """
        return self.feature_distances(target) + np.array([_task_gap(task, target.task) for task in self.recorded_tasks])

    def feature_distances(self, target: NewDataset) -> np.ndarray:
        """(datasets,) the distance by features only; infinite for a task that is not kin."""
        apart = _rms(self.recorded - self._features(target)[None, :])
        return np.where([kin(task) == target.kin for task in self.recorded_tasks], apart, np.inf)

    def usual_distance(self) -> float:
        """The largest distance from a recorded dataset to the nearest recorded one of another group and the same task type.

        0 if no two can be compared.
        """
        nearest = []
        for place, task in enumerate(self.recorded_tasks):
            others = [
                other for other, group in enumerate(self.groups) if group != self.groups[place] and self.recorded_tasks[other] == task
            ]
            if others:
                nearest.append(float(_rms(self.recorded[others] - self.recorded[place]).min()))
        return max(nearest, default=0.0)


def _rms(differences: np.ndarray) -> np.ndarray:
    """(N,) the root mean square of each row without its missing entries; 0 if there are no columns. differences: (N, features)."""
    if differences.shape[1] == 0:
        return np.zeros(len(differences))
    common = (~np.isnan(differences)).sum(axis=1)
    apart = np.sqrt(np.nan_to_num(differences**2).sum(axis=1) / np.maximum(common, 1))
    return np.where(common > 0, apart, _STRANGERS)


def _task_gap(task: str, other: str) -> float:
    if task == other:
        return 0.0
    return 1.0 if kin(task) == kin(other) else np.inf
