"""A file of a black-box teacher's scores: scores from a large model, an API or annotators, matched by text or by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from autodistill.errors import DataError, listed, not_allowed
from autodistill.storage import digest, user_path
from autodistill.target import Target
from autodistill.tasks.images import add_bad_images, decoded
from autodistill.tasks.multilabel import read_cells
from autodistill.tasks.problems import Problems
from autodistill.tasks.tables import Table, read_table
from autodistill.tasks.unlabelled import Row, column_of_images, columns_of_texts, is_blank, row_key

SUM_TOLERANCE = 1e-3
"""How far the sum of a row's probabilities may be from 1."""
SLACK = 1e-5
"""How far beyond 0 and 1 a probability may be by rounding."""
ROUNDING = 1e-3
"""By how much the scores of a text or image that occurs twice may differ."""
LEAST_PROBABILITY = 1e-5
"""Replaces a probability of 0, because the logarithm must be finite. If a file names only one class, that class has the rest."""
_SHOWN = 5

Kind = Literal["probabilities", "logits", "labels", "scores"]


@dataclass(frozen=True)
class TeacherScores:
    """Scores by row. logits: (N, C) float32, normalised log-probabilities, log-odds of labels, or (N, 1) scores in the target's units.

    rows: the index of each row, by its key: the `row_key` of its text, or the digest of its image's pixels. contents: all texts, or all
    digests, as in the file. kind: of the file's values.
    """

    logits: np.ndarray
    rows: dict[Row, int]
    contents: bytes
    kind: Kind
    notes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """A fingerprint of all rows and scores."""
        return digest("scores-1", self.logits.tobytes(), self.contents)

    def of(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        """The scores of some rows: (M, C) float32, zeros for a row without scores; and (M,) bool, which rows have scores.

        rows: texts, pairs of texts, or digests of pixels, as `Modality.row_keys` gives them.
        """
        places = np.array([self.rows.get(_key(row), -1) for row in rows], dtype=np.int64)
        logits = np.zeros((len(rows), self.logits.shape[1]), dtype=np.float32)
        logits[places >= 0] = self.logits[places[places >= 0]]
        return logits, places >= 0


def _key(row: Row) -> Row:
    return row if isinstance(row, bytes) else row_key(row) if isinstance(row, str) else row_key(*row)


def read_scores(
    path: str | Path, target: Target, *, per_row: int, text_columns: tuple[str, ...] | None, image_size: int | None = None
) -> TeacherScores:
    """Read a file of scores.

    It has a column of texts (two for pairs) or of images and, for classes, either a column for each class, of probabilities or of logits,
    or `label` with an optional `confidence`; for several labels per row a column for each, or `labels`, lists; for a regression `score` or
    `label`.
    Values all from 0 to 1, but for rounding, are probabilities.

    Args:
        path: csv, tsv, jsonl or parquet.
        target: the dataset's.
        per_row: texts of a row, 1 or 2; 0 for images.
        text_columns: the names of the columns of texts, if they cannot be guessed (a class may be called `text`).
        image_size: the side of the dataset's images in pixels; None for texts.

    Raises:
        DataError: the file cannot be read, names an unknown class or lacks one, has different scores for the same text or image, or has
            probabilities that do not sum to 1. The message names the rows.
    """
    table = read_table(user_path(path, DataError))
    if per_row:
        columns = columns_of_texts(table, text_columns, per_row, target.output_names)
        keys, contents = _texts(table, columns)
    else:
        assert image_size is not None
        columns = (column_of_images(table, target.output_names),)
        keys, contents = _images(table, columns[0], image_size)
    kind, logits, notes = target.teacher_scores(table, columns)
    rows: dict[Row, int] = {}
    twice: list[int] = []
    shown = target.shown(logits.astype(np.float64))
    for row, key in enumerate(keys):
        first = rows.setdefault(key, row)
        if first != row and np.abs(shown[first] - shown[row]).max() > ROUNDING:
            twice.append(row)
    what = "text" if per_row else "image"
    _refuse(table, twice, f"whose {what} occurs in an earlier row with other scores", "Keep one of each")
    return TeacherScores(logits, rows, contents, kind, tuple(notes))


def _texts(table: Table, columns: Sequence[str]) -> tuple[list[Row], bytes]:
    """The key of each row, and all texts.

    Raises:
        DataError: a row has no text.
    """
    texts = [table.values(name) for name in columns]
    bad = [row for row, values in enumerate(zip(*texts, strict=True)) if not all(isinstance(v, str) and not is_blank(v) for v in values)]
    _refuse(table, bad, "without a text", "Fill it in or remove them")
    return [row_key(*values) for values in zip(*texts, strict=True)], "\x00".join(text for column in texts for text in column).encode()


def _images(table: Table, column: str, size: int) -> tuple[list[Row], bytes]:
    """The digest of each row's pixels, as the dataset's images have them, and all digests.

    Raises:
        DataError: an image cannot be decoded.
    """
    every_row = np.arange(table.rows)
    images, problems = decoded(table, column, every_row, size), Problems()
    add_bad_images(images, table, column, every_row, problems)
    if problems.lines:
        raise DataError("\n".join(problems.lines))
    return images.digests.tolist(), images.digests.tobytes()


def scores_of_classes(table: Table, classes: Sequence[str], texts: tuple[str, ...]) -> tuple[Kind, np.ndarray, list[str]]:
    """Log-probabilities (N, C) float32 from a column for each class or from labels. texts: the columns of texts.

    Raises:
        DataError: a class is unknown or missing, or a row's numbers are no probabilities.
    """
    classes = list(classes)
    names = [name for name in table.names if name not in texts]
    missing = [name for name in classes if name not in names]
    if missing and "label" in names:
        return "labels", _from_labels(table, classes), _unused(names, ["label", "confidence"])
    if missing:
        unknown = [name for name in names if name not in classes]
        others = f"; columns that are no class: {', '.join(unknown)}" if unknown else ""
        way_out = "Give a column for each class, or a column `label` (and `confidence`)"
        absent, wanted = (listed([repr(name) for name in some]) for some in (missing, classes))
        raise DataError(f"{table.name} has no column for the classes {absent} of {wanted}{others}. {way_out}")
    columns = [_floats(table, name) for name in classes]
    values = np.stack(columns, axis=1)
    notes = _unused(names, classes)
    if not _are_probabilities(values):
        shifted = values - values.max(axis=1, keepdims=True)
        return "logits", (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))).astype(np.float32), notes
    totals = values.sum(axis=1)
    off = np.flatnonzero(np.abs(totals - 1) > SUM_TOLERANCE).tolist()
    example = f" ({totals[off[0]]:.4g} in the first of them)" if off else ""
    _refuse(table, off, f"whose probabilities do not sum to 1 within {SUM_TOLERANCE:g}{example}", "Normalise them, or give logits")
    return "probabilities", _log(values), notes


