"""How a student reads the rows that people give it, and how its predictions are written."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tokenizers import Tokenizer

from autodistill.errors import DataError, UsageError, listed, not_allowed
from autodistill.models.image import normalise
from autodistill.storage import disk_errors, user_path
from autodistill.target import Prediction
from autodistill.tasks.class_folders import IMAGE_SUFFIXES, TEXTS, Skipped, TextFiles, files_in
from autodistill.tasks.columns import choose_inputs
from autodistill.tasks.files import holds_rows, looks_like_path, read_texts
from autodistill.tasks.images import decode
from autodistill.tasks.tables import SUFFIXES, Table, read_table
from autodistill.tasks.text_files import kind_of

Arrays = dict[str, np.ndarray]
"""A model's inputs by name."""
Row = str | tuple[str, str] | Path | bytes | np.ndarray
"""A row as people give it: a text, a pair of texts, or an image, which is a path, encoded bytes, or pixels (H, W, 3) uint8."""
OUT = (".csv", ".tsv", ".jsonl", ".parquet")

IMAGE_COLUMN = "image"
"""The name of the images' column in a table with several columns."""
_AT_ONCE = 64


@dataclass(frozen=True)
class Given:
    """Rows from a command line. files: the file of each, if each row is the text of a file of its own."""

    rows: list[Row]
    files: list[str] | None = None


class RowReader(ABC):
    """How a student's rows are read; each modality has its own (`Modality.row_reader`)."""

    files: ClassVar[tuple[str, ...]]
    """Files of the student's folder that reading needs."""
    free_axes: ClassVar[tuple[int, ...]]
    """Axes of the model's inputs whose size differs from batch to batch."""

    @property
    @abstractmethod
    def wanted(self) -> str:
        """What is read, for people."""

    @abstractmethod
    def is_row(self, rows: object) -> bool:
        """Whether `rows` is a single row."""

    @abstractmethod
    def from_table(self, frame: Any) -> list[Row]:
        """The rows of a pandas.DataFrame.

        Raises:
            DataError: it is not clear which of its columns to read.
        """

    def listed(self, rows: Any) -> list[Row]:
        """A list of rows from anything that scikit-learn would accept: a list, an array, a pandas.Series or a pandas.DataFrame.

        Raises:
            DataError: see `from_table`; or these are no rows.
        """
        if hasattr(rows, "columns") and hasattr(rows, "iloc"):
            return self.from_table(rows)
        try:
            if not isinstance(rows, str | bytes | Mapping):  # which have an order of another kind
                return list(rows)
        except TypeError:
            pass
        raise DataError(f"{reprlib.repr(rows)} is neither a row nor a list of rows; this student reads {self.wanted}")

    @abstractmethod
    def arrays(self, rows: Sequence[Row]) -> Arrays:
        """Rows as a model's inputs, of equal size.

        Raises:
            DataError: a row is of another kind than the student reads.
        """

    @abstractmethod
    def sizes(self, rows: Sequence[Row]) -> list[int]:
        """The size of each row, so that rows of similar size can share a batch.

        Raises:
            DataError: a row is of another kind than the student reads.
        """

    @abstractmethod
    def read(self, inputs: Sequence[str], text_columns: tuple[str, ...] | None = None) -> Given:
        """Rows from the arguments of a command line. text_columns: of a file.

        Raises:
            DataError: a file does not exist or cannot be read, or its rows are of another kind than the student reads.
            UsageError: the inputs do not go together.
        """

    @abstractmethod
    def columns(self, rows: Sequence[Row]) -> dict[str, list[str]]:
        """Rows as the columns of a table."""


