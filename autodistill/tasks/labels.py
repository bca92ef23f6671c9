"""Labels: finds their kind and their classes, and checks every row."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from autodistill.target import Classes, Labels, Scores
from autodistill.tasks.doubtful import classes_or_scores, doubtful_classes, several_labels
from autodistill.tasks.multilabel import are_lists, encode_labels
from autodistill.tasks.problems import SHOWN
from autodistill.tasks.raw_labels import Encoded, RawLabels
from autodistill.tasks.splits import REST
from autodistill.tasks.tables import Table, has_half_character

FEW = 10
"""Labels with a fractional type and no more distinct whole values than this are classes, not the targets of a regression."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
_WHOLE = re.compile(r"[+-]?\d+$")
_DIGITS = 18  # longer ones are identifiers, not numbers
_LARGEST = float(np.finfo(np.float32).max)
_CODE = re.compile(r"[+-]?0\d+$")
_NO_LABELS = {
    "missing": ("without a label", "Fill them in or remove the rows"),
    "not finite": ("with a label that is NaN, infinite or too large", "Correct or remove the rows"),
    "half": ("with half of a surrogate pair in the label, which is no character", "Remove it"),
    "several": (
        "with several labels, or a structure, as the label",
        "Keep one of them a row, or answer with --task multilabel that a row has several labels",
    ),
    "date": ("with a date or a time as the label", "Write a class as text (a month, a weekday), or a score as a number"),
    "other": ("with a label that is not a word, a number or true/false", "Write it as one"),
}
"""Kinds of values that are no labels: the text of the error, and the way out."""
Kinds = dict[str, dict[str, list[int]]]
"""By split, the rows of each kind of values."""
Values = dict[str, list[Any]]
"""By split, the value of each row."""
_NOT_FINITE = {"nan", "inf", "-inf", "+inf", "infinity", "-infinity"}


def are_hidden(table: Table, columns: Sequence[str]) -> bool:
    """Whether a test table has no labels: no such column, all empty, or all -1, as in the GLUE benchmark."""
    there = [column for column in columns if column in table.names]
    return all(value is None or value in (-1, "-1", "") for column in there for value in table.values(column))


def encode(raw: RawLabels) -> Encoded:
    """Turn the labels of all tables into numbers. Errors, notes and warnings are added to `raw`."""
    kind = raw.info.kind
    if kind == Labels.kind or (kind is None and are_lists(raw.tables, raw.columns[0])):
        return encode_labels(raw)
    values = _values(raw)
    kinds: Kinds = {split: {} for split in raw.tables}
    for split, items in values.items():
        for row, value in enumerate(items):
            kinds[split].setdefault(_kind(value), []).append(row)
    for split, by_kind in kinds.items():
        for name, (what, way_out) in _NO_LABELS.items():
            if name == "missing" and split == raw.base:
                way_out += f", or let students learn from them without labels: --unlabelled {REST}"
            raw.report({split: by_kind.get(name, [])}, what, way_out, values=name != "missing")
    together = {name for by_kind in kinds.values() for name in by_kind} & {"text", "whole", "number", "bool"}
    fractional = "number" in together and _are_scores([value for items in values.values() for value in items])
    if kind == Scores.kind or (kind is None and fractional):
        rows = {split: sorted(by_kind.get("text", []) + by_kind.get("bool", [])) for split, by_kind in kinds.items()}
        raw.report(rows, "with a label that is not a number, in a regression", "Correct or remove the rows")
        if kind is None and not raw.problems.lines and (question := classes_or_scores(raw.tables, raw.column, values, FEW)):
            raw.problems.add(question)
        return _scores(raw, values)
    if len(together - {"number"} | ({"whole"} if "number" in together else set())) > 1:
        _report_mixed(raw, kinds, values)
    elif kind is None and (several := several_labels(raw.tables, raw.column, values)):
        raw.problems.add(several)
    if raw.problems.lines:
        return Encoded(Classes(), {})
    return _classes(raw, values)


