from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from autodistill.target import Classes, Scores

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
PREDICTED = np.array([0, 0, 1, 1, 1, 2, 2, 2, 0, 1])
LOGITS = np.eye(3)[PREDICTED]


def evaluated(metric: str, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return next(target for target in (Classes(), Scores()) if metric in target.metrics).evaluate(metric, logits, labels)


def confusion() -> np.ndarray:
    table = np.zeros((3, 3))
    np.add.at(table, (LABELS, PREDICTED), 1)
    return table


def test_accuracy() -> None:
    assert evaluated("accuracy", LOGITS, LABELS) == {"accuracy": 0.7}


def test_matthews_correlation_by_its_formula() -> None:
    """Gorodkin 2004, the R_K statistic of a confusion matrix."""
    table = confusion()
    true, predicted, total = table.sum(1), table.sum(0), table.sum()
    cov = np.trace(table) * total - true @ predicted
    expected = cov / math.sqrt((total**2 - predicted @ predicted) * (total**2 - true @ true))
    metrics = evaluated("matthews_correlation", LOGITS, LABELS)
    assert metrics["matthews_correlation"] == pytest.approx(expected)
    assert metrics["accuracy"] == 0.7
    constant = np.tile([1.0, 0.0, 0.0], (10, 1))
    assert evaluated("matthews_correlation", constant, LABELS)["matthews_correlation"] == 0.0


def test_macro_f1_by_its_formula() -> None:
    table = confusion()
    f1 = 2 * np.diag(table) / (table.sum(0) + table.sum(1))
    assert evaluated("macro_f1", LOGITS, LABELS)["macro_f1"] == pytest.approx(f1.mean())


def test_weighted_f1_by_its_formula() -> None:
    table = confusion()
    f1 = 2 * np.diag(table) / (table.sum(0) + table.sum(1))
    assert evaluated("weighted_f1", LOGITS, LABELS)["weighted_f1"] == pytest.approx(f1 @ table.sum(1) / table.sum())


def area(positive: np.ndarray, share: np.ndarray) -> float:
    """How often a positive row has the higher share, a tie counting half: Mann and Whitney's U over the number of pairs."""
    apart = share[positive][:, None] - share[~positive][None, :]
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())


def precision(positive: np.ndarray, share: np.ndarray) -> float:
    """The mean over the positive rows of the precision at their share, where no two rows share one."""
    return float(np.mean([positive[share >= share[row]].mean() for row in np.flatnonzero(positive)]))


@pytest.mark.parametrize(("metric", "by_pairs"), [("auroc", area), ("average_precision", precision)])
@pytest.mark.parametrize("classes", [2, 3])
def test_rankings_by_their_definitions(metric: str, by_pairs: Callable[[np.ndarray, np.ndarray], float], classes: int) -> None:
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(60, classes)), random.integers(0, classes, 60)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.mean([by_pairs(labels == number, shares[:, number]) for number in range(1 if classes == 2 else 0, classes)])
    found = evaluated(metric, logits, labels)
    assert found[metric] == pytest.approx(expected)
    assert set(found) == {metric, "accuracy"}


def test_rankings_of_rows_that_have_not_every_class() -> None:
    logits = np.random.default_rng(0).normal(size=(10, 3))
    one = np.zeros(10, dtype=np.int64)
    assert evaluated("auroc", logits, one)["auroc"] == 0.5
    assert evaluated("average_precision", logits, one)["average_precision"] == 1.0
    two = np.arange(10) % 2
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.mean([area(two == number, shares[:, number]) for number in (0, 1)])
    assert evaluated("auroc", logits, two)["auroc"] == pytest.approx(expected)


def test_correlations_by_their_formulas() -> None:
    random = np.random.default_rng(0)
    labels = random.normal(size=50).astype(np.float32)
    logits = (labels + random.normal(size=50))[:, None]
    metrics = evaluated("spearman", logits, labels)
    ranks = [np.argsort(np.argsort(values)) for values in (labels, logits[:, 0])]
    assert metrics["spearman"] == pytest.approx(np.corrcoef(ranks)[0, 1])
    assert metrics["pearson"] == pytest.approx(np.corrcoef(labels, logits[:, 0])[0, 1])
    assert evaluated("spearman", np.exp(logits), labels)["spearman"] == pytest.approx(metrics["spearman"])


def test_a_constant_prediction_has_no_correlation() -> None:
    assert evaluated("spearman", np.ones((4, 1)), np.arange(4.0)) == {"spearman": 0.0, "pearson": 0.0}


@pytest.mark.parametrize(("metric", "logits"), [("accuracy", LOGITS * np.nan), ("spearman", np.full((10, 1), np.inf))])
def test_what_is_not_finite_scores_nan(metric: str, logits: np.ndarray) -> None:
    assert all(math.isnan(score) for score in evaluated(metric, logits, LABELS).values())
