"""Writing files and folders: under a temporary name, synced, then renamed, so that a reader never sees half a file."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedRandom, BufferedReader
from pathlib import Path

import numpy as np
from filelock import FileLock

from autodistill.errors import DiskError, UserError

_SAFETENSORS = {"float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "uint8": "U8"}
CHECKSUM, NO_CHECKSUM = "sha256", "0" * 64
"""The name of the checksum in the metadata of a file by `new_tensors`, and its value if there is none."""
CHECKED_BYTES = 2**29
"""Larger files in the cache have no checksum: each process would read all of them, which takes seconds."""
_FINGERPRINTS: dict[tuple[str, int, int], str] = {}


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder in the cache (a file beside it). The system releases it when the process dies.

    Raises:
        DiskError: the cache cannot be written.
    """
    held = FileLock(f"{path}.lock")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    try:
        yield
    finally:
        held.release()


CACHE_ELSEWHERE = "give another cache folder with AUTODISTILL_CACHE"
STUDIES_ELSEWHERE = "keep the studies on another disk, and name their folder with --studies-dir"
_FULL = re.compile(
    r"No space left on device|os error 28\b|Os \{ code: 28\b|database or disk is full|\d+ requested and \d+ written", re.IGNORECASE
)
"""How libraries in Rust, Arrow, SQLite and numpy write that a disk is full; they raise errors of their own."""


