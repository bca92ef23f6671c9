"""From a dataset's reference to a checked dataset with three splits."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autodistill.errors import DataError, not_allowed
from autodistill.modality import modality_of_columns
from autodistill.storage import digest
from autodistill.target import Labels
from autodistill.task_types import TASKS, task_type
from autodistill.tasks.base import Dataset, DatasetRef, label_columns
from autodistill.tasks.columns import Columns, choose
from autodistill.tasks.find import find
from autodistill.tasks.labels import are_hidden, encode
from autodistill.tasks.problems import Problems
from autodistill.tasks.raw_labels import RawLabels
from autodistill.tasks.source import Source
from autodistill.tasks.splits import REST, Part, plan
from autodistill.tasks.tables import Table, has_half_character
from autodistill.tasks.unlabelled import check_places, is_blank


def load_dataset(ref: DatasetRef, *, with_test: bool = False) -> Dataset:
    """Find a dataset, check every row, and make its splits.

    with_test: also keep the test split, for `Dataset.open_test`; only `distill` asks for it.

    Raises:
        DataError: the dataset is not found, cannot be reached, or has bad rows. The message names every kind of problem with file,
            column and rows.
    """
    if ref.limit_train is not None and ref.limit_train < 2:
        raise DataError(f"limit_train is {ref.limit_train}; allowed: 2 or more, or none for all rows")
    if ref.limit_unlabelled is not None and ref.limit_unlabelled < 1:
        raise DataError(f"limit_unlabelled is {ref.limit_unlabelled}; allowed: 1 or more, or none for all rows")
    check_places(ref.unlabelled, ref.limit_train)
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
    problems = Problems()
    notes = list(source.notes)
    tables = dict(source.tables)
    base = "all" if "all" in tables else "train"
    columns = choose(tables[base], ref.text_columns or info.text_columns, named, info.kind == Labels.kind)
    if "test" in tables and are_hidden(tables["test"], columns.labels):
        del tables["test"]
        notes.append("the test file has no labels and is not used")
    _same_columns(tables, columns, base)
    unused = [name for name in tables[base].names if name not in (*columns.inputs, *columns.labels)]
    if unused:
        read_as = f"text or image: {' + '.join(columns.inputs)}; label: {', '.join(columns.labels)}"
        notes.append(f"columns not used: {', '.join(unused)} ({read_as})")
    raw = RawLabels(tables, columns.labels, info, problems, source.own, ref.label_separator)
    labels = encode(raw)
    notes += raw.notes
    keep = {split: _with_text(table, columns, source, problems, notes) for split, table in tables.items()}
    problems.check(info.name)

    target = labels.target
    metric = ref.metric or info.metric or target.metrics[0]
    if metric not in target.metrics:
        raise DataError(f"dataset {info.name!r} is a {target.kind}: " + not_allowed("metric", metric, target.metrics))
    keys = {split: target.strata(labels.arrays[split][rows]) for split, rows in keep.items()}
    parts, decisions = plan(keys, ref.seed, ref.limit_train, info.name)
    notes += decisions
    parts = {split: Part(part.table, keep[part.table][part.rows]) for split, part in parts.items()}
    wanted = ("train", "validation", "test") if with_test else ("train", "validation")
    modality = modality_of_columns(columns.texts)
    task: Any = task_type(modality, target)
    if task not in TASKS:
        raise DataError(f"dataset {info.name!r} has images with fractional labels; allowed: classes (image regression is not supported)")
    read = modality.read(tables, columns, parts, wanted, info.name)
    splits = {split: replace(rows, labels=labels.arrays[parts[split].table][parts[split].rows]) for split, rows in read.splits.items()}
    notes += [*read.notes, *_rows_of_train(read.keys), *target.notes(splits["train"].labels, splits["validation"].labels, metric)]
    own_labels = (splits[split].labels.tobytes() for split in ("train", "validation"))
    places = (*source.unlabelled, *ref.unlabelled, *([ref.teacher_scores] if ref.teacher_scores else []))
    more = (
        modality.read_unlabelled(places, tables, columns, parts, ref, read.image_size, info.name, target.output_names) if places else None
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
        warnings=(*raw.warnings, *(more.warnings if more else ())),
        unlabelled=replace(more.rows, labels=target.no_labels(more.count)) if more else None,
        unlabelled_fingerprint=more.fingerprint if more else "",
        _test=splits.get("test"),
    )


def _rows_of_train(keys: Mapping[str, Sequence[Any]]) -> list[str]:
    """A note for each split that shares rows with train."""
    train = set(keys["train"])
    counts = {split: sum(row in train for row in rows) for split, rows in keys.items() if split not in ("train", REST)}
    return [f"{count} of {len(keys[split])} {split} rows are in train too" for split, count in counts.items() if count]


def _same_columns(tables: dict[str, Table], columns: Columns, base: str) -> None:
    for table in tables.values():
        missing = [name for name in (*columns.inputs, *columns.labels) if name not in table.names]
        if missing:
            raise DataError(
                f"{table.name} lacks the column {', '.join(map(repr, missing))} that {tables[base].name} has; "
                f"its columns are {', '.join(table.names)}"
            )


def _with_text(table: Table, columns: Columns, source: Source, problems: Problems, notes: list[str]) -> np.ndarray:
    """The rows that can be used: all, or in published datasets those with a text."""
    empty: set[int] = set()
    for column in columns.texts:
        values = table.values(column)
        rows = [row for row, value in enumerate(values) if value is None or (isinstance(value, str) and is_blank(value))]
        odd = [row for row, value in enumerate(values) if value is not None and not isinstance(value, str)]
        problems.rows(table, column, odd, "whose text is not text", "Write it as a string", values=True)
        problems.rows(table, column, _half_characters(values), "with half of a surrogate pair, which is no character", "Remove it")
        if source.own:
            problems.rows(table, column, rows, "with an empty text", "Fill them in or remove the rows")
        empty |= set(rows)
    if empty and not source.own:
        shown = ", ".join(table.place(row) for row in sorted(empty)[:5]) + (", …" if len(empty) > 5 else "")
        notes.append(f"{table.name}: {len(empty)} rows without text are left out: {shown}")
    return np.array([row for row in range(table.rows) if row not in empty], dtype=np.int64)


def _half_characters(values: list[Any]) -> list[int]:
    """Rows with a text that cannot be written as UTF-8."""
    texts = [value if isinstance(value, str) else "" for value in values]
    with contextlib.suppress(UnicodeEncodeError):
        "".join(texts).encode()
        return []
    return [row for row, text in enumerate(texts) if has_half_character(text)]
