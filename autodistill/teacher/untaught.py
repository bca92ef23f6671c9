"""No teacher: a folder with the files that students take their tokenizer and initial weights from."""

from __future__ import annotations

from pathlib import Path

import torch

from autodistill.cache import ensure, new_cached_folder
from autodistill.recipe import Teacher
from autodistill.storage import cache_folder, digest
from autodistill.tasks.base import Dataset
from autodistill.teacher.load import save_teacher, source_fingerprint, untrained_teacher


def untaught_model(dataset: Dataset, teacher: Teacher) -> Path:
    """The model of a teacher whose `init` is `self`, in the form of a teacher's folder. It is not trained or run.

    Raises:
        ModelError: the model cannot be fetched.
        RunError: the cache cannot be written.
    """
    key = digest("self-1", dataset.fingerprint, source_fingerprint(dataset, teacher), teacher.pooling, str(teacher.image_size))
    folder = cache_folder() / "teachers" / key

    def write() -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # its head, which nobody reads
            model, tokenizer = untrained_teacher(dataset, teacher)
        with new_cached_folder(folder) as aside:
            save_teacher(model, tokenizer, dataset, teacher, aside)

    ensure(folder, write)
    return folder
