"""What needs no teacher: a linear model without an encoder, which a teacher has to know more than."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from autodistill.tasks.base import Dataset, Split


def linear_model(dataset: Dataset) -> Callable[[Split], np.ndarray] | None:
    """A linear model of the training rows: it gives the predictions (N, outputs) of a split's rows.

    Ridge regression on the classes (1 and −1) or scores, of texts on TF-IDF of words and word pairs, of images on histograms of oriented
    gradients and mean colours. None where no text has a word.
    """
    from autodistill.features.landmarks import linear

    wanted = dataset.target.regressed(dataset.train.labels)
    columns = dataset.modality.plain_columns(dataset.train)
    own = columns(dataset.train)
    if own.shape[1] == 0:
        return None
    return lambda split: linear(own, wanted, columns(split))


def linear_score(dataset: Dataset) -> float | None:
    """The score of `linear_model` on the validation split."""
    predict = linear_model(dataset)
    if predict is None:
        return None
    return dataset.target.evaluate(dataset.metric, predict(dataset.validation), dataset.validation.labels)[dataset.metric]
