"""From a study's folder to an entry of the library: its trials, and the features of its dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from autodistill.errors import DataError, StudyError
from autodistill.facts import FOLDERS, study_epochs
from autodistill.features import dataset_features
from autodistill.option import QUESTION
from autodistill.ranking import best_of, was_interrupted
from autodistill.recipe import Recipe
from autodistill.recommender.library import own_library, write
from autodistill.records import TrialRecord
from autodistill.study import Study
from autodistill.tasks import load_dataset
from autodistill.tasks.catalog import dataset_group
from autodistill.values import FOLDER_NAME

_PERSONAL = {"dataset", "text_columns", "label_column", "label_separator", "recipes"}
"""Settings that name a user's own files and columns."""


def add_study(folder: str | Path, *, name: str | None = None, group: str | None = None, library: str | Path | None = None) -> Path:
    """Put a study into the library of recorded studies. An entry of the same name is replaced.

    The dataset is read again, for its features.

    Args:
        folder: a study's, written by `search`.
        name: of the entry; by default the study's.
        group: of datasets that share their source; by default the dataset's own (tasks/catalog.py).
        library: a folder of entries; by default the user's own library.

    Returns:
        The entry's folder.

    Raises:
        StudyError: the folder is no study, no trial of it is complete, or the name cannot be a folder's name.
        DataError: the dataset does not exist any more, or has changed since.
    """
    study = Study.open(folder)
    entry = name or study.name
    try:
        FOLDER_NAME.convert(entry)
    except ValueError:  # the name becomes a folder of the library, and may come from someone else's file
        raise StudyError(f"the entry's name is {entry!r}; it should be {FOLDER_NAME.allowed}; give another with --name") from None
    records = [record for record in study.trial_records if not was_interrupted(record) and not _failed_here(record)]
    if not any(record.state == "complete" for record in records):
        raise StudyError(f"{study.folder} has no complete trial, so there is nothing to learn from it; search first")
    settings, facts = study.settings, study.about["dataset"]
    asked = settings.to_dict()
    data = load_dataset(settings.ref)
    if data.rows_fingerprint != facts["fingerprint"]:
        raise DataError(f"the dataset {data.name!r} has changed since the study {study.name!r} was made; search again on its current rows")
    about = {
        "name": entry,
        "group": group or dataset_group(facts["name"]),
        "dataset": {**facts, "classes": list(data.classes or []), "validation_rows": len(data.validation)},
        "teachers": [{key: value for key, value in teacher.items() if key not in FOLDERS} for teacher in study.about["teachers"]],
        "teacher_score": study.teacher_score,
        "settings": {
            name: asked[name] for name, option in settings.options().items() if option.group in QUESTION and name not in _PERSONAL
        },
        "limits": dataclasses.asdict(study.limits),
        "max_epochs": study_epochs(study.about),
        "sessions": study.about["sessions"],
        "features": {key: round(value, 6) for key, value in dataset_features(data).items()},
    }
    place = (Path(library).expanduser() if library else own_library()) / about["name"]
    best = best_of(records, study.limits)
    write(place, about, records, None if best is None else Recipe.parse(best.recipe))
    return place


def _failed_here(record: TrialRecord) -> bool:
    """Whether a trial failed because of this machine (a full disk, say). Such a reason is not about the recipe, and names folders."""
    return record.state == "fail" and (record.reason or "").startswith("RunError")