class TextReader(RowReader):
    """Reads texts, or pairs of texts. texts: number of texts in a row, 1 or 2."""

    files = ("tokenizer.json",)
    free_axes = (0, 1)

    def __init__(self, folder: Path, texts: int) -> None:
        self.texts = texts
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    @property
    def wanted(self) -> str:
        """What is read."""
        return "pairs of texts" if self.texts > 1 else "texts"

    def is_row(self, rows: object) -> bool:
        """A text, or for pairs a tuple of two."""
        return isinstance(rows, str) or (self.texts > 1 and isinstance(rows, tuple) and all(isinstance(text, str) for text in rows))

    def from_table(self, frame: Any) -> list[Row]:
        """From the columns `text` (and `text_b`), or from the only columns."""
        names = [name for name in ("text", "text_b")[: self.texts] if name in frame.columns]
        if len(names) < self.texts:
            names = list(frame.columns)
        if len(names) != self.texts:
            wanted = " and ".join(("text", "text_b")[: self.texts])
            raise DataError(
                f"the table has the columns {', '.join(map(str, frame.columns))}, and this student reads {self.wanted}; "
                f"give those columns alone, or call them {wanted}"
            )
        return self._rows(*(frame[name].tolist() for name in names))

    def listed(self, rows: Any) -> list[Row]:
        """See `RowReader`. Pairs may also be lists of two texts, or an array."""
        listed = super().listed(rows)
        if self.texts == 1:
            return [str(row) if isinstance(row, np.str_) else row for row in listed]
        return [tuple(map(str, row)) if isinstance(row, list | np.ndarray) else row for row in listed]  # type: ignore[misc]

    def _check(self, rows: Sequence[Row]) -> None:
        for number, row in enumerate(rows):
            fits = isinstance(row, tuple) and len(row) == self.texts if self.texts > 1 else isinstance(row, str)
            if not fits:
                raise DataError(f"row {number + 1} is {row!r}; this student reads {self.wanted}")
            if not all(map(_is_text, row if isinstance(row, tuple) else (str(row),))):
                raise DataError(f"row {number + 1} has bytes that are no text in UTF-8: {row!r}; convert it to UTF-8")

    def arrays(self, rows: Sequence[Row]) -> Arrays:
        """Token ids, mask and token types, (B, T) int64 each, padded to the longest row."""
        self._check(rows)
        encoded = self._tokenizer.encode_batch([list(row) if isinstance(row, tuple) else row for row in rows])
        arrays = {
            "input_ids": [item.ids for item in encoded],
            "attention_mask": [item.attention_mask for item in encoded],
            "token_type_ids": [item.type_ids for item in encoded],
        }
        return {name: np.asarray(value, dtype=np.int64) for name, value in arrays.items()}

    def sizes(self, rows: Sequence[Row]) -> list[int]:
        """Characters."""
        self._check(rows)
        return [sum(map(len, row)) if isinstance(row, tuple) else len(row) for row in rows]  # type: ignore[arg-type]

    def read(self, inputs: Sequence[str], text_columns: tuple[str, ...] | None = None) -> Given:
        """Texts, the texts of one file, or those of a folder with a text file for each.

        An argument with the suffix of a file must be an existing file. In a txt file, every line that is not blank is a text. For a student
        of pairs, every two texts are one row.
        """
        places = [name for name in inputs if _is_file(name) or _is_folder(name)]
        if places and len(inputs) > 1:
            what = "folder" if _is_folder(places[0]) else "file"
            raise UsageError(f"{places[0]} is a {what}, but there are {len(inputs)} inputs; give a single file or folder, or texts")
        if places and _is_folder(places[0]):
            return self._read_folder(user_path(places[0], DataError))
        if places:
            return Given(self._read_file(user_path(places[0], DataError), text_columns))
        for text in inputs:
            if not text.strip():
                raise UsageError("a text is empty; give one with words")
        if len(inputs) % self.texts:
            raise UsageError(
                f"there are {len(inputs)} texts, but this student reads pairs; give an even number: first text, second text, and so on"
            )
        return Given(self._rows(*(inputs[place :: self.texts] for place in range(self.texts))))

    def _read_folder(self, path: Path) -> Given:
        if self.texts > 1:
            raise DataError(
                f"{path} is a folder, and this student reads pairs of texts; give them, or one file of them ({', '.join(SUFFIXES)})"
            )
        if path.resolve() == path.resolve().parent:
            raise DataError(f"{path} is the root of all folders; give a folder with a text file for each row")
        skipped = Skipped(TEXTS)
        files = list(files_in(path, skipped))
        if len(skipped.unread) > len(files):  # as in a dataset's folder: programs and sites have a few texts in their folders too
            raise DataError(
                f"the folder {path} holds {len(files):,} text files ({TEXTS.names}) and {len(skipped.unread):,} others "
                f"({listed([item.name for item in skipped.unread])}); give a folder with a text file for each row, or one file of texts "
                f"({', '.join((*SUFFIXES, '.txt'))})"
            )
        for note in skipped.notes(path):
            logging.getLogger(__name__).warning("%s: %s", path, note)
        texts = TextFiles(path, files).values("text")
        blank = next((file for file, text in zip(files, texts, strict=True) if not text.strip()), None)
        if blank is not None:
            raise DataError(f"{blank} holds no text; fill it in or remove it")
        return Given(texts, [str(file) for file in files])

    def _rows(self, *columns: Sequence[str]) -> list[Row]:
        return list(zip(*columns, strict=True)) if self.texts > 1 else list(columns[0])

    def _read_file(self, path: Path, text_columns: tuple[str, ...] | None) -> list[Row]:
        if kind_of(path) == ".txt":
            if self.texts > 1:
                raise DataError(f"{path} has one text a line, and this student reads pairs; give a csv with the columns text and text_b")
            if not path.is_file():
                raise DataError(f"there is no file {path}")
            return [line for line in read_texts(path) if line.strip()]
        table = read_table(path)
        names = choose_inputs(table, text_columns)
        if isinstance(names, str) or len(names) != self.texts:
            inputs = names if isinstance(names, str) else " + ".join(names)
            raise DataError(f"{path}: the input is {inputs}, and this student reads {self.wanted}; name the columns with --text-column")
        columns = [table.values(name) for name in names]
        for number, row in enumerate(zip(*columns, strict=True)):
            for name, value in zip(names, row, strict=True):
                if not isinstance(value, str) or not value.strip():
                    raise DataError(f"{path}, column {name!r}, {table.place(number)}: {value!r} is no text; fill it in or remove the row")
        return self._rows(*columns)

    def columns(self, rows: Sequence[Row]) -> dict[str, list[str]]:
        """`text`, and for pairs `text_b`."""
        texts = [row if isinstance(row, tuple) else (row,) for row in rows]
        return {name: [str(row[place]) for row in texts] for place, name in enumerate(("text", "text_b")[: self.texts])}


