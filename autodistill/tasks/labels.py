"""Labels: finds their kind and their classes, and checks every row."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from autodistill.target import Classes, Labels, Scores, Target
from autodistill.tasks.doubtful import classes_or_scores, doubtful_classes, several_labels
from autodistill.tasks.multilabel import are_lists, encode_labels
from autodistill.tasks.problems import SHOWN, Problems
from autodistill.tasks.source import Info
from autodistill.tasks.tables import Table, has_half_character

FEW = 10
"""Labels with a fractional type and no more distinct whole values than this are classes, not the targets of a regression."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
_WHOLE = re.compile(r"[+-]?\d+$")
_DIGITS = 18  # longer ones are identifiers, not numbers
_LARGEST = float(np.finfo(np.float32).max)
_CODE = re.compile(r"[+-]?0\d+$")
_NO_LABELS = {
    "half": ("with half of a surrogate pair in the label, which is no character", "Remove it"),
    "several": (
        "with several labels, or a structure, as the label",
        "Keep one of them a row, or answer with --task multilabel that a row has several labels",
    ),
    "date": ("with a date or a time as the label", "Write a class as text (a month, a weekday), or a score as a number"),
    "other": ("with a label that is not a word, a number or true/false", "Write it as one"),
}
"""Kinds of values that are no labels: the text of the error, and the way out."""
_NOT_FINITE = {"nan", "inf", "-inf", "+inf", "infinity", "-infinity"}


@dataclass(frozen=True)
class Encoded:
    """The labels of each table in the target's form, (rows,) or (rows, L)."""

    target: Target
    arrays: dict[str, np.ndarray]


def are_hidden(table: Table, columns: Sequence[str]) -> bool:
    """Whether a test table has no labels: no such column, all empty, or all -1, as in the GLUE benchmark."""
    there = [column for column in columns if column in table.names]
    return all(value is None or value in (-1, "-1", "") for column in there for value in table.values(column))


def encode(
    tables: dict[str, Table],
    columns: Sequence[str],
    info: Info,
    own: bool,
    separator: str | None,
    problems: Problems,
    notes: list[str],
    warnings: list[str],
) -> Encoded:
    """Turn the labels of all tables into numbers. Errors are added to `problems`; if there are any, the arrays have no meaning.

    columns: one, or for several labels per row a column for each. own: the user's own files. There a class that train lacks is an error;
    in a published dataset with declared classes it is a note. separator: the separator of several labels in a text.
    """
    if info.kind == Labels.kind or (info.kind is None and are_lists(tables, columns[0])):
        return Encoded(*encode_labels(tables, columns, info, own, separator, problems, notes, warnings))
    (column,) = columns
    values = _values(tables, column, info)
    kinds: dict[str, dict[str, list[int]]] = {split: {} for split in tables}
    for split, items in values.items():
        for row, value in enumerate(items):
            kinds[split].setdefault(_kind(value), []).append(row)
    for split, table in tables.items():
        by_kind = kinds[split]
        problems.rows(table, column, by_kind.get("missing", []), "without a label", "Fill them in or remove the rows")
        problems.rows(
            table,
            column,
            by_kind.get("not finite", []),
            "with a label that is NaN, infinite or too large",
            "Correct or remove the rows",
            True,
        )
        for kind, (what, way_out) in _NO_LABELS.items():
            problems.rows(table, column, by_kind.get(kind, []), what, way_out, True)
    together = {kind for by_kind in kinds.values() for kind in by_kind} & {"text", "whole", "number", "bool"}
    fractional = "number" in together and _are_scores([value for items in values.values() for value in items])
    if info.kind == Scores.kind or (info.kind is None and fractional):
        _not_numeric(tables, column, kinds, problems)
        if info.kind is None and not problems.lines and (question := classes_or_scores(tables, column, values, FEW)):
            problems.add(question)
        return _targets(tables, column, values, problems)
    if len(together - {"number"} | ({"whole"} if "number" in together else set())) > 1:
        _mixed(tables, column, kinds, values, problems)
    elif info.kind is None and (several := several_labels(tables, column, values)):
        problems.add(several)
    if problems.lines:
        return Encoded(Classes(), {})
    return _classes(tables, column, values, info, own, problems, notes, warnings)


def _values(tables: dict[str, Table], column: str, info: Info) -> dict[str, list[Any]]:
    """The labels. In untyped files they are read as numbers if most of them are; whole numbers with leading zeros are names."""
    values = {split: [_plain(value) for value in table.values(column)] for split, table in tables.items()}
    texts = [value.strip() for split, table in tables.items() if not table.typed for value in values[split] if value.strip()]
    if not texts or sum(bool(_NUMBER.match(text)) for text in texts) * 2 < len(texts):
        return values
    by_index = info.kind == Scores.kind or bool(info.classes)
    if not by_index and any(map(_CODE.match, texts)) and not any(_NUMBER.match(text) and not _WHOLE.match(text) for text in texts):
        return values
    return {split: values[split] if table.typed else [_parsed(value) for value in values[split]] for split, table in tables.items()}


def _plain(value: Any) -> Any:
    """A label as a JSON value: decimals of a parquet file become numbers."""
    return float(value) if isinstance(value, Decimal) else value


