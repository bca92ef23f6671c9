"""Texts for sentence embeddings: single texts or pairs of them, without labels or with ratings that say how alike the two texts are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autodistill.errors import DataError, listed
from autodistill.target import Scores, Vectors
from autodistill.tasks.base import DatasetRef, label_columns
from autodistill.tasks.columns import LABELS, Columns, choose_inputs
from autodistill.tasks.labels import are_hidden
from autodistill.tasks.planned import Planned, check_columns, usable_rows
from autodistill.tasks.problems import Problems
from autodistill.tasks.source import Info, Source
from autodistill.tasks.splits import Part, plan
from autodistill.tasks.tables import Table
from autodistill.tasks.unlabelled import row_key

TEXT = "text"
"""The name of the column of single texts."""
RATINGS = (*LABELS, "similarity", "similarity_score", "relatedness", "relatedness_score")
"""The names of columns that may hold ratings."""
_LEAST = 2


def planned_texts(ref: DatasetRef, source: Source, info: Info, named: tuple[str, ...], notes: list[str], warnings: list[str]) -> Planned:
    """The texts of a dataset, one a row: a pair becomes two rows, one after the other. Labels are the ratings, as `Vectors` has them.

    Each text of train is there once, and is not in validation or test. Without ratings this holds for each split.
    named: the column of ratings, as the user or the source says; empty to guess.

    Raises:
        DataError: there are bad rows, or too few, or the columns cannot be told.
    """
    if ref.teacher_scores is not None:
        raise DataError("teacher_scores: the task is embedding, whose teacher is a network; leave the file out")
    tables, problems = dict(source.tables), Problems()
    base = "all" if "all" in tables else "train"
    columns = _columns(tables, base, ref, source, info, named)
    rating = columns.labels[0] if columns.labels else None
    if rating is not None and "test" in tables and are_hidden(tables["test"], columns.labels):
        del tables["test"]
        notes.append("the test file has no ratings and is not used")
    check_columns(tables, columns, base)
    unused = [name for name in tables[base].names if name not in (*columns.texts, *columns.labels)]
    if unused:
        read_as = f"text: {' and '.join(columns.texts)}" + (f"; rating: {rating}" if rating else "; there are no ratings")
        notes.append(f"columns not used: {', '.join(unused)} ({read_as})")
    keep = {split: usable_rows(table, columns, source, problems, notes) for split, table in tables.items()}
    ratings = {split: _ratings(table, rating, keep[split], problems) for split, table in tables.items()}
    problems.check(info.name)
    if ref.metric == Vectors.metrics[0] and rating is None:
        raise DataError(
            f"the metric is {ref.metric}, and {info.name!r} has no ratings: it needs pairs of texts (--text-column twice) and a column "
            f"that says in numbers how alike they are (--label-column); or choose the metric {Vectors.metrics[1]}"
        )
    rated = Scores()
    keys = {split: rated.strata(ratings[split][rows]) if rating else np.zeros(len(rows), dtype=np.int64) for split, rows in keep.items()}
    parts, decisions = plan(keys, ref.seed, ref.limit_train, info.name)
    notes += decisions
    per_row = len(columns.texts)
    texts = {split: _one_a_row(table, columns.texts) for split, table in tables.items()}
    labels = {split: values.repeat(per_row).astype(np.float32)[:, None] for split, values in ratings.items()}
    split_rows = {
        split: Part(part.table, (keep[part.table][part.rows][:, None] * per_row + np.arange(per_row)).ravel())
        for split, part in parts.items()
    }
    split_rows |= _each_once(texts, split_rows, rating is not None, notes)
    if len(split_rows["train"].rows) < _LEAST:
        raise DataError(f"dataset {info.name!r} has no text to train on that is not in validation or test; give more texts")
    metric = Vectors.metrics[0 if rating else 1]
    return Planned(texts, Columns((), (TEXT,)), Vectors(), labels, split_rows, metric)


def _columns(
    tables: Mapping[str, Table], base: str, ref: DatasetRef, source: Source, info: Info, named: tuple[str, ...]
) -> Columns:  # fmt: skip
    """The columns of the texts and, for pairs, that of the ratings: as the user says, or one that can only be that.

    Raises:
        DataError: the rows are images, or it is not clear which column is meant.
    """
    table, asked = tables[base], ref.text_columns or info.text_columns
    likely = named or tuple(name for name in table.names if name.lower() in RATINGS and name not in (asked or ()))
    texts = choose_inputs(table, asked, *likely)
    if isinstance(texts, str):
        raise DataError(f"{table.name} holds images, and the task embedding is for texts; leave --task out")
    by_user = label_columns(ref.label_column)
    if by_user and len(texts) == 1:
        raise DataError(
            f"{table.name} has single texts, and for embeddings label_column names the ratings of pairs; leave it out, or name two columns "
            "of texts with --text-column"
        )
    if by_user or len(texts) == 1:
        return Columns(by_user, texts)
    is_declared = source.info.kind == Scores.kind
    fitting = [name for name in likely if all(_are_numbers(other, name, fractions=not is_declared) for other in tables.values())]
    if len(fitting) > 1:
        raise DataError(f"{table.name}: more than one column could hold the ratings ({listed(fitting)}); name it with --label-column")
    return Columns(tuple(fitting), texts)


def _are_numbers(table: Table, column: str, *, fractions: bool) -> bool:
    """Whether a column holds numbers alone. fractions: and some are no whole numbers, as the numbers of classes are."""
    numbers = [_number(value) for value in table.values(column)] if column in table.names else []
    return all(number is not None for number in numbers) and (not fractions or any(number != int(number or 0) for number in numbers))


def _number(value: Any) -> float | None:
    """A finite number, as a number or written as text; else None."""
    try:
        number = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _ratings(table: Table, column: str | None, rows: np.ndarray, problems: Problems) -> np.ndarray:
    """The rating of each row, (rows of the table,) float64; NaN if there are none, and in rows that are not used."""
    if column is None:
        return np.full(table.rows, np.nan)
    numbers = [_number(value) for value in table.values(column)]
    bad = [row for row in rows.tolist() if numbers[row] is None]
    problems.rows(table, column, bad, "with a rating that is no number", "Correct or remove the rows, or name another column", True)
    return np.array([math.nan if number is None else number for number in numbers])


def _one_a_row(table: Table, columns: Sequence[str]) -> Table:
    """A table of single texts: those of row 0, then those of row 1, and so on."""
    texts = [text for row in zip(*(table.values(name) for name in columns), strict=True) for text in row]
    single = Table(table.name, {TEXT: texts})
    single.is_file_each = table.is_file_each
    return single


def _each_once(tables: Mapping[str, Table], parts: Mapping[str, Part], is_rated: bool, notes: list[str]) -> dict[str, Part]:
    """The splits without texts that came before: test first, then validation, then train. Splits with ratings keep all their pairs."""
    seen: set[Any] = set()
    kept: dict[str, Part] = {}
    for split in ("test", "validation", "train"):
        part = parts[split]
        keys = [row_key(text) for text in tables[part.table].take(TEXT, part.rows)]
        own: set[Any] = set()
        rows = []
        for row, key in zip(part.rows.tolist(), keys, strict=True):
            if (is_rated and split != "train") or (key not in seen and key not in own):
                rows.append(row)
            own.add(key)
        seen |= own
        if len(rows) < len(keys):
            notes.append(f"{split}: {len(rows):,} of {len(keys):,} texts, each once, without those of the splits that scores are taken on")
        kept[split] = Part(part.table, np.array(rows, dtype=np.int64))
    return kept
