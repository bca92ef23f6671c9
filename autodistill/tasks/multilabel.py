"""Several labels per row: lists, texts with a separator, or a column of 0 and 1 for each label; read, and every row checked."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autodistill.target import Labels
from autodistill.tasks.doubtful import doubtful_classes, separator_of
from autodistill.tasks.problems import SHOWN, Problems
from autodistill.tasks.raw_labels import Encoded, RawLabels
from autodistill.tasks.source import Info
from autodistill.tasks.tables import Table, has_half_character

_YES, _NO = {"1", "true", "1.0"}, {"0", "false", "0.0"}
_LISTED = re.compile(r"\s*\[.*\]\s*", re.DOTALL)
_WITHOUT_COMMA = re.compile(r"""["']\s+["']""")
_LONGEST = 10_000
"""Characters of a list that is written as text."""

Cells = dict[str, list[list[Any] | None]]
"""The labels of each row by split, as they stand there; None where a row cannot be read, which is reported."""


def are_lists(tables: dict[str, Table], column: str) -> bool:
    """Whether a column holds lists in most of its rows. In a few rows they are a mistake."""
    cells = [value for table in tables.values() for value in table.values(column) if value is not None]
    return 2 * sum(isinstance(value, list) for value in cells) > len(cells)


def encode_labels(raw: RawLabels) -> Encoded:
    """The labels of all tables, (rows, L) int8 each. Errors, notes and warnings are added to `raw`."""
    if len(raw.columns) > 1:
        return _of_columns(raw)
    separator = raw.separator
    if separator is None and (separator := _seen_separator(raw)) is not None:
        raw.notes.append(f"column {raw.column!r}: several labels are separated by {separator!r}")
    cells = {split: _cells(raw, split, separator) for split in raw.tables}
    if raw.problems.lines:
        return Encoded(Labels(), {})
    names = raw.declared
    if (width := _indicator_width(cells)) and (names is None or len(names) == width):
        names = names or tuple(map(str, range(width)))
        return _checked(raw, names, {split: np.array(rows, dtype=np.int8) for split, rows in cells.items()})
    cleaned = _cleaned(raw, cells)
    return Encoded(Labels(), {}) if raw.problems.lines else _of_names(raw, cleaned)


def read_cells(table: Table, column: str, problems: Problems) -> list[list[Any]]:
    """The labels of a column of lists, or of texts whose separator is seen. Rows that cannot be read are added to `problems`."""
    raw = RawLabels({"all": table}, (column,), Info(table.name), problems)
    cells = {"all": _cells(raw, "all", _seen_separator(raw))}
    return [] if problems.lines else _cleaned(raw, cells)["all"]


def _of_columns(raw: RawLabels) -> Encoded:
    """A column of 0 and 1 for each label, which has its name."""
    arrays = {}
    for split, table in raw.tables.items():
        array = np.zeros((table.rows, len(raw.columns)), dtype=np.int8)
        for place, column in enumerate(raw.columns):
            words = [str(value).strip().lower() for value in table.values(column)]
            array[:, place] = [word in _YES for word in words]
            bad = [row for row, word in enumerate(words) if word not in _YES and word not in _NO]
            what = "that is not 0 or 1 in a column of one label"
            raw.report({split: bad}, what, "Write 1 where a row has the label, else 0", column)
        arrays[split] = array
    return Encoded(Labels(), {}) if raw.problems.lines else _checked(raw, tuple(raw.columns), arrays)


def _cells(raw: RawLabels, split: str, separator: str | None) -> list[list[Any] | None]:
    """The labels of each row of a column of lists or texts."""
    table = raw.tables[split]
    values = table.values(raw.column)
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    in_lists = any(isinstance(value, list) for value in values)
    as_text = separator is None and not in_lists and bool(texts) and all(_LISTED.fullmatch(text) for text in texts)
    if not in_lists and not as_text and separator is None:
        raw.problems.add(
            f"{table.name}, column {raw.column!r}: it is not seen how several labels are written there ({str(values[0])[:40]!r}). Write "
            "lists, or name what stands between them with --label-separator; for a column of 0 and 1 for each label, name each column with "
            "--label-column"
        )
        return []
    cells: list[list[Any] | None] = []
    bad: list[int] = []
    missing: list[int] = []
    for row, value in enumerate(values):
        cell: list[Any] | None
        if value is None and (in_lists or as_text):
            missing.append(row)
            cell = None
        elif value is None or (isinstance(value, str) and not value.strip()):
            cell = []  # a text cannot say in another way that there is no label
        elif in_lists:
            cell = value if isinstance(value, list) else None
        elif as_text:
            cell = _from_text(value)
        else:
            assert separator is not None
            cell = [part.strip() for part in str(value).split(separator) if part.strip()]
        if cell is None and value is not None:
            bad.append(row)
        cells.append(cell)
    raw.report({split: bad}, "where the label is no list", "Write each as a list, [] where a row has no label")
    raw.report({split: missing}, "without a list of labels", "Write [] where a row has no label, or remove the rows")
    return cells


def _seen_separator(raw: RawLabels) -> str | None:
    """What seems to stand between labels in the texts of a column; None of lists, and where it is not seen."""
    if are_lists(raw.tables, raw.column):
        return None
    return separator_of({value for table in raw.tables.values() for value in table.values(raw.column) if isinstance(value, str)})


def _from_text(text: str) -> list[Any] | None:
    """A list as Python or JSON writes it; None where it is none. Texts beside one another without a comma are no list."""
    if len(text) > _LONGEST or _WITHOUT_COMMA.search(text):
        return None
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _indicator_width(cells: Cells) -> int:
    """The length of lists that have 0 or 1 for each label; 0 where they are lists of labels.

    They are where all are equally long, and one has a number twice, which a list of labels would not.
    """
    rows = [row for items in cells.values() for row in items if row is not None]
    widths = {len(row) for row in rows}
    if len(widths) != 1 or widths < {2}:
        return 0
    numbers = all(isinstance(value, bool | int | float) and value in (0, 1) for row in rows for value in row)
    return widths.pop() if numbers and min(widths) > 1 and any(len(set(row)) < len(row) for row in rows) else 0


def _cleaned(raw: RawLabels, cells: Cells) -> dict[str, list[list[Any]]]:
    """Each label once a row, as a text without white space around it or a whole number."""
    bad: dict[str, list[int]] = {}
    cleaned: dict[str, list[list[Any]]] = {}
    kinds = set()
    for split, rows in cells.items():
        cleaned[split] = []
        for number, row in enumerate(rows):
            labels = [_label(value) for value in row or []]
            if any(label is None for label in labels):
                bad.setdefault(split, []).append(number)
            kinds |= {type(label) for label in labels if label is not None}
            cleaned[split].append(list(dict.fromkeys(label for label in labels if label is not None)))
    raw.report(bad, "with something among its labels that is no word and no whole number", "Correct or remove it")
    if len(kinds) > 1:
        raw.problems.add(f"column {raw.column!r} mixes words and numbers as labels. Write all of them as numbers, or all as words")
    return cleaned


def _label(value: Any) -> str | int | None:
    """One label; None where it is none."""
    if isinstance(value, str):
        return None if has_half_character(value) else value.strip() or None
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _of_names(raw: RawLabels, cleaned: dict[str, list[list[Any]]]) -> Encoded:
    """From lists of labels to 0 and 1 for each."""
    base, declared = raw.base, raw.declared
    rows = cleaned[base]
    seen = {label for row in rows for label in row}
    if declared is None:
        order: Sequence[Any] = sorted(seen)
        names = tuple(str(label) for label in order)
        raw.warnings.extend(doubtful_classes(names))
        if len(seen) > len(rows) / 2 and len(rows) >= 4 * SHOWN:
            raw.problems.add(
                f"{raw.tables[base].name}, column {raw.column!r}: {len(seen)} different labels in {len(rows)} rows; these are no labels. "
                "Name the right column with --label-column"
            )
    else:
        by_index = any(isinstance(label, int) for label in seen)
        order, names = (range(len(declared)) if by_index else declared), declared
    for split, items in cleaned.items():
        _report_unseen(raw, split, items, seen, dict(zip(order, names, strict=True)))
    if raw.problems.lines:
        return Encoded(Labels(names), {})
    if rows and all(len(row) == 1 for row in rows):
        raw.notes.append(
            f"every row of {base} has exactly one label: if that is always so, write it as a single value, for classes that compete "
            "(--task classification)"
        )
    index = {label: number for number, label in enumerate(order)}
    arrays = {}
    for split, items in cleaned.items():
        arrays[split] = np.zeros((len(items), len(names)), dtype=np.int8)
        for number, row in enumerate(items):
            arrays[split][number, [index[label] for label in row]] = 1
    return _checked(raw, names, arrays)


def _report_unseen(raw: RawLabels, split: str, items: list[list[Any]], seen: set[Any], names: Mapping[Any, str]) -> None:
    """Report labels of a split that are not declared, and those that the training rows lack.

    items: the labels of each row. seen: those of the training rows. names: of the labels that are allowed.
    """
    base, allowed = raw.base, set(names)
    foreign = [number for number, row in enumerate(items) if not allowed.issuperset(row) and (split == base or not seen.issuperset(row))]
    outside = [number for number in foreign if any(label not in allowed and (label in seen or split == base) for label in items[number])]
    what = f"with a label outside the known ones ({', '.join([*names.values()][:20])})"
    raw.report({split: outside}, what, "Correct the labels")
    absent = sorted({label for row in items for label in row} - seen, key=str)
    if split == base or not absent:
        return
    rows = [number for number, row in enumerate(items) if not seen.issuperset(row)]
    shown = ", ".join(names.get(label, str(label)) for label in absent[:10])
    if not raw.own and allowed.issuperset(absent):
        raw.notes.append(f"{len(rows)} rows of {split} have labels that {base} does not have: {shown}")
    else:
        raw.report({split: rows}, f"with labels that {base} does not have ({shown})", f"Add such rows to {base}, or remove these")


def _checked(raw: RawLabels, names: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Encoded:
    """The labels, where there is something to learn."""
    name = raw.tables[raw.base].name
    if len(names) < 2:
        raw.problems.add(f"{name}: there is one label, {', '.join(names) or 'or none'}; at least two are needed (--task classification)")
    elif not arrays[raw.base].any():
        raw.problems.add(f"{name}: no row has a label; there is nothing to learn")
    return Encoded(Labels(names), arrays)
