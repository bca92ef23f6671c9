"""The Optuna storage of a study: a journal in its folder, or a database by its URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import optuna
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from autodistill.errors import StudyError
from autodistill.optuna_storage.journal import BufferedJournal, open_journal
from autodistill.optuna_storage.mirror import Mirror
from autodistill.study_folder import JOURNAL, default_storage, has_default_storage
from autodistill.values import without_password

SavedStorage: TypeAlias = BufferedJournal | Mirror
"""An Optuna storage for the only process that writes a study. It answers from memory, and `save` writes new changes."""


def open_storage(url: str) -> BaseStorage:
    """Open a study's storage to read it, also while a search writes to it, or to write a few things to it.

    Args:
        url: a journal's path, NAME.journal, or a database's URL. SQLite gets a write-ahead log, for speed, and waits for readers.

    Raises:
        StudyError: it cannot be opened.
    """
    check_storage_url(url)
    try:
        return open_journal(Path(url)) if is_journal(url) else _open_database(url)
    except Exception as cause:  # a broken file's, SQLAlchemy's own, its drivers', missing drivers
        raise _not_opened(url, cause) from None


def open_to_search(url: str, study_name: str) -> SavedStorage:
    """Open a study's storage for the search that alone writes to this study. The storage may hold the study already or not.

    Raises:
        StudyError: it cannot be opened.
    """
    check_storage_url(url)
    try:
        return BufferedJournal(Path(url)) if is_journal(url) else Mirror(_open_database(url), study_name)
    except Exception as cause:
        raise _not_opened(url, cause) from None


def check_storage_url(url: str) -> None:
    """Refuse a database in memory, and an SQLite file in a folder that does not exist or cannot be written. Nothing is written.

    Raises:
        StudyError: it is such a database, or no URL of a database.
    """
    if is_journal(url):
        return
    try:
        parts = make_url(url)
    except ArgumentError as cause:
        raise _not_opened(url, cause) from None
    file = sqlite_file(url)
    if file is None:
        return
    if str(file) in (".", ":memory:", ":memory") or parts.query.get("mode") == "memory":
        raise StudyError(
            f"the storage {url!r} is a database in memory, which ends with this process, and a study is to be kept; "
            "give a file, such as sqlite:///trials.db, or leave it out"
        )
    if not file.absolute().parent.is_dir():
        raise _not_opened(url, FileNotFoundError(f"there is no folder {file.absolute().parent}"))


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database's URL; None for other storages."""
    if is_journal(url) or not url.startswith("sqlite"):
        return None
    return Path((make_url(url).database or "").removeprefix("file:"))


def is_journal(url: str) -> bool:
    """Whether a storage is a journal's path, not a database's URL."""
    return url.endswith(".journal") and "://" not in url


def _open_database(url: str) -> RDBStorage:
    if not url.startswith("sqlite"):
        return RDBStorage(url)
    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
    event.listen(storage.engine, "connect", _quicken)
    storage.engine.dispose()
    return storage


def _quicken(connection: Any, _: Any) -> None:
    # With a write-ahead log and NORMAL, a kill loses nothing, and commits need not wait for the disk.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _not_opened(url: str, cause: Exception) -> StudyError:
    first_line = str(cause).strip().partition("\n")[0]
    if is_journal(url):
        return StudyError(
            f"the study's {JOURNAL} cannot be read ({type(cause).__name__}: {first_line}): {url} is damaged. "
            "Its trials can still be read from trials.parquet; restore it, or start another study with --study NAME"
        )
    return StudyError(
        f"the storage {without_password(url)!r} cannot be opened ({type(cause).__name__}: {first_line}). Give the URL of a database, "
        "such as sqlite:///trials.db or postgresql://user:password@host/database, or leave it out."
    )


def close_storage(storage: BaseStorage) -> None:
    """Release a database's files."""
    database = storage.database if isinstance(storage, Mirror) else storage
    if isinstance(database, RDBStorage):
        database.remove_session()
        database.engine.dispose()


def study_exists(storage: BaseStorage, name: str) -> bool:
    """Whether the storage holds a study of this name."""
    return any(study.study_name == name for study in storage.get_all_studies())


def load_study(folder: Path, name: str, storage: str) -> optuna.Study:
    """The Optuna study of a study's folder, from its storage.

    Raises:
        StudyError: the storage cannot be reached or does not hold the study.
    """
    if "***" in storage:
        raise StudyError(f"the storage {storage!r} needs its password: give the whole URL, Study.open(folder, storage=URL)")
    if storage == default_storage(folder) and not has_default_storage(folder):
        raise StudyError(f"the study {folder} has lost its {JOURNAL}; its trials can still be read from trials.parquet")
    try:
        return optuna.load_study(study_name=name, storage=open_storage(storage))
    except KeyError:
        raise StudyError(f"the storage {without_password(storage)!r} does not hold a study {name!r}") from None
