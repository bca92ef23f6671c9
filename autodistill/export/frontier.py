"""How long the models of a study's frontier take, measured once at the end of a search: from texts or images to logits."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autodistill.export.latency import paired_latency, spread
from autodistill.export.student import load_student
from autodistill.models import build_student, untrained
from autodistill.models.base import Inputs
from autodistill.models.saved import save_student
from autodistill.recipe import Recipe, Teacher
from autodistill.records import TrialRecord
from autodistill.report.frontier import BATCHES
from autodistill.tasks.base import Dataset
from autodistill.teacher.load import load_teacher
from autodistill.teacher.rivals import linear_model
from autodistill.teachers import Teachers
from autodistill.train.data import Opened, read_by_student

_Reads = Callable[[Any], np.ndarray]
"""From rows, as people give them, to logits."""
_PARALLEL = "TOKENIZERS_PARALLELISM"
SECONDS = 8.0
"""Of measuring for each number of rows, all models together; at least three calls of each."""


def measure_frontier(
    data: Dataset, opened: Mapping[Teacher, Opened], teachers: Teachers, students: Sequence[TrialRecord], folder: Path
) -> dict[str, Any]:
    """The latencies of students, teachers and the linear model, as `report.frontier.Measured` describes them.

    All run on one CPU thread, in turns (`paired_latency`), on validation rows: for one row the one of median size, for more rows some
    that are spread over all sizes. A student is opened as users open it, from its folder in the study; one that was not kept has random
    weights, which take as long. folder: the study's.
    """
    linear_scores = [ref.linear_score for ref in teachers.values() if ref.linear_score is not None]
    linear = linear_model(data, penalties=(1.0,)) if linear_scores else None  # its speed does not depend on the penalty
    with _one_tokenizer_thread():
        named: dict[str, _Reads] = {f"student {record.recipe_id}": _student(data, record, opened, folder) for record in students}
        for number, (part, ref) in enumerate(teachers.items()):
            if part.scores is None and not part.is_self:
                named[f"teacher {number}"] = _teacher(data, part, ref.folder)
        by_batch, shares = [], []
        for size in BATCHES:
            split = data.validation.take(_places(next(iter(opened.values())).validation, size))
            rows = data.modality.rows(split, np.arange(len(split)))
            calls: dict[str, Callable[[], object]] = {name: functools.partial(model, rows) for name, model in named.items()}
            if linear is not None:
                calls["linear"] = functools.partial(linear, split)
            began, began_computing = time.perf_counter(), time.thread_time()
            by_batch.append(paired_latency(calls, seconds=SECONDS))
            shares.append((time.thread_time() - began_computing) / (time.perf_counter() - began))

    def latencies(name: str) -> list[float] | None:
        return [of_size[name] for of_size in by_batch] if name in by_batch[0] else None

    return {
        "students": {record.recipe_id: latencies(f"student {record.recipe_id}") for record in students},
        "teachers": [latencies(f"teacher {number}") for number in range(len(teachers))],
        "linear": latencies("linear"),
        "linear_params": None if linear is None else linear.params,
        "core_share": min(1.0, *shares),
    }


def _student(data: Dataset, record: TrialRecord, opened: Mapping[Teacher, Opened], folder: Path) -> _Reads:
    kept = folder / "students" / str(record.trial)
    if kept.is_dir():
        return load_student(kept).logits
    recipe = Recipe.parse(record.recipe)
    context = read_by_student(opened[recipe.teacher], recipe).context
    facts = {"score": record.score, "metric": data.metric, "classes": data.classes, "task": recipe.task, "seed": record.seed}
    with tempfile.TemporaryDirectory() as place:
        save_student(Path(place) / "student", build_student(untrained(recipe), context).state_dict(), recipe, context, facts)
        return load_student(Path(place) / "student").logits


def _teacher(data: Dataset, part: Teacher, folder: str) -> _Reads:
    model, tokenizer = load_teacher(folder)
    return lambda rows: model(data.modality.read_rows(rows, part, tokenizer)).logits.detach().numpy()


def _places(inputs: Inputs, size: int) -> np.ndarray:
    """Places of rows, (size,) int64. inputs: the rows to choose from."""
    if size == 1:
        return inputs.median_row().numpy()
    order = np.arange(len(inputs)) if inputs.lengths is None else np.argsort(inputs.lengths.numpy(), kind="stable")
    return spread(order, size)


@contextlib.contextmanager
def _one_tokenizer_thread() -> Iterator[None]:
    """Tokenizers work on one thread too."""
    before = os.environ.get(_PARALLEL)
    os.environ[_PARALLEL] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PARALLEL]
        else:
            os.environ[_PARALLEL] = before
