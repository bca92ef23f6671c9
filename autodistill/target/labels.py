"""Several labels, or none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from autodistill.errors import UsageError, not_allowed
from autodistill.target.base import LISTED, Prediction, Scaling, Target, relative_entropy
from autodistill.target.thresholds import NEUTRAL, best_thresholds, decided_apart

if TYPE_CHECKING:
    from torch import Tensor

    from autodistill.tasks.scores import Kind
    from autodistill.tasks.tables import Table
    from autodistill.teacher.calibration import Calibration

_SUREST = 1e-4
"""The share of rows that a constant answer gives a label that no row has, and one less of a label that all have."""


@dataclass(frozen=True)
class Labels(Target):
    """Several labels per row, or none. labels: (N, L) int8, 1 where a row has a label and else 0; −1 in a row that is not labelled.

    classes: the labels' names; may be empty where only the kind of target matters. thresholds: (L,), see `Target`; without them a row has
    the labels whose probability is above a half.
    """

    kind = "multilabel"
    metrics = ("micro_f1", "macro_f1", "average_precision", "subset_accuracy")
    second_metric = "macro_f1"
    soft_loss = {"kind": "binary_kl", "temperature": 1.0}  # noqa: RUF012 — nobody changes it
    decision_loss = {"kind": "binary_pseudo_label"}  # noqa: RUF012
    row_choices = ("all", "diverse", "random")
    no_label = np.int8(-1)
    has_classes = True
    has_several = True
    has_label_smoothing = True
    has_probabilities = True
    has_class_weights = True
    problem_type = "multi_label_classification"

    classes: tuple[str, ...] = ()
    thresholds: tuple[float, ...] | None = None

    @classmethod
    def of(cls, classes: Sequence[str] | None, thresholds: Sequence[float] | None = None, width: int = 0) -> Self:
        """See `Target`."""
        return cls(tuple(classes or ()), None if thresholds is None else tuple(thresholds))

    def tuned(self, metric: str, logits: np.ndarray, labels: np.ndarray) -> Self:
        """With a threshold for each label; see `best_thresholds`."""
        thresholds = best_thresholds(self.shown(np.asarray(logits, dtype=np.float64)), labels, metric)
        return replace(self, thresholds=tuple(thresholds.tolist()))

    def no_labels(self, rows: int) -> np.ndarray:
        return np.full((rows, self.width), self.no_label)

    @property
    def output_names(self) -> tuple[str, ...]:
        """One logit for each label."""
        return self.classes

    @property
    def logits_note(self) -> str:
        """The first `LISTED` labels, numbered, each with its threshold."""
        thresholds = self.thresholds or (NEUTRAL,) * self.width
        numbered = zip(range(LISTED), self.classes, thresholds, strict=False)
        shown = ", ".join(f"{number} {name} ({threshold:.3f})" for number, name, threshold in numbered)
        more = ", … (student.json has all)" if self.width > LISTED else ""
        return (
            "The sigmoid of a logit is the probability of its label, and a row has the labels whose probability is above their threshold. "
            f"Labels (thresholds): {shown}{more}."
        )

    def strata(self, labels: np.ndarray) -> np.ndarray:
        """Each row's rarest label; the rows without any are a stratum of their own."""
        counts = labels.sum(axis=0, dtype=np.int64)
        return np.where(labels.any(axis=1), np.where(labels > 0, counts, len(labels) + 1).argmin(axis=1), self.width or labels.shape[1])

    def scaling(self, labels: np.ndarray) -> Scaling:
        """Labels have no scale."""
        return Scaling()

    def to_learn(self, labels: np.ndarray, scaling: Scaling) -> Tensor:
        """0 and 1, (N, L) float32."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(labels)).float()

    def loss(self, logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> Tensor:
        """Binary cross-entropy of the sigmoids in float32: a sum over labels, a mean over rows.

        So it pulls about as hard as the cross-entropy of classes: a row has about as many labels to be learned, however many there are.
        With smoothing s labels are s/2 and 1 − s/2 (Müller, Kornblith, Hinton 2019, with two classes). class_weights: (L,), by which the
        loss of a label is multiplied where a row has it.
        """
        import torch.nn.functional as F

        wanted = labels.float() * (1 - label_smoothing) + label_smoothing / 2
        losses = F.binary_cross_entropy_with_logits(logits.float(), wanted, pos_weight=class_weights, reduction="none")
        return losses.sum(dim=-1).mean()

    def balanced_weights(self, labels: np.ndarray) -> np.ndarray:
        """Rows without a label over rows with it, so that both count alike; 1 for a label that none or all have. (L,) float32."""
        having = np.asarray(labels > 0).sum(axis=0)
        some = (having > 0) & (having < len(labels))
        return np.where(some, (len(labels) - having) / np.maximum(having, 1), 1.0).astype(np.float32)

    def judged(self, metric: str, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """By the thresholds; where there are none, by those that other rows choose (`decided_apart`)."""
        return decided_apart(self.shown(logits), labels, metric) if self.thresholds is None else self.decided(logits)

    def teacher_scores(self, table: Table, texts: tuple[str, ...]) -> tuple[Kind, np.ndarray, list[str]]:
        """Probabilities or logits of each label."""
        from autodistill.tasks.scores import scores_of_labels

        return scores_of_labels(table, self.classes, texts)

    def decided(self, logits: np.ndarray) -> np.ndarray:
        """1 where the probability of a label is above its threshold, (N, L) int8."""
        return (self.shown(logits) > (NEUTRAL if self.thresholds is None else np.array(self.thresholds))).astype(np.int8)

    def shown(self, logits: np.ndarray) -> np.ndarray:
        """The sigmoids."""
        from scipy.special import expit

        return np.asarray(expit(logits))

    def predictions(self, logits: np.ndarray) -> Iterator[Prediction]:
        """The labels above their thresholds, the likeliest first, and the probability of each."""
        logits = logits.astype(np.float64)
        for shares, has in zip(self.shown(logits), self.decided(logits), strict=True):
            ordered = [place for place in np.argsort(-shares, kind="stable") if has[place]]
            named = {name: float(share) for name, share in zip(self.classes, shares, strict=True)}
            yield Prediction(labels=tuple(self.classes[place] for place in ordered), probabilities=named)

    def linear_models(
        self, features: np.ndarray, learned: np.ndarray, *, balanced: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Logistic regressions of each label against the rest."""
        from autodistill.features.linear import logistic_regressions_of_labels

        return logistic_regressions_of_labels(features, learned, balanced=balanced)

    def calibrated(self, logits: np.ndarray, labels: np.ndarray) -> Calibration | None:
        """By one temperature for all labels: each is a decision between 0 and its logit."""
        from autodistill.teacher.calibration import calibrate

        return calibrate(np.stack([np.zeros(logits.size), logits.ravel()], axis=1), labels.ravel().astype(np.int64))

    def averaged(self, logits: Sequence[Tensor]) -> Tensor:
        """The log-odds of the mean of their probabilities, in float32."""
        import torch
        import torch.nn.functional as F

        each = torch.stack([item.float() for item in logits])
        return F.logsigmoid(each).logsumexp(dim=0) - F.logsigmoid(-each).logsumexp(dim=0)

    def constant(self, labels: np.ndarray) -> np.ndarray:
        """The log-odds of each label."""
        shares = np.clip((labels > 0).mean(axis=0), _SUREST, 1 - _SUREST)
        return np.log(shares) - np.log1p(-shares)

    def regressed(self, labels: np.ndarray) -> np.ndarray:
        """A column for each label, with 1 and −1."""
        return np.where(labels > 0, 1.0, -1.0)

    def encoded(self, labels: Sequence[Any]) -> np.ndarray:
        """A column for each label, 1 where a row has it."""
        for name in (name for row in labels for name in row):
            if str(name) not in self.classes:
                raise UsageError(not_allowed("a label", str(name), self.classes))
        return np.array([[name in set(map(str, row)) for name in self.classes] for row in labels], dtype=np.int64)

    def notes(self, train: np.ndarray, validation: np.ndarray, metric: str) -> list[str]:
        """See `doubtful.notes_of_labels`."""
        from autodistill.tasks.doubtful import notes_of_labels

        return notes_of_labels(self.classes, train, validation)

    def features(self, labels: np.ndarray) -> dict[str, float]:
        """Sizes and the balance of the labels."""
        counts = (labels > 0).sum(axis=0)
        present = counts[counts > 0]
        return {
            "is_regression": 0.0,
            "log_rows": math.log10(len(labels)),
            "log_rows_per_class": math.log10(max(counts.sum(), 1) / self.width),
            "log_classes": math.log2(self.width),
            "imbalance": math.log10(present.max() / present.min()) if len(present) else 0.0,
            "majority_share": float(present.max() / present.sum()) if len(present) else 0.0,
            "label_entropy": relative_entropy(counts, self.width) if len(present) else 0.0,
        }
