"""Where a dataset's name leads: a path, a local mirror, the catalog; and what to say where it leads nowhere."""

from __future__ import annotations

import os
from pathlib import Path

from autodistill.errors import DataError
from autodistill.tasks.digits import open_digits
from autodistill.tasks.files import looks_like_path, open_path
from autodistill.tasks.source import Source, renamed

MIRRORS = "AUTODISTILL_DATA"
"""The environment variable that names folders of local mirrors."""


def mirror_folders() -> list[Path]:
    """The folders that AUTODISTILL_DATA names."""
    return [Path(item).expanduser() for item in os.environ.get(MIRRORS, "").split(os.pathsep) if item]


def find(name: str) -> Source:
    """Open a dataset by name: path, mirrors, catalog.

    Raises:
        DataError: it is nowhere (the message says where was looked), or cannot be read.
    """
    if not name.strip():
        raise DataError("the dataset's name is empty; give a path, or a name that `autodistill datasets` lists")
    path = Path(name).expanduser()
    if path.exists():
        return open_path(path)
    if looks_like_path(name):
        raise DataError(f"there is no file or folder {name} (looked in {Path.cwd()})")
    for folder in mirror_folders():
        if (folder / name).is_dir():
            return renamed(open_path(folder / name, own=False), name)
    if name == "digits":
        return open_digits()
    raise DataError(f"there is no dataset {name!r}")
