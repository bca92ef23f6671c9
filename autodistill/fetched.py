"""What a machine's cache holds from drivers on other machines: it is counted, and the longest unused is removed where it gets too much.

Beside each fetched file or folder lies NAME.fetched, with its bytes; that file's time of change is the time of the last use. A process
that uses what was fetched holds a shared lock on it until it ends, and only what no process uses is removed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from autodistill.errors import UsageError
from autodistill.storage import cache_folder, discard, disk_errors

LIMIT = 20_000_000_000
LIMIT_VARIABLE = "AUTODISTILL_FETCHED_BYTES"
_SUFFIX = ".fetched"
_HELD: dict[str, IO[bytes]] = {}
"""What this process uses."""


def fetched_limit() -> int:
    """The bytes that fetched files may take in this machine's cache: AUTODISTILL_FETCHED_BYTES, else 20 GB.

    Raises:
        UsageError: the variable is not a number of bytes.
    """
    text = os.environ.get(LIMIT_VARIABLE, str(LIMIT))
    if not text.isdecimal():
        raise UsageError(f"{LIMIT_VARIABLE} is {text!r}; allowed: a number of bytes, such as {LIMIT}")
    return int(text)


def use(path: Path) -> None:
    """Keep a file or folder of the cache, if it was fetched, as long as this process lives. Call it before looking whether it exists."""
    note = Path(f"{path}{_SUFFIX}")
    if not note.exists():
        return
    import fcntl  # not on Windows, where nothing is fetched

    try:
        opened = note.open("rb")
    except FileNotFoundError:  # it has just been removed
        return
    fcntl.flock(opened, fcntl.LOCK_SH)
    before = _HELD.get(str(note))
    _HELD[str(note)] = opened
    if before is not None:
        before.close()
    with suppress(OSError):  # a cache that can be read alone
        os.utime(note)


def enter(path: Path, size: int) -> None:
    """Make room for a file or folder that is about to be fetched, and count it. size: in bytes. Call it under `lock(path)`.

    What processes use stays, even if it exceeds the limit.

    Raises:
        UsageError: the limit is not a number of bytes.
        DiskError: the cache cannot be written.
    """
    limit = fetched_limit()
    note = Path(f"{path}{_SUFFIX}")
    with disk_errors(path):
        others = sorted((other.stat().st_mtime, other) for other in cache_folder().rglob(f"*{_SUFFIX}") if other != note)
        sizes = {other: int(other.read_text(encoding="utf-8") or 0) for _, other in others}
        excess = sum(sizes.values()) + size - limit
        for other, bytes_of_it in sizes.items():
            if excess > 0 and _remove(other):
                excess -= bytes_of_it
        note.write_text(str(size), encoding="utf-8")
    use(path)


def _remove(note: Path) -> bool:
    """Remove what was fetched, unless a process uses it. Returns whether it is gone."""
    import fcntl

    with note.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        discard(Path(str(note).removesuffix(_SUFFIX)))
        note.unlink()
    return True
