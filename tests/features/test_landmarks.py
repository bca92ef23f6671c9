"""Landmarks against what is known of made clouds of points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from autodistill.features.landmarks import intrinsic_dimension, linear, majority, neighbours, score, separability
from autodistill.target import Classes, Scores

CLASSES = {2: Classes(("a", "b")), 3: Classes(("a", "b", "c"))}


def cloud(rows: int, dimension: int, columns: int, seed: int = 0) -> np.ndarray:
    """Gaussian points on a random subspace."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(columns, dimension)))[0]
    return rng.normal(size=(rows, dimension)) @ axes.T


@pytest.mark.parametrize("dimension", [1, 2, 5, 8])
def test_twonn_finds_the_dimension_of_a_subspace(dimension: int) -> None:
    estimate = intrinsic_dimension(cloud(2000, dimension, 30))
    assert estimate == pytest.approx(dimension, rel=0.12)


def test_twonn_sees_a_curve_where_pca_sees_three_dimensions() -> None:
    turn = np.random.default_rng(0).uniform(0, 4 * math.pi, 1500)
    assert intrinsic_dimension(np.stack([np.cos(turn), np.sin(turn), 0.3 * turn], axis=1)) == pytest.approx(1, rel=0.1)


def test_twonn_does_not_change_with_scale_and_copies() -> None:
    points = cloud(500, 3, 10)
    estimate = intrinsic_dimension(points)
    assert intrinsic_dimension(1000 * points) == pytest.approx(estimate)
    assert intrinsic_dimension(np.concatenate([points, points[:200]])) == pytest.approx(estimate)


def test_twonn_of_degenerate_clouds() -> None:
    assert intrinsic_dimension(np.ones((50, 4))) == 0.0
    grid = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0)), axis=2).reshape(-1, 2)
    assert intrinsic_dimension(grid) == 2.0  # every ratio is 1, which any dimension explains: no more than there are columns
    assert np.isfinite(intrinsic_dimension(np.array([[0.0], [1.0], [3.0]])))


def blobs(rows: int, classes: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    return rng.normal(size=(rows, 12)) + apart * np.eye(12)[labels], labels


def test_learners_tell_distant_blobs_apart_and_shuffled_ones_not() -> None:
    x, labels = blobs(900, 3, apart=12)
    wanted = CLASSES[3].regressed(labels[:600])
    for learner in (linear, neighbours):
        assert score(Classes(), "accuracy", learner(x[:600], wanted, x[600:]), labels[600:]) == 1.0
    shuffled = np.random.default_rng(1).permutation(labels)
    wanted = CLASSES[3].regressed(shuffled[:600])
    for learner in (linear, neighbours):
        chance = 3.5 * math.sqrt(1 / 3 * 2 / 3 / 300)
        assert score(Classes(), "accuracy", learner(x[:600], wanted, x[600:]), shuffled[600:]) == pytest.approx(1 / 3, abs=chance)


def test_the_probe_is_a_ridge_regression_in_closed_form() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(300, 5)), rng.integers(0, 3, 300)
    wanted = CLASSES[3].regressed(labels)
    predicted = linear(x, wanted, x)
    z = (x - x.mean(0)) / x.std(0)
    nearest = [
        np.abs(z @ np.linalg.solve(z.T @ z + penalty * np.eye(5), z.T @ (wanted - wanted.mean(0))) + wanted.mean(0) - predicted).max()
        for penalty in np.logspace(-1, 5, 7)
    ]
    assert min(nearest) < 1e-8


def test_sparse_and_dense_input_say_the_same_of_a_plain_ridge() -> None:
    rng = np.random.default_rng(0)
    x, y = np.maximum(rng.normal(size=(200, 8)), 0), rng.normal(size=(200, 1))
    centred = x - x.mean(0)
    expected = centred @ np.linalg.solve(centred.T @ centred + np.eye(8), centred.T @ (y - y.mean())) + y.mean()
    np.testing.assert_allclose(linear(csr_matrix(x), y, csr_matrix(x)), expected, atol=1e-2)


def test_a_monotone_target_is_ranked() -> None:
    x = cloud(800, 6, 6)
    numbers = np.exp(x @ np.arange(1.0, 7.0) / 4)
    wanted = Scores().regressed(np.log(numbers[:500]))
    assert score(Scores(), "spearman", linear(x[:500], wanted, x[500:]), numbers[500:]) > 0.999
    assert majority(Scores(), "spearman", wanted, numbers[500:]) == 0.0


def test_majority_is_the_share_of_the_largest_training_class() -> None:
    wanted = CLASSES[3].regressed(np.array([0, 1, 1, 2]))
    assert majority(Classes(), "accuracy", wanted, np.array([0, 1, 1, 1, 2])) == pytest.approx(3 / 5)
    assert majority(Classes(), "matthews_correlation", wanted, np.array([0, 1, 1, 1, 2])) == 0.0


def test_neighbours_against_brute_force() -> None:
    x, labels = blobs(120, 2, apart=1)
    wanted = CLASSES[2].regressed(labels)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    nearest = np.argsort(-(unit[100:] @ unit[:100].T), axis=1)[:, :10]
    np.testing.assert_allclose(neighbours(x[:100], wanted[:100], x[100:]), wanted[:100][nearest].mean(1))


def test_separability() -> None:
    x, labels = blobs(1000, 4, apart=0)
    assert separability(x, labels) == pytest.approx(0, abs=0.01)
    assert separability(np.repeat(np.eye(4), 25, axis=0), np.repeat(np.arange(4), 25)) == 1.0
    assert separability(np.ones((20, 3)), np.arange(20) % 2) == 0.0
    assert separability(x[:5], np.arange(5)) == 0.0
    one = np.array([[0.0], [2.0], [10.0], [12.0]])  # within: 4 of it over 2; all: 104 over 3
    assert separability(one, np.array([0, 0, 1, 1])) == pytest.approx(1 - (4 / 2) / (104 / 3))
