from __future__ import annotations

import math

import numpy as np
import pytest

from autodistill.tasks.metrics import evaluate_predictions

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
PREDICTED = np.array([0, 0, 1, 1, 1, 2, 2, 2, 0, 1])
LOGITS = np.eye(3)[PREDICTED]


def confusion() -> np.ndarray:
    table = np.zeros((3, 3))
    np.add.at(table, (LABELS, PREDICTED), 1)
    return table


def test_accuracy() -> None:
    assert evaluate_predictions("accuracy", LOGITS, LABELS) == {"accuracy": 0.7}


def test_matthews_correlation_by_its_formula() -> None:
    """Gorodkin 2004, the R_K statistic of a confusion matrix."""
    table = confusion()
    true, predicted, total = table.sum(1), table.sum(0), table.sum()
    cov = np.trace(table) * total - true @ predicted
    expected = cov / math.sqrt((total**2 - predicted @ predicted) * (total**2 - true @ true))
    metrics = evaluate_predictions("matthews_correlation", LOGITS, LABELS)
    assert metrics["matthews_correlation"] == pytest.approx(expected)
    assert metrics["accuracy"] == 0.7
    constant = np.tile([1.0, 0.0, 0.0], (10, 1))
    assert evaluate_predictions("matthews_correlation", constant, LABELS)["matthews_correlation"] == 0.0


def test_macro_f1_by_its_formula() -> None:
    table = confusion()
    f1 = 2 * np.diag(table) / (table.sum(0) + table.sum(1))
    assert evaluate_predictions("macro_f1", LOGITS, LABELS)["macro_f1"] == pytest.approx(f1.mean())


def test_correlations_by_their_formulas() -> None:
    random = np.random.default_rng(0)
    labels = random.normal(size=50).astype(np.float32)
    logits = (labels + random.normal(size=50))[:, None]
    metrics = evaluate_predictions("spearman", logits, labels)
    ranks = [np.argsort(np.argsort(values)) for values in (labels, logits[:, 0])]
    assert metrics["spearman"] == pytest.approx(np.corrcoef(ranks)[0, 1])
    assert metrics["pearson"] == pytest.approx(np.corrcoef(labels, logits[:, 0])[0, 1])
    assert evaluate_predictions("spearman", np.exp(logits), labels)["spearman"] == pytest.approx(metrics["spearman"])


def test_a_constant_prediction_has_no_correlation() -> None:
    assert evaluate_predictions("spearman", np.ones((4, 1)), np.arange(4.0)) == {"spearman": 0.0, "pearson": 0.0}


@pytest.mark.parametrize(("metric", "logits"), [("accuracy", LOGITS * np.nan), ("spearman", np.full((10, 1), np.inf))])
def test_what_is_not_finite_scores_nan(metric: str, logits: np.ndarray) -> None:
    assert all(math.isnan(score) for score in evaluate_predictions(metric, logits, LABELS).values())


def test_an_unknown_metric_is_told() -> None:
    with pytest.raises(ValueError, match="metric is 'bleu'; allowed: accuracy"):
        evaluate_predictions("bleu", LOGITS, LABELS)
