"""Rows without labels: read from files, cleaned, and kept apart from what students are judged on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autodistill.errors import DataError, UsageError, not_allowed
from autodistill.storage import cache_folder, digest, disk_errors
from autodistill.tasks.base import Split
from autodistill.tasks.columns import LABELS, choose_inputs
from autodistill.tasks.files import IMAGE_SUFFIXES, read_texts
from autodistill.tasks.images import decoded
from autodistill.tasks.problems import Problems
from autodistill.tasks.splits import REST
from autodistill.tasks.tables import SUFFIXES, Table, read_table

if TYPE_CHECKING:
    import pandas as pd

FOREIGN_SHARE = 0.1
"""From this share on, rows that have no word in common with the labelled ones are a warning."""
_FEWEST_WORDS = 3
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")
"""A word; where words are written without spaces between them, a character."""

Row = str | tuple[str, str] | bytes
"""What tells rows apart: a text, a pair of texts, or the digest of an image's pixels."""


@dataclass(frozen=True)
class Held:
    """The labelled rows, as `row_key` names them: what unlabelled rows are compared with. words: of the training rows."""

    train: frozenset[Row]
    validation: frozenset[Row]
    test: frozenset[Row]
    words: frozenset[str] = frozenset()


def row_key(text: str, pair: str | None = None) -> Row:
    """A text row without regard to case and white space: a copy that differs in nothing else is the same row."""
    first = " ".join(text.split()).casefold()
    return first if pair is None else (first, " ".join(pair.split()).casefold())


def words_of(texts: Iterable[str]) -> frozenset[str]:
    """All words of some texts, in lower case."""
    return frozenset(word for text in texts for word in _WORD.findall(text.casefold()))


def is_blank(text: str) -> bool:
    """Whether a text has nothing to read: white space, control and zero-width characters alone."""
    return not any(letter.isprintable() and not letter.isspace() for letter in text)


def keep_rows(rows: str | Path | Sequence[Any] | pd.DataFrame) -> str:
    """The path of some unlabelled rows, as Python users give them: a path is taken as it is, other rows are written to the cache.

    Args:
        rows: a path, a list of texts, a list of pairs of texts, or a DataFrame with the columns that a file would have.

    Raises:
        UsageError: it is none of these.
        RunError: the cache cannot be written.
    """
    import pandas as pd

    if isinstance(rows, str | Path):
        return str(rows)
    if isinstance(rows, pd.DataFrame):
        frame = rows.reset_index(drop=True)
    elif isinstance(rows, Sequence) and all(isinstance(row, str) for row in rows):
        frame = pd.DataFrame({"text": list(rows)})
    elif isinstance(rows, Sequence) and all(isinstance(row, tuple | list) and len(row) == 2 for row in rows):
        frame = pd.DataFrame(list(rows), columns=["text", "text_b"])
    else:
        raise UsageError(f"unlabelled is a {type(rows).__name__}; allowed: a path, a list of texts or of pairs of texts, a DataFrame")
    frame.columns = frame.columns.map(str)
    path = cache_folder() / "unlabelled" / f"{digest(frame.to_json(orient='split'))}.parquet"
    if not path.exists():
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(".part")
            frame.to_parquet(aside, index=False)
            aside.replace(path)
    return str(path)


Unlabelled = str | Path | Sequence[Any] | Any
"""Rows without labels as Python users give them: see `keep_rows`; a tuple holds several."""


def places_of(unlabelled: Unlabelled) -> tuple[str, ...]:
    """The paths of unlabelled rows, absolute: workers run in other folders.

    Raises:
        UsageError: something that is neither a path nor rows.
    """
    several = unlabelled if isinstance(unlabelled, tuple) else (unlabelled,)
    return tuple(place if place == REST else str(Path(place).expanduser().absolute()) for place in map(keep_rows, several))


def check_places(places: Sequence[str], limit_train: int | None) -> None:
    """Refuse what cannot be unlabelled rows, before anything is read.

    Raises:
        DataError: there is no such file, or `rest` without a limit.
    """
    for place in places:
        if place == REST and limit_train is None:
            raise DataError("unlabelled is 'rest', the training rows beyond the limit, and there is no limit; give --limit-train N too")
        if place != REST and not Path(place).expanduser().exists():
            raise DataError(f"unlabelled: there is no file or folder {place}; give a path, or 'rest' with --limit-train N")


def read_texts_of(places: Sequence[str], text_columns: tuple[str, ...] | None, is_pair: bool) -> tuple[list[str], list[str], list[str]]:
    """The texts of some files (or of all files in a folder), row after row; the second texts, for pairs; and notes.

    Raises:
        DataError: a file cannot be read, or does not hold the texts that the task has.
    """
    firsts: list[str] = []
    seconds: list[str] = []
    notes: list[str] = []
    for place in places:
        for path in _files(Path(place).expanduser()):
            if path.suffix.lower() == ".txt":
                if is_pair:
                    raise DataError(f"{path} has one text a line, and this task reads pairs; give a csv with the columns text and text_b")
                firsts += read_texts(path)
                continue
            table = read_table(path)
            columns = _columns(table, text_columns, is_pair)
            texts = [[_text(value) for value in table.values(name)] for name in columns]
            firsts += texts[0]
            seconds += texts[1] if is_pair else []
            ignored = [name for name in table.names if name not in columns]
            if ignored:
                notes.append(f"unlabelled {path.name}: columns not used: {', '.join(ignored)}")
    return firsts, seconds, notes


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    kinds = (*SUFFIXES, ".txt")
    files = sorted(item for item in path.rglob("*") if item.suffix.lower() in kinds and not item.name.startswith((".", "_")))
    if not files:
        raise DataError(f"unlabelled: the folder {path} holds no file of texts; allowed: {', '.join(kinds)}")
    return files


