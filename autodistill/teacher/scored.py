"""A black-box teacher: not a network, but a file with its scores for texts or images."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import Tensor

from autodistill.cache import ensure, new_cached_folder
from autodistill.modality import Modality
from autodistill.models.base import Inputs, Outputs
from autodistill.recipe import Teacher
from autodistill.storage import cache_folder, digest
from autodistill.tasks.base import Dataset
from autodistill.tasks.scores import TeacherScores
from autodistill.teacher.load import save_teacher, source_fingerprint, untrained_teacher
from autodistill.teacher.plan import TeacherShape

SCORES = "scores.safetensors"
ABOUT = "teacher.json"
LEAST_JUDGED = 50
"""The least number of scored rows of a split for which the teacher is judged."""


@dataclass(frozen=True)
class ScoredTeacher:
    """A file of scores, matched with a dataset.

    folder: the scores of every training row, and the files of the encoder that students take their tokenizer and initial weights from.
    score: of the file on the validation rows that it has, None if these are fewer than LEAST_JUDGED. train, unlabelled, validation: the
    share of these rows that have scores, None if there are no such rows.
    """

    folder: Path
    score: float | None
    train: float
    unlabelled: float | None
    validation: float

    @property
    def coverage(self) -> str:
        """The shares in words."""
        parts = {"labelled": self.train, "unlabelled": self.unlabelled, "validation": self.validation}
        return ", ".join(f"{share:.1%} of the {name} rows" for name, share in parts.items() if share is not None)


def scored_teacher(dataset: Dataset, teacher: Teacher, scores: TeacherScores) -> ScoredTeacher:
    """Match a file's scores with the rows of a dataset, and write them as a teacher's folder.

    No teacher is trained or run. teacher.model names the encoder that students take their tokenizer from and, if they start from a
    teacher, their initial weights.

    Raises:
        ModelError: the encoder cannot be fetched.
        RunError: the cache cannot be written.
    """
    key = digest("scored-1", dataset.rows_fingerprint, dataset.metric, scores.fingerprint, source_fingerprint(dataset, teacher))
    folder = cache_folder() / "teachers" / key

    def write() -> None:
        rows = dataset.all_training_rows
        row_keys = dataset.modality.row_keys
        logits, is_scored = scores.of(row_keys(rows))
        held, is_held = scores.of(row_keys(dataset.validation))
        judged = int(is_held.sum()) >= LEAST_JUDGED
        metrics = dataset.target.evaluate(dataset.metric, held[is_held], dataset.validation.labels[is_held]) if judged else {}
        labelled, others = is_scored[: len(dataset.train)], is_scored[len(dataset.train) :]
        about = {
            "score": metrics.get(dataset.metric),
            "train": float(labelled.mean()),
            "unlabelled": float(others.mean()) if len(others) else None,
            "validation": float(is_held.mean()),
        }
        model, tokenizer = untrained_teacher(dataset, teacher)
        with new_cached_folder(folder) as aside:
            save_teacher(model, tokenizer, dataset, teacher, aside)
            save_file({"logits": logits, "is_scored": is_scored.astype(np.uint8)}, aside / SCORES)
            (aside / ABOUT).write_text(json.dumps(about), encoding="utf-8")

    ensure(folder, write)
    return ScoredTeacher(folder, **json.loads((folder / ABOUT).read_text(encoding="utf-8")))


class ScoredOutputs:
    """The scores of the training rows as teacher outputs: only logits. Augmented copies have the scores of their original rows.

    is_scored: (N,) bool, which rows have scores; the logits of the others are 0 and have no meaning.
    """

    def __init__(self, folder: Path, inputs: Inputs, modality: Modality) -> None:
        stored = load_file(folder / SCORES)
        self.logits, self.is_scored = stored["logits"], stored["is_scored"].bool()
        self.shape = TeacherShape(modality, self.logits.shape[1], 0, ())
        assert len(self.logits) == len(inputs), "the scores are of other rows"

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def bytes(self) -> int:
        """Of the scores."""
        return self.logits.nbytes

    def to(self, device: torch.device) -> ScoredOutputs:
        """The same scores on a device; `is_scored` stays on the CPU."""
        moved = copy.copy(self)
        moved.logits = self.logits.to(device)
        return moved

    def batch(self, rows: Tensor, length: int | None = None) -> Outputs:
        """The scores of some rows. rows: (B,) int64. length: see `TeacherOutputs.batch`; scores have none."""
        return Outputs(self.logits[rows], self.logits.new_empty(len(rows), 0))

    def column(self, name: str) -> Tensor:
        """One output of every row, (N, …) float32. name: `logits` or `embedding`, which is empty."""
        return self.logits if name == "logits" else torch.empty(len(self), 0)


def has_scores(folder: Path) -> bool:
    """Whether a teacher's folder holds a file of scores."""
    return (folder / SCORES).exists()
