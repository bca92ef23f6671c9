"""Rows that Python users have in memory. They are written to the cache, so that workers can read them like any file."""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autodistill.errors import UsageError
from autodistill.storage import cache_folder, disk_errors
from autodistill.tasks.class_folders import SPLITS, UNLABELLED, ends_like_image

LABELLED = {2: ("text", "label"), 3: ("text", "text_b", "label")}
"""The names of the columns of a list of tuples, by the number of columns."""
_OF_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""The modes of PIL that PNG holds without a loss."""
ALLOWED = (
    "a path or a name; a DataFrame, a datasets.Dataset or a pyarrow table; a dictionary of columns; a list of dictionaries, or of tuples "
    "(text, label), (image, label) or (text, text_b, label); a list of texts, for the task embedding; or a dictionary of these with the "
    "splits train, validation, test and unlabelled"
)


def keep_dataset(rows: Any) -> str:
    """The path of a labelled dataset that a Python user passes. A path or name stays as it is; rows are written to the cache.

    Equal rows have equal paths.

    Raises:
        UsageError: `rows` is none of `ALLOWED`, or cannot be written as a table.
        RunError: the cache cannot be written.
    """
    if isinstance(rows, str | Path):
        return str(rows)
    has_splits = isinstance(rows, Mapping) and bool(rows) and all(str(name).lower() in (*SPLITS, *UNLABELLED) for name in rows)
    splits = rows if has_splits else {"all": rows}  # a folder with a single file is one table
    return str(keep_tables({str(name): _table(value) for name, value in splits.items()}, "dataset"))


def keep_scores(rows: Any) -> str:
    """The path of a teacher's scores that a Python user passes. A path stays as it is; a table is written to the cache.

    Raises:
        UsageError: `rows` is no table of texts or images and their scores.
        RunError: the cache cannot be written.
    """
    if isinstance(rows, str | Path):
        return str(rows)
    allowed = (
        "a path; or a DataFrame, another table, a dictionary of columns or a list of dictionaries, with the columns that a file would have"
    )
    return str(keep_tables({"scores": table_of(rows, "teacher_scores", {}, allowed)}, "teacher-scores") / "scores.parquet")


def _table(rows: Any) -> Any:
    rows = listed_values(rows)
    if isinstance(rows, Sequence) and rows and all(isinstance(row, str) for row in rows):
        rows = {"text": list(rows)}
    return table_of(rows, "dataset", LABELLED, ALLOWED)


def listed_values(rows: Any) -> Any:
    """A Series or an array of one dimension as a list; anything else as it is."""
    return rows.tolist() if getattr(rows, "ndim", 0) == 1 and hasattr(rows, "tolist") else rows


def table_of(rows: Any, what: str, tuples: Mapping[int, tuple[str, ...]], allowed: str) -> Any:
    """A DataFrame; or any other object with `to_parquet`, such as a datasets.Dataset, which writes itself with its types.

    Args:
        rows: as the user passed them.
        what: their name in errors.
        tuples: the names of the columns of a list of tuples, by the number of columns.
        allowed: the kinds that are allowed, for errors.

    Raises:
        UsageError: `rows` is none of the kinds that are allowed.
    """
    import pandas as pd

    if isinstance(rows, pd.DataFrame):
        return _with_names(rows.reset_index(drop=True))
    if hasattr(rows, "to_parquet"):
        return rows
    if hasattr(rows, "to_pandas"):
        return _with_names(rows.to_pandas())
    if isinstance(rows, Mapping) and rows:
        sizes = {len(column) if hasattr(column, "__len__") and not isinstance(column, str) else -1 for column in rows.values()}
        if len(sizes) == 1 and -1 not in sizes:  # an array (N, L) is a column of lists, one of (N, H, W, C) a column of images
            return _with_names(pd.DataFrame({name: list(col) if getattr(col, "ndim", 1) > 1 else col for name, col in rows.items()}))
    if isinstance(rows, Sequence) and not isinstance(rows, str | bytes) and len(rows):
        if all(isinstance(row, Mapping) for row in rows):
            return _with_names(pd.DataFrame(list(rows)))
        sizes = {len(row) if isinstance(row, tuple | list) else 0 for row in rows}
        if len(sizes) == 1 and (names := tuples.get(*sizes)):
            frame = pd.DataFrame(list(rows), columns=list(names))
            return _with_names(frame.rename(columns={"text": "image"}) if _is_image(frame["text"].iloc[0]) else frame)
    raise UsageError(f"{what} is a {type(rows).__name__} that cannot be read; allowed: {allowed}")


def _with_names(frame: Any) -> Any:
    """A copy of a DataFrame with strings as column names, and with encoded images."""
    import pandas as pd

    frame = frame.copy(deep=False)
    frame.columns = frame.columns.map(str)
    for place, name in enumerate(frame.columns):
        column = frame.iloc[:, place]
        if isinstance(column.dtype, pd.CategoricalDtype) and isinstance(column.dtype.categories.dtype, pd.IntervalDtype | pd.PeriodDtype):
            frame.isetitem(place, column.astype(column.dtype.categories.dtype))  # parquet holds no such categories; reading says the rest
        elif column.dtype == object and any(map(_is_image, column)):
            frame.isetitem(place, [_encoded(value, name) for value in column])
        elif not pd.api.types.is_numeric_dtype(column.dtype) and (paths := _image_paths(column.tolist())) is not None:
            frame.isetitem(place, paths)
    return frame


def _is_image(value: Any) -> bool:
    """Whether a value is an image of PIL, or pixels as uint8: (H, W) or (H, W, C)."""
    from PIL.Image import Image as Picture

    return isinstance(value, Picture) or (isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim in (2, 3))


def _image_paths(values: Sequence[Any]) -> list[str | None] | None:
    """Paths of images, relative to the current folder, as absolute ones, because the table will lie in another folder; None if the first
    value is no such path.
    """
    if not len(values) or not isinstance(values[0], str | Path) or not ends_like_image(Path(values[0])) or not Path(values[0]).is_file():
        return None
    return [str(Path(value).absolute()) if isinstance(value, str | Path) else None for value in values]


def _encoded(value: Any, column: str) -> bytes | None:
    """An image as the bytes of a file, turned by its EXIF orientation. Other encoded images and missing ones stay as they are.

    Raises:
        UsageError: the value is no image.
    """
    from PIL import Image, ImageOps

    if value is None or isinstance(value, bytes):
        return value
    if not _is_image(value):
        raise UsageError(f"column {column!r} holds images and a {type(value).__name__}; give images alone")
    try:
        image = ImageOps.exif_transpose(Image.fromarray(value) if isinstance(value, np.ndarray) else value)
        file = io.BytesIO()
        image.save(file, "png" if image.mode in _OF_PNG else "tiff")
    except (OSError, ValueError, TypeError) as cause:
        raise UsageError(f"column {column!r} holds an image that cannot be encoded: {cause}; give it in RGB") from None
    return file.getvalue()


def keep_tables(tables: Mapping[str, Any], name: str) -> Path:
    """Write tables as parquet files, NAME.parquet each, into a folder `name` of the cache. Returns the folder.

    It is inside a folder named by a digest of the contents, so that existing files are not written again.

    Raises:
        UsageError: a table cannot be written as parquet.
        RunError: the cache cannot be written.
    """
    home = cache_folder() / "in-memory"
    aside = home / f"{uuid.uuid4().hex}.part"
    try:
        with disk_errors(home):
            aside.mkdir(parents=True)
        for split, table in sorted(tables.items()):
            file = aside / f"{split}.parquet"
            _write(table, file, split)
        contents = _contents(aside)
        folder = home / contents[:16] / name
        with disk_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            if folder.exists() and _contents(folder) != contents:
                logging.getLogger(__name__).warning("%s is damaged; it is written again", folder)
                shutil.rmtree(folder)
            if not folder.exists():
                _put(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _contents(folder: Path) -> str:
    """A digest of the tables in a folder and of their names."""
    contents = hashlib.sha256()
    for file in sorted(folder.glob("*.parquet")):
        contents.update(file.stem.encode() + file.read_bytes())
    return contents.hexdigest()


def _put(aside: Path, folder: Path) -> None:
    try:
        aside.rename(folder)
    except OSError:
        if not folder.exists():  # if it exists, another process was first
            raise


def _write(table: Any, file: Path, split: str) -> None:
    import pandas as pd
    import pyarrow as pa

    try:
        if isinstance(table, pd.DataFrame):
            table.to_parquet(file, index=False)
        else:
            table.to_parquet(str(file))
    except (pa.ArrowException, ValueError, TypeError, OverflowError, UnicodeError) as cause:
        raise UsageError(
            f"{split} cannot be written as a table: {str(cause).splitlines()[0][:200]}; "
            "give each column a name of its own, and values of one type"
        ) from None


ScoresLike = str | Path | Sequence[Any] | Mapping[str, Any] | Any
"""A teacher's scores as Python users may pass them: see `keep_scores`."""
DatasetLike = str | Path | Sequence[Any] | Mapping[str, Any] | Any
"""A dataset as Python users may pass it: see `keep_dataset`."""
