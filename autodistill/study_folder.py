"""A study's folder: its files, and how they are written.

study.json         the settings, facts of the dataset, and the machines
optuna.journal     the Optuna study: the truth (unless another storage was chosen; studies of older versions have an optuna.db)
trials.parquet     every trial as a TrialRecord
recommended.yaml   the best recipe
best/              the best student
students/          the best few students, by trial number
search.log         tracebacks of failed trials

An entry of the library of recorded studies (recommender/library.py) can be read as a study's folder: it has study.yaml instead of
study.json, and no Optuna study.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import filelock
import yaml

from autodistill.errors import StudyError
from autodistill.storage import STUDIES_ELSEWHERE, disk_errors, folder_in_the_way, write_whole

SCHEMA = 2
ENTRY_SCHEMA = 1
"""Of study.yaml in an entry of the library."""
JOURNAL = "optuna.journal"


def default_storage(folder: Path) -> str:
    """The Optuna storage in a study's folder: a journal's path, or the URL of a SQLite file if an older version made the study."""
    database = folder / "optuna.db"
    return f"sqlite:///{database}" if database.exists() and not (folder / JOURNAL).exists() else str(folder / JOURNAL)


def has_default_storage(folder: Path) -> bool:
    """Whether a study's folder holds its Optuna storage."""
    return (folder / JOURNAL).exists() or (folder / "optuna.db").exists()


def is_study(folder: Path) -> bool:
    """Whether a folder is a study's or a recorded study's."""
    return (folder / "study.json").exists() or is_entry(folder)


def is_entry(folder: Path) -> bool:
    """Whether a folder is an entry of a library of recorded studies."""
    return (folder / "study.yaml").exists() and not (folder / "study.json").exists()


def read_about(folder: Path) -> dict[str, Any] | None:
    """The contents of study.json, or of a recorded study's study.yaml in the same form; None if there is neither.

    Raises:
        StudyError: it cannot be read, or a newer autodistill wrote it.
    """
    recorded = is_entry(folder)
    path, newest = (folder / "study.yaml", ENTRY_SCHEMA) if recorded else (folder / "study.json", SCHEMA)
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        about = yaml.safe_load(text) if recorded else json.loads(text)
        schema = about["schema"]
        is_newer = schema > newest
        if recorded and not is_newer:
            about = _as_study(about, folder)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as cause:
        raise StudyError(
            f"{path} cannot be read ({type(cause).__name__}: {cause}); restore it, or start another study with --study"
        ) from None
    if is_newer:
        raise StudyError(f"{path} was written by a newer autodistill (schema {schema}, this one reads {newest}); upgrade autodistill")
    return about


def _as_study(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    """An entry's description in the form of study.json. It has no folders of teachers, and only the name of its dataset."""
    teachers = [{"folder": "", **teacher} for teacher in entry["teachers"]]
    asked = {"dataset": entry["dataset"]["name"], "study": entry["name"], "studies_dir": str(folder.parent)}
    return {**entry, "schema": SCHEMA, "study": entry["name"], "teachers": teachers, "settings": {**entry["settings"], **asked}}


def write_about(folder: Path, about: dict[str, Any]) -> None:
    """Write study.json in one step.

    Raises:
        DiskError: it cannot be written.
    """
    with disk_errors(folder, STUDIES_ELSEWHERE):
        write_whole(folder / "study.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def lock_study(folder: Path) -> filelock.FileLock:
    """Lock a study for this process. `.release()` unlocks it, or the system does if the process is killed.

    Raises:
        StudyError: another search has locked it, or its folder cannot be written.
    """
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise StudyError(f"a search is running on the study {folder}; wait for it, or start another with --study") from None
    except IsADirectoryError as cause:
        raise StudyError(f"the study {folder} cannot be locked: {folder_in_the_way(cause)}") from None
    except OSError as cause:
        reason = cause.strerror or cause
        raise StudyError(f"the study {folder} cannot be locked ({cause.filename or folder}: {reason}); {STUDIES_ELSEWHERE}") from None
    return lock


def study_names(folder: Path) -> list[str]:
    """The studies in a folder."""
    return sorted(item.parent.name for item in folder.glob("*/study.json"))
