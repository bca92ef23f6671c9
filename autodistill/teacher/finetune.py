"""The teacher, trained once for a dataset and kept: the probe, fine-tuning, calibration, and what is said of it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autodistill.errors import ModelError
from autodistill.models.base import StudentModule, pick_device
from autodistill.models.fitting import cpu_threads
from autodistill.models.pooled import POOLINGS
from autodistill.models.sources import source_folder
from autodistill.recipe import ADDED, Teacher
from autodistill.storage import cache_folder, digest, lock, new_folder
from autodistill.tasks.base import Dataset, Split
from autodistill.teacher.calibration import calibration_error, fit_temperature
from autodistill.teacher.head import head_of, pooling_of, scale_logits, set_head, set_pooling
from autodistill.teacher.load import encode, pooling_of_files, save_teacher, source_fingerprint, untrained_teacher
from autodistill.teacher.probe import Probe, ProbeProgress, fit_probe, frozen_vectors
from autodistill.teacher.rivals import linear_score
from autodistill.teacher.training import Judged, Rows, TeacherProgress, Training

__all__ = ["FinetunedTeacher", "ProbeProgress", "TeacherProgress", "finetune_teacher"]

Progress = Callable[[TeacherProgress | ProbeProgress], None]
"""Is told after every batch how far a training is: the probe's first, then the steps of fine-tuning."""


@dataclass(frozen=True)
class FinetunedTeacher:
    """A teacher on the disk. score: on the validation split, in the dataset's metric; metrics: with the others.

    seconds: what its training took, at the time. reused: whether it was found, and not trained now.
    step: after how many steps it had the weights that it has, 0 where they are the start's; None where whole epochs were asked for.
    probe_score: of the frozen encoder's probe; None where the recipe asks for none. linear_score: of a linear model without an encoder
    (rivals.py); None of a random teacher. temperature: by which its logits were divided. calibration_error, calibration_error_before: the
    expected calibration error on the validation split, with and without that; None for scores.
    """

    folder: Path
    score: float
    metrics: dict[str, float]
    seconds: float
    reused: bool
    pooling: str = "model"
    step: int | None = None
    probe_score: float | None = None
    linear_score: float | None = None
    temperature: float = 1.0
    calibration_error: float | None = None
    calibration_error_before: float | None = None


