"""A teacher's model as it comes, in a folder like a teacher's: students that learn from no teacher start from it."""

from __future__ import annotations

from pathlib import Path

import torch

from autodistill.cache import ensure, new_cached_folder
from autodistill.models.pooled import APART, read_head
from autodistill.recipe import Teacher
from autodistill.storage import cache_folder, digest
from autodistill.tasks.base import Dataset
from autodistill.teacher.load import save_teacher, source_fingerprint, untrained_teacher


def untaught_model(dataset: Dataset, teacher: Teacher, trained: Path | None = None) -> Path:
    """The model of a teacher, of an ensemble the first member's, before any training. Its head is random, on the scale of the targets.

    A model that was trained for the task before it came here has random weights: what it was before is not known.

    trained: the folder of the teacher after its training, whose pooling it has; None if there is none.

    Raises:
        ModelError: the model cannot be fetched.
        RunError: the cache cannot be written.
    """
    part = teacher.model_copy(update={"members": 1} | ({"init": "scratch", "head_init": "random"} if teacher.head_init == "own" else {}))
    if trained is not None:
        head = read_head(trained)
        pooling = "model" if head is None else head.pooling if head.ends is None else APART
        part = part.model_copy(update={"pooling": pooling})
    key = digest("untaught-1", dataset.fingerprint, source_fingerprint(dataset, part), part.init, part.pooling, str(part.image_size))
    folder = cache_folder() / "teachers" / key

    def write() -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, tokenizer = untrained_teacher(dataset, part)
        dataset.target.scaling(dataset.train.labels).fold_into(model.output_layer)
        with new_cached_folder(folder) as aside:
            save_teacher(model, tokenizer, dataset, part, aside)

    ensure(folder, write)
    return folder
