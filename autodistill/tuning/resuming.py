"""What a search that begins or resumes must find in its folder and its storage."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from optuna.storages import BaseStorage

from autodistill import study_folder
from autodistill.errors import StudyError
from autodistill.facts import TeacherRef, study_epochs, study_limits
from autodistill.optuna_storage.open import is_journal, study_exists
from autodistill.recipe import ADDED
from autodistill.settings import SearchSettings
from autodistill.values import without_password


def storage_url(settings: SearchSettings, before: dict[str, Any] | None) -> str:
    """Where the trials are stored. before: study.json of the study that is resumed.

    Raises:
        StudyError: the study's trials are in another storage, or in one whose password is not in the URL.
    """
    default = study_folder.default_storage(settings.folder)
    if settings.storage is not None and settings.storage != default and is_journal(settings.storage):
        raise StudyError(
            f"the storage is {settings.storage!r}; allowed: the URL of a database, such as sqlite:///trials.db or "
            "postgresql://user:password@host/database. A journal is for one search alone, in its study's folder: leave --storage out"
        )
    if before is None:
        return settings.storage or default
    was = before["settings"]["storage"]
    url = settings.storage or was or default
    if without_password(url) != without_password(was or default):
        raise StudyError(
            f"the study {settings.study!r} is in the storage {was or default!r}, not in {without_password(url)!r}; leave --storage out"
        )
    if "***" in url:
        raise StudyError(f"the study {settings.study!r} is in the storage {url!r}; give it with its password, --storage URL")
    return url


def check_held(storage: BaseStorage, url: str, settings: SearchSettings, before: dict[str, Any] | None) -> None:
    """Check that a storage holds the study that is resumed, and not one of the name of a study that begins. before: as for `storage_url`.

    Raises:
        StudyError: it does not.
    """
    exists, folder = study_exists(storage, settings.study), settings.folder
    if before is None and exists and settings.storage:
        raise StudyError(
            f"the storage already holds a study {settings.study!r} that does not belong to {folder}; choose another name with --study"
        )
    if before is not None and not exists and (folder / "trials.parquet").exists():
        raise StudyError(
            f"the study {folder} cannot be resumed: its storage {without_password(url)!r} does not hold it any more. "
            "Its trials can still be read from trials.parquet; start another with --study NAME"
        )


def refuse_differences(before: dict[str, Any], now: dict[str, Any]) -> None:
    """A resumed search must have the same data and limits as before; more trials are fine."""
    same = list(zip(_ASKED, _asked(before), _asked(now), strict=True))
    same += [(f"dataset {name}", before["dataset"][name], now["dataset"][name]) for name in ("task", "metric", "fingerprint")]
    parts, parts_now = ([_asked_teacher(item) for item in about["teachers"]] for about in (before, now))
    same += [("teachers", parts, parts_now), ("space name", before["space"]["name"], now["space"]["name"])]
    parameters, parameters_now = before["space"]["parameters"], now["space"]["parameters"]
    same += [(f"space: {path}", parameters.get(path), parameters_now.get(path)) for path in {**parameters, **parameters_now}]
    refuse(before["study"], same)


def refuse(study: str, same: Iterable[tuple[str, Any, Any]]) -> None:
    """Refuse to resume a study with other settings. same: for each setting that must be equal: its name, old value and new value.

    Raises:
        StudyError: a setting is not equal.
    """
    different = [f"{name} was {was!r} and is {is_now!r}" for name, was, is_now in same if was != is_now]
    if different:
        raise StudyError(
            f"the study {study!r} has other settings: {'; '.join(different[:3])}. "
            "Resume it with its own settings, or start another study with --study NAME"
        )


_ASKED = ("seed", "max_epochs", "max_params", "max_latency_ms")


def _asked(about: dict[str, Any]) -> list[Any]:
    """The values of the `_ASKED` settings in a study."""
    limits = study_limits(about)
    return [about["settings"]["seed"], study_epochs(about), limits.max_params, limits.max_latency_ms]


def _asked_teacher(teacher: dict[str, Any]) -> dict[str, Any]:
    """The settings of a teacher, without measurements, and without later fields at their default."""
    measured = {field.name for field in dataclasses.fields(TeacherRef)}
    before = {name: value for (part, name), value in ADDED.items() if part == "teacher"}
    return {name: value for name, value in teacher.items() if name not in measured and before.get(name, ...) != value}
