"""Linear models of features, from the most regularised to the least; a probe is chosen from them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse penalties of the logistic regressions, for standardised features."""
PENALTIES = (1e5, 1e4, 1e3, 1e2, 1e1)
"""Penalties of the ridge regressions, for standardised features."""
_ITERATIONS = 200
_ABSENT = 10.0
"""The bias of a class without training rows is this many nats below the lowest of the others."""


def logistic_regressions(
    features: np.ndarray, labels: np.ndarray, classes: int, *, balanced: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Multinomial logistic regressions, one for each of STRENGTHS: weights (classes, D), biases (classes,).

    features: (N, D). labels: (N,). balanced: rows weigh by the inverse frequency of their class.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=_ITERATIONS, warm_start=True, class_weight="balanced" if balanced else None)
    for strength in STRENGTHS:
        model.set_params(C=strength)  # each starts from the solution of the one before
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # other rows choose among the models, so they need not converge
            model.fit(features, labels)
        coefficients, intercepts = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn returns the second class's weights only
            coefficients, intercepts = (np.concatenate([-part / 2, part / 2]) for part in (coefficients, intercepts))
        weights, biases = np.zeros((classes, features.shape[1])), np.full(classes, intercepts.min() - _ABSENT)
        weights[model.classes_], biases[model.classes_] = coefficients, intercepts
        yield weights, biases


def logistic_regressions_of_labels(
    features: np.ndarray, labels: np.ndarray, *, balanced: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Logistic regressions of each label against the rest, one set for each of STRENGTHS: weights (L, D), biases (L,).

    features: (N, D). labels: (N, L), 0 and 1; one that no row has, or all have, is a constant: its bias alone. balanced: rows weigh by the
    inverse frequency of their answer.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    shares = labels.mean(axis=0)
    weight = "balanced" if balanced else None
    models = {
        place: LogisticRegression(max_iter=_ITERATIONS, warm_start=True, class_weight=weight)
        for place in np.flatnonzero((shares > 0) & (shares < 1)).tolist()
    }
    for strength in STRENGTHS:
        weights = np.zeros((labels.shape[1], features.shape[1]))
        biases = np.where(shares > 0, _ABSENT, -_ABSENT)
        for place, model in models.items():
            model.set_params(C=strength)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(features, labels[:, place] > 0)
            weights[place], biases[place] = model.coef_[0], model.intercept_[0]
        yield weights, biases


def ridge_regressions(features: np.ndarray, targets: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ridge regressions, one for each of PENALTIES: weights (1, D), biases (1,). features: (N, D); targets: (N,)."""
    from sklearn.linear_model import Ridge

    for penalty in PENALTIES:
        model = Ridge(alpha=penalty).fit(features, targets)
        yield model.coef_.reshape(1, -1), np.atleast_1d(model.intercept_)
