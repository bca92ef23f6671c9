"""A teacher's fine-tuning, step by step: from its initial weights to the best weights on the validation split."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autodistill.errors import DivergedError
from autodistill.models.base import Batch, Inputs, StudentModule, mixed_precision, to_device
from autodistill.models.fitting import parameter_groups, training_batches, validation_logits, warmup_and_decay
from autodistill.recipe import Teacher
from autodistill.tasks.base import Dataset

WARMUP = 0.1
WEIGHT_DECAY = 0.01
CLIP = 1.0
WATCHED = 1000
"""How many validation rows are scored during training; at its end all of them are."""
LOOK = 40
"""Steps between two evaluations, where they cost little."""
RESAMPLED = 100
"""How often the validation rows are drawn again to see how much a difference of two scores owes to chance."""
CLEARLY = 2.0
"""How many standard errors an earlier look has to be better by than the last one. With one, a single row would decide."""
FLOOR = 1.0
"""How many standard errors the start has to be better by than what was trained: fine-tuning gains some points on most sets."""


@dataclass(frozen=True)
class TeacherProgress:
    """Progress of fine-tuning. score: on the validation split at the last evaluation, None before the first. seconds: since the start."""

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    score: float | None
    seconds: float


@dataclass(frozen=True)
class Judged:
    """A model's predictions for the validation rows. logits: (N, C), on the training scale; score: in the dataset's own metric.

    likelihood: minus the loss; of two equal scores the one with the higher likelihood is better.
    """

    logits: Tensor
    metrics: dict[str, float]
    score: float
    likelihood: float


@dataclass(frozen=True)
class Rows:
    """Rows as a teacher reads them. labels: (N,), the dataset's; learned: (N,), of `Target.to_learn`."""

    inputs: Inputs
    labels: np.ndarray
    learned: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Training:
    """One fine-tuning: what it needs, so that its steps can be read one by one."""

    dataset: Dataset
    teacher: Teacher
    model: StudentModule
    train: Rows
    validation: Rows
    seed: int
    device: torch.device
    progress: Callable[[Any], None] | None = None

    def __post_init__(self) -> None:
        self.per_epoch = math.ceil(len(self.train) / self.teacher.batch_size)
        self.cropping = np.random.default_rng(self.seed)
        weights = None if self.teacher.class_weights == "none" else self.dataset.target.balanced_weights(self.train.labels)
        self.class_weights = None if weights is None else torch.from_numpy(weights).to(self.device)
        self.steps = self.teacher.epochs * self.per_epoch if self.teacher.max_steps is None else self.teacher.max_steps

    def judge(self, rows: Tensor | None = None) -> Judged:
        """Predict and score the validation rows, or some of them."""
        return self.judged(validation_logits(self.model, self.validation.inputs, self.dataset.num_outputs, self.device, rows), rows)

    def judged(self, logits: Tensor, rows: Tensor | None = None) -> Judged:
        """Score the logits (N, C) of the validation rows, or of some of them, against their labels."""
        labels, learned = self.validation.labels, self.validation.learned
        if rows is not None:
            labels, learned = labels[rows.numpy()], learned[rows]
        metrics = self.dataset.target.evaluate(self.dataset.metric, logits.numpy(), labels)
        return Judged(logits, metrics, metrics[self.dataset.metric], -float(self.dataset.target.loss(logits, learned)))

    def whole_epochs(self, start: Judged | None) -> tuple[Judged, int]:
        """Train for the recipe's epochs, and leave the best epoch's weights in the model. See `until_no_gain`."""
        best, weights, at = start, _copy(self.model), 0
        for epoch, judged in enumerate(self._looks(self.per_epoch, None), 1):
            if best is None or judged.score > best.score:
                best, weights, at = judged, _copy(self.model), epoch * self.per_epoch
        self.model.load_state_dict(weights)
        return best or self.judge(), at

    def until_no_gain(self, start: Judged | None) -> tuple[Judged, int]:
        """Train until the score on the validation split no longer rises, and leave the best weights in the model.

        If all steps were taken, the last weights are kept unless earlier ones are better by `CLEARLY` standard errors: the best of many
        looks at few rows is the luckiest one (studies/transfer/findings.md, "Few validation rows").

        start: the scores of the initial weights, to keep these if they are better by `FLOOR` standard errors; None to never keep them. They
            do not count for the patience: with many labels a probe is so good that the first hundreds of steps are a loss.

        Returns:
            The scores of the kept weights on all validation rows, and the step after which they were reached (0: the start).

        Raises:
            DivergedError: the loss or the model's outputs are not finite.
        """
        watched = self._watched()
        first = _copy(self.model)
        best, weights, at = None, first, 0
        every = self._interval(len(watched))
        for look, judged in enumerate(self._looks(every, watched), 1):
            step = min(look * every, self.steps)
            if best is None or (judged.score, judged.likelihood) > (best.score, best.likelihood):
                best, weights, at = judged, _copy(self.model), step
            if step - at >= self.teacher.patience:
                break
        assert best is not None, "a fine-tuning has at least one step"
        if step == self.steps and not self._is_better(best, judged, CLEARLY, watched):
            weights, at = _copy(self.model), step
        self.model.load_state_dict(weights)
        final = self.judge()
        if start is not None and self._is_better(start, final, FLOOR):
            self.model.load_state_dict(first)
            return start, 0
        return final, at

    def _is_better(self, one: Judged, other: Judged, errors: float, rows: Tensor | None = None) -> bool:
        """Whether one score on the validation rows, or on some of them, exceeds another by so many standard errors of the difference.

        The standard error is that of the bootstrap (Efron 1979): the deviation of the difference over rows that are drawn again.
        """
        gain = one.score - other.score
        if gain <= 0:
            return False
        metric, labels = self.dataset.metric, self.validation.labels if rows is None else self.validation.labels[rows.numpy()]
        rng = np.random.default_rng(self.seed)

        def score(judged: Judged, drawn: np.ndarray) -> float:
            return self.dataset.target.evaluate(metric, judged.logits.numpy()[drawn], labels[drawn])[metric]

        draws = (rng.integers(0, len(labels), len(labels)) for _ in range(RESAMPLED))
        return gain > errors * float(np.std([score(one, drawn) - score(other, drawn) for drawn in draws]))

    def _looks(self, every: int, rows: Tensor | None) -> Iterator[Judged]:
        """Take the steps, and score the model on the validation rows after each `every` steps and after the last."""
        optimizer = self._optimizer()
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_and_decay(self.steps, WARMUP))
        score, began = None, time.perf_counter()
        for step, batch in enumerate(self._batches(), 1):
            self._to_training()
            loss = self._loss(batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            if self.progress or step % 20 == 0:  # reading the loss waits for the GPU, so it is read at every step only if someone listens
                self._tell(step, loss.item(), score, began)
            if step % every == 0 or step == self.steps:
                judged = self.judge(rows)
                score = judged.score
                if not math.isfinite(score):
                    raise DivergedError(f"the teacher's outputs are not finite after step {step}; lower teacher.learning_rate")
                if self.progress:
                    self._tell(step, loss.item(), score, began)
                yield judged

    def _to_training(self) -> None:
        """Training mode; batch normalisation stays in evaluation mode where the recipe says so."""
        self.model.train()
        if self.teacher.batch_norm == "frozen" and self.teacher.init == "pretrained":
            for module in self.model.modules():
                if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
                    module.eval()

    def _batches(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        left = self.steps
        while left > 0:
            batches = training_batches(self.train.inputs.lengths, len(self.train), self.teacher.batch_size, generator)[:left]
            left -= len(batches)
            yield from batches

    def _tell(self, step: int, loss: float, score: float | None, began: float) -> None:
        if not math.isfinite(loss):
            raise DivergedError(f"the teacher's loss is {loss} at step {step}; lower teacher.learning_rate ({self.rate:.3g})")
        if self.progress:
            epoch, epochs = (math.ceil(count / self.per_epoch) for count in (step, self.steps))
            self.progress(TeacherProgress(step, self.steps, epoch, epochs, loss, score, time.perf_counter() - began))

    def _watched(self) -> Tensor:
        """The validation rows that are scored during training."""
        rows = torch.randperm(len(self.validation), generator=torch.Generator().manual_seed(self.seed))[:WATCHED]
        return rows.sort().values

    def _interval(self, watched: int) -> int:
        """Steps between evaluations: a quarter of the patience, at most `LOOK`, but more if they would take over a third of the time."""
        patience = self.teacher.patience
        return min(patience, max(1, min(patience // 4, LOOK), math.ceil(watched / self.teacher.batch_size)))

    @property
    def rate(self) -> float:
        """The learning rate of all but the head's last layer."""
        asked = self.teacher.learning_rate
        return usual_rate(self.model) if asked == "auto" else asked

    def _optimizer(self) -> torch.optim.Optimizer:
        """AdamW (Loshchilov, Hutter 2019), the head's last layer with its own learning rate if the recipe has one."""
        rate, of_head = self.rate, self.teacher.head_learning_rate
        apart = [] if of_head is None else list(self.model.output_layer.parameters())
        places = {id(item) for item in apart}
        rest = [item for item in self.model.parameters() if item.requires_grad and id(item) not in places]
        groups = parameter_groups(rest, rate, WEIGHT_DECAY)
        if of_head is not None:
            groups += parameter_groups(apart, of_head, WEIGHT_DECAY)
        return torch.optim.AdamW(groups, lr=rate, fused=True)

    def _loss(self, rows: Tensor) -> Tensor:
        batch: Batch = self.dataset.modality.training_batch(self.train.inputs, rows, self.cropping)
        with mixed_precision(self.model, self.device):
            logits = self.model(to_device(batch, self.device)).logits
        return self.dataset.target.loss(logits, self.train.learned[rows].to(self.device), class_weights=self.class_weights)


def usual_rate(model: nn.Module) -> float:
    """The learning rate for an encoder that nobody has chosen one for: 1e-4 up to a width of 384, 3e-5 at 768, 1.8e-5 at 1,024.

    The first two are the text space's own for all-MiniLM-L6-v2 and all-mpnet-base-v2; larger models need less (Devlin et al. 2019 and Liu
    et al. 2019 fine-tune those of 1,024 with 1e-5 to 3e-5). An encoder without a width, such as an image network, has 1e-4.
    """
    width = getattr(getattr(getattr(model, "model", None), "config", None), "hidden_size", None)
    return 1e-4 if width is None else 1e-4 * min(1.0, (384 / width) ** 1.75)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
