"""Checks of a search before its dataset is read and its teacher is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autodistill.errors import StudyError
from autodistill.facts import study_epochs
from autodistill.optuna_storage.open import check_storage_url, close_storage, is_journal, open_storage, sqlite_file
from autodistill.settings import SearchSettings
from autodistill.storage import check_writable
from autodistill.study_folder import lock_study, read_about
from autodistill.tuning.ray_backend import check_resources
from autodistill.tuning.resuming import check_held, refuse, storage_url


def check_search(settings: SearchSettings) -> None:
    """Check the files that are named, the study's folder and storage, the GPUs and the cluster.

    Raises:
        UserError, RunError: the search would fail on one of them, hours later.
    """
    settings.check()
    check_resources(settings)
    folder = settings.folder
    name_another = "name another folder for the studies with --studies-dir, or another study with --study"
    check_writable(folder, lambda reason: StudyError(f"the study {folder} cannot be written: {reason}; {name_another}"))
    before = read_about(folder) if settings.resume else None
    if before is not None or (folder / ".lock").exists():
        lock_study(folder).release()
    if before is not None:
        epochs = study_epochs(before)
        refuse(settings.study, [("seed", before["settings"]["seed"], settings.seed), ("max_epochs", epochs, settings.max_epochs or epochs)])
    url = storage_url(settings, before)
    check_storage_url(url)
    is_there = not is_journal(url) or Path(url).exists()  # opening a journal makes its file
    if is_there and (settings.storage is not None or before is not None):
        _check_storage(url, settings, before)


def _check_storage(url: str, settings: SearchSettings, before: dict[str, Any] | None) -> None:
    """Open the storage. A database's file that this makes is removed."""
    file = sqlite_file(url)
    made = [] if file is None or file.exists() else [file.with_name(file.name + end) for end in ("", "-wal", "-shm")]
    try:
        storage = open_storage(url)
        try:
            check_held(storage, url, settings, before)
        finally:
            close_storage(storage)
    finally:
        for left in made:
            left.unlink(missing_ok=True)