def finetune_teacher(
    dataset: Dataset,
    teacher: Teacher,
    seed: int,
    *,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> FinetunedTeacher:
    """Train the teacher on the train split, or find it in the cache.

    With head_init `probe` the head starts as a linear model of the frozen encoder. Then AdamW, linear warm-up over a tenth of the steps and
    linear decay, batches of texts of like length; random crops and flips for images. What is best on the validation split is kept: of the
    epochs, or (max_steps) of the looks taken every few steps, the probe among them. With 0 steps or epochs nothing is fine-tuned.
    A few rows are trained on for as many epochs as make up teacher.min_steps.
    Regression: one output in the target's own units (it learns standardised targets, and their scale is folded into the head).
    With teacher.init `random` nothing is trained: the random weights are scored and kept.

    Two processes never train the same teacher at once: the second one waits and finds it.

    Raises:
        ModelError: the model, or its weights, cannot be had or do not fit.
        DivergedError: the loss is not finite.
        RunError: the cache cannot be written.
    """
    teacher = _in_full(teacher, len(dataset.train))
    fields = json.dumps(_fields(teacher), sort_keys=True)
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
            made = _train(dataset, teacher, model.to(where), tokenizer, seed, where, progress)
        about = {
            "dataset": dataset.name,
            "dataset_fingerprint": dataset.fingerprint,
            "teacher": teacher.model_dump(),
            "seed": seed,
            "metric": dataset.metric,
            **made,
            "seconds": round(time.perf_counter() - start, 3),
            "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "timm", "scikit-learn")},
        }
        with new_folder(folder) as aside:
            save_teacher(model.cpu(), tokenizer, dataset, teacher, aside)
            (aside / "teacher.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return _described(folder, about, reused=False)


def _kept(folder: Path) -> FinetunedTeacher | None:
    if not folder.exists():
        return None
    return _described(folder, json.loads((folder / "teacher.json").read_text(encoding="utf-8")), reused=True)


def _described(folder: Path, about: dict[str, Any], reused: bool) -> FinetunedTeacher:
    """What teacher.json says; teachers from before a field was added have its default."""
    names = {field.name for field in dataclasses.fields(FinetunedTeacher)} - {"folder", "reused"}
    return FinetunedTeacher(folder, reused=reused, **{name: about[name] for name in names & set(about)})


def _in_full(teacher: Teacher, rows: int) -> Teacher:
    """The teacher as it is trained on so many rows: equal trainings are one teacher."""
    if teacher.max_steps is not None:
        return teacher.model_copy(update={"epochs": 0, "min_steps": 0})
    needed = math.ceil(teacher.min_steps / math.ceil(rows / teacher.batch_size))
    epochs = max(teacher.epochs, needed) if teacher.epochs else 0
    return teacher.model_copy(update={"epochs": epochs, "min_steps": 0})


def _fields(teacher: Teacher) -> dict[str, Any]:
    """What names a training; fields that came later only where they say something new."""
    before = {name: value for (part, name), value in ADDED.items() if part == "teacher"}
    return {name: value for name, value in teacher.model_dump().items() if before.get(name, ...) != value}


def _train(
    dataset: Dataset,
    teacher: Teacher,
    model: StudentModule,
    tokenizer: Any,
    seed: int,
    device: torch.device,
    progress: Progress | None,
) -> dict[str, Any]:
    """Train the model in place, from its probe to its temperature; gives what is recorded of it."""
    if dataset.is_regression and head_of(model).bias is None:
        raise ModelError(f"teacher {teacher.model!r} has a head without bias, which regression needs; choose another teacher")
    mean, std = _scale(dataset)
    train, validation = (
        Rows(encode(dataset, split, tokenizer, teacher), split.labels, _targets(dataset, split, mean, std))
        for split in (dataset.train, dataset.validation)
    )
    training = Training(teacher, model, train, validation, dataset.modality, dataset.metric, dataset.outputs, seed, device, progress)
    found: dict[str, Any] = {}
    if teacher.init == "random":
        said = training.judge()
    else:
        probe = _probe(training) if teacher.head_init == "probe" or _undecided(model, teacher) else None
        said, step = _fine_tuned(training, probe)
        found = {"step": step, "probe_score": probe.said.score if probe else None, "linear_score": linear_score(dataset)}
        if teacher.calibration == "temperature" and not dataset.is_regression:
            found |= _calibrate(model, said.logits.numpy(), dataset.validation.labels)
    if dataset.is_regression:
        scale_logits(model, std, mean)
    return found | {"score": said.score, "metrics": said.metrics, "pooling": pooling_of(model)}


def _probe(training: Training) -> Probe:
    """The best probe of the poolings that are to choose from; the model pools as it does from then on."""
    teacher, model = training.teacher, training.model
    poolings = POOLINGS if _undecided(model, teacher) else (pooling_of(model),)
    total, done = len(training.train) + len(training.validation), 0

    def read(rows: int) -> None:
        nonlocal done
        done += rows
        if training.progress:
            training.progress(ProbeProgress(total, done))

    vectors, held = (frozen_vectors(model, rows.inputs, poolings, training.device, read) for rows in (training.train, training.validation))
    probes = [
        fit_probe(vectors[name], training.train, held[name], training.validation, training.metric, training.outputs, name)
        for name in poolings
    ]
    best = max(probes, key=lambda probe: (probe.said.score, probe.said.likelihood))
    set_pooling(model, best.pooling)
    return best


def _fine_tuned(training: Training, probe: Probe | None) -> tuple[Judged, int]:
    """Fine-tune as the recipe says, from the probe where it says so."""
    teacher, start = training.teacher, None
    if probe is not None and teacher.head_init == "probe":
        set_head(training.model, probe.weight, probe.bias)
        start = probe.said
    if training.steps == 0:
        return start or training.judge(), 0
    return training.whole_epochs(start) if teacher.max_steps is None else training.until_no_gain(start)


def _calibrate(model: StudentModule, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Divide the model's logits by the temperature that fits the validation rows."""
    temperature = fit_temperature(logits, labels)
    scale_logits(model, 1 / temperature)
    errors = {
        "calibration_error": calibration_error(logits / temperature, labels),
        "calibration_error_before": calibration_error(logits, labels),
    }
    return errors | {"temperature": temperature}


def _undecided(model: StudentModule, teacher: Teacher) -> bool:
    """Whether validation has to choose the pooling: the recipe leaves it open, and so do the model's files."""
    return (
        teacher.pooling == "auto"
        and pooling_of(model) in POOLINGS
        and pooling_of_files(source_folder(teacher.model, weights=False)) is None
    )


def _scale(dataset: Dataset) -> tuple[float, float]:
    """Mean and standard deviation of the scores to train on; 0 and 1 of classes."""
    if not dataset.is_regression:
        return 0.0, 1.0
    labels = torch.from_numpy(np.ascontiguousarray(dataset.train.labels)).float()
    return float(labels.mean()), float(labels.std(correction=0)) or 1.0


def _targets(dataset: Dataset, split: Split, mean: float, std: float) -> Tensor:
    labels = torch.from_numpy(np.ascontiguousarray(split.labels))
    return (labels.float() - mean) / std if dataset.is_regression else labels.long()


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from generators seeded for the block, and leave the process's own as they were."""
    with torch.random.fork_rng([torch.cuda.current_device()] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
