"""The teacher, fine-tuned once for a dataset and kept."""

from __future__ import annotations

import importlib.metadata
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autodistill.augment.image import flip_crop
from autodistill.errors import DivergedError, ModelError
from autodistill.models.base import Batch, StudentModule, pick_device, to_device
from autodistill.models.fitting import cpu_threads, evaluate, make_optimizer, training_batches, warmup_and_decay
from autodistill.models.image import EncodedImages, normalise
from autodistill.models.text import EncodedText
from autodistill.models.transformer import head_layer
from autodistill.recipe import Teacher
from autodistill.storage import cache_folder, digest, lock, new_folder
from autodistill.tasks.base import Dataset
from autodistill.teacher.load import encode, save_teacher, source_fingerprint, untrained_teacher

WARMUP = 0.1
WEIGHT_DECAY = 0.01
CLIP = 1.0


@dataclass(frozen=True)
class TeacherProgress:
    """How far fine-tuning is. score: on the validation split after the last whole epoch, None before. seconds: since the start."""

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    score: float | None
    seconds: float


@dataclass(frozen=True)
class FinetunedTeacher:
    """A teacher on the disk. score: its best epoch's, on the validation split, in the dataset's metric; metrics: with the others.

    seconds: what the fine-tuning took, at the time. reused: whether it was found, and not trained now.
    """

    folder: Path
    score: float
    metrics: dict[str, float]
    seconds: float
    reused: bool


