"""From a dataset's reference to a checked dataset with three splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from autodistill.errors import DataError, not_allowed
from autodistill.modality import modality_of_columns
from autodistill.storage import digest
from autodistill.target import Labels, Vectors
from autodistill.task_types import TASKS, task_type
from autodistill.tasks.base import Dataset, DatasetRef, label_columns
from autodistill.tasks.embedding import planned_texts
from autodistill.tasks.find import find
from autodistill.tasks.planned import planned_rows
from autodistill.tasks.splits import REST, WITHOUT_LABEL, Part
from autodistill.tasks.unlabelled import check_places

_OPEN_AS: dict[DatasetRef, Callable[[DatasetRef], Dataset]] = {}
"""In a worker on another machine: how its search's dataset is opened."""


@contextmanager
def open_as(ref: DatasetRef, opened: Callable[[DatasetRef], Dataset]) -> Iterator[None]:
    """For the block, `load_dataset(ref)` is `opened(ref)`: this machine does not have the dataset's files."""
    _OPEN_AS[ref] = opened
    try:
        yield
    finally:
        del _OPEN_AS[ref]


def load_dataset(ref: DatasetRef, *, with_test: bool = False) -> Dataset:
    """Find a dataset, check every row, and make its splits.

    with_test: also keep the test split, for `Dataset.open_test`; only `distill` asks for it.

    Raises:
        DataError: the dataset is not found, cannot be reached, or has bad rows. The message names every kind of problem with file,
            column and rows.
    """
    if ref in _OPEN_AS and not with_test:
        return _OPEN_AS[ref](ref)
    if ref.limit_train is not None and ref.limit_train < 2:
        raise DataError(f"limit_train is {ref.limit_train}; allowed: 2 or more, or none for all rows")
    if ref.limit_unlabelled is not None and ref.limit_unlabelled < 1:
        raise DataError(f"limit_unlabelled is {ref.limit_unlabelled}; allowed: 1 or more, or none for all rows")
    check_places(ref.unlabelled)
    source = find(ref.name)
    info = source.info
    named = label_columns(ref.label_column) or label_columns(info.label_column)
    if ref.label_separator is not None or len(named) > 1:
        if ref.task not in (None, Labels.kind):
            raise DataError(
                f"task is {ref.task!r}, and several labels per row (label_separator, or several label columns) are {Labels.kind}"
            )
        ref = replace(ref, task=Labels.kind)
    if ref.label_separator is not None and len(named) > 1:
        raise DataError("label_separator is for one column of texts, and there are several label columns, of 0 and 1; leave one out")
    if ref.task not in (None, info.kind):  # the classes and the metric belong to another kind of target
        classes = info.classes if ref.task == Labels.kind else None
        info = replace(info, kind=ref.task, classes=classes, metric=info.metric if info.kind is None else None)
    ref = replace(ref, task=info.kind) if info.kind == Vectors.kind else ref  # workers and files of unlabelled rows follow it
    notes, warnings = list(source.notes), list[str]()
    plan_rows = planned_texts if info.kind == Vectors.kind else planned_rows
    planned = plan_rows(ref, source, info, named, notes, warnings)
    tables, columns, parts, target = planned.tables, planned.columns, planned.parts, planned.target
    metric = ref.metric or info.metric or planned.metric
    if metric not in target.metrics:
        article = "an" if target.kind[0] in "aeiou" else "a"
        raise DataError(f"dataset {info.name!r} is {article} {target.kind}: " + not_allowed("metric", metric, target.metrics))
    wanted = ("train", "validation", "test") if with_test else ("train", "validation")
    modality = modality_of_columns(columns.texts)
    task: Any = task_type(modality, target)
    if task not in TASKS:
        raise DataError(f"dataset {info.name!r} has images with fractional labels; allowed: classes (image regression is not supported)")
    read = modality.read(tables, columns, parts, wanted, info.name)
    splits = {split: replace(rows, labels=planned.labels[parts[split].table][parts[split].rows]) for split, rows in read.splits.items()}
    notes += [*read.notes, *_rows_of_train(read.keys), *target.notes(splits["train"].labels, splits["validation"].labels, metric)]
    own_labels = (splits[split].labels.tobytes() for split in ("train", "validation"))
    places = (*source.unlabelled, *ref.unlabelled, *([ref.teacher_scores] if ref.teacher_scores else []))
    if planned.without_label is not None:
        tables = tables | {WITHOUT_LABEL: planned.without_label}
        parts = parts | {WITHOUT_LABEL: Part(WITHOUT_LABEL, np.arange(planned.without_label.rows))}
    more = (
        modality.read_unlabelled(places, tables, columns, parts, read.keys, ref, read.image_size, target.output_names) if places else None
    )
    if more is not None and not more.count:
        if source.unlabelled or ref.unlabelled:
            raise DataError(f"no unlabelled row can be used ({more.notes[-1]}); give other ones")
        more = None  # a file of scores may have no more texts than the splits
    return Dataset(
        name=info.name,
        task=task,
        metric=metric,
        classes=target.classes,
        train=splits["train"],
        validation=splits["validation"],
        fingerprint=digest(task, "\n".join(target.classes or ()), *own_labels, *read.contents),
        ref=replace(ref, name=source.place or ref.name),
        image_size=read.image_size,
        notes=(*notes, *(more.notes if more else ())),
        warnings=(*warnings, *(more.warnings if more else ())),
        unlabelled=replace(more.rows, labels=target.no_labels(more.count)) if more else None,
        unlabelled_fingerprint=more.fingerprint if more else "",
        _test=splits.get("test"),
    )


def _rows_of_train(keys: Mapping[str, Sequence[Any]]) -> list[str]:
    """A note for each split that shares rows with train."""
    train = set(keys["train"])
    counts = {split: sum(row in train for row in rows) for split, rows in keys.items() if split not in ("train", REST)}
    return [f"{count} of {len(keys[split])} {split} rows are in train too" for split, count in counts.items() if count]
