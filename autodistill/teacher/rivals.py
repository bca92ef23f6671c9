"""A linear model without an encoder, as a comparison: a teacher should score better than this."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from autodistill.tasks.base import Dataset, Split

_PENALTIES = (1.0, 0.3, 0.1)
"""Penalties of the ridge regression on TF-IDF, whose rows have length 1."""


def linear_model(dataset: Dataset) -> Callable[[Split], np.ndarray] | None:
    """A linear model of simple features of the rows. It returns the predictions (N, C) for any split.

    Ridge regression on `Target.regressed`. For texts: on TF-IDF of words and word pairs, with the penalty that is best on the validation
    split. For images: on histograms of oriented gradients and mean colours. None if the rows have no such features.
    """
    from scipy.sparse import issparse

    from autodistill.features.landmarks import linear

    features_of = dataset.modality.plain_features(dataset.train)
    features, targets = features_of(dataset.train), dataset.target.regressed(dataset.train.labels)
    if features.shape[1] == 0:
        return None
    if not issparse(features):
        return lambda split: linear(features, targets, features_of(split))
    validation = features_of(dataset.validation)
    models = [_ridge(features, targets, penalty) for penalty in _PENALTIES]
    best = max(models, key=lambda predict: _score(dataset, predict(validation)))
    return lambda split: best(features_of(split))


def linear_score(dataset: Dataset) -> float | None:
    """The score of `linear_model` on the validation split."""
    predict = linear_model(dataset)
    return None if predict is None else _score(dataset, predict(dataset.validation))


def _score(dataset: Dataset, predicted: np.ndarray) -> float:
    return dataset.target.evaluate(dataset.metric, predicted, dataset.validation.labels)[dataset.metric]


def _ridge(features: object, targets: np.ndarray, penalty: float) -> Callable[[object], np.ndarray]:
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=penalty, solver="sparse_cg").fit(features, targets)
    return lambda rows: model.predict(rows).reshape(-1, targets.shape[1])