def _values(raw: RawLabels) -> Values:
    """The labels. In untyped files they are read as numbers if most of them are; whole numbers with leading zeros are names."""
    tables = raw.tables
    values = {split: [_plain(value) for value in table.values(raw.column)] for split, table in tables.items()}
    texts = [value.strip() for split, table in tables.items() if not table.typed for value in values[split] if value.strip()]
    if not texts or sum(bool(_NUMBER.match(text)) for text in texts) * 2 < len(texts):
        return values
    by_index = raw.info.kind == Scores.kind or bool(raw.info.classes)
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


def _scores(raw: RawLabels, values: Values) -> Encoded:
    if raw.problems.lines:
        return Encoded(Scores(), {})
    arrays = {split: np.array(items, dtype=np.float32) for split, items in values.items()}
    if len(np.unique(arrays[raw.base])) < 2:
        name = raw.tables[raw.base].name
        raw.problems.add(f"{name}, column {raw.column!r}: every label is {arrays[raw.base][0]:g}; there is nothing to learn")
    return Encoded(Scores(), arrays)


def _report_mixed(raw: RawLabels, kinds: Kinds, values: Values) -> None:
    words = {"text": "words", "bool": "true/false", "whole": "numbers", "number": "numbers"}
    parts = []
    for split, table in raw.tables.items():
        for word in dict.fromkeys(words.values()):
            rows = sorted(row for kind in words if words[kind] == word for row in kinds[split].get(kind, []))
            if rows:
                shown = ", ".join(f"{table.place(row)}: {str(values[split][row])[:40]!r}" for row in rows[:2])
                parts.append(f"{table.name}: {word} in {len(rows)} of {table.rows} rows ({shown})")
    raw.problems.add(f"column {raw.column!r} mixes types of labels: {'; '.join(parts)}. Write all of them as numbers, or all as words")


def _classes(raw: RawLabels, values: Values) -> Encoded:
    base, declared = raw.base, raw.declared
    cleaned = {split: [_class(value) for value in items] for split, items in values.items()}
    seen = set(cleaned[base])
    if declared is not None:
        names, by_index = declared, isinstance(next(iter(seen)), int)
        order: Sequence[Any] = range(len(names)) if by_index else names
        allowed = f"0 to {len(names) - 1}" if by_index else ", ".join(names[:20])
        classes = set(order)
        outside = {split: [row for row, value in enumerate(items) if value not in classes] for split, items in cleaned.items()}
        what = f"with a label outside the known classes ({allowed})"
        raw.report(outside, what, "Correct the labels, or the classes in dataset.json")
    else:
        order = sorted(seen)
        names = tuple(str(item) for item in order)
        raw.warnings.extend(doubtful_classes(names))
    place, count = f"{raw.tables[base].name}, column {raw.column!r}", len(cleaned[base])
    if len(seen) < 2:
        raw.problems.add(f"{place}: every row has the label {next(iter(seen))!r}; at least two classes are needed")
    elif len(seen) > count / 2 and count >= 4 * SHOWN:
        raw.problems.add(
            f"{place}: {len(seen)} different labels in {count} rows; these are no classes. "
            "Name the right one with label_column (whole numbers that are the targets of a regression: write them as 3.0)"
        )
    for split, items in cleaned.items():
        rows = [row for row, value in enumerate(items) if value not in seen and (declared is None or value in order)]
        absent = sorted({items[row] for row in rows})
        lacking = ", ".join(str(declared[value] if declared and isinstance(value, int) else value) for value in absent[:10])
        if rows and not raw.own and declared is not None:
            raw.notes.append(f"{len(rows)} rows of {split} have classes that {base} does not have: {lacking}")
        else:
            raw.report({split: rows}, f"with classes that {base} does not have ({lacking})", f"Add such rows to {base}, or remove these")
    if raw.problems.lines:
        return Encoded(Classes(names), {})
    index = {item: number for number, item in enumerate(order)}
    arrays = {split: np.array([index[item] for item in items], dtype=np.int64) for split, items in cleaned.items()}
    return Encoded(Classes(tuple(names)), arrays)


def _class(value: Any) -> Any:
    """One value for a class, however it is written: 1.0 is 1, and white space around words is removed."""
    if isinstance(value, float) and value == int(value):
        return int(value)
    return value.strip() if isinstance(value, str) else value
