"""Metrics: scores of predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The share of correct classes. labels, predicted: (N,) class indices."""
    return float((labels == predicted).mean())


# scikit-learn and SciPy take seconds to import, in every worker


def subset_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The share of rows whose labels are all right. labels, predicted: (N, L), 0 and 1."""
    return float((labels == predicted).all(axis=1).mean())


def micro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """F1 of all decisions together, of every label on every row; 0 where none is right. labels, predicted: (N, L), 0 and 1."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predicted, average="micro", zero_division=0.0))


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The mean F1 over the classes or labels; 0 for one that is never predicted correctly. labels, predicted: (N,) or (N, L), 0 and 1."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predicted, average="macro", zero_division=0.0))


def weighted_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The mean of the classes' F1, weighted by their numbers of rows. F1 is 0 for a class that is never predicted correctly."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predicted, average="weighted", zero_division=0.0))


def matthews_correlation(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The correlation of predicted and true classes (Matthews 1975; for several classes Gorodkin 2004)."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predicted))


def auroc(labels: np.ndarray, logits: np.ndarray) -> float:
    """The area under the ROC curve: how often a row of a class has a higher probability for it than a row of another class.

    With two classes it is that of the second class; with more, the mean over the classes that have rows of each against all others
    (Provost and Domingos 2000, without weights). 0.5, chance, if all rows have one class. logits: (N, C).
    """
    from sklearn.metrics import roc_auc_score

    return _one_against_all(roc_auc_score, labels, logits, 0.5)


def average_precision(labels: np.ndarray, logits: np.ndarray) -> float:
    """The area under the curve of precision over recall, as a sum of steps: Σ (R_n − R_{n−1}) P_n.

    With two classes that of the second class, with more the mean as for `auroc`. 1 if all rows have one class. logits: (N, C).
    For several labels per row (labels: (N, L)) the mean over the labels that some row has; 0 if no row has a label.
    """
    from sklearn.metrics import average_precision_score

    if labels.ndim == 2:
        present = np.flatnonzero(labels.any(axis=0))
        return float(np.mean([average_precision_score(labels[:, place], logits[:, place]) for place in present])) if len(present) else 0.0
    return _one_against_all(average_precision_score, labels, logits, 1.0)


def _one_against_all(
    score: Callable[[np.ndarray, np.ndarray], float], labels: np.ndarray, logits: np.ndarray, of_one_class: float
) -> float:
    """The mean of a score over the classes, each against all others by its probability; with two classes that of the second class."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    present = np.unique(labels)
    if len(present) < 2:
        return of_one_class
    classes = [1] if logits.shape[1] == 2 else present
    return float(np.mean([score(labels == number, shares[:, number]) for number in classes]))


def spearman(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The correlation of the ranks. labels, predicted: (N,) numbers."""
    from scipy.stats import spearmanr

    return 0.0 if _constant(labels, predicted) else float(spearmanr(labels, predicted).statistic)


def pearson(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The linear correlation. labels, predicted: (N,) numbers."""
    from scipy.stats import pearsonr

    return 0.0 if _constant(labels, predicted) else float(pearsonr(labels, predicted).statistic)


AGREED = 512
"""How many rows, evenly spaced, `teacher_agreement` compares with one another."""
_DIGITS = 6
"""Of cosines. What is beyond them is rounding, from which vectors that are all alike would get ranks."""


def sts_spearman(labels: np.ndarray, logits: np.ndarray) -> float:
    """Spearman's correlation of the cosines of rated pairs with their ratings, as in the STS benchmark (Cer et al. 2017).

    labels: (2 N, …), whose first column has the ratings; logits: (2 N, D). Rows 2k and 2k + 1 are pair k.
    """
    vectors = _directions(logits)
    return spearman(labels[::2, 0], (vectors[::2] * vectors[1::2]).sum(axis=1).round(_DIGITS))


def teacher_agreement(labels: np.ndarray, logits: np.ndarray) -> float:
    """Spearman's correlation of all cosines between rows with the teacher's. NaN if the labels have no vectors of a teacher.

    labels: (N, 1 + D), whose columns after the first are the teacher's vectors; logits: (N, C). Of more than `AGREED` rows only as many,
    evenly spaced.
    """
    if labels.shape[1] == 1:
        return float("nan")
    places = np.linspace(0, len(labels) - 1, min(AGREED, len(labels))).round().astype(np.int64)
    pairs = np.triu_indices(len(places), k=1)
    own, teachers = (vectors @ vectors.T for vectors in map(_directions, (logits[places], labels[places, 1:])))
    return spearman(teachers[pairs].round(_DIGITS), own[pairs].round(_DIGITS))


def _directions(vectors: np.ndarray) -> np.ndarray:
    """The rows (N, D) at length 1, in float64; zeros stay zeros."""
    vectors = vectors.astype(np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _constant(labels: np.ndarray, predicted: np.ndarray) -> bool:
    """Whether one of them is constant, so that the formula would be 0 / 0."""
    return bool(np.ptp(predicted) == 0 or np.ptp(labels) == 0)


SCORES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    function.__name__: function
    for function in (accuracy, micro_f1, subset_accuracy, macro_f1, weighted_f1, matthews_correlation, spearman, pearson)
}
"""Metrics by their names, of labels and predictions, both (N,) or (N, L); higher is better."""
RANKINGS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    function.__name__: function for function in (auroc, average_precision, sts_spearman, teacher_agreement)
}
"""Metrics that use a model's logits (N, C), beside labels (N,) or (N, L); higher is better."""
