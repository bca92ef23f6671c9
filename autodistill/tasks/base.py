"""What a dataset is, once it has been read, checked and split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autodistill.errors import RunError
from autodistill.modality import Modality
from autodistill.target import Target
from autodistill.task_types import TaskType, modality_of, target_of


@dataclass(frozen=True)
class DatasetRef:
    """Plain data that names a dataset, so that a worker can open what the driver opened.

    name: a catalog name, a hub id, or a path. limit_train: at most so many training rows (a seeded, stratified
    subset), or None. seed: of the splits that are made here and of the subset; not of training.
    """

    name: str
    limit_train: int | None = None
    seed: int = 0
    text_columns: tuple[str, ...] | None = None
    label_column: str | None = None


@dataclass(frozen=True)
class Split:
    """One split's columns, equally long. A text task has texts (and text_pairs), an image task has images.

    labels: (N,), as the dataset's target says: int64 class indices, or float32 scores.
    images: (N, H, W, 3) uint8, all of the dataset's image size.
    """

    labels: np.ndarray
    texts: list[str] | None = None
    text_pairs: list[str] | None = None
    images: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Split:
        """Some of the rows, in the order given. rows: (M,) int64."""
        return Split(**{name: _taken(column, rows) for name, column in vars(self).items()})


def _taken(column: Any, rows: np.ndarray) -> Any:
    """Some rows of an array or a list; None where there is no such column."""
    if isinstance(column, list):
        return [column[row] for row in rows]
    return None if column is None else column[rows]


@dataclass(frozen=True)
class Dataset:
    """A dataset: three splits and what to make of them.

    metric: one of the target's. classes: their names by index, None where the target has none.
    fingerprint: of every row of the splits, in order; what depends on the data is keyed by it.
    notes: what was decided on the way ("the benchmark hides its test labels: …"), for people.
    """

    name: str
    task: TaskType
    metric: str
    classes: tuple[str, ...] | None
    train: Split
    validation: Split
    fingerprint: str
    ref: DatasetRef
    image_size: int | None = None
    notes: tuple[str, ...] = ()
    _test: Split | None = field(default=None, repr=False)

    @property
    def target(self) -> Target:
        """What is predicted of a row."""
        return target_of(self.task, self.classes)

    @property
    def modality(self) -> Modality:
        """What the rows are."""
        return modality_of(self.task)

    @property
    def is_regression(self) -> bool:
        """Whether the target is a number."""
        return self.classes is None

    @property
    def is_image(self) -> bool:
        """Whether the rows are images."""
        return self.image_size is not None

    @property
    def outputs(self) -> int:
        """Width of the logits."""
        return self.target.width

    def open_test(self) -> Split:
        """The test split. Only `distill` calls this, once, for the final figures; trials never do."""
        if self._test is None:
            raise RunError(f"dataset {self.name!r} was opened without its test split; open it with load_dataset(..., with_test=True)")
        return self._test
