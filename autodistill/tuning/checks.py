"""Checks of a search before its dataset is read and its teacher is trained."""

from __future__ import annotations

from autodistill.facts import study_epochs
from autodistill.optuna_storage.open import close_storage, open_storage
from autodistill.settings import SearchSettings
from autodistill.study_folder import lock_study, read_about
from autodistill.tuning.ray_backend import check_resources
from autodistill.tuning.run import refuse, storage_url


def check_search(settings: SearchSettings) -> None:
    """Check the files that are named, the study's folder and storage, the GPUs and the cluster.

    Raises:
        UserError, RunError: the search would fail on one of them, hours later.
    """
    settings.check()
    check_resources(settings)
    before = read_about(settings.folder) if settings.resume else None
    if before is not None:
        lock_study(settings.folder).release()
        epochs = study_epochs(before)
        refuse(settings.study, [("seed", before["settings"]["seed"], settings.seed), ("max_epochs", epochs, settings.max_epochs or epochs)])
    url = storage_url(settings, before)
    if settings.storage is not None:
        close_storage(open_storage(url))