def _parsed(text: str) -> Any:
    text = text.strip()
    if _WHOLE.match(text):
        return int(text) if len(text) <= _DIGITS else text
    return float(text) if _NUMBER.match(text) or text.lower() in _NOT_FINITE else text


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        fits = abs(value) <= _LARGEST  # never true for NaN
        return "not finite" if not fits else "whole" if isinstance(value, int) else "number"
    if isinstance(value, str):
        if has_half_character(value):
            return "half"
        return "text" if value.strip() else "missing"
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return "date"
    return "several" if isinstance(value, list | dict) else "other"


def _are_scores(values: list[Any]) -> bool:
    """Numbers are scores if some are fractions, or if a fractional type has more than a few different whole numbers."""
    numbers = {value for value in values if _kind(value) in ("whole", "number")}
    return len(numbers) > FEW or any(value != int(value) for value in numbers)


def _not_numeric(tables: dict[str, Table], column: str, kinds: dict[str, dict[str, list[int]]], problems: Problems) -> None:
    for split, table in tables.items():
        rows = sorted(kinds[split].get("text", []) + kinds[split].get("bool", []))
        problems.rows(table, column, rows, "with a label that is not a number, in a regression", "Correct or remove the rows", True)


def _targets(tables: dict[str, Table], column: str, values: dict[str, list[Any]], problems: Problems) -> Encoded:
    if problems.lines:
        return Encoded(Scores(), {})
    arrays = {split: np.array(items, dtype=np.float32) for split, items in values.items()}
    for split, array in arrays.items():
        if len(np.unique(array)) < 2 and split in ("train", "all"):
            problems.add(f"{tables[split].name}, column {column!r}: every label is {array[0]:g}; there is nothing to learn")
    return Encoded(Scores(), arrays)


def _mixed(
    tables: dict[str, Table], column: str, kinds: dict[str, dict[str, list[int]]], values: dict[str, list[Any]], problems: Problems
) -> None:
    words = {"text": "words", "bool": "true/false", "whole": "numbers", "number": "numbers"}
    parts = []
    for split, table in tables.items():
        for word in dict.fromkeys(words.values()):
            rows = sorted(row for kind in words if words[kind] == word for row in kinds[split].get(kind, []))
            if rows:
                shown = ", ".join(f"{table.place(row)}: {str(values[split][row])[:40]!r}" for row in rows[:2])
                parts.append(f"{table.name}: {word} in {len(rows)} of {table.rows} rows ({shown})")
    problems.add(f"column {column!r} mixes types of labels: {'; '.join(parts)}. Write all of them as numbers, or all as words")


def _classes(
    tables: dict[str, Table],
    column: str,
    values: dict[str, list[Any]],
    info: Info,
    own: bool,
    problems: Problems,
    notes: list[str],
    warnings: list[str],
) -> Encoded:
    base = "all" if "all" in tables else "train"
    cleaned = {split: [_class(value) for value in items] for split, items in values.items()}
    seen = set(cleaned[base])
    known_names = info.classes or tables[base].class_names(column)
    if known_names is not None:
        numbers = isinstance(next(iter(seen)), int)
        order: Sequence[Any] = range(len(known_names)) if numbers else known_names
        allowed = f"0 to {len(known_names) - 1}" if numbers else ", ".join(known_names[:20])
        classes = set(order)
        for split, table in tables.items():
            rows = [row for row, value in enumerate(cleaned[split]) if value not in classes]
            problems.rows(
                table,
                column,
                rows,
                f"with a label outside the known classes ({allowed})",
                "Correct the labels, or the classes in dataset.json",
                True,
            )
        names = known_names
    else:
        order = sorted(seen)
        names = tuple(str(item) for item in order)
        warnings += doubtful_classes(names)
    if len(seen) < 2:
        problems.add(
            f"{tables[base].name}, column {column!r}: every row has the label {next(iter(seen))!r}; at least two classes are needed"
        )
    elif len(seen) > len(cleaned[base]) / 2 and len(cleaned[base]) >= 4 * SHOWN:
        problems.add(
            f"{tables[base].name}, column {column!r}: {len(seen)} different labels in {len(cleaned[base])} rows; these are no classes. "
            "Name the right one with label_column (whole numbers that are the targets of a regression: write them as 3.0)"
        )
    for split, table in tables.items():
        rows = [row for row, value in enumerate(cleaned[split]) if value not in seen and (known_names is None or value in order)]
        absent = sorted({cleaned[split][row] for row in rows})
        lacking = ", ".join(str(names[value] if known_names and isinstance(value, int) else value) for value in absent[:10])
        if rows and not own and known_names is not None:
            notes.append(f"{len(rows)} rows of {split} have classes that {base} does not have: {lacking}")
        elif rows:
            problems.rows(table, column, rows, f"with classes that {base} does not have ({lacking})",
                          f"Add such rows to {base}, or remove these", True)  # fmt: skip
    if problems.lines:
        return Encoded(Classes(names), {})
    index = {item: number for number, item in enumerate(order)}
    return Encoded(
        Classes(tuple(names)), {split: np.array([index[item] for item in items], dtype=np.int64) for split, items in cleaned.items()}
    )


def _class(value: Any) -> Any:
    """One value for a class, however it is written: 1.0 is 1, and white space around words is removed."""
    if isinstance(value, float) and value == int(value):
        return int(value)
    return value.strip() if isinstance(value, str) else value
