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
"""Seconds after which a lock that a killed process left behind is taken over; a block is written in milliseconds."""


class BufferedJournal(JournalStorage):
    """An Optuna journal storage whose changes are written by `save`. It sees what others wrote before it was opened, and nothing later."""

    def __init__(self, path: Path) -> None:
        self._buffer = _Buffer(path)
        super().__init__(self._buffer)

    def save(self) -> None:
        """Write all that is new, as one block. After a failure nothing of it is in the file, and the next call tries all of it again."""
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
        self._new += [json.loads(json.dumps(log)) for log in logs]  # as it will be read, and refused now where JSON cannot say it

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
    """A journal to read, and to write a line at a time: it sees at once what a search writes."""
    return JournalStorage(_file_backend(path))


def _file_backend(path: Path) -> JournalFileBackend:
    return JournalFileBackend(str(path), JournalFileSymlinkLock(str(path), grace_period=GRACE))


def _whole_lines(path: Path) -> int:
    """How many lines a journal has. The start of a line that a crash of the machine left at its end is cut off."""
    content = path.read_bytes() if path.exists() else b""
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    return content.count(b"\n")