def finetune_teacher(
    dataset: Dataset,
    teacher: Teacher,
    seed: int,
    *,
    device: str = "auto",
    threads: int | None = None,
    progress: Callable[[TeacherProgress], None] | None = None,
) -> FinetunedTeacher:
    """Fine-tune the teacher on the train split, or find it in the cache.

    AdamW, linear warm-up over a tenth of the steps and linear decay, batches of texts of like length; random crops and flips for
    images. Every epoch is scored on the validation split and the best one is kept. With 0 epochs the model is kept as it comes. A few
    rows are trained on for as many epochs as make up teacher.min_steps.
    Regression: one output in the target's own units (it learns standardised targets, and their scale is folded into the head).
    With teacher.init `random` nothing is trained: the random weights are scored and kept.

    Two processes never train the same teacher at once: the second one waits and finds it.

    Raises:
        ModelError: the model, or its weights, cannot be had or do not fit.
        DivergedError: the loss is not finite.
        RunError: the cache cannot be written.
    """
    teacher = _whole_epochs(teacher, len(dataset.train))
    fields = json.dumps(teacher.model_dump(exclude={"min_steps"}), sort_keys=True)
    key = digest("teacher-1", dataset.fingerprint, dataset.metric, fields, str(seed), source_fingerprint(dataset, teacher))
    folder = cache_folder() / "teachers" / key
    found = _kept(folder)
    if found is not None:
        return found
    with lock(folder):
        found = _kept(folder)
        if found is not None:
            return found
        start = time.perf_counter()
        where = pick_device(device)
        with _seeded(seed, where), cpu_threads(threads):
            model, tokenizer = untrained_teacher(dataset, teacher)
            train, validation = (encode(dataset, split, tokenizer, teacher) for split in (dataset.train, dataset.validation))
            metrics = _Run(dataset, teacher, model, train, validation, seed, where, progress).train()
        about = {
            "dataset": dataset.name,
            "dataset_fingerprint": dataset.fingerprint,
            "teacher": teacher.model_dump(),
            "seed": seed,
            "metric": dataset.metric,
            "score": metrics[dataset.metric],
            "metrics": metrics,
            "seconds": round(time.perf_counter() - start, 3),
            "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "timm")},
        }
        with new_folder(folder) as aside:
            save_teacher(model.cpu(), tokenizer, dataset, teacher, aside)
            (aside / "teacher.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return FinetunedTeacher(folder, metrics[dataset.metric], metrics, float(about["seconds"]), reused=False)  # type: ignore[arg-type]


def _whole_epochs(teacher: Teacher, rows: int) -> Teacher:
    """The teacher with the epochs that its min_steps ask for on so many rows: equal trainings are one teacher."""
    needed = math.ceil(teacher.min_steps / math.ceil(rows / teacher.batch_size))
    epochs = max(teacher.epochs, needed) if teacher.epochs else 0
    return teacher.model_copy(update={"epochs": epochs, "min_steps": 0})


def _kept(folder: Path) -> FinetunedTeacher | None:
    if not folder.exists():
        return None
    about = json.loads((folder / "teacher.json").read_text(encoding="utf-8"))
    return FinetunedTeacher(folder, about["score"], about["metrics"], about["seconds"], reused=True)


@dataclass
class _Run:
    """One fine-tuning: what it needs, so that its steps can be read one by one."""

    dataset: Dataset
    teacher: Teacher
    model: StudentModule
    inputs: EncodedText | EncodedImages
    validation: EncodedText | EncodedImages
    seed: int
    device: torch.device
    progress: Callable[[TeacherProgress], None] | None

    def train(self) -> dict[str, float]:
        """Train the model in place and leave the best epoch's weights in it; give that epoch's metrics."""
        if not self.dataset.is_image:
            head_layer(self.model, self.dataset.outputs)
        self.model.to(self.device)
        labels, mean, std = self._targets()
        epochs = self.teacher.epochs
        if self.teacher.init == "random":
            self._to_target_units(mean, std)
        if epochs == 0 or self.teacher.init == "random":
            return evaluate(self.model, self.validation, self.dataset, self.device)
        generator = torch.Generator().manual_seed(self.seed)
        steps = epochs * math.ceil(len(self.inputs) / self.teacher.batch_size)
        optimizer = make_optimizer([self.model], self.teacher.learning_rate, WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_and_decay(steps, WARMUP))
        lengths = self.inputs.lengths if isinstance(self.inputs, EncodedText) else None
        cropping = np.random.default_rng(self.seed)
        best: tuple[float, dict[str, float], dict[str, Tensor]] | None = None
        score, step, start = None, 0, time.perf_counter()
        for epoch in range(1, epochs + 1):
            self.model.train()
            for rows in training_batches(lengths, len(self.inputs), self.teacher.batch_size, generator):
                loss = self._loss(rows, labels[rows].to(self.device), cropping)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
                optimizer.step()
                schedule.step()
                step += 1
                if self.progress or step % 20 == 0:  # reading the loss waits for a GPU, so not at every step for nothing
                    value = loss.item()
                    if not math.isfinite(value):
                        raise DivergedError(
                            f"the teacher's loss is {value} at step {step}; lower teacher.learning_rate ({self.teacher.learning_rate})"
                        )
                    if self.progress:
                        self.progress(TeacherProgress(step, steps, epoch, epochs, value, score, time.perf_counter() - start))
            metrics = evaluate(self.model, self.validation, self.dataset, self.device)
            score = metrics[self.dataset.metric]
            if not math.isfinite(score):
                raise DivergedError(f"the teacher gives no finite numbers after epoch {epoch}; lower teacher.learning_rate")
            if best is None or score > best[0]:
                best = score, metrics, {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
            if self.progress:
                self.progress(TeacherProgress(step, steps, epoch, epochs, loss.item(), score, time.perf_counter() - start))
        assert best is not None
        self.model.load_state_dict(best[2])
        self._to_target_units(mean, std)
        return best[1]

    def _to_target_units(self, mean: float, std: float) -> None:
        """Fold the scale of a regression's targets, which are learned standardised, into the head."""
        if self.dataset.is_regression:
            _, head = head_layer(self.model, 1)
            with torch.no_grad():
                head.weight.mul_(std)
                head.bias.mul_(std).add_(mean)

    def _targets(self) -> tuple[Tensor, float, float]:
        labels = torch.from_numpy(np.ascontiguousarray(self.dataset.train.labels))
        if not self.dataset.is_regression:
            return labels.long(), 0.0, 1.0
        if head_layer(self.model, 1)[1].bias is None:
            raise ModelError(f"teacher {self.teacher.model!r} has a head without bias, which regression needs; choose another teacher")
        labels = labels.float()
        mean, std = float(labels.mean()), float(labels.std(correction=0)) or 1.0
        return (labels - mean) / std, mean, std

    def _loss(self, rows: Tensor, labels: Tensor, cropping: np.random.Generator) -> Tensor:
        batch: Batch
        if isinstance(self.inputs, EncodedImages):
            batch = normalise(flip_crop(self.inputs.images[rows.numpy()], cropping), self.inputs.mean, self.inputs.std)
        else:
            batch = self.inputs.batch(rows)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.model(to_device(batch, self.device)).logits.float()
        if self.dataset.is_regression:
            return F.mse_loss(logits.squeeze(1), labels)
        return F.cross_entropy(logits, labels)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from generators seeded for the block, and leave the process's own as they were."""
    with torch.random.fork_rng([torch.cuda.current_device()] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
