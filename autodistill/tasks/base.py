"""A dataset after it is read, checked and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autodistill.errors import RunError
from autodistill.modality import Modality
from autodistill.storage import digest
from autodistill.target import Target
from autodistill.task_types import TaskType, modality_of, target_of


@dataclass(frozen=True)
class DatasetRef:
    """Plain data that names a dataset, so that a worker can open the dataset that the driver opened.

    name: a catalog name, a hub id, or a path. limit_train: at most this many training rows (a seeded, stratified subset), or None.
    seed: of the splits that are made here and of the subset; not of training. unlabelled: files and folders of rows without labels, or
    `rest`, the training rows that limit_train leaves out. limit_unlabelled: at most this many unlabelled rows (a seeded subset).
    teacher_scores: a file of a teacher's scores; those of its texts that are in no split are unlabelled rows too. task: the kind of the
    target; metric: one of its metrics; None for what the dataset declares or its rows show. label_column: one column, or for several labels
    per row a column of 0 and 1 for each. label_separator: the separator of several labels in a text.
    """

    name: str
    limit_train: int | None = None
    seed: int = 0
    text_columns: tuple[str, ...] | None = None
    label_column: str | tuple[str, ...] | None = None
    unlabelled: tuple[str, ...] = ()
    limit_unlabelled: int | None = None
    teacher_scores: str | None = None
    task: str | None = None
    metric: str | None = None
    label_separator: str | None = None


def label_columns(label_column: str | Sequence[str] | None) -> tuple[str, ...]:
    """The columns that are named; none where nothing is."""
    if label_column is None:
        return ()
    return (label_column,) if isinstance(label_column, str) else tuple(label_column)


@dataclass(frozen=True)
class Split:
    """One split's columns, of equal length. A text task has texts (and text_pairs), an image task has images.

    labels: (N,), in the target's form: int64 class indices, or float32 scores; for several labels per row (N, L) int8; for vectors see
    `Vectors`. Rows without a label have the target's `no_label`.
    images: (N, H, W, 3) uint8, all of the dataset's image size.
    """

    labels: np.ndarray
    texts: list[str] | None = None
    text_pairs: list[str] | None = None
    images: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Split:
        """Some of the rows, in the order of `rows`: (M,) int64."""
        return Split(**{name: _taken(column, rows) for name, column in vars(self).items()})

    def joined(self, other: Split | None) -> Split:
        """These rows, followed by the other split's; only these if there is no other."""
        if other is None:
            return self
        return Split(**{name: _joined(column, getattr(other, name)) for name, column in vars(self).items()})


def _taken(column: Any, rows: np.ndarray) -> Any:
    """Some rows of an array or a list; None if there is no such column."""
    if isinstance(column, list):
        return [column[row] for row in rows]
    return None if column is None else column[rows]


def _joined(column: Any, other: Any) -> Any:
    """An array or a list, followed by another's rows; None if there is no such column."""
    if isinstance(column, list):
        return column + other
    return None if column is None else np.concatenate([column, other])


@dataclass(frozen=True)
class Dataset:
    """A dataset: three splits, and facts about them.

    metric: one of the target's. classes: their names by index, None if the target has none.
    fingerprint: of every row of the splits, in order; caches of everything that depends on the data use it as a key.
    notes: decisions made while reading ("the benchmark hides its test labels: …"), for people. warnings: points that users should check.
    width: of the outputs, if they are a teacher's vectors: see `Vectors` (0 before a teacher has read the rows).
    unlabelled: rows without labels, none of which is in another split; unlabelled_fingerprint: of every one of them, in order.
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
    warnings: tuple[str, ...] = ()
    unlabelled: Split | None = None
    unlabelled_fingerprint: str = ""
    width: int = 0
    _test: Split | None = field(default=None, repr=False)

    @property
    def target(self) -> Target:
        """What is predicted for a row."""
        return target_of(self.task, self.classes, width=self.width)

    @property
    def modality(self) -> Modality:
        """What the rows are."""
        return modality_of(self.task)

    @property
    def num_outputs(self) -> int:
        """Width of the logits."""
        return self.target.width

    @property
    def unlabelled_rows(self) -> int:
        """The number of rows without labels."""
        return 0 if self.unlabelled is None else len(self.unlabelled)

    @property
    def rows_fingerprint(self) -> str:
        """A fingerprint of every row that a trial can read, including the unlabelled ones."""
        return digest(self.fingerprint, self.unlabelled_fingerprint) if self.unlabelled is not None else self.fingerprint

    @property
    def all_training_rows(self) -> Split:
        """The training rows, then the unlabelled ones."""
        return self.train.joined(self.unlabelled)

    @property
    def constant_score(self) -> float:
        """The metric on the validation split for a constant prediction, the one that fits the training rows best.

        For vectors it is 0: all cosines are alike, and say nothing of any pair.
        """
        if not self.target.has_labels:
            return 0.0
        answer = self.target.constant(self.train.labels)
        return self.target.evaluate(self.metric, np.tile(answer, (len(self.validation), 1)), self.validation.labels)[self.metric]

    def open_test(self) -> Split:
        """The test split. Only `distill` calls this, once, for the final scores; trials never do."""
        if self._test is None:
            raise RunError(f"dataset {self.name!r} was opened without its test split; open it with load_dataset(..., with_test=True)")
        return self._test
