"""A vector, which a teacher gives every text: sentence embeddings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from autodistill.target.base import Prediction, Scaling, Target

if TYPE_CHECKING:
    from torch import Tensor

    from autodistill.tasks.scores import Kind
    from autodistill.tasks.tables import Table
    from autodistill.teacher.calibration import Calibration


@dataclass(frozen=True)
class Vectors(Target):
    """The teacher's vector of a text, of length 1. Texts need no labels.

    labels: (N, 1) float32, the rating of the pair that a text is in, NaN if there is none; (N, 1 + D) with the teacher's vectors, `taught`;
    (N, 1 + D + F) with its full vectors behind those, if students learn reduced ones: then the agreement is with the full ones.
    Rows 2k and 2k + 1 of a split with ratings are the texts of its pair k, and both have the pair's rating. size: D, the width of the
    vectors; 0 where only the kind of the target matters.

    Students learn the vectors times √D, so that their entries are about 1.
    """

    kind = "embedding"
    metrics = ("sts_spearman", "teacher_agreement")
    second_metric = "teacher_agreement"
    soft_loss = {"kind": "mse"}  # noqa: RUF012 — nobody changes it
    decision_loss = None
    row_choices = ("all", "diverse", "random")
    no_label = np.float32(np.nan)
    has_classes = False
    has_labels = False
    are_vectors = True
    has_label_smoothing = False
    has_probabilities = False
    has_class_weights = False
    without_teacher = "untrained"
    problem_type = "regression"
    pipeline_tag = "sentence-similarity"
    space = "embedding"
    classes = None
    output_names = ()

    size: int = 0

    @classmethod
    def of(cls, classes: Sequence[str] | None, thresholds: Sequence[float] | None = None, width: int = 0) -> Self:
        """See `Target`."""
        return cls(width)

    @property
    def width(self) -> int:
        """D."""
        return self.size

    @property
    def logits_note(self) -> str:
        """What the vectors are good for."""
        return (
            f"An output is a text's vector: {self.size} numbers of length 1. The inner product of two vectors is their cosine, which says "
            "how alike the texts are. They were made to lie where the teacher's vectors of the same texts lie."
        )

    def no_labels(self, rows: int) -> np.ndarray:
        return np.full((rows, 1), self.no_label)

    def taught(self, labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """The ratings with the vectors beside them, (N, 1 + D) float32."""
        return np.concatenate([labels[:, :1], outputs], axis=1).astype(np.float32)

    def finished(self, logits: np.ndarray) -> np.ndarray:
        """At length 1; zeros stay zeros."""
        return logits / np.maximum(np.linalg.norm(logits, axis=1, keepdims=True), 1e-12)

    def strata(self, labels: np.ndarray) -> np.ndarray:
        """All rows are alike."""
        return np.zeros(len(labels), dtype=np.int64)

    def scaling(self, labels: np.ndarray) -> Scaling:
        """Times √D."""
        return Scaling(scale=1.0 / math.sqrt(max(self.size, 1)))

    def to_learn(self, labels: np.ndarray, scaling: Scaling) -> Tensor:
        """The teacher's vectors, (N, D) float32; (N, 0) for rows that were not `taught`."""
        import torch

        return scaling.apply(torch.from_numpy(np.ascontiguousarray(labels[:, 1 : 1 + self.size])).float())

    def loss(self, logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> Tensor:
        """The mean of 1 − cosine, in float32. labels: (B, D), the teacher's vectors."""
        import torch.nn.functional as F

        return 1.0 - F.cosine_similarity(logits.float(), labels.float(), dim=1).mean()

    def teacher_scores(self, table: Table, texts: tuple[str, ...]) -> tuple[Kind, np.ndarray, list[str]]:
        """A recipe with a file of scores is refused before."""
        raise NotImplementedError("a teacher of vectors is a network")

    def decided(self, logits: np.ndarray) -> np.ndarray:
        """The vectors at length 1."""
        return self.finished(logits)

    def shown(self, logits: np.ndarray) -> np.ndarray:
        """The vectors at length 1."""
        return self.finished(logits)

    def predictions(self, logits: np.ndarray) -> Iterator[Prediction]:
        """The vector at length 1."""
        for vector in self.finished(logits.astype(np.float64)):
            yield Prediction(vector=tuple(vector.tolist()))

    def linear_models(
        self, features: np.ndarray, learned: np.ndarray, *, balanced: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """None: the teacher has no head to start."""
        return iter(())

    def calibrated(self, logits: np.ndarray, labels: np.ndarray) -> Calibration | None:
        """A vector has no probability."""
        return None

    def averaged(self, logits: Sequence[Tensor]) -> Tensor:
        """A recipe with several members is refused before."""
        raise NotImplementedError("a teacher of vectors is a single network")

    def constant(self, labels: np.ndarray) -> np.ndarray:
        """The same vector for all texts, so that all cosines are 1."""
        return np.ones(max(self.size, 1))

    def regressed(self, labels: np.ndarray) -> np.ndarray:
        """The teacher's vectors."""
        return labels[:, 1 : 1 + self.size].astype(np.float64)

    def evaluate(self, metric: str, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """As for other targets; the agreement is with the teacher's full vectors."""
        if 0 < self.size < labels.shape[1] - 1:
            labels = np.delete(labels, slice(1, 1 + self.size), axis=1)
        return super().evaluate(metric, logits, labels)

    def features(self, labels: np.ndarray) -> dict[str, float]:
        """The size: `features.names.OF_LABELS` are missing."""
        return {"log_rows": math.log10(len(labels))}
