"""Rows without labels: read from files, cleaned, and kept apart from the rows that students are scored on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autodistill.errors import DataError, UsageError, listed, not_allowed
from autodistill.storage import digest, user_path
from autodistill.target import Vectors
from autodistill.tasks.base import DatasetRef, Split
from autodistill.tasks.class_folders import IMAGE_SUFFIXES, TEXTS, ImageFiles, Skipped, TextFiles, ends_like_image, files_in, is_systems
from autodistill.tasks.columns import LABELS, Columns, choose_inputs
from autodistill.tasks.files import holds_rows, read_texts
from autodistill.tasks.images import change_notes, decoded
from autodistill.tasks.in_memory import keep_tables, listed_values, table_of
from autodistill.tasks.splits import REST, WITHOUT_LABEL, Part
from autodistill.tasks.tables import SUFFIXES, Table, read_table
from autodistill.tasks.text_files import kind_of

if TYPE_CHECKING:
    import pandas as pd

FOREIGN_SHARE = 0.1
"""From this share on, a warning tells of rows that have no word in common with the labelled rows."""
_FEWEST_WORDS = 3
_LABELLED = ("test", "validation", "train")
_SHOWN = 3
_STREAM = 4
"""The random stream by which a limited number of rows is drawn (splits.py has the others)."""
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")
"""A word; in scripts without spaces between words, a character."""

Row = str | tuple[str, str] | bytes
"""The key of a row: a text, a pair of texts, or the digest of an image's pixels."""


@dataclass(frozen=True)
class UnlabelledRows:
    """The unlabelled rows that were read. rows: without labels. fingerprint: of every row, in order. notes, warnings: for people."""

    rows: Split
    count: int
    fingerprint: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def row_key(text: str, pair: str | None = None) -> Row:
    """The key of a text row, without case and white space: rows that differ only in these are the same row."""
    first = " ".join(text.split()).casefold()
    return first if pair is None else (first, " ".join(pair.split()).casefold())


def words_of(texts: Iterable[str]) -> frozenset[str]:
    """All words of some texts, in lower case."""
    return frozenset(word for text in texts for word in _WORD.findall(text.casefold()))


def is_blank(text: str) -> bool:
    """Whether a text has nothing to read: only white space, control and zero-width characters."""
    return not any(letter.isprintable() and not letter.isspace() for letter in text)


def keep_rows(rows: str | Path | Sequence[Any] | pd.DataFrame) -> str:
    """The path of unlabelled rows that a Python user passes. A path stays as it is; other rows are written to the cache.

    Args:
        rows: a path, a list of texts, a list of pairs of texts, or a DataFrame (or another table) with the columns of such a file.

    Raises:
        UsageError: `rows` is none of these, or a list of names.
        RunError: the cache cannot be written.
    """
    if isinstance(rows, str | Path):
        return str(rows)
    rows = listed_values(rows)
    if isinstance(rows, Sequence) and rows and all(map(_names_rows, rows)):
        paths = tuple(map(str, rows))
        what = "names the rest of the training rows" if paths[0] == REST else "is a file"
        raise UsageError(f"unlabelled is a list, which holds texts, and {paths[0]!r} {what}; give it alone, or a tuple: {paths}")
    if isinstance(rows, Sequence) and all(isinstance(row, str) for row in rows):
        rows = [{"text": row} for row in rows]
    allowed = "a path, a list of texts or of pairs of texts, a DataFrame or another table with the columns that a file would have"
    return str(keep_tables({"rows": table_of(rows, "unlabelled", {2: ("text", "text_b")}, allowed)}, "unlabelled") / "rows.parquet")


def _names_rows(row: Any) -> bool:
    """Whether a row is a path, or no text but the name of a file that could be read, or `rest`."""
    return isinstance(row, Path) or (isinstance(row, str) and (row == REST or holds_rows(Path(row))))


Unlabelled = str | Path | Sequence[Any] | Any
"""Rows without labels as Python users may pass them: see `keep_rows`; a tuple holds several."""


def places_of(unlabelled: Unlabelled) -> tuple[str, ...]:
    """The absolute paths of unlabelled rows, because workers run in other folders.

    Raises:
        UsageError: something is neither a path nor rows.
    """
    several = unlabelled if isinstance(unlabelled, tuple) else (unlabelled,)
    return tuple(place if place == REST else str(user_path(place, DataError).absolute()) for place in map(keep_rows, several))


def check_places(places: Sequence[str]) -> None:
    """Refuse impossible places of unlabelled rows, before anything is read.

    Raises:
        DataError: there is no such file.
    """
    for place in places:
        if place != REST and not user_path(place, DataError).exists():
            raise DataError(
                f"unlabelled: there is no file or folder {place}; give a path, or 'rest' for the training rows beyond --limit-train N and "
                "those without a label"
            )


