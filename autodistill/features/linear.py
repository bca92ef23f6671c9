"""Linear models of given features, from the most penalised to the least: what a probe is chosen from."""

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
"""How many nats below all others a class begins that no row has."""


def logistic_regressions(features: np.ndarray, labels: np.ndarray, classes: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Multinomial ones, one for each of STRENGTHS: weights (classes, D) and biases (classes,). features: (N, D); labels: (N,)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=_ITERATIONS, warm_start=True)  # each starts where the more penalised one ended
    for strength in STRENGTHS:
        model.set_params(C=strength)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # other rows choose among them, converged or not
            model.fit(features, labels)
        coefficients, intercepts = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn gives the second class's row alone
            coefficients, intercepts = (np.concatenate([-part / 2, part / 2]) for part in (coefficients, intercepts))
        weights, biases = np.zeros((classes, features.shape[1])), np.full(classes, intercepts.min() - _ABSENT)
        weights[model.classes_], biases[model.classes_] = coefficients, intercepts
        yield weights, biases


def ridge_regressions(features: np.ndarray, targets: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One for each of PENALTIES: weights (1, D) and biases (1,). features: (N, D); targets: (N,)."""
    from sklearn.linear_model import Ridge

    for penalty in PENALTIES:
        model = Ridge(alpha=penalty).fit(features, targets)
        yield model.coef_.reshape(1, -1), np.atleast_1d(model.intercept_)
