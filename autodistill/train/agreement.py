"""Comparing students where few rows have labels: whether they decide as their teacher, on unlabelled rows that nothing learns from.

With 15 validation rows, half of all students have the same score, and the best of a search is drawn by lot. What the teacher says of a
thousand more texts is not the truth, but it orders students far more reliably: studies/transfer/findings.md, "Few validation rows".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autodistill.tasks.base import Dataset

ENOUGH = 1000
"""Students are compared on this many rows: the validation split and, if it has fewer, rows without labels."""
SHARE = 0.2
"""At most this share of the unlabelled rows is held out for it."""
LEAST = 50
"""With fewer rows than this to add, the validation split stays alone."""
_STREAM = 5
"""The random stream by which the rows are drawn (splits.py and unlabelled.py have the others)."""


def agreement_count(dataset: Dataset) -> int:
    """How many unlabelled rows of a dataset students are compared on, if there is one teacher that says what is in them; may be 0."""
    count = min(ENOUGH - len(dataset.validation), int(SHARE * dataset.unlabelled_rows))
    return count if count >= LEAST and dataset.target.has_labels else 0


def agreement_rows(dataset: Dataset) -> np.ndarray:
    """Their numbers among all training rows (labelled, then unlabelled), ascending, (A,) int64: a subset seeded as the splits are."""
    rng = np.random.default_rng([dataset.ref.seed, _STREAM])
    drawn = rng.choice(dataset.unlabelled_rows, agreement_count(dataset), replace=False)
    return np.sort(len(dataset.train) + drawn).astype(np.int64)


@dataclass(frozen=True)
class Agreement:
    """What students are compared by beside the validation split.

    rows: (A,) int64, their numbers among all training rows. decisions: (A, …), the teacher's on these rows, in the form of labels.
    """

    dataset: Dataset
    rows: Tensor
    decisions: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, logits: Tensor, scored: Tensor | None) -> Agreement | None:
        """The rows of a dataset that are held out for it, as its teacher decides; None if there are too few.

        logits: (N, C), the teacher's for all training rows. scored: (N,) bool, which of them a file of scores has; None if all.
        """
        rows = torch.from_numpy(agreement_rows(dataset))
        rows = rows if scored is None else rows[scored[rows]]
        return cls(dataset, rows, dataset.target.decided(logits[rows].numpy())) if len(rows) >= LEAST else None

    def measure(self, logits: np.ndarray) -> float:
        """The dataset's metric of a student's logits (A, C) on these rows, with the teacher's decisions as labels."""
        return self.dataset.target.evaluate(self.dataset.metric, logits, self.decisions)[self.dataset.metric]

    def standing(self, score: float, agreement: float) -> float:
        """What students are ordered by: score and agreement, each weighted by its number of rows."""
        labelled, others = len(self.dataset.validation), len(self.rows)
        return (labelled * score + others * agreement) / (labelled + others)
