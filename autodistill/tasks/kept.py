"""Copies of fetched datasets in the cache folder, so that workers neither fetch nor convert them again."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from autodistill.errors import DataError
from autodistill.storage import cache_folder, digest


def kept(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder with a dataset's files. If it does not exist yet, `fill` writes the files into a temporary folder.

    Raises:
        DataError: the cache folder cannot be written, or `fill` raises it.
    """
    folder = cache_folder() / "datasets" / f"{re.sub(r'[^A-Za-z0-9._-]+', '--', name)}-{digest(name)[:6]}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                aside = folder.with_name(f"{folder.name}.{os.getpid()}.part")
                shutil.rmtree(aside, ignore_errors=True)
                aside.mkdir()
                try:
                    fill(aside)
                    aside.rename(folder)
                finally:
                    shutil.rmtree(aside, ignore_errors=True)
    except OSError as cause:
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