def _read(
    places: Sequence[str], text_columns: tuple[str, ...] | None, per_row: int, output_names: Sequence[str], apart: bool, whole: bool = False
) -> tuple[list[str], list[str], list[str]]:
    """The texts of some files (or of all files in a folder), row after row; for pairs the second texts; and notes.

    apart: each text of a pair counts as a row. whole: in a folder of text files, each file is a text.

    Raises:
        DataError: a file cannot be read, or does not hold the texts that the task has.
    """
    firsts: list[str] = []
    seconds: list[str] = []
    notes: list[str] = []
    for place in places:
        folder = user_path(place, DataError)
        texts_of_files = _texts_of_files(folder, notes) if whole and folder.is_dir() else []
        firsts += texts_of_files
        for path in () if texts_of_files else _files(folder):
            if kind_of(path) == ".txt":
                if per_row > 1:
                    raise DataError(f"{path} has one text a line, and this task reads pairs; give a csv with the columns text and text_b")
                firsts += read_texts(path)
                continue
            table = read_table(path)
            columns = columns_of_texts(table, text_columns, None if apart else per_row, output_names)
            texts = [[_text(value) for value in table.values(name)] for name in columns]
            firsts += [text for row in zip(*texts, strict=True) for text in row] if apart else texts[0]
            seconds += texts[1] if per_row > 1 else []
            ignored = [name for name in table.names if name not in (*columns, *output_names) and not name.startswith("__index")]
            if ignored:
                notes.append(f"unlabelled {path.name}: columns not used: {', '.join(ignored)}")
    return firsts, seconds, notes


def _texts_of_files(folder: Path, notes: list[str]) -> list[str]:
    """The texts of a folder with a file for each; none if it holds tables. notes: get those about other files.

    Raises:
        DataError: there are tables beside texts, or a file cannot be read.
    """
    skipped = Skipped(TEXTS)
    found = list(files_in(folder, skipped))
    tables = [item.name for item in skipped.unread if kind_of(item) in SUFFIXES]
    if tables and any(kind_of(item) == ".txt" for item in found):
        raise DataError(
            f"unlabelled: the folder {folder} holds tables ({listed(tables)}) beside texts of a file each; give the tables by themselves, "
            "and the texts in a folder of their own"
        )
    if tables or not found:
        return []
    notes += [f"unlabelled: {note}" for note in skipped.notes(folder)]
    return TextFiles(folder, found).values("text")


def texts_of(places: Sequence[str], text_columns: tuple[str, ...] | None) -> tuple[list[str], list[str]]:
    """Every text of some files or folders once, in their order, without blank ones; and notes. The two texts of a pair count as two.

    Raises:
        DataError: a file cannot be read, or it is not clear which of its columns holds texts.
    """
    texts, _, notes = _read(places, text_columns, 1, (), apart=True)
    keys = [None if is_blank(text) else row_key(text) for text in texts]
    kept, note = _kept(keys, {}, "texts")
    return [texts[row] for row in kept], [*notes, note.replace("unlabelled: ", "", 1)]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    kinds = (*(suffix for suffix in SUFFIXES if suffix != ".json"), ".txt")  # a .json file among others may be anything
    files = sorted(item for item in path.rglob("*") if kind_of(item) in kinds and not item.name.startswith("_")
                   and not any(map(is_systems, item.relative_to(path).parts)))  # fmt: skip
    if not files:
        raise DataError(f"unlabelled: the folder {path} holds no file of texts; allowed: {', '.join(kinds)}")
    return files


