"""The Optuna storage of a study."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import event

from autodistill.errors import StudyError
from autodistill.values import without_password


def open_storage(url: str) -> RDBStorage:
    """Open an Optuna storage by URL; SQLite is made quick (a write-ahead log) and patient with readers.

    Raises:
        StudyError: the URL is none, or its database cannot be reached.
    """
    try:
        if not url.startswith("sqlite"):
            return RDBStorage(url)
        storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
    except Exception as cause:  # SQLAlchemy's own, its drivers', missing drivers
        raise StudyError(
            f"the storage {without_password(url)!r} cannot be opened ({type(cause).__name__}: {_first_line(cause)}). "
            "Give an Optuna storage URL, such as sqlite:///trials.db or postgresql://user:password@host/database, or leave it out."
        ) from None
    event.listen(storage.engine, "connect", _quicken)
    storage.engine.dispose()
    return storage


def _quicken(connection: Any, _: Any) -> None:
    # With a write-ahead log and NORMAL, a killed process loses nothing, and a commit need not wait for the disk.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def close_storage(storage: BaseStorage) -> None:
    """Let go of the database's files."""
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def study_exists(storage: BaseStorage, name: str) -> bool:
    """Whether the storage holds a study of this name."""
    return any(item.study_name == name for item in optuna.get_all_study_summaries(storage, include_best_trial=False))


def _first_line(cause: BaseException) -> str:
    return str(cause).strip().partition("\n")[0]
