"""Scores of predictions, in the benchmarks' own metrics."""

from __future__ import annotations

import numpy as np

CLASSIFICATION_METRICS = ("accuracy", "matthews_correlation", "macro_f1")
REGRESSION_METRICS = ("spearman", "pearson")


def evaluate_predictions(metric: str, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The dataset's metric, and beside it accuracy (classes) or Pearson's correlation (numbers).

    Higher is better in all of them. A prediction that is no finite number makes every score NaN; a constant prediction has
    correlation 0.

    Args:
        metric: accuracy, matthews_correlation, macro_f1, spearman or pearson.
        logits: (N, C) for classes, (N, 1) or (N,) for numbers.
        labels: (N,) class indices or numbers.
    """
    if metric not in CLASSIFICATION_METRICS + REGRESSION_METRICS:
        raise ValueError(f"metric is {metric!r}; allowed: {', '.join(CLASSIFICATION_METRICS + REGRESSION_METRICS)}")
    names = dict.fromkeys((metric, "accuracy" if metric in CLASSIFICATION_METRICS else "pearson"))
    logits = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(logits).all():
        return dict.fromkeys(names, float("nan"))
    if metric in CLASSIFICATION_METRICS:
        predicted = logits.argmax(axis=1)
        return {name: _classification(name, labels, predicted) for name in names}
    predicted = logits.reshape(len(labels))
    return {name: _correlation(name, labels, predicted) for name in names}


def _classification(name: str, labels: np.ndarray, predicted: np.ndarray) -> float:
    if name == "accuracy":
        return float((labels == predicted).mean())
    from sklearn import metrics as sk  # scikit-learn and SciPy take seconds to import, in every worker

    if name == "matthews_correlation":
        return float(sk.matthews_corrcoef(labels, predicted))
    return float(sk.f1_score(labels, predicted, average="macro", zero_division=0.0))


def _correlation(name: str, labels: np.ndarray, predicted: np.ndarray) -> float:
    if np.ptp(predicted) == 0 or np.ptp(labels) == 0:
        return 0.0  # it knows nothing of the order, and the formula would be 0 / 0
    from scipy import stats

    return float((stats.spearmanr if name == "spearman" else stats.pearsonr)(labels, predicted).statistic)