def columns_of_texts(table: Table, asked: tuple[str, ...] | None, per_row: int | None, output_names: Sequence[str]) -> tuple[str, ...]:
    """The columns of texts in a table without labels.

    Args:
        table: from a file.
        asked: names that the user gave; if the table lacks one of them, the columns are guessed.
        per_row: texts of a row, 1 or 2; None for any.
        output_names: of a model. If the table has a column for each of them, these hold a teacher's scores.

    Raises:
        DataError: no column fits, more than one could be meant, or their number is not that of the task.
    """
    if asked is not None and set(asked) <= set(table.names):
        return asked
    columns = choose_inputs(table, None, *_other_columns(table, output_names))
    if isinstance(columns, str):
        raise DataError(f"{table.name} holds images, and this task reads texts")
    if per_row is not None and len(columns) != per_row:
        wanted = "pairs of texts" if per_row > 1 else "single texts"
        raise DataError(
            f"{table.name}: the input is {' + '.join(columns)}, and this task reads {wanted}; name the columns with --text-column"
        )
    return columns


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def unlabelled_texts(
    places: Sequence[str],
    tables: Mapping[str, Table],
    columns: Columns,
    parts: Mapping[str, Part],
    keys_by_split: Mapping[str, Sequence[tuple[str, ...]]],
    ref: DatasetRef,
    output_names: Sequence[str],
) -> UnlabelledRows:
    """The texts, or pairs of texts, that a student may learn from: each once, none of them empty or among the labelled rows.

    If the teacher is a file of scores, only those with scores: nothing says what is in the others.

    Args:
        places: files, folders of files, and `rest`.
        tables, columns, parts: of the labelled rows, including the test split.
        keys_by_split: the texts of the labelled rows.
        ref: the user's request.
        output_names: of a model. A file of a teacher's scores has columns of these names, which are no texts.

    Raises:
        DataError: a file cannot be read.
    """
    files, rest = _places(places, parts)
    whole = tables[parts["train"].table].is_file_each
    firsts, seconds, notes = _read(files, ref.text_columns, len(columns.texts), output_names, ref.task == Vectors.kind, whole)
    for column, values in zip(columns.texts, (firsts, seconds), strict=False):
        for part in rest:
            values += tables[part.table].take(column, part.rows)
    labelled: dict[str, set[Row]] = {split: {row_key(*row) for row in keys_by_split[split]} for split in _LABELLED}
    known_words = words_of(row[0] for row in keys_by_split["train"])
    keys: list[Row | None] = []
    foreign: list[str] = []
    for texts in zip(*([firsts, seconds][: len(columns.texts)]), strict=True):
        blank = any(map(is_blank, texts))
        keys.append(None if blank else row_key(*texts))
        words = _WORD.findall(texts[0].casefold())
        if not blank and len(words) >= _FEWEST_WORDS and known_words.isdisjoint(words):
            foreign.append(texts[0])
    kept, note = _kept(keys, labelled, "rows", _scored(ref, len(columns.texts), output_names))
    warnings = []
    if foreign and len(foreign) / len(keys) >= FOREIGN_SHARE:
        warnings.append(
            f"{len(foreign) / len(keys):.0%} of the unlabelled rows have no word in common with the labelled ones (another language, or no "
            f"text?), such as {foreign[0][:60]!r}; the student learns from them too, so look whether they belong to this task"
        )
    kept, more = _limited(kept, ref)
    rows = Split(np.empty(0), texts=[firsts[row] for row in kept], text_pairs=[seconds[row] for row in kept] if seconds else None)
    fingerprint = digest("unlabelled-1", "\x00".join((rows.texts or []) + (rows.text_pairs or [])))
    return UnlabelledRows(rows, len(kept), fingerprint, (*notes, note, *more), tuple(warnings))


def _scored(ref: DatasetRef, per_row: int, output_names: Sequence[str]) -> set[Row] | None:
    """The rows in the file of a teacher's scores; None if there is no such file."""
    if ref.teacher_scores is None:
        return None
    firsts, seconds, _ = _read([ref.teacher_scores], ref.text_columns, per_row, output_names, apart=False)
    return {row_key(*row) for row in zip(*[firsts, seconds][:per_row], strict=True)}


def unlabelled_images(
    places: Sequence[str],
    tables: Mapping[str, Table],
    column: str,
    parts: Mapping[str, Part],
    keys_by_split: Mapping[str, Sequence[bytes]],
    ref: DatasetRef,
    size: int,
    output_names: Sequence[str],
) -> UnlabelledRows:
    """The images that a student may learn from: each once, none of them among the labelled images. Those that cannot be decoded are
    left out; if the teacher is a file of scores, those without scores too.

    Args:
        places: folders (without classes), single images, tables with a column of images, and `rest`.
        tables, column, parts: of the labelled rows, including the test split.
        keys_by_split: the digests of the labelled images of the splits that were read.
        ref: the user's request.
        size: side of the square that images of this dataset have.
        output_names: see `unlabelled_texts`.

    Raises:
        DataError: no image can be decoded.
    """
    files, rest = _places(places, parts)
    notes: list[str] = []
    sources = [_image_table(user_path(file, DataError), notes, output_names) for file in files]
    wanted = [(table, name_of, np.arange(table.rows)) for table, name_of in sources]
    wanted += [(tables[part.table], column, part.rows) for part in rest]
    labelled: dict[str, set[Row]] = {
        split: set(
            keys_by_split[split]
            if split in keys_by_split
            else decoded(tables[parts[split].table], column, parts[split].rows, size).digests.tolist()
        )
        for split in _LABELLED
    }
    unlabelled = [decoded(table, name_of, rows, size, keep_bad=True) for table, name_of, rows in wanted]
    keys: list[Row | None] = []
    bad = []
    for (table, _, rows), item in zip(wanted, unlabelled, strict=True):
        reasons = dict(item.bad)
        keys += [None if row in reasons else key for row, key in enumerate(item.digests.tolist())]
        bad += [f"{table.place(int(rows[row]))}: {reason}" for row, reason in reasons.items()]
    if keys and len(bad) == len(keys):
        raise DataError(f"unlabelled: none of the {len(keys):,} images can be decoded ({bad[0]})")
    scored = None if ref.teacher_scores is None else set(unlabelled[files.index(ref.teacher_scores)].digests.tolist())
    kept, note = _kept(keys, labelled, "images", scored, unreadable=f"that cannot be decoded ({'; '.join(bad[:_SHOWN])})")
    kept, more = _limited(kept, ref)
    pixels = np.concatenate([item.pixels for item in unlabelled])[kept] if len(unlabelled) > 1 else unlabelled[0].pixels[kept]
    fingerprint = digest("unlabelled-1", np.concatenate([item.digests for item in unlabelled])[kept].tobytes())
    notes += [*change_notes(unlabelled, "unlabelled images"), note, *more]
    return UnlabelledRows(Split(np.empty(0), images=pixels), len(kept), fingerprint, tuple(notes))


