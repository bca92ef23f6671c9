"""Training the teacher, once for a dataset: the probe, fine-tuning, calibration, and the facts that are recorded."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autodistill.cache import ensure, new_cached_folder
from autodistill.errors import ModelError
from autodistill.models.base import StudentModule, pick_device
from autodistill.models.fitting import cpu_threads
from autodistill.models.pooled import APART, pooling_of_files
from autodistill.recipe import ADDED, Teacher
from autodistill.storage import cache_folder, digest
from autodistill.target import Scaling
from autodistill.tasks.base import Dataset
from autodistill.teacher.head import pooling_of, set_head, set_pooling
from autodistill.teacher.load import encode, save_teacher, source_fingerprint, untrained_teacher
from autodistill.teacher.probe import Probe, ProbeProgress, best_probe
from autodistill.teacher.rivals import linear_score
from autodistill.teacher.training import Judged, Rows, TeacherProgress, Training

__all__ = ["FinetunedTeacher", "ProbeProgress", "TeacherProgress", "finetune_teacher"]

FACTS = "teacher.json"
"""The file in a teacher's folder with its recorded facts."""

Progress = Callable[[TeacherProgress | ProbeProgress], None]
"""Called after every batch with the progress of the training: first of the probe, then of fine-tuning."""


@dataclass(frozen=True)
class FinetunedTeacher:
    """A teacher on the disk. score: on the validation split, in the dataset's metric; metrics: this one and the others.

    seconds: how long its training took, when it was trained. reused: whether it came from the cache instead of being trained now.
    step: after how many steps its weights were reached, 0 for the weights at the start; None if whole epochs were asked for.
    probe_score: of the frozen encoder's probe; None if the recipe asks for no probe. linear_score: of a linear model without an encoder
    (rivals.py); None for a random teacher. temperature: what its logits were divided by. calibration_error, calibration_error_before:
    the expected calibration error on the validation split, with and without the temperature; None for scores.
    member_scores: of an ensemble's members, on the same rows.
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
    member_scores: tuple[float, ...] = ()


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

    With head_init `probe` the head starts as a linear model of the frozen encoder, with `own` as the model brings it. Fine-tuning uses
    AdamW with linear warm-up over a tenth of the steps, then linear decay; batches of texts of similar length; random crops and flips for
    images. The weights that are best on the validation split are kept: the best epoch or (with max_steps) the best of the evaluations after
    every few steps, which include the probe, or the last ones if these are not clearly worse (`Training.until_no_gain`). With 0 steps or
    epochs nothing is fine-tuned. On few rows there are as many epochs as make up teacher.min_steps; on many rows at most max_steps.
    Regression: one output in the target's own units (the model learns standardised targets, and the scale is folded into the head).
    With teacher.init `random` nothing is trained: the random weights are scored and kept.

    Two processes never train the same teacher at once: the second one waits and then finds it in the cache.

    Raises:
        ModelError: the model, or its weights, cannot be fetched or do not fit.
        DivergedError: the loss is not finite.
        RunError: the cache cannot be written.
    """
    assert teacher.members == 1, "an ensemble is trained by trained_teacher"
    teacher = _in_full(teacher, len(dataset.train))
    fields = json.dumps(_fields(teacher), sort_keys=True)
    tried = _to_try(dataset, teacher)
    ways = [f"{len(tried)} ways"] if len(tried) > 1 else []
    key = digest("teacher-3", dataset.fingerprint, dataset.metric, fields, str(seed), source_fingerprint(dataset, teacher), *ways)
    folder = cache_folder() / "teachers" / key

    def train() -> dict[str, Any]:
        start = time.perf_counter()
        where = pick_device(device)
        with cpu_threads(threads):
            model, tokenizer, recorded = _best_of(dataset, tried, seed, where, progress)
            if teacher.init != "random":
                recorded["linear_score"] = linear_score(dataset)
        about = {
            **facts_of(dataset, teacher, seed),
            **recorded,
            "seconds": round(time.perf_counter() - start, 3),
            "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "timm", "scikit-learn")},
        }
        with new_cached_folder(folder) as aside:
            save_teacher(model.cpu(), tokenizer, dataset, teacher, aside)
            (aside / FACTS).write_text(json.dumps(about, indent=1), encoding="utf-8")
        return about

    return kept_or_made(folder, train)


def facts_of(dataset: Dataset, teacher: Teacher, seed: int) -> dict[str, Any]:
    """The recorded facts that say which teacher of which rows it is."""
    return {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "teacher": teacher.model_dump(),
        "seed": seed,
        "metric": dataset.metric,
    }


def kept_or_made(folder: Path, make: Callable[[], dict[str, Any]]) -> FinetunedTeacher:
    """The teacher in a folder of the cache. If there is none, or it is damaged, `make` writes its files and returns its facts.

    If several processes want it at once, one makes it and the others wait.

    Raises:
        RunError: the cache cannot be written.
    """
    made: list[dict[str, Any]] = []
    ensure(folder, lambda: made.append(make()))
    facts = made[0] if made else json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return _described(folder, facts, reused=not made)


def _described(folder: Path, about: dict[str, Any], reused: bool) -> FinetunedTeacher:
    """The teacher with these recorded facts. A field that an older version did not record has its default."""
    names = {field.name for field in dataclasses.fields(FinetunedTeacher)} - {"folder", "reused"}
    fields = {name: about[name] for name in names & set(about)}
    return FinetunedTeacher(folder, reused=reused, **fields | {"member_scores": tuple(fields.get("member_scores", ()))})