def _is_text(value: str) -> bool:
    """Whether a text can be written. Python reads bytes that are no text, as on the command line, as characters that cannot be."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_folder(name: str) -> bool:
    """Whether an argument is the path of a folder, and no text: a word may be the name of a folder too."""
    try:
        return (looks_like_path(name) or os.sep in name) and Path(name).expanduser().is_dir()
    except (OSError, RuntimeError):  # too long for a name, or another user's folder that there is not
        return False


def _is_file(name: str) -> bool:
    return looks_like_path(name) and holds_rows(Path(name)) and not name.endswith((" ", "…"))


class ImageReader(RowReader):
    """Reads images. size: the student's height and width in pixels; mean, std: of the RGB channels, from 0 to 1."""

    files = ()
    free_axes = (0,)

    def __init__(self, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self.size, self.mean, self.std = size, tuple(mean), tuple(std)

    @property
    def wanted(self) -> str:
        """What is read."""
        return "images"

    def is_row(self, rows: object) -> bool:
        """A path, the bytes of a file, or pixels (H, W, 3)."""
        return isinstance(rows, str | Path | bytes) or (isinstance(rows, np.ndarray) and rows.ndim == 3)

    def from_table(self, frame: Any) -> list[Row]:
        """From the column `image`, or from the only column."""
        names = [IMAGE_COLUMN] if IMAGE_COLUMN in frame.columns else list(frame.columns)
        if len(names) != 1:
            raise DataError(f"the table has the columns {', '.join(map(str, names))}; give the one with the images alone, or call it image")
        return list(frame[names[0]])

    def arrays(self, rows: Sequence[Row]) -> Arrays:
        """Pixels, (B, 3, H, W) float32, normalised."""
        if all(isinstance(row, np.ndarray) and row.shape == (self.size, self.size, 3) for row in rows):
            pixels = np.stack([np.asarray(row) for row in rows])
        else:
            values: list[Any] = [str(row) if isinstance(row, Path) else row for row in rows]
            images = decode(values, None, self.size)
            if images.bad:
                raise DataError("; ".join(f"{values[row]!r} is no image that can be read: {why}" for row, why in images.bad[:5]))
            pixels = images.pixels
        return {"pixel_values": normalise(pixels, self.mean, self.std).pixels.contiguous().numpy()}

    def sizes(self, rows: Sequence[Row]) -> list[int]:
        """All alike."""
        return [0] * len(rows)

    def read(self, inputs: Sequence[str], text_columns: tuple[str, ...] | None = None) -> Given:
        """Paths of images; of a folder all in it, of a table those that it names. Of several those that cannot be decoded are left out,
        with a warning.
        """
        rows: list[Row] = []
        for path in (user_path(name, DataError) for name in inputs):
            if path.is_dir():
                found = list(files_in(path, Skipped()))
                if not found:
                    raise DataError(f"the folder {path} holds no images ({', '.join(IMAGE_SUFFIXES)})")
                rows += self._readable(str(path), found)
            elif kind_of(path) in SUFFIXES:
                rows += self._readable(str(path), _named_images(read_table(path), text_columns))
            elif path.is_file():
                rows.append(path)
            else:
                raise DataError(f"there is no image {path}; this student reads image files ({', '.join(IMAGE_SUFFIXES)})")
        return Given(rows)

    def _readable(self, what: str, paths: Sequence[Path]) -> list[Path]:
        """The images that can be decoded. what: that names them.

        Raises:
            DataError: none can be.
        """
        bad: dict[Path, str] = {}
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            bad |= {some[row]: reason for row, reason in decode([str(path) for path in some], None, self.size).bad}
        if bad:
            shown = "; ".join(f"{path}: {reason}" for path, reason in list(bad.items())[:3])
            left_out = f"{what}: {len(bad):,} of {len(paths):,} images cannot be decoded ({shown})"
            if len(bad) == len(paths):
                raise DataError(left_out)
            logging.getLogger(__name__).warning("%s; they are left out", left_out)
        return [path for path in paths if path not in bad]

    def columns(self, rows: Sequence[Row]) -> dict[str, list[str]]:
        """`image`: the paths."""
        return {"image": [str(row) for row in rows]}


def _named_images(table: Table, columns: tuple[str, ...] | None) -> list[Path]:
    """The files that a table's column of images names, relative to the table.

    Raises:
        DataError: it has no such column, or a row has no name.
    """
    name = choose_inputs(table, columns)
    if not isinstance(name, str):
        raise DataError(f"{table.name}: the input is {' + '.join(name)}, and this student reads images")
    values = table.values(name)
    unnamed = next((row for row, value in enumerate(values) if not isinstance(value, str) or not value), None)
    if unnamed is not None:
        raise DataError(f"{table.name}, column {name!r}, {table.place(unnamed)}: no path of an image; only Python reads encoded ones")
    return [(table.folder or Path()) / value for value in values]


def check_out(path: Path) -> None:
    """Refuse a file to which predictions cannot be written.

    Raises:
        UsageError: its suffix or its folder is wrong, or it is a folder.
    """
    path = user_path(path, UsageError)
    if path.is_dir():
        raise UsageError(f"--out {path} is a folder; give a file in it, such as {path / 'answers.csv'}")
    if path.suffix.lower() not in OUT:
        raise UsageError(not_allowed("the type of --out", path.suffix or "none", OUT))
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}; make it, or give another file")


def write_answers(path: Path, rows: dict[str, list[str]], answers: Sequence[Prediction]) -> None:
    """Write the rows with their labels and probabilities, scores or vectors, in the format of the suffix. rows: from `RowReader.columns`.

    Raises:
        DiskError: the file cannot be written.
    """
    import pandas as pd

    fields = [field.name for field in dataclasses.fields(Prediction) if field.name != "probabilities"]
    columns = {name: [getattr(answer, name) for answer in answers] for name in fields}
    present = {name: values for name, values in columns.items() if values[0] is not None}
    for name in {"labels", "vector"} & set(present) if path.suffix.lower() in (".csv", ".tsv") else ():  # one cell for all, as JSON
        present[name] = [json.dumps(list(values), ensure_ascii=False) for values in present[name]]
    frame = pd.DataFrame({**rows, **present})
    path = path.expanduser()
    with disk_errors(path, "give another --out"):
        match path.suffix.lower():
            case ".parquet":
                frame.to_parquet(path, index=False)
            case ".jsonl":
                frame.to_json(path, orient="records", lines=True, force_ascii=False)
            case suffix:
                frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
