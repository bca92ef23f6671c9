"""What the labels of a dataset are, and everything that depends on it: one class for each kind of target.

A task type ends in the `kind` of its target (task_types.py): `text-pair-regression` has `Scores`. No other code asks for the kind; it asks
the target for what it needs. torch is imported inside methods that compute with tensors, so that plans can be made without it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autodistill.tasks.scores import Kind
    from autodistill.tasks.tables import Table
    from autodistill.teacher.calibration import Calibration

BINS = 10
"""The number of bins for stratifying scores (equally full bins), and for the entropy that is a dataset feature (equally wide bins)."""
LISTED = 20
"""How many classes a model card lists."""


@dataclass(frozen=True)
class Scaling:
    """The scale on which targets are learned: (value − mean) / scale. The default changes nothing."""

    mean: float = 0.0
    scale: float = 1.0

    def apply(self, values: Tensor) -> Tensor:
        """Convert values from the dataset's units to the scale that is learned."""
        return values if self == Scaling() else (values - self.mean) / self.scale

    def fold_into(self, head: nn.Linear) -> None:
        """Convert a model's outputs from this scale to the dataset's units, by changing its last layer's weight and bias."""
        import torch

        if self == Scaling():
            return
        with torch.no_grad():
            head.weight.mul_(self.scale)
            if head.bias is not None or self.mean:
                head.bias.mul_(self.scale).add_(self.mean)


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one row. label: the likeliest class. probabilities: of every class. score: for `Scores`, in their units."""

    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    score: float | None = None


class Target(ABC):
    """What is predicted for a row."""

    kind: ClassVar[str]
    """The last word of the task type, and the value of `task` in a dataset.json."""
    metrics: ClassVar[tuple[str, ...]]
    """Metrics that a dataset may be scored by; the first is the default. All are better when higher."""
    second_metric: ClassVar[str]
    """Reported beside the dataset's metric."""
    soft_loss: ClassVar[Mapping[str, Any]]
    """The objective of plain distillation, without its weight: `objective.prediction` of a recipe."""
    decision_loss: ClassVar[Mapping[str, Any] | None]
    """The objective of learning only the teacher's decisions, as labels; None if there are no decisions."""
    row_choices: ClassVar[tuple[str, ...]]
    """The ways to choose unlabelled rows (`training.unlabelled_choice` of a recipe)."""
    no_label: ClassVar[np.generic]
    """The value in `labels` for a row without a label."""
    has_label_smoothing: ClassVar[bool]
    has_probabilities: ClassVar[bool]
    """Whether a prediction has a probability for each output."""
    has_class_weights: ClassVar[bool]
    """Whether rows can weigh by the frequency of their class (`class_weights` of a recipe)."""
    problem_type: ClassVar[str]
    """Its name in transformers' model configurations."""
    classes: tuple[str, ...] | None
    """The names of the classes by index; None if the target has none."""

    @classmethod
    @abstractmethod
    def of(cls, classes: Sequence[str] | None) -> Self:
        """The target of a dataset with these classes; None for no classes."""

    @property
    @abstractmethod
    def output_names(self) -> tuple[str, ...]:
        """The names of a model's outputs."""

    @property
    def width(self) -> int:
        """The number of a model's outputs: C of logits (N, C)."""
        return len(self.output_names)

    @property
    @abstractmethod
    def logits_note(self) -> str:
        """A sentence for the model card that says what the logits mean."""

    @abstractmethod
    def strata(self, labels: np.ndarray) -> np.ndarray:
        """The stratum of each row, for making splits, (N,) int64. labels: (N,)."""

    @abstractmethod
    def scaling(self, labels: np.ndarray) -> Scaling:
        """The scale on which these training labels (N,) are learned."""

    @abstractmethod
    def to_learn(self, labels: np.ndarray, scaling: Scaling) -> Tensor:
        """Labels (N,) in the form that `loss` expects: a tensor (N,)."""

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> Tensor:
        """The loss on the labels, a mean over the rows. logits (B, C), labels (B,) of `to_learn` → scalar.

        class_weights: (C,), the factors on the loss of each class's rows.
        """

    def balanced_weights(self, labels: np.ndarray) -> np.ndarray | None:
        """Weights (C,) with which all classes count equally; None if the target has no classes. labels: (N,), of the training rows."""
        return None

    def loss_of_labelled(
        self,
        logits: Tensor,
        labels: Tensor,
        labelled: Tensor | None,
        *,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> Tensor:
        """The loss, a mean over the rows with a label; 0 if none has one. labelled: (B,) bool, None if all have one."""
        if labelled is None:
            return self.loss(logits, labels, label_smoothing=label_smoothing, class_weights=class_weights)
        if not bool(labelled.any()):
            return logits.sum() * 0.0
        return self.loss(logits[labelled], labels[labelled], label_smoothing=label_smoothing, class_weights=class_weights)

    def mixed_loss(
        self,
        logits: Tensor,
        labels: Tensor,
        partner_labels: Tensor | None,
        share: float,
        *,
        labelled: Tensor | None = None,
        partner_labelled: Tensor | None = None,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> Tensor:
        """The loss of rows that are mixed with partners: share · loss(labels) + (1 − share) · loss(partner_labels).

        Without partners it is the loss on the labels. labelled, partner_labelled: as for `loss_of_labelled`.
        Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization".
        """
        own = self.loss_of_labelled(logits, labels, labelled, label_smoothing=label_smoothing, class_weights=class_weights)
        if partner_labels is None:
            return own
        partner = self.loss_of_labelled(
            logits, partner_labels, partner_labelled, label_smoothing=label_smoothing, class_weights=class_weights
        )
        return share * own + (1.0 - share) * partner

    def evaluate(self, metric: str, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """The metric, and the target's second metric. logits: (N, C) or, for one output, (N,); labels: (N,).

        If a prediction is not a finite number, every score is NaN. A constant prediction has correlation 0.

        Raises:
            ValueError: the metric does not belong to this kind of target.
        """
        from autodistill.tasks.metrics import RANKINGS, SCORES

        allowed = dict.fromkeys((*self.metrics, self.second_metric))
        if metric not in allowed:
            raise ValueError(f"metric is {metric!r}; allowed for {self.kind}: {', '.join(allowed)}")
        names = dict.fromkeys((metric, self.second_metric))
        logits = np.asarray(logits, dtype=np.float64)
        if not np.isfinite(logits).all():
            return dict.fromkeys(names, float("nan"))
        predicted = self.decided(logits)
        return {name: RANKINGS[name](labels, logits) if name in RANKINGS else SCORES[name](labels, predicted) for name in names}

    @abstractmethod
    def teacher_scores(self, table: Table, texts: tuple[str, ...]) -> tuple[Kind, np.ndarray, list[str]]:
        """Read a file of a teacher's scores: the kind of its values, logits (N, C) float32, and notes. texts: the columns of texts.

        Raises:
            DataError: the file does not have the columns that this target needs.
        """

    @abstractmethod
    def decided(self, logits: np.ndarray) -> np.ndarray:
        """The predicted labels, (N,), from logits (N, C)."""

    @abstractmethod
    def predictions(self, logits: np.ndarray) -> Iterator[Prediction]:
        """Each row's prediction, in the form for people. logits: (N, C), in the dataset's units."""

    @abstractmethod
    def linear_models(
        self, features: np.ndarray, learned: np.ndarray, *, balanced: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Linear models of dense features (N, D), with falling penalties, to choose from: weights (C, D), biases (C,).

        learned: (N,), labels from `to_learn`. balanced: use `balanced_weights`.
        """

    @abstractmethod
    def calibrated(self, logits: np.ndarray, labels: np.ndarray) -> Calibration | None:
        """The calibration of logits (N, C) on labels (N,); None if a prediction has no probability."""

    @abstractmethod
    def averaged(self, logits: Sequence[Tensor]) -> Tensor:
        """The joint logits (B, C) of several models, from the logits (B, C) of each."""

    @abstractmethod
    def constant(self, labels: np.ndarray) -> np.ndarray:
        """The logits (C,) of the constant prediction that fits these labels (N,) best."""

    @abstractmethod
    def regressed(self, labels: np.ndarray) -> np.ndarray:
        """The targets of a linear model with squared error, (N, C) float64. labels: (N,)."""

    def notes(self, train: np.ndarray, validation: np.ndarray, metric: str) -> list[str]:
        """Notes for people on the labels (N,) of these two splits, a sentence each. metric: that scores students."""
        return []

    @abstractmethod
    def features(self, labels: np.ndarray) -> dict[str, float]:
        """The dataset features (features/names.py) of all training labels (N,)."""


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
    has_label_smoothing = True
    has_probabilities = True
    has_class_weights = True
    problem_type = "single_label_classification"

    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, classes: Sequence[str] | None) -> Self:
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

    def predictions(self, logits: np.ndarray) -> Iterator[Prediction]:
        """The likeliest class, and the softmax of the logits."""
        for row in logits.astype(np.float64):
            shares = np.exp(row - row.max())
            shares /= shares.sum()
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
            "label_entropy": _relative_entropy(counts, self.width),
        }


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
    has_label_smoothing = False
    has_probabilities = False
    has_class_weights = False
    problem_type = "regression"
    classes = None
    output_names = ("score",)
    logits_note = "The logit is the score, in the units of the data."

    @classmethod
    def of(cls, classes: Sequence[str] | None) -> Self:
        """See `Target`."""
        return cls()

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
            "label_entropy": _relative_entropy(np.histogram(labels, bins=BINS)[0], BINS),
        }


TARGETS: tuple[type[Target], ...] = (Classes, Scores)
"""Every kind of target."""


def _relative_entropy(counts: np.ndarray, most: int) -> float:
    """The entropy of the shares, divided by that of `most` equal shares; 0 if `most` is 1."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum() / math.log(most)) if most > 1 else 0.0
