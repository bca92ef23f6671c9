"""From which probability on a row has a label: thresholds that are best by a metric on rows whose labels are known."""

from __future__ import annotations

import numpy as np

OWN = 10
"""A label with fewer rows than this has no threshold of its own: it shares one with all such labels."""
NEUTRAL = 0.5
"""The threshold where there is nothing to tune it on."""
_ROUNDS = 50


def best_thresholds(probabilities: np.ndarray, labels: np.ndarray, metric: str) -> np.ndarray:
    """The thresholds (L,) with the highest score on these rows; a row has a label where its probability is above the label's threshold.

    By `macro_f1` each label's own F1 is the highest. By `subset_accuracy` each label's share of right decisions is. By any other metric
    micro F1 is: with the best score F, Σ_l 2 TP_l − F · predicted_l is highest for its decisions, which falls apart into labels, and F is
    had by iteration (Dinkelbach 1967, "On Nonlinear Fractional Programming"). A threshold lies in the middle between two probabilities.

    Args:
        probabilities: (N, L), of each label.
        labels: (N, L), 1 where a row has a label and else 0.
        metric: of the target `Labels`.
    """
    if not len(labels):
        return np.full(probabilities.shape[1], NEUTRAL)
    counts = labels.sum(axis=0)
    rare = np.flatnonzero(counts < OWN)
    groups = [np.array([label]) for label in np.flatnonzero(counts >= OWN)] + ([rare] if len(rare) else [])
    cuts = [_Cuts(probabilities[:, group].ravel(), labels[:, group].ravel()) for group in groups]
    if metric == "macro_f1":
        places = [cut.best_f1() for cut in cuts]
    elif metric == "subset_accuracy":
        places = [cut.best(1.0) for cut in cuts]
    else:
        places = _best_together(cuts, float(counts.sum()))
    thresholds = np.empty(probabilities.shape[1])
    for group, cut, place in zip(groups, cuts, places, strict=True):
        thresholds[group] = cut.threshold(place)
    return thresholds


def _best_together(cuts: list[_Cuts], positives: float) -> list[int]:
    """The places of the cuts with the highest micro F1. positives: how many labels the rows have."""
    score, places = 0.0, [cut.best(0.0) for cut in cuts]
    for _ in range(_ROUNDS):
        hits, predicted = (sum(float(getattr(cut, name)[place]) for cut, place in zip(cuts, places, strict=True)) for name in _COUNTS)
        before, score = score, 2 * hits / max(predicted + positives, 1.0)
        if score <= before:
            break
        places = [cut.best(score) for cut in cuts]
    return places


_COUNTS = ("hits", "predicted")


class _Cuts:
    """Every way to cut some decisions by one threshold, from none that is positive to all. hits, predicted: (K,), right ones and all."""

    def __init__(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        order = np.argsort(-probabilities, kind="stable")
        ordered = np.concatenate([[1.0], probabilities[order], [0.0]])
        is_cut = ordered[:-1] > ordered[1:]  # equal probabilities stay together
        is_cut[0] = True
        self.predicted = np.flatnonzero(is_cut)
        self.hits = np.concatenate([[0], np.cumsum(labels[order], dtype=np.int64)])[self.predicted]
        self.positives = int(labels.sum())
        self._middles = (ordered[:-1] + ordered[1:])[self.predicted] / 2

    def best(self, price: float) -> int:
        """Where 2 TP − price · predicted is highest; of equal ones where the fewest are predicted."""
        return int(np.argmax(2 * self.hits - price * self.predicted))

    def best_f1(self) -> int:
        """Where F1 is highest."""
        return int(np.argmax(2 * self.hits / np.maximum(self.predicted + self.positives, 1)))

    def threshold(self, place: int) -> float:
        """The threshold of a cut."""
        return float(self._middles[place])


def decided_apart(probabilities: np.ndarray, labels: np.ndarray, metric: str) -> np.ndarray:
    """Decisions (N, L) of rows by thresholds that other rows chose: two random halves choose for each other.

    So a score on the rows that thresholds are tuned on is no better for the tuning. The halves are the same for equal numbers of rows.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    decided = np.zeros(probabilities.shape, dtype=np.int8)
    for own, other in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        decided[own] = probabilities[own] > best_thresholds(probabilities[other], labels[other], metric)
    return decided
