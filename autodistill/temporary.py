"""Temporary folders of a search. They are locked while they are used; those that killed searches left are removed by the next one."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from autodistill.storage import disk_errors

LOCK = ".lock"
YOUNG = 60.0
"""Seconds in which a folder is left alone, because its owner may not have locked it yet."""


@contextmanager
def temporary_folder(prefix: str, home: str | None = None) -> Iterator[Path]:
    """A temporary folder for the block. Before, the folders with this prefix are removed whose process has ended without removing them.

    home: the folder to make it in; None for the system's.

    Raises:
        DiskError: it cannot be made.
    """
    place = Path(home or tempfile.gettempdir())
    sweep(place, prefix)
    with disk_errors(place, "name another folder for temporary files with TMPDIR"):
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        held = FileLock(folder / LOCK)
        held.acquire()
    try:
        yield folder
    finally:
        held.release()
        shutil.rmtree(folder, ignore_errors=True)


def sweep(place: Path, prefix: str) -> None:
    """Remove this user's folders with a prefix that nobody uses any more. Folders without a lock stay, because their owner is unknown."""
    for folder in place.glob(f"{prefix}*"):
        with suppress(OSError, Timeout):
            mark = (folder / LOCK).stat()
            if folder.is_symlink() or mark.st_uid != os.getuid() or time.time() - mark.st_mtime < YOUNG:
                continue
            with FileLock(folder / LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