def _places(places: Sequence[str], parts: Mapping[str, Part]) -> tuple[list[str], list[Part]]:
    """The files and folders; and the rest of the training rows, if it is asked for.

    Raises:
        DataError: only the rest is asked for, and there is none.
    """
    files = [place for place in places if place != REST]
    rest = [parts[name] for name in (REST, WITHOUT_LABEL) if REST in places and name in parts]
    if not files and not rest:
        raise DataError(
            "unlabelled is 'rest', and no training row lacks a label or is beyond a limit; give --limit-train N (or a lower one), or files"
        )
    return files, rest


def _kept(
    keys: Sequence[Row | None],
    keys_by_split: Mapping[str, set[Row]],
    what: str,
    scored: set[Row] | None = None,
    unreadable: str = "without text",
) -> tuple[np.ndarray, str]:
    """The rows that are kept, ascending; and a note that counts the others.

    keys: None for a row with nothing to read. scored: the only rows that may be kept; None for all. unreadable: what rows without key are.
    """
    counts = {unreadable: 0} | {f"that are in {split}": 0 for split in keys_by_split} | {"duplicate": 0, "without scores": 0}
    seen: set[Row] = set()
    kept = []
    for number, key in enumerate(keys):
        if key is None:
            counts[unreadable] += 1
            continue
        split = next((split for split, rows in keys_by_split.items() if key in rows), None)
        if split is not None:
            counts[f"that are in {split}"] += 1
        elif key in seen:
            counts["duplicate"] += 1
        else:
            seen.add(key)
            if scored is None or key in scored:
                kept.append(number)
            else:
                counts["without scores"] += 1
    removed = ", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)
    return np.array(kept, dtype=np.int64), f"unlabelled: {len(kept):,} of {len(keys):,} {what}" + (
        f"; left out: {removed}" if removed else ""
    )


def _limited(kept: np.ndarray, ref: DatasetRef) -> tuple[np.ndarray, list[str]]:
    """At most as many random rows as were asked for; and a note if that left some out."""
    limit = ref.limit_unlabelled
    if limit is None or limit >= len(kept):
        return kept, []
    chosen = np.sort(np.random.default_rng([ref.seed, _STREAM]).permutation(len(kept))[:limit])
    return kept[chosen], [f"unlabelled: {limit:,} of {len(kept):,} rows, at random, seed {ref.seed}"]


def column_of_images(table: Table, output_names: Sequence[str]) -> str:
    """The column of images in a table without labels. output_names: see `columns_of_texts`.

    Raises:
        DataError: it has none, or more than one column could be meant.
    """
    columns = choose_inputs(table, None, *_other_columns(table, output_names))
    if not isinstance(columns, str):
        raise DataError(f"{table.name} holds texts, and this task reads images")
    return columns


def _other_columns(table: Table, output_names: Sequence[str]) -> list[str]:
    """The columns of a table without labels that hold no rows: a teacher's scores, and a column that is called as one of labels is."""
    scores = list(output_names) if set(output_names) <= set(table.names) else []
    return scores + [name for name in table.names if name not in scores and name.lower() in LABELS][:1]


def _image_table(path: Path, notes: list[str], output_names: Sequence[str]) -> tuple[Table, str]:
    """A table and its column of images. notes: gets one about files that are no images."""
    if path.is_file() and kind_of(path) in SUFFIXES:
        table = read_table(path)
        return table, column_of_images(table, output_names)
    skipped = Skipped()
    folder, files = (path.parent, [path]) if path.is_file() else (path, sorted(files_in(path, skipped)))
    notes += [f"unlabelled: {note}" for note in skipped.notes(path)]
    images = [file for file in files if ends_like_image(file) and not file.name.startswith("_")]
    if not images:
        raise DataError(not_allowed(f"unlabelled images {path}: the kinds of files", "none of them", IMAGE_SUFFIXES))
    return ImageFiles(folder, images), "image"
