"""Task types: the names of tasks in recipes, spaces and records, and the modality and target of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from autodistill.errors import RecipeError, not_allowed
from autodistill.modality import Image, Modality, Text
from autodistill.target import TARGETS, Classes, Labels, Scores, Target, Vectors

TaskType = Literal[
    "text-classification",
    "text-pair-classification",
    "text-regression",
    "text-pair-regression",
    "text-multilabel",
    "text-pair-multilabel",
    "text-embedding",
    "image-classification",
    "image-multilabel",
]
TASKS: tuple[str, ...] = get_args(TaskType)
"""Every task type that a recipe can have."""
_MODALITIES = {modality.words: modality for modality in (Text(), Text(pair=True), Image())}


def task_type(modality: Modality, target: Target) -> str:
    """The name of a task. It may not be in `TASKS`."""
    return f"{modality.words}-{target.kind}"


def modality_of(task: str) -> Modality:
    """The modality of a task's rows.

    Raises:
        RecipeError: there is no such task.
    """
    return _MODALITIES[_parts(task)[0]]


def target_of(task: str, classes: Sequence[str] | None = None, thresholds: Sequence[float] | None = None, width: int = 0) -> Target:
    """The target of a task. classes: the dataset's, if it has any; without them only the kind of the target is known.

    thresholds: a model's (`Target.tuned`). width: of its outputs, which is needed where the classes do not say it (`Target.of`).

    Raises:
        RecipeError: there is no such task.
    """
    kinds = {kind.kind: kind for kind in TARGETS}
    return kinds[_parts(task)[1]].of(classes, thresholds, width)


def kin(task: str) -> str:
    """What the tasks share whose recipes carry over to each other: the modality, in any task type, even one that only a newer or another
    library knows. Embeddings have no labels and another loss mix, so they are kin to no other task.
    """
    return task.partition("-")[0] if has_labels(task) else task


def standing_for(task: str, recorded: Iterable[str]) -> set[str]:
    """Which recorded task types say most about a task: itself; else those of the same rows (single texts, pairs of texts, images), whose
    students read the same; else those that are kin.
    """
    kept = {other for other in recorded if kin(other) == kin(task)}
    return {task} & kept or {other for other in kept if rows_of(other) == rows_of(task)} or kept


def rows_of(task: str) -> str:
    """What a task's rows are (`text`, `text-pair`, `image`), in any task type, even one that only a newer or another library knows."""
    return task.rpartition("-")[0]


def has_labels(task: str) -> bool:
    """Whether a task's rows have labels, in any task type, even one that only a newer or another library knows."""
    return not task.endswith(f"-{Vectors.kind}")


def _parts(task: str) -> tuple[str, str]:
    if task not in TASKS:
        raise RecipeError(not_allowed("the task type", task, TASKS))
    words, _, kind = task.rpartition("-")
    return words, kind


TEXT = tuple(task for task in TASKS if modality_of(task).name == Text.name)
IMAGE = tuple(task for task in TASKS if modality_of(task).name == Image.name)
CLASSIFICATION = tuple(task for task in TASKS if target_of(task).kind == Classes.kind)
MULTILABEL = tuple(task for task in TASKS if target_of(task).kind == Labels.kind)
EMBEDDING = tuple(task for task in TASKS if target_of(task).kind == Vectors.kind)
TEXT_CLASSIFICATION = tuple(task for task in TEXT if task in CLASSIFICATION)
TEXT_REGRESSION = tuple(task for task in TEXT if target_of(task).kind == Scores.kind)
