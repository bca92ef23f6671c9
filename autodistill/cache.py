"""Files and folders in the cache: made once, under a lock, and checked when they are opened.

A folder has a list of its files with their sizes and SHA-256, and a tensor file has a checksum in its header. A file or folder
that is damaged is removed and made again, and a warning says so. Those of older versions lack these checksums, and are checked as far as
their formats allow: the sizes in the headers of safetensors and npy files, the last bytes of parquet files, JSON that can be read. A
folder without a list, of an older version or because the list was lost, gets one once it has passed these checks.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from autodistill.fetched import use
from autodistill.storage import (
    CACHE_ELSEWHERE,
    CHECKED_BYTES,
    CHECKSUM,
    NO_CHECKSUM,
    cache_folder,
    discard,
    disk_errors,
    file_fingerprint,
    lock,
    new_folder,
    tensors_checksum,
)

MANIFEST = ".manifest.json"
"""In a folder of the cache: {"files": {path in the folder: [bytes, SHA-256]}}."""
_WHOLE: set[tuple[str, int, int]] = set()
"""Files that this process has checked by their own format, by path, size and time of change."""


_FETCH: list[Callable[[Path], bool]] = []
"""In a worker on another machine: copies from the driver's cache."""


def fetch_from(fetch: Callable[[Path], bool]) -> None:
    """From now on, copy what this machine's cache lacks from another cache that has it. fetch: see `fetched`."""
    _FETCH[:] = [fetch]


def fetched(path: Path) -> bool:
    """Copy a missing file or folder from the cache of `fetch_from`. Returns whether it is there now. Call it under `lock(path)`."""
    if path.exists() or not _FETCH or not path.is_relative_to(cache_folder()) or not _FETCH[0](path):
        return False
    discard_damaged(path)
    return path.exists()


def ensure(path: Path, make: Callable[[], object]) -> None:
    """Make a file or folder of the cache if it is missing or damaged. If several processes want it, one makes it and the others wait.

    make: writes it, with `new_cached_folder` or `new_tensors`.

    Raises:
        DiskError: the cache cannot be written.
    """
    if is_whole(path):
        return
    with lock(path):
        if not is_whole(path):
            discard_damaged(path)
            if not fetched(path):
                make()


@contextmanager
def new_cached_folder(path: Path) -> Iterator[Path]:
    """A folder of the cache to fill, see `new_folder`; with a list of its files."""
    with new_folder(path, CACHE_ELSEWHERE) as aside:
        yield aside
        (aside / MANIFEST).write_text(_files_of(aside), encoding="utf-8")


def _files_of(folder: Path) -> str:
    """The text of a folder's list of files."""
    files = {
        file.relative_to(folder).as_posix(): [size := file.stat().st_size, file_fingerprint(file) if size <= CHECKED_BYTES else None]
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith(MANIFEST)
    }
    return json.dumps({"files": files}, indent=1)


def discard_damaged(path: Path) -> None:
    """Remove a damaged file or folder, and warn. Call it under `lock(path)`.

    Raises:
        DiskError: it cannot be removed.
    """
    reason = damage(path)
    if reason is None:
        return
    logging.getLogger(__name__).warning("%s is damaged (%s); it is removed and made again", path, reason)
    with disk_errors(path):
        discard(path)


def is_whole(path: Path) -> bool:
    """Whether a file or folder of the cache exists and is not damaged. A whole folder that has no list of its files gets one."""
    use(path)
    if not path.exists() or damage(path) is not None:
        return False
    if path.is_dir() and not (path / MANIFEST).exists():
        aside = path / f"{MANIFEST}.part-{uuid.uuid4().hex[:8]}"
        with suppress(OSError):  # a cache that can be read alone is as good as before
            aside.write_text(_files_of(path), encoding="utf-8")
            aside.replace(path / MANIFEST)
    return True


def damage(path: Path) -> str | None:
    """Why a file or folder of the cache cannot be used; None if it does not exist, or is not damaged as far as can be checked."""
    if not path.exists():
        return None
    try:
        if path.is_file():
            return file_damage(path)
        if path.suffix == ".safetensors":
            return "it is no file"
        if not (path / MANIFEST).exists():
            return next((f"{file.name}: {why}" for file in sorted(path.rglob("*")) if file.is_file() and (why := file_damage(file))), None)
        return _folder_damage(path)
    except OSError as cause:
        return cause.strerror or str(cause)


def _folder_damage(folder: Path) -> str | None:
    try:
        files = dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"])
        for name, (size, checksum) in files.items():
            file = folder / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != size:
                return f"{name} has {file.stat().st_size:,} bytes instead of {size:,}"
            if checksum is not None and file_fingerprint(file) != checksum:
                return f"{name} has other contents than were written"
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST} cannot be read"
    return None


def file_damage(file: Path) -> str | None:
    """What is wrong with a file by its own format (see above); None if nothing is."""
    stat = file.stat()
    key = (str(file.resolve()), stat.st_size, stat.st_mtime_ns)
    if key in _WHOLE:
        return None
    try:
        match file.suffix:
            case ".safetensors":
                if (reason := _tensors_damage(file, stat.st_size)) is not None:
                    return reason
            case ".npy":
                np.load(file, mmap_mode="r")
            case ".json":
                json.loads(file.read_text(encoding="utf-8"))
            case ".parquet":
                with file.open("rb") as opened:
                    opened.seek(-4, 2)
                    if opened.read() != b"PAR1":
                        return "its end is missing"
    except (ValueError, OSError, EOFError) as cause:
        return f"it cannot be read: {cause}"
    _WHOLE.add(key)
    return None


def _tensors_damage(file: Path, size: int) -> str | None:
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > size - 8:
            return "its header is cut off"
        try:
            text = opened.read(length)
            header = json.loads(text)
            checksum = str(header.pop("__metadata__", {}).get(CHECKSUM, NO_CHECKSUM))
            expected = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return "its header cannot be read"
        if size != expected:
            return f"it has {size:,} bytes instead of {expected:,}"
        if checksum != NO_CHECKSUM and tensors_checksum(opened, text.replace(checksum.encode(), NO_CHECKSUM.encode(), 1)) != checksum:
            return "it has other contents than were written"
    return None
