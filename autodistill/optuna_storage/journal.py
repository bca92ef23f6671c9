"""The Optuna study of a search as a journal: a file that Optuna and optuna-dashboard read, written in blocks.

Optuna's own file backend locks, writes and syncs the file once for each parameter, attribute and epoch. A search is the only
writer of its study (it holds the folder's lock), so here the lines wait in memory until `save` writes all of them at once.
What `save` has written survives a kill.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileSymlinkLock

GRACE = 3
"""After this many seconds, the lock of a killed process is taken over. Writing a block takes milliseconds."""


class BufferedJournal(JournalStorage):
    """An Optuna journal storage whose changes are written by `save`. It sees changes by others only from before it was opened."""

    def __init__(self, path: Path) -> None:
        self._buffer = _Buffer(path)
        super().__init__(self._buffer)

    def save(self) -> None:
        """Write all new changes as one block. After a failure none of them are in the file, and the next call tries all of them again."""
        self._buffer.save()


class _Buffer(BaseJournalBackend):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = _whole_lines(path)
        self._file = _file_backend(path)
        self._new: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        if log_number_from >= self._saved:
            return self._new[log_number_from - self._saved :]
        return [*self._file.read_logs(log_number_from), *self._new]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._new += [json.loads(json.dumps(log)) for log in logs]  # the form in which it will be read; fails now if it is no JSON

    def save(self) -> None:
        if not self._new:
            return
        size = self._path.stat().st_size
        try:
            self._file.append_logs(self._new)
        except BaseException:
            with contextlib.suppress(OSError):
                os.truncate(self._path, size)
            raise
        self._saved += len(self._new)
        self._new = []


def open_journal(path: Path) -> JournalStorage:
    """A journal to read, and to write line by line. It sees immediately what a search writes."""
    return JournalStorage(_file_backend(path))


def _file_backend(path: Path) -> JournalFileBackend:
    return JournalFileBackend(str(path), JournalFileSymlinkLock(str(path), grace_period=GRACE))


def _whole_lines(path: Path) -> int:
    """How many lines a journal has. An incomplete last line, from a crash of the machine, is cut off."""
    content = path.read_bytes() if path.exists() else b""
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    return content.count(b"\n")
