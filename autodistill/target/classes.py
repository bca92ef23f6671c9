"""One of several classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from autodistill.errors import UsageError, not_allowed
from autodistill.target.base import LISTED, Prediction, Scaling, Target, relative_entropy

if TYPE_CHECKING:
    from torch import Tensor

    from autodistill.tasks.scores import Kind
    from autodistill.tasks.tables import Table
    from autodistill.teacher.calibration import Calibration


@dataclass(frozen=True)
class Classes(Target):
    """One of several classes. labels: (N,) int64, their indices.

    classes: may be empty if only the kind of target matters, as for a recipe's losses.
    """

    kind = "classification"
    metrics = ("accuracy", "macro_f1", "weighted_f1", "matthews_correlation", "auroc", "average_precision")
    second_metric = "accuracy"
    soft_loss = {"kind": "kl", "temperature": 2.0}  # noqa: RUF012 — nobody changes it
    decision_loss = {"kind": "pseudo_label"}  # noqa: RUF012
    row_choices = ("all", "confident", "uncertain", "diverse", "random")
    no_label = np.int64(-1)
    has_classes = True
    has_label_smoothing = True
    has_self_distillation = True
    has_probabilities = True
    has_class_weights = True
    problem_type = "single_label_classification"

    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, classes: Sequence[str] | None, thresholds: Sequence[float] | None = None, width: int = 0) -> Self:
        """See `Target`."""
        return cls(tuple(classes or ()))

    @property
    def output_names(self) -> tuple[str, ...]:
        """One logit for each class."""
        return self.classes

    @property
    def logits_note(self) -> str:
        """The first `LISTED` classes, numbered."""
        shown = ", ".join(f"{number} {name}" for number, name in enumerate(self.classes[:LISTED]))
        return f"Labels: {shown}{', … (config.json has all)' if self.width > LISTED else ''}."

    def strata(self, labels: np.ndarray) -> np.ndarray:
        """The classes."""
        return labels

    def scaling(self, labels: np.ndarray) -> Scaling:
        """Classes have no scale."""
        return Scaling()

    def to_learn(self, labels: np.ndarray, scaling: Scaling) -> Tensor:
        """Class indices, int64."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(labels)).long()

    def loss(self, logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> Tensor:
        """Cross-entropy in float32, the labels smoothed (Szegedy et al. 2016).

        With weights w it is Σ w[label] · loss / B. It is not divided by the sum of the batch's weights, so that over all batches every
        class has its share.
        """
        import torch.nn.functional as F

        if class_weights is None:
            return F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)
        losses = F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing, reduction="none")
        return (class_weights[labels] * losses).mean()

    def balanced_weights(self, labels: np.ndarray) -> np.ndarray:
        """N / (K · rows of the class), where K classes have rows, so that the mean over the rows is 1 (King and Zeng 2001); 1 for a class
        without rows. (C,) float32.
        """
        counts = np.bincount(labels, minlength=self.width)
        return np.where(counts > 0, len(labels) / ((counts > 0).sum() * np.maximum(counts, 1)), 1.0).astype(np.float32)

    def teacher_scores(self, table: Table, texts: tuple[str, ...]) -> tuple[Kind, np.ndarray, list[str]]:
        """Probabilities or logits of each class, or labels with a confidence."""
        from autodistill.tasks.scores import scores_of_classes

        return scores_of_classes(table, self.classes, texts)

    def decided(self, logits: np.ndarray) -> np.ndarray:
        """The classes of the largest logits."""
        return logits.argmax(axis=1)

    def shown(self, logits: np.ndarray) -> np.ndarray:
        """The softmax."""
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def predictions(self, logits: np.ndarray) -> Iterator[Prediction]:
        """The likeliest class, and the softmax of the logits."""
        for shares in self.shown(logits.astype(np.float64)):
            best = int(shares.argmax())
            named = {name: float(share) for name, share in zip(self.classes, shares, strict=True)}
            yield Prediction(self.classes[best], float(shares[best]), named)

    def linear_models(
        self, features: np.ndarray, learned: np.ndarray, *, balanced: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Logistic regressions."""
        from autodistill.features.linear import logistic_regressions

        return logistic_regressions(features, learned, self.width, balanced=balanced)

    def calibrated(self, logits: np.ndarray, labels: np.ndarray) -> Calibration | None:
        """Fit a temperature."""
        from autodistill.teacher.calibration import calibrate

        return calibrate(logits, labels)

    def averaged(self, logits: Sequence[Tensor]) -> Tensor:
        """The logarithm of the mean of their probabilities, in float32 (Lakshminarayanan et al. 2017, section 2.4)."""
        import torch

        likelihoods = torch.stack([each.float().log_softmax(dim=-1) for each in logits])
        return likelihoods.logsumexp(dim=0) - math.log(len(logits))

    def constant(self, labels: np.ndarray) -> np.ndarray:
        return np.eye(self.width)[np.bincount(labels, minlength=self.width).argmax()]

    def regressed(self, labels: np.ndarray) -> np.ndarray:
        """A column for each class, with 1 and −1."""
        return np.where(labels[:, None] == np.arange(self.width)[None, :], 1.0, -1.0)

    def encoded(self, labels: Sequence[Any]) -> np.ndarray:
        """The index of each class."""
        places = {name: place for place, name in enumerate(self.classes)}
        for label in labels:
            if str(label) not in places:
                raise UsageError(not_allowed("a label", str(label), self.classes))
        return np.array([places[str(label)] for label in labels], dtype=np.int64)

    def notes(self, train: np.ndarray, validation: np.ndarray, metric: str) -> list[str]:
        """See `doubtful.notes_of_classes`."""
        from autodistill.tasks.doubtful import notes_of_classes

        return notes_of_classes(self.classes, train, validation, metric)

    def features(self, labels: np.ndarray) -> dict[str, float]:
        """Sizes and the balance of the classes."""
        counts = np.bincount(labels, minlength=self.width)
        present = counts[counts > 0]
        return {
            "is_regression": 0.0,
            "log_rows": math.log10(len(labels)),
            "log_rows_per_class": math.log10(len(labels) / self.width),
            "log_classes": math.log2(self.width),
            "imbalance": math.log10(present.max() / present.min()),
            "majority_share": float((present / present.sum()).max()),
            "label_entropy": relative_entropy(counts, self.width),
        }
