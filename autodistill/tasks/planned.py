"""From a source's tables to the rows and labels of each split."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodistill.errors import DataError
from autodistill.target import Labels, Target
from autodistill.tasks.base import DatasetRef
from autodistill.tasks.columns import Columns, choose
from autodistill.tasks.labels import are_hidden, encode
from autodistill.tasks.problems import Problems
from autodistill.tasks.raw_labels import RawLabels
from autodistill.tasks.source import Info, Source
from autodistill.tasks.splits import REST, Part, plan
from autodistill.tasks.tables import Subset, Table, has_half_character
from autodistill.tasks.unlabelled import is_blank


@dataclass(frozen=True)
class Planned:
    """Which rows make up each split. columns: of the tables that hold the rows. labels: of all rows of each table. metric: the default.

    without_label: the rows of the training table that have none, if they were asked for.
    """

    tables: dict[str, Table]
    columns: Columns
    target: Target
    labels: dict[str, np.ndarray]
    parts: dict[str, Part]
    metric: str
    without_label: Table | None = None


def planned_rows(ref: DatasetRef, source: Source, info: Info, named: tuple[str, ...], notes: list[str], warnings: list[str]) -> Planned:
    """The rows of a dataset with labels, each checked. named: the columns of labels, as the user or the source says; empty to guess.

    Raises:
        DataError: there are bad rows, or too few.
    """
    problems = Problems()
    tables = dict(source.tables)
    base = "all" if "all" in tables else "train"
    columns = choose(tables[base], ref.text_columns or info.text_columns, named, info.kind == Labels.kind)
    if "test" in tables and are_hidden(tables["test"], columns.labels):
        del tables["test"]
        notes.append("the test file has no labels and is not used")
    check_columns(tables, columns, base)
    unused = [name for name in tables[base].names if name not in (*columns.inputs, *columns.labels)]
    if unused:
        read_as = f"text or image: {' + '.join(columns.inputs)}; label: {', '.join(columns.labels)}"
        notes.append(f"columns not used: {', '.join(unused)} ({read_as})")
    without_label = None
    if REST in ref.unlabelled:
        tables[base], without_label = _by_label(tables[base], columns.labels, ref.task or info.kind)
    raw = RawLabels(tables, columns.labels, info, problems, source.own, ref.label_separator)
    labels = encode(raw)
    notes += raw.notes
    warnings += raw.warnings
    keep = {split: usable_rows(table, columns, source, problems, notes) for split, table in tables.items()}
    problems.check(info.name)

    target = labels.target
    keys = {split: target.strata(labels.arrays[split][rows]) for split, rows in keep.items()}
    parts, decisions = plan(keys, ref.seed, ref.limit_train, info.name)
    notes += decisions
    parts = {split: Part(part.table, keep[part.table][part.rows]) for split, part in parts.items()}
    return Planned(tables, columns, target, labels.arrays, parts, target.metrics[0], without_label)


def _by_label(table: Table, columns: Sequence[str], kind: str | None) -> tuple[Table, Table | None]:
    """The rows of a table with a label, and those without; None if all have one.

    A blank text is no label, unless a row may have several of them, all in this text: then it says that the row has none of them.
    """
    says_none = len(columns) == 1 and kind == Labels.kind

    def is_label(value: Any) -> bool:
        return not (value is None or (isinstance(value, str) and is_blank(value) and not says_none))

    has_label = np.array([any(map(is_label, row)) for row in zip(*(table.values(column) for column in columns), strict=True)])
    if has_label.all() or not has_label.any():  # without any label, the errors say what is wrong
        return table, None
    return Subset(table, np.flatnonzero(has_label)), Subset(table, np.flatnonzero(~has_label))


def check_columns(tables: dict[str, Table], columns: Columns, base: str) -> None:
    """Refuse tables that lack a column. base: the table that the columns were chosen from.

    Raises:
        DataError: one does.
    """
    for table in tables.values():
        missing = [name for name in (*columns.inputs, *columns.labels) if name not in table.names]
        if missing:
            raise DataError(
                f"{table.name} lacks the column {', '.join(map(repr, missing))} that {tables[base].name} has; "
                f"its columns are {', '.join(table.names)}"
            )


def usable_rows(table: Table, columns: Columns, source: Source, problems: Problems, notes: list[str]) -> np.ndarray:
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
