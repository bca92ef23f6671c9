"""One number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from autodistill.errors import UsageError
from autodistill.target.base import BINS, Prediction, Scaling, Target, relative_entropy

if TYPE_CHECKING:
    from torch import Tensor

    from autodistill.tasks.scores import Kind
    from autodistill.tasks.tables import Table
    from autodistill.teacher.calibration import Calibration


@dataclass(frozen=True)
class Scores(Target):
    """One number, which is learned standardised. labels: (N,) float32."""

    kind = "regression"
    metrics = ("spearman", "pearson")
    second_metric = "pearson"
    soft_loss = {"kind": "mse"}  # noqa: RUF012 — nobody changes it
    decision_loss = None
    row_choices = ("all", "diverse", "random")
    no_label = np.float32(np.nan)
    has_classes = False
    has_label_smoothing = False
    has_probabilities = False
    has_class_weights = False
    problem_type = "regression"
    classes = None
    output_names = ("score",)
    logits_note = "The logit is the score, in the units of the data."

    @classmethod
    def of(cls, classes: Sequence[str] | None, thresholds: Sequence[float] | None = None, width: int = 0) -> Self:
        """See `Target`."""
        return cls()

    def places_among(self, labels: Sequence[str]) -> tuple[int, ...] | None:
        """The only output; None if there are more."""
        return (0,) if len(labels) == 1 else None

    def strata(self, labels: np.ndarray) -> np.ndarray:
        """Ten bins by rank, equally full."""
        ranks = np.empty(len(labels), dtype=np.int64)
        ranks[np.argsort(labels, kind="stable")] = np.arange(len(labels))
        return ranks * BINS // max(len(labels), 1)

    def scaling(self, labels: np.ndarray) -> Scaling:
        """To mean 0 and standard deviation 1; constant labels are only shifted."""
        return Scaling(float(labels.mean()), float(labels.std()) or 1.0)

    def to_learn(self, labels: np.ndarray, scaling: Scaling) -> Tensor:
        """The scaled scores, float32."""
        import torch

        return scaling.apply(torch.from_numpy(np.ascontiguousarray(labels)).float())

    def loss(self, logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> Tensor:
        """Squared error in float32; label smoothing does not apply."""
        import torch.nn.functional as F

        return F.mse_loss(logits.squeeze(-1).float(), labels.float())

    def teacher_scores(self, table: Table, texts: tuple[str, ...]) -> tuple[Kind, np.ndarray, list[str]]:
        """A column of scores."""
        from autodistill.tasks.scores import scores_of_numbers

        return scores_of_numbers(table)

    def decided(self, logits: np.ndarray) -> np.ndarray:
        """The scores themselves."""
        return logits.reshape(len(logits))

    def shown(self, logits: np.ndarray) -> np.ndarray:
        """The scores themselves."""
        return logits

    def predictions(self, logits: np.ndarray) -> Iterator[Prediction]:
        """The score."""
        for row in logits.astype(np.float64):
            yield Prediction(score=float(row[0]))

    def linear_models(
        self, features: np.ndarray, learned: np.ndarray, *, balanced: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ridge regressions."""
        from autodistill.features.linear import ridge_regressions

        return ridge_regressions(features, learned)

    def calibrated(self, logits: np.ndarray, labels: np.ndarray) -> Calibration | None:
        """A score has no probability."""
        return None

    def averaged(self, logits: Sequence[Tensor]) -> Tensor:
        """The mean of their scores, in float32."""
        import torch

        return torch.stack([each.float() for each in logits]).mean(dim=0)

    def constant(self, labels: np.ndarray) -> np.ndarray:
        return np.full(1, labels.mean())

    def encoded(self, labels: Sequence[Any]) -> np.ndarray:
        """The scores as they are."""
        try:
            return np.asarray(labels, dtype=np.float32)
        except (TypeError, ValueError):
            raise UsageError("the labels should be numbers, because this student gives scores") from None

    def regressed(self, labels: np.ndarray) -> np.ndarray:
        """The scores as a column."""
        return labels.astype(np.float64)[:, None]

    def features(self, labels: np.ndarray) -> dict[str, float]:
        """Sizes, and how evenly the scores are distributed over ten equally wide bins."""
        rows = math.log10(len(labels))
        return {
            "is_regression": 1.0,
            "log_rows": rows,
            "log_rows_per_class": rows,
            "log_classes": 0.0,
            "imbalance": 0.0,
            "majority_share": 0.0,
            "label_entropy": relative_entropy(np.histogram(labels, bins=BINS)[0], BINS),
        }