def is_disk_full(cause: BaseException | None) -> bool:
    """Whether an error says, itself or by its cause, that a disk or a user's share of it is full."""
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if _FULL.search(str(cause)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


@contextmanager
def disk_errors(path: Path, way_out: str = CACHE_ELSEWHERE) -> Iterator[None]:
    """Turn a full disk or a missing permission into a DiskError that names the path and the way out."""
    try:
        yield
    except DiskError:
        raise
    except OSError as cause:
        raise _not_written(path, cause, way_out) from cause
    except Exception as cause:
        if is_disk_full(cause):
            raise _not_written(path, cause, way_out) from cause
        raise


def disk_error_of(cause: BaseException | None) -> DiskError | None:
    """The DiskError that an exception is or comes from, also if a library has wrapped it; None if there is none."""
    while cause is not None:
        if isinstance(cause, DiskError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _not_written(path: Path, cause: Exception, way_out: str) -> DiskError:
    if isinstance(cause, IsADirectoryError):
        return DiskError(f"{path} cannot be written: {folder_in_the_way(cause)}")
    if is_disk_full(cause):
        return DiskError(f"{path} cannot be written: {os.strerror(errno.ENOSPC)}. Make room or {way_out}")
    return DiskError(f"{path} cannot be written: {getattr(cause, 'strerror', None) or cause}; {way_out}")


def folder_in_the_way(cause: IsADirectoryError) -> str:
    """What to do about a folder that stands where a file of ours belongs; another disk is no way out."""
    return f"{cause.filename2 or cause.filename or 'a path'} is a folder, and a file belongs there; remove the folder"


def part_of(path: Path) -> Path:
    """A new name beside a file or folder, for what is not whole: half-written, or half-removed."""
    return path.with_name(f"{path.name}.part-{uuid.uuid4().hex[:8]}")


def discard(path: Path) -> None:
    """Remove a file or folder, if it exists. Nobody sees a part of it, not even if this process is killed."""
    aside = part_of(path)
    with suppress(FileNotFoundError):
        path.rename(aside)
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()


@contextmanager
def new_folder(path: Path, way_out: str) -> Iterator[Path]:
    """A folder to fill. It is renamed to `path` if the block succeeds, and removed if it fails.

    Half-written folders of killed processes are removed first; two processes may not write the same folder at once.

    Raises:
        DiskError: the disk is full, also if this happens in the block; or the folder cannot be written.
    """
    with disk_errors(path, way_out):
        for left in path.parent.glob(f"{path.name}.part-*"):
            shutil.rmtree(left)
        aside = part_of(path)
        aside.mkdir(parents=True)
    try:
        try:
            yield aside
        except Exception as cause:
            if is_disk_full(cause) and not isinstance(cause, DiskError):
                raise _not_written(path, cause, way_out) from cause
            raise
        with disk_errors(path, way_out):
            for file in aside.rglob("*"):
                _sync(file)
            _sync(aside)
            if path.exists():
                shutil.rmtree(path)
            aside.rename(path)
            _sync(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def new_tensors(path: Path, shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> Iterator[dict[str, np.ndarray]]:
    """Arrays to fill in any order. They become the safetensors file `path` if the block succeeds.

    shapes: name → (dtype, shape). The arrays are memory-mapped, so they may be larger than the memory. Their disk space is allocated
    first, because a mapped write to a full disk kills the process. The header's metadata have a checksum of header and data, if these
    are at most CHECKED_BYTES.

    Raises:
        DiskError: the disk is full, or the folder cannot be written.
    """
    header: dict[str, object] = {"__metadata__": {CHECKSUM: NO_CHECKSUM}}
    offset = 0
    for name, (dtype, shape) in shapes.items():
        end = offset + math.prod(shape) * np.dtype(dtype).itemsize
        header[name] = {"dtype": _SAFETENSORS[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format requires data aligned to 8 bytes
    start = 8 + len(text)
    aside = part_of(path)
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                file.write(len(text).to_bytes(8, "little") + text)
                file.flush()
                if offset:
                    os.posix_fallocate(file.fileno(), start, offset)
        arrays = {}
        for name, (dtype, shape) in shapes.items():
            begin: int = header[name]["data_offsets"][0]  # type: ignore[index]
            empty = math.prod(shape) == 0
            arrays[name] = np.zeros(shape, dtype) if empty else np.memmap(aside, dtype, "r+", start + begin, shape)
        yield arrays
        with disk_errors(path):
            for array in arrays.values():
                if isinstance(array, np.memmap):
                    array.flush()
            if offset <= CHECKED_BYTES:
                with aside.open("r+b") as file:
                    checksum = tensors_checksum(file, text)
                    file.seek(8)
                    file.write(text.replace(NO_CHECKSUM.encode(), checksum.encode(), 1))
            _sync(aside)
            aside.rename(path)
            _sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def tensors_checksum(file: BufferedReader | BufferedRandom, header: bytes) -> str:
    """SHA-256 of the header, with NO_CHECKSUM in the place of the checksum, and of all data behind it."""
    file.seek(8 + len(header))
    data = hashlib.file_digest(file, "sha256").digest()
    return hashlib.sha256(header + data).hexdigest()


def file_fingerprint(path: Path) -> str:
    """SHA-256 of a file. It is read again only if its size or time of change differs."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    if key not in _FINGERPRINTS:
        with path.open("rb") as file:
            _FINGERPRINTS[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _FINGERPRINTS[key]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(*parts: bytes | str) -> str:
    """Sixteen hexadecimal digits that identify the parts and their order."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "little"))
        sha.update(data)
    return sha.hexdigest()[:16]


def cache_folder() -> Path:
    """The folder for downloads, encoded splits, teachers and their outputs: AUTODISTILL_CACHE or ~/.cache/autodistill."""
    return Path(os.environ.get("AUTODISTILL_CACHE", "~/.cache/autodistill")).expanduser()


def user_path(name: str | Path, error: type[UserError]) -> Path:
    """A path as a user writes it, with ~ for a home folder.

    Raises:
        UserError: an `error`, if nothing with this path can be read.
    """
    try:
        path = Path(name).expanduser()
        path.stat()
    except RuntimeError:
        raise error(f"there is no file or folder {name}: {Path(name).parts[0]} is no user of this machine") from None
    except (FileNotFoundError, NotADirectoryError):
        pass  # each reader has its own message for a missing file
    except (OSError, ValueError) as cause:  # a name that is too long or has a zero byte, no permission, links in a circle
        reason = cause.strerror if isinstance(cause, OSError) else cause
        shown = str(name) if len(str(name)) <= 80 else f"{str(name)[:80]}…"
        raise error(f"{shown!r} cannot be opened as a file or folder: {reason}") from None
    return path


def check_writable(path: Path, refusal: Callable[[str], UserError]) -> None:
    """Check that a file or folder can be made at a path, or in the folder that is there, by making one and removing it.

    Raises:
        UserError: that of `refusal`, which gets the reason.
    """
    try:
        inside = path if path.is_dir() else next(folder for folder in path.parents if folder.exists())
        probe = inside / f".{uuid.uuid4().hex[:8]}.probe"
        probe.mkdir()
        probe.rmdir()
        if inside != path and path.exists():  # which also asks whether the system allows the name
            raise refusal("it is a file")
    except OSError as cause:
        raise refusal(cause.strerror or str(cause)) from None


def write_whole(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it, so that it is never incomplete."""
    aside = path.with_name(path.name + ".part")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