def _columns(table: Table, text_columns: tuple[str, ...] | None, is_pair: bool) -> tuple[str, ...]:
    if text_columns is not None and set(text_columns) <= set(table.names):
        return text_columns
    label = next((name for name in table.names if name.lower() in LABELS), None)
    columns = choose_inputs(table, None, label)
    if isinstance(columns, str):
        raise DataError(f"{table.name} holds images, and this task reads texts")
    if len(columns) != (2 if is_pair else 1):
        wanted = "pairs of texts" if is_pair else "single texts"
        raise DataError(
            f"{table.name}: the input is {' + '.join(columns)}, and this task reads {wanted}; name the columns with --text-column"
        )
    return columns


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def clean_texts(firsts: Sequence[str], seconds: Sequence[str] | None, held: Held, blank: np.ndarray) -> tuple[Split, list[str], str | None]:
    """The rows that a student may learn from: with a text, each once, and none that stands among the labelled rows.

    Args:
        firsts: the texts.
        seconds: the second texts of pairs.
        held: the labelled rows.
        blank: what stands for a label where there is none, (1,).

    Returns:
        The rows, notes with what was left out, and a warning where many rows have no word in common with the training rows.

    Raises:
        DataError: nothing is left.
    """
    kept: list[int] = []
    counts = dict.fromkeys(("without text", "that stand in test", "that stand in validation", "that stand in train", "twice"), 0)
    seen: set[Row] = set()
    foreign: list[str] = []
    for number, text in enumerate(firsts):
        pair = None if seconds is None else seconds[number]
        if is_blank(text) or (pair is not None and is_blank(pair)):
            counts["without text"] += 1
            continue
        key = row_key(text, pair)
        where = next((name for name in ("test", "validation", "train") if key in getattr(held, name)), None)
        if where is not None:
            counts[f"that stand in {where}"] += 1
        elif key in seen:
            counts["twice"] += 1
        else:
            seen.add(key)
            kept.append(number)
            words = _WORD.findall(text.casefold())
            if len(words) >= _FEWEST_WORDS and held.words.isdisjoint(words):
                foreign.append(text)
    removed = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    if not kept:
        raise DataError(f"none of the {len(firsts):,} unlabelled rows can be used ({removed or 'there are none'}); give other ones")
    notes = [f"unlabelled: {len(kept):,} of {len(firsts):,} rows" + (f"; left out: {removed}" if removed else "")]
    warning = None
    if len(foreign) / len(kept) >= FOREIGN_SHARE:
        warning = (
            f"{len(foreign) / len(kept):.0%} of the unlabelled rows have no word in common with the labelled ones (another language, or no "
            f"text?), such as {foreign[0][:60]!r}; the student learns from them too, so look whether they belong to this task"
        )
    pairs = None if seconds is None else [seconds[row] for row in kept]
    return Split(np.repeat(blank, len(kept)), texts=[firsts[row] for row in kept], text_pairs=pairs), notes, warning


def clean_images(
    sources: Sequence[tuple[Table, str, np.ndarray]], size: int, held: Held, blank: np.ndarray, problems: Problems
) -> tuple[Split | None, list[str]]:
    """Images without labels, each once, and none that stands among the labelled ones; and notes.

    Args:
        sources: tables, each with its column of images and the rows that are wanted.
        size: side of the square that images of this dataset have.
        held: the labelled rows.
        blank: what stands for a label where there is none, (1,).
        problems: is told of images that cannot be decoded; the split is None then.

    Raises:
        DataError: none is left.
    """
    pixels: list[np.ndarray] = []
    seen: set[Row] = set()
    counts = dict.fromkeys(("that stand in test", "that stand in validation", "that stand in train", "twice"), 0)
    total = 0
    for table, column, rows in sources:
        images = decoded(table, column, rows, size, problems)
        if images is None:
            return None, []
        total += len(rows)
        keep = np.zeros(len(rows), dtype=bool)
        for number, key in enumerate(images.digests.tolist()):
            where = next((name for name in ("test", "validation", "train") if key in getattr(held, name)), None)
            if where is not None:
                counts[f"that stand in {where}"] += 1
            elif key in seen:
                counts["twice"] += 1
            else:
                seen.add(key)
                keep[number] = True
        pixels.append(images.pixels if keep.all() else images.pixels[keep])
    removed = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    kept = sum(len(part) for part in pixels)
    if not kept:
        raise DataError(f"none of the {total:,} unlabelled images can be used ({removed}); give other ones")
    note = f"unlabelled: {kept:,} of {total:,} images" + (f"; left out: {removed}" if removed else "")
    return Split(np.repeat(blank, kept), images=pixels[0] if len(pixels) == 1 else np.concatenate(pixels)), [note]


def image_table(path: Path) -> tuple[Table, str, np.ndarray]:
    """The images of a folder (without classes), of a table with a column of images, or one image: table, column, all rows.

    Raises:
        DataError: there are none.
    """
    table, column = _image_table(path)
    return table, column, np.arange(table.rows)


def _image_table(path: Path) -> tuple[Table, str]:
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        table = read_table(path)
        label = next((name for name in table.names if name.lower() in LABELS), None)
        columns = choose_inputs(table, None, label)
        if not isinstance(columns, str):
            raise DataError(f"{path} holds texts, and this task reads images")
        return table, columns
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith((".", "_"))]
    if not images:
        raise DataError(not_allowed(f"unlabelled images {path}: the kinds of files", "none of them", IMAGE_SUFFIXES))
    return Table(str(path), {"image": [str(file) for file in images]}, folder=path), "image"
