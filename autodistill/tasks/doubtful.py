"""Doubts about labels: questions that only the user can answer, warnings, and notes."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from autodistill.errors import listed
from autodistill.tasks.tables import Table

RARE = 0.05
"""If a few whole numbers have less than this share of fractions among them, the user is asked whether they are classes or scores."""
SEPARATORS = (",", ";", "|")
"""What people write between several labels of a row."""
FEWEST_ROWS = 10
"""A class with fewer training rows gets a note."""
DOMINANT = 0.8
"""From this share of one class on, a note proposes a metric that counts all classes equally."""
MISSING_WORDS = frozenset({"nan", "null", "n/a", "na", "#n/a", "<na>", "none", "?", "-", "unlabelled", "unlabeled", "no label", "no_label"})
"""Names of classes, in lower case, that programs and people write for a missing label."""
_NO_CLASS = "-1"
_FEWEST_COUNTED = 3


def classes_or_scores(tables: dict[str, Table], column: str, values: dict[str, list[Any]], few: int) -> str | None:
    """The question whether numbers are classes or scores, if a few whole numbers have rare fractions among them; else None (scores).

    few: the largest number of distinct whole numbers that may be classes.
    """
    fractions = [(split, row) for split, items in values.items() for row, item in enumerate(items) if item != int(item)]
    whole = {item for items in values.values() for item in items if item == int(item)}
    count = sum(map(len, values.values()))
    if len(fractions) >= RARE * count or not whole or len(whole) > few:
        return None
    split, row = fractions[0]
    table = tables[split]
    return (
        f"{table.name}, column {column!r}: {len(fractions)} of {count} labels are fractions ({table.place(row)}: {values[split][row]:g}), "
        f"the others one of {len(whole)} whole numbers from {min(whole):g} to {max(whole):g}: are they classes or scores? "
        "Correct the fractions, or answer with --task regression (scores) or --task classification (every number is a class)"
    )


def several_labels(tables: dict[str, Table], column: str, values: dict[str, list[Any]]) -> str | None:
    """An error message if texts like `a,b` seem to be several labels of a row; else None.

    They seem to be if splitting them leaves fewer different labels than before, or a label that other rows have alone.
    """
    names = {value for items in values.values() for value in items if isinstance(value, str)}
    sign = separator_of(names)
    together = {name for name in names if (_parts(name, sign) > 1 if sign else _in_brackets(name))}
    if not together or (sign is None and len(together) < len(names)):
        return None
    split, row = next((split, row) for split, items in values.items() for row, item in enumerate(items) if item in together)
    table = tables[split]
    how = f"separated by {sign!r}" if sign else "written as lists"
    answer = f"--label-separator {sign!r}" if sign else "--task multilabel"
    return (
        f"{table.name}, column {column!r}: {len(together)} of {len(names)} different labels seem to be several labels of a row, "
        f"{how} ({table.place(row)}: {values[split][row]!r}): are they? Answer with {answer} (several labels per row) or "
        "--task classification (every text is a class of its own)"
    )


def separator_of(names: Collection[str]) -> str | None:
    """The separator that seems to be between several labels in some of these texts: one that leaves fewer labels than there are texts, or
    of which a part is itself one of the texts.
    """
    for sign in SEPARATORS:
        parts = {part.strip() for name in names for part in name.split(sign)} - {""}
        several = [name for name in names if _parts(name, sign) > 1]
        alone = {name.strip() for name in names}.intersection(part.strip() for name in several for part in name.split(sign)) - {""}
        if several and (len(parts) < len(names) or alone) and not all(map(_in_brackets, names)):
            return sign
    return None


def _parts(name: str, sign: str) -> int:
    return sum(bool(part.strip()) for part in name.split(sign))


def _in_brackets(name: str) -> bool:
    return name.strip().startswith("[") and name.strip().endswith("]")


def doubtful_classes(names: Sequence[str]) -> list[str]:
    """Warnings about classes that may be the same, and about a class that may be a missing value."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[" ".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    pairs = [" and ".join(map(repr, group)) for group in alike.values() if len(group) > 1]
    warnings = []
    if pairs:
        warnings.append(
            f"classes whose names differ only in case or in the form of their letters: {listed(pairs)}; if they are one class, write them "
            "alike"
        )
    # people count classes from 0 or 1 and write -1 for none; of -1, 0 and 1 it is more often the negative class
    counted = [{str(first + place) for place in range(len(names) - 1)} for first in (0, 1)]
    is_none = len(names) > _FEWEST_COUNTED and set(names) - {_NO_CLASS} in counted
    words = MISSING_WORDS | ({_NO_CLASS} if is_none else set())
    missing = [repr(name) for name in names if name.strip().casefold() in words]
    if missing:
        warnings.append(
            f"a class is called {listed(missing)}: if that stands for a missing label, remove its rows, or leave their labels empty "
            "(--unlabelled rest reads such rows without labels)"
        )
    return warnings


def notes_of_classes(names: Sequence[str], train: np.ndarray, validation: np.ndarray, metric: str) -> list[str]:
    """Notes about classes that have few rows or none, and about a class that has nearly all rows. train, validation: (N,) class indices."""
    counts, validation_counts = (np.bincount(labels, minlength=len(names)) for labels in (train, validation))
    few = [f"{names[place]!r} ({counts[place]})" for place in np.argsort(counts, kind="stable").tolist() if counts[place] < FEWEST_ROWS]
    notes = [f"classes with fewer than {FEWEST_ROWS} training rows: {listed(few)}"] if few else []
    absent = [repr(names[place]) for place in np.flatnonzero((validation_counts == 0) & (counts > 0)).tolist()]
    if absent:
        notes.append(f"validation has no row of {listed(absent)}: no score says how well that is learned")
    largest = int(counts.argmax())
    share = counts[largest] / counts.sum()
    if share > DOMINANT and metric in ("accuracy", "weighted_f1"):
        notes.append(
            f"{share:.0%} of the training rows are of the class {names[largest]!r}, and {metric} hardly counts the others: macro_f1, "
            "matthews_correlation or average_precision does (--metric); --class-weights balanced gives them weight in training"
        )
    return notes


def notes_of_labels(names: Sequence[str], train: np.ndarray, validation: np.ndarray) -> list[str]:
    """Notes about labels that few rows or none have, and about rows without a label. train, validation: (N, L), 0 and 1."""
    counts, held = train.sum(axis=0, dtype=np.int64), validation.sum(axis=0, dtype=np.int64)
    notes = [f"labels: {len(names)}, {train.sum() / len(train):.2f} a training row; {int((~train.any(axis=1)).sum()):,} rows have none"]
    few = [f"{names[place]!r} ({counts[place]})" for place in np.argsort(counts, kind="stable").tolist() if counts[place] < FEWEST_ROWS]
    if few:
        notes.append(f"labels that fewer than {FEWEST_ROWS} training rows have: {listed(few)}")
    absent = [repr(names[place]) for place in np.flatnonzero((held == 0) & (counts > 0)).tolist()]
    if absent:
        notes.append(f"validation has no row with {listed(absent)}: no score says how well that is learned")
    return notes