def scores_of_labels(table: Table, classes: Sequence[str], texts: tuple[str, ...]) -> tuple[Kind, np.ndarray, list[str]]:
    """Log-odds (N, L) float32 from a column for each label, of probabilities or of log-odds, or from lists of labels. texts: their columns.

    Raises:
        DataError: a label is unknown or missing.
    """
    names = [name for name in table.names if name not in texts]
    missing = [name for name in classes if name not in names]
    lists = next((name for name in ("labels", "label") if name in names), None)
    if missing and lists is not None:
        return "labels", _from_lists(table, lists, list(classes)), _unused(names, [lists])
    if missing:
        absent, wanted = (listed([repr(name) for name in some]) for some in (missing, classes))
        raise DataError(
            f"{table.name} has no column for the labels {absent} of {wanted}. Give a column of probabilities for each label, or a column "
            "`labels` of lists"
        )
    values = np.stack([_floats(table, name) for name in classes], axis=1)
    if not _are_probabilities(values):
        return "logits", values.astype(np.float32), _unused(names, classes)
    return "probabilities", _log_odds(values), _unused(names, classes)


def _from_lists(table: Table, column: str, classes: list[str]) -> np.ndarray:
    problems = Problems()
    cells = read_cells(table, column, problems)
    if problems.lines:
        raise DataError("\n".join(problems.lines))
    cells = [[_name(label) for label in cell] for cell in cells]
    unknown = [row for row, cell in enumerate(cells) if not set(cell) <= set(classes)]
    if unknown:
        label = next(label for label in cells[unknown[0]] if label not in classes)
        _refuse(table, unknown, "with a label that the dataset does not have", not_allowed("the first of them", label, classes))
    return _log_odds(np.array([[name in cell for name in classes] for cell in cells], dtype=np.float64))


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Their log-odds, none of a probability nearer to 0 or 1 than LEAST_PROBABILITY."""
    kept = np.clip(probabilities, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return (np.log(kept) - np.log1p(-kept)).astype(np.float32)


def _from_labels(table: Table, classes: list[str]) -> np.ndarray:
    labels = [_name(value) for value in table.values("label")]
    unknown = [row for row, label in enumerate(labels) if label not in classes]
    if unknown:
        nearest = not_allowed("the first of them", labels[unknown[0]], classes)
        _refuse(table, unknown, "with a class that the dataset does not have", f"{nearest}")
    confidence = _floats(table, "confidence") if "confidence" in table.names else np.ones(len(labels))
    off = np.flatnonzero((confidence < 0) | (confidence > 1)).tolist()
    _refuse(table, off, "whose confidence is not from 0 to 1", "Give the probability of the label")
    values = np.repeat(((1 - confidence) / (len(classes) - 1))[:, None], len(classes), axis=1)
    values[np.arange(len(labels)), [classes.index(label) for label in labels]] = confidence
    return _log(values)


def scores_of_numbers(table: Table) -> tuple[Kind, np.ndarray, list[str]]:
    """Read scores (N, 1) float32, in the target's units.

    Raises:
        DataError: there is no column of scores, or a row has no score.
    """
    name = next((name for name in ("score", "label") if name in table.names), None)
    if name is None:
        raise DataError(f"{table.name} has no column score or label for the teacher's scores; its columns are {', '.join(table.names)}")
    return "scores", _floats(table, name)[:, None].astype(np.float32), []


def _floats(table: Table, column: str) -> np.ndarray:
    values = []
    bad: list[int] = []
    for row, value in enumerate(table.values(column)):
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            bad.append(row)
        values.append(number)
    _refuse(table, bad, f"whose {column!r} is no finite number", "Fill it in or remove them")
    return np.array(values, dtype=np.float64)


def _are_probabilities(values: np.ndarray) -> bool:
    """Whether all values are from 0 to 1, but for the rounding of a softmax."""
    return bool((values >= -SLACK).all() and (values <= 1 + SLACK).all())


def _log(probabilities: np.ndarray) -> np.ndarray:
    """The logarithms of probabilities, at least that of LEAST_PROBABILITY, normalised again."""
    kept = np.maximum(probabilities, LEAST_PROBABILITY)
    return np.log(kept / kept.sum(axis=1, keepdims=True)).astype(np.float32)


def _name(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _unused(names: Sequence[str], used: Sequence[str]) -> list[str]:
    unused = [name for name in names if name not in used and not name.startswith("__index")]  # pandas writes its index there
    return [f"teacher scores: columns not used: {', '.join(unused)}"] if unused else []


def _refuse(table: Table, rows: Sequence[int], what: str, way_out: str) -> None:
    if rows:
        shown = ", ".join(table.place(row) for row in rows[:_SHOWN]) + (", …" if len(rows) > _SHOWN else "")
        raise DataError(f"{table.name}: {len(rows)} row{'s' if len(rows) > 1 else ''} {what}: {shown}. {way_out}")
