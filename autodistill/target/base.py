"""What every target owns: the width of the output, scaling, loss, metrics, baselines, and how a prediction is shown."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from autodistill.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autodistill.tasks.scores import Kind
    from autodistill.tasks.tables import Table
    from autodistill.teacher.calibration import Calibration

BINS = 10
"""The number of bins for stratifying scores (equally full bins), and for the entropy that is a dataset feature (equally wide bins)."""
LISTED = 20
"""How many classes a model card lists."""
UNNAMED = re.compile(r"label_(\d+)")
"""What transformers calls labels that nobody has named, in lower case."""


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
    """A model's prediction for one row.

    label, probability: the likeliest class. probabilities: of every class or label. score: for `Scores`, in their units. labels: for
    `Labels`, those of the row, the likeliest first. vector: for `Vectors`, of length 1.
    """

    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    score: float | None = None
    labels: tuple[str, ...] | None = None
    vector: tuple[float, ...] | None = None

    @property
    def answer(self) -> str | float | list[str] | list[float] | None:
        """The label, the list of labels, the score, or the vector as a list."""
        if self.labels is not None:
            return list(self.labels)
        if self.vector is not None:
            return list(self.vector)
        return self.score if self.label is None else self.label


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
    has_classes: ClassVar[bool]
    """Whether the outputs are named by the data: classes or labels."""
    has_several: ClassVar[bool] = False
    """Whether a row may have several labels, or none."""
    has_labels: ClassVar[bool] = True
    """Whether rows have labels to learn from. Without, the teacher is used as it is, and a student learns from it alone."""
    are_vectors: ClassVar[bool] = False
    """Whether the outputs are vectors to be compared with one another. Then they are at length 1 in a `finished` model, and they are what
    objectives on embeddings compare."""
    without_teacher: ClassVar[str] = "hard labels alone"
    """How a student is made without a teacher."""
    pipeline_tag: ClassVar[str | None] = None
    """The Hugging Face hub's tag for such a model; None for that of the modality."""
    space: ClassVar[str | None] = None
    """The name of its shipped search space; None for that of the modality."""
    has_label_smoothing: ClassVar[bool]
    has_self_distillation: ClassVar[bool] = False
    """Whether the student's own past predictions can soften the labels (`objective.self_distillation` of a recipe)."""
    has_probabilities: ClassVar[bool]
    """Whether a prediction has a probability for each output."""
    has_class_weights: ClassVar[bool]
    """Whether rows can weigh by the frequency of their class (`class_weights` of a recipe)."""
    problem_type: ClassVar[str]
    """Its name in transformers' model configurations."""
    classes: tuple[str, ...] | None
    """The names of the classes or labels by index; None if the target has none."""
    thresholds: tuple[float, ...] | None = None
    """For `Labels` that are `tuned` for a model, the probability above which a row has each label; else None."""

    @classmethod
    @abstractmethod
    def of(cls, classes: Sequence[str] | None, thresholds: Sequence[float] | None = None, width: int = 0) -> Self:
        """The target of a dataset with these classes; None for no classes.

        thresholds: a model's, see `tuned`. width: of the outputs, if neither the classes nor the kind of target says it.
        """

    def tuned(self, metric: str, logits: np.ndarray, labels: np.ndarray) -> Self:
        """The target with the thresholds that give a model the best score; itself if the target has no thresholds.

        logits: (N, C), the model's on the validation rows. labels: of these rows.
        """
        return self

    def taught(self, labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Labels (N, …) with the teacher's outputs (N, C) beside them; the labels alone, if the target has labels."""
        return labels

    def finished(self, logits: np.ndarray) -> np.ndarray:
        """The outputs (N, C) of a student that is written, from those that it has in training: the same, but for `Vectors`."""
        return logits

    @property
    def plain_objective(self) -> dict[str, Any]:
        """The objective of plain distillation: hard labels and teacher at equal weights, or the teacher alone if there are no labels."""
        hard, soft = (0.5, 0.5) if self.has_labels else (0.0, 1.0)
        return {"hard_label_weight": hard, "prediction": {**self.soft_loss, "weight": soft}}

    def no_labels(self, rows: int) -> np.ndarray:
        """The labels of rows without a label."""
        return np.repeat(self.no_label, rows)

    @property
    @abstractmethod
    def output_names(self) -> tuple[str, ...]:
        """The names of a model's outputs."""

    def places_among(self, labels: Sequence[str]) -> tuple[int, ...] | None:
        """The places of the outputs among those of a head that was trained elsewhere, in the target's order; None if it lacks one.

        A head may have more labels than the dataset has classes. Case and white space do not count. Labels that nobody has named, LABEL_0
        and so on, are those of classes that are called by their numbers, 0 and so on, and of no others: a guess could swap them.

        labels: of the head, by index.
        """
        by_name: dict[str, int] = {}
        for place, label in enumerate(labels):
            name = " ".join(label.split()).casefold()
            unnamed = UNNAMED.fullmatch(name)
            by_name.setdefault(unnamed[1] if unnamed else name, place)
        wanted = [" ".join(name.split()).casefold() for name in self.output_names]
        if len(by_name) < len(labels) or len(set(wanted)) < len(wanted) or not set(wanted) <= set(by_name):
            return None
        return tuple(by_name[name] for name in wanted)

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
        """The loss, a mean over the rows with a label; 0 if none has one. labelled: (L,) int64, which rows of the batch have one, None if
        all have.
        """
        if labelled is None:
            return self.loss(logits, labels, label_smoothing=label_smoothing, class_weights=class_weights)
        if not len(labelled):
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
        predicted = self.judged(metric, logits, labels)
        return {name: RANKINGS[name](labels, logits) if name in RANKINGS else SCORES[name](labels, predicted) for name in names}

    def judged(self, metric: str, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The predicted labels that a metric is taken of; see `decided`."""
        return self.decided(logits)

    @abstractmethod
    def shown(self, logits: np.ndarray) -> np.ndarray:
        """Logits (N, C) in the form that people read, (N, C): probabilities, or scores in the data's units."""

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

    def encoded(self, labels: Sequence[Any]) -> np.ndarray:
        """Labels as people give them (names, lists of names, or scores), in the form of `evaluate`: (N,).

        Raises:
            UsageError: a label is not one of the target's, or the target has no labels.
        """
        raise UsageError("this student gives vectors, which have no labels to be scored with; compare them with the teacher's vectors")

    def notes(self, train: np.ndarray, validation: np.ndarray, metric: str) -> list[str]:
        """Notes for people on the labels (N,) of these two splits, a sentence each. metric: that scores students."""
        return []

    @abstractmethod
    def features(self, labels: np.ndarray) -> dict[str, float]:
        """The dataset features (features/names.py) of all training labels (N,)."""


def relative_entropy(counts: np.ndarray, most: int) -> float:
    """The entropy of the shares, divided by that of `most` equal shares; 0 if `most` is 1."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum() / math.log(most)) if most > 1 else 0.0
