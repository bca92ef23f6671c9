"""The linear models that probes are chosen from, against their conditions of optimality."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from autodistill.features.linear import PENALTIES, STRENGTHS, logistic_regressions, ridge_regressions


def rows(classes: int, count: int = 300, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(count, width))
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    labels = (features @ rng.normal(size=(width, classes)) + rng.gumbel(size=(count, classes))).argmax(axis=1)
    return features, labels


@pytest.mark.parametrize("classes", [2, 4])
def test_logistic_regressions_are_where_their_gradient_is_zero(classes: int) -> None:
    """Of C · (summed cross-entropy) + ‖W‖² / 2; for two classes scikit-learn has one row w of which ours are ∓w / 2: ‖W‖² = ‖w‖² / 2."""
    features, labels = rows(classes)
    fitted = list(logistic_regressions(features, labels, classes))
    assert len(fitted) == len(STRENGTHS)
    for strength, (weights, biases) in zip(STRENGTHS, fitted, strict=True):
        error = softmax(features @ weights.T + biases, axis=1) - np.eye(classes)[labels]
        penalty = weights * (2 if classes == 2 else 1)
        assert np.abs(strength * error.T @ features + penalty).max() < 5e-3 * max(1.0, strength * 10)
        assert np.abs(error.sum(axis=0)).max() < 0.5  # the biases are free of the penalty
    sizes = [np.linalg.norm(weights) for weights, _ in fitted]
    assert sizes == sorted(sizes)  # ever less penalised


def test_a_class_without_rows_is_never_likely() -> None:
    features, labels = rows(3)
    labels = np.where(labels == 1, 2, labels)
    for weights, biases in logistic_regressions(features, labels, 4):
        assert weights.shape == (4, 5)
        shares = softmax(features @ weights.T + biases, axis=1)
        assert shares[:, [1, 3]].max() < 1e-3


def test_ridge_regressions_solve_the_normal_equations() -> None:
    features, _ = rows(2)
    targets = features @ np.arange(5.0) + 3 + np.random.default_rng(1).normal(size=len(features))
    for penalty, (weights, biases) in zip(PENALTIES, ridge_regressions(features, targets), strict=True):
        wanted = np.linalg.solve(features.T @ features + penalty * np.eye(5), features.T @ (targets - targets.mean()))
        np.testing.assert_allclose(weights[0], wanted, rtol=1e-6)
        assert biases[0] == pytest.approx(targets.mean())