def _in_full(teacher: Teacher, rows: int) -> Teacher:
    """The teacher with its length of training on this many rows, in epochs or in steps, written in full. Equal trainings become equal."""
    per_epoch = math.ceil(rows / teacher.batch_size)
    if teacher.max_steps is not None:
        steps = min(teacher.max_steps, max(teacher.epochs * per_epoch, teacher.min_steps))
        return teacher.model_copy(update={"epochs": 0, "min_steps": 0, "max_steps": steps})
    epochs = max(teacher.epochs, math.ceil(teacher.min_steps / per_epoch)) if teacher.epochs else 0
    return teacher.model_copy(update={"epochs": epochs, "min_steps": 0})


def _fields(teacher: Teacher) -> dict[str, Any]:
    """The fields that identify a training. Fields that were added later count only if they differ from their default."""
    before = {name: value for (part, name), value in ADDED.items() if part == "teacher"}
    return {name: value for name, value in teacher.model_dump().items() if before.get(name, ...) != value}


def _to_try(dataset: Dataset, teacher: Teacher) -> tuple[Teacher, ...]:
    """The teachers to train. The best one on the validation split is kept.

    With pooling `auto`, a pretrained encoder is trained in two ways: it reads a pair as one text, or each text alone. Which is better
    depends on the task: reading them alone for similarity, reading them together if one text answers the other.
    """
    if teacher.pooling == "auto" and teacher.init == "pretrained" and dataset.modality.reads_apart(teacher):
        return teacher, teacher.model_copy(update={"pooling": APART})
    return (teacher,)


def _best_of(
    dataset: Dataset, tried: Sequence[Teacher], seed: int, device: torch.device, progress: Progress | None
) -> tuple[StudentModule, Any, dict[str, Any]]:
    """The best teacher of those to try: the module, its tokenizer, and the facts to record."""
    made: list[tuple[StudentModule, Any, dict[str, Any]]] = []
    for teacher in tried:
        with _seeded(seed, device):
            model, tokenizer = untrained_teacher(dataset, teacher)
            made.append((model, tokenizer, _train(dataset, teacher, model.to(device), tokenizer, seed, device, progress)))
    best = max(made, key=lambda one: one[2]["score"])
    if len(made) > 1:
        best[2]["score_by_pooling"] = {facts["pooling"]: facts["score"] for _, _, facts in made}
    return best


def _train(
    dataset: Dataset,
    teacher: Teacher,
    model: StudentModule,
    tokenizer: Any,
    seed: int,
    device: torch.device,
    progress: Progress | None,
) -> dict[str, Any]:
    """Train the model in place, from its probe to its temperature. Returns the facts to record."""
    scaling = dataset.target.scaling(dataset.train.labels)
    if scaling != Scaling() and model.output_layer.bias is None:
        raise ModelError(f"teacher {teacher.model!r} has a head without bias, which scores need; choose another teacher")
    train, validation = (
        Rows(encode(dataset, split, tokenizer, teacher), split.labels, dataset.target.to_learn(split.labels, scaling))
        for split in (dataset.train, dataset.validation)
    )
    training = Training(dataset, teacher, model, train, validation, seed, device, progress)
    if teacher.head_init == "own" and scaling != Scaling():
        _to_learned_scale(training)
    recorded: dict[str, Any] = {}
    if teacher.init == "random":
        scaling.fold_into(model.output_layer)
        judged = training.judge()
    else:
        undecided = _undecided(dataset, teacher)
        probe = best_probe(training, undecided or (pooling_of(model),)) if teacher.head_init == "probe" or undecided else None
        judged, step = _fine_tuned(training, probe)
        recorded = {"step": step, "probe_score": probe.judged.score if probe else None}
        calibration = dataset.target.calibrated(judged.logits.numpy(), validation.labels)
        if calibration is not None and teacher.calibration == "temperature":
            Scaling(scale=1 / calibration.temperature).fold_into(model.output_layer)
            recorded |= {"temperature": calibration.temperature, "calibration_error": calibration.error}
        if calibration is not None:
            recorded["calibration_error_before"] = calibration.error_before
        scaling.fold_into(model.output_layer)
    return recorded | {"score": judged.score, "metrics": judged.metrics, "pooling": pooling_of(model)}


def _to_learned_scale(training: Training) -> None:
    """Give a head that was trained elsewhere, maybe on scores in other units, outputs on the scale that is learned.

    By least squares on the validation rows, as the temperature of logits is chosen.
    """
    given, wanted = training.judge().logits.numpy().ravel(), training.validation.learned.numpy().ravel()
    slope, intercept = np.polyfit(given, wanted, 1) if np.ptp(given) else (0.0, wanted.mean())
    Scaling(float(intercept), float(slope)).fold_into(training.model.output_layer)


def _undecided(dataset: Dataset, teacher: Teacher) -> tuple[str, ...]:
    """The poolings to choose from on the validation split; empty if the recipe or the model's files decide."""
    if teacher.pooling != "auto" or not dataset.modality.poolings:
        return ()
    return () if pooling_of_files(dataset.modality.source(teacher)) else dataset.modality.poolings


def _fine_tuned(training: Training, probe: Probe | None) -> tuple[Judged, int]:
    """Fine-tune as the recipe says, from the probe if the recipe has one."""
    teacher, start = training.teacher, None
    if probe is not None:
        set_pooling(training.model, probe.pooling)
    if probe is not None and teacher.head_init == "probe":
        set_head(training.model, probe.weight, probe.bias)
        start = probe.judged
    if training.steps == 0:
        return start or training.judge(), 0
    return training.whole_epochs(start) if teacher.max_steps is None else training.until_no_gain(start)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the random generators for the block, and restore the process's own state afterwards."""
    with torch.random.fork_rng([torch.cuda.current_device()] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
