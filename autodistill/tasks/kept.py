"""Copies of fetched datasets in the cache folder, so that workers neither fetch nor convert them again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autodistill.cache import ensure, new_cached_folder
from autodistill.errors import DataError, DiskError
from autodistill.storage import cache_folder, digest


def kept(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder with a dataset's files. If it does not exist yet, or is damaged, `fill` writes the files into a temporary folder.

    Raises:
        DataError: the cache folder cannot be written, or `fill` raises it.
    """
    folder = cache_folder() / "datasets" / f"{re.sub(r'[^A-Za-z0-9._-]+', '--', name)}-{digest(name)[:6]}"

    def write() -> None:
        with new_cached_folder(folder) as aside:
            fill(aside)

    try:
        ensure(folder, write)
    except (OSError, DiskError) as cause:
        raise DataError(
            f"dataset {name!r} cannot be kept in {folder}: {cause}; set AUTODISTILL_CACHE to a folder that can be written"
        ) from None
    return folder


def write_tables(folder: Path, tables: Mapping[str, Mapping[str, Any]], **info: Any) -> None:
    """Fill a dataset's folder: a parquet file for each table (columns by name) and its dataset.json."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, columns in tables.items():
        pq.write_table(pa.table(dict(columns)), folder / f"{name}.parquet")
    (folder / "dataset.json").write_text(json.dumps(info), encoding="utf-8")
