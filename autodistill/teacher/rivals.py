"""A linear model without an encoder, as a comparison: a teacher should score better than this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodistill.tasks.base import Dataset, Split

PENALTIES = (1.0, 0.3, 0.1)
"""Penalties of the ridge regression on TF-IDF, whose rows have length 1."""


@dataclass(frozen=True)
class LinearModel:
    """A linear model of features. features_of: the features of a split. params: its number of coefficients."""

    features_of: Callable[[Split], Any]
    predict: Callable[[Any], np.ndarray]
    params: int

    def __call__(self, split: Split) -> np.ndarray:
        """The predictions for a split, (N, C)."""
        return self.predict(self.features_of(split))


def linear_model(dataset: Dataset, penalties: Sequence[float] = PENALTIES) -> LinearModel | None:
    """A linear model of simple features of the rows.

    Ridge regression on `Target.regressed`. For texts: on TF-IDF of words and word pairs, with the penalty that is best on the validation
    split. For images: on histograms of oriented gradients and mean colours. None if the rows have no such features.
    """
    from scipy.sparse import issparse

    from autodistill.features.landmarks import fit_linear

    features_of = dataset.modality.plain_features(dataset.train)
    features, targets = features_of(dataset.train), dataset.target.regressed(dataset.train.labels)
    if features.shape[1] == 0:
        return None
    if not issparse(features):
        return LinearModel(features_of, *fit_linear(features, targets))
    validation = features_of(dataset.validation)
    models = [_ridge(features, targets, penalty) for penalty in penalties]
    predict, params = max(models, key=lambda fitted: _score(dataset, fitted[0](validation)))
    return LinearModel(features_of, predict, params)


def linear_score(dataset: Dataset) -> float | None:
    """The score of `linear_model` on the validation split."""
    predict = linear_model(dataset)
    return None if predict is None else _score(dataset, predict(dataset.validation))


def _score(dataset: Dataset, predicted: np.ndarray) -> float:
    return dataset.target.evaluate(dataset.metric, predicted, dataset.validation.labels)[dataset.metric]


def _ridge(features: object, targets: np.ndarray, penalty: float) -> tuple[Callable[[Any], np.ndarray], int]:
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=penalty, solver="sparse_cg").fit(features, targets)
    return lambda rows: model.predict(rows).reshape(-1, targets.shape[1]), model.coef_.size
