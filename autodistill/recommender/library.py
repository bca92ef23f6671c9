"""The library of recorded studies, which the recommender learns from.

An entry is a folder: study.yaml describes the search, the dataset and its `features`; trials.parquet holds a TrialRecord for each trial;
recommended.yaml is the best recipe. Commands that read a study's folder read an entry, too (study_folder.py).
Some entries are shipped (studies/recorded); `autodistill studies add` adds a search of your own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from autodistill.errors import StudyError, not_allowed
from autodistill.recipe import Recipe, migrate
from autodistill.records import TrialRecord, read_records, write_records
from autodistill.study_folder import ENTRY_SCHEMA

_FILES = ("study.yaml", "trials.parquet")


@dataclass(frozen=True)
class RecordedStudy:
    """An entry. teacher_score: on the validation split, like all scores. about: the content of study.yaml."""

    name: str
    group: str
    """Datasets from the same source share a group and are held out together when predictions are judged."""
    dataset: str
    fingerprint: str
    task: str
    metric: str
    train_rows: int
    teacher_score: float | None
    features: dict[str, float]
    records: list[TrialRecord] = field(repr=False)
    about: dict[str, Any] = field(repr=False, default_factory=dict)

    @property
    def unlabelled(self) -> bool:
        """Whether its recipes used unlabelled rows."""
        return any(record.recipe["training"].get("unlabelled_share", 0.0) > 0 for record in self.records)

    @property
    def teachers(self) -> frozenset[str]:
        """The models of its recipes' teachers."""
        return frozenset(record.recipe["teacher"]["model"] for record in self.records)


def own_library() -> Path:
    """The folder of the user's own entries: AUTODISTILL_LIBRARY, by default ~/.autodistill/studies."""
    return Path(os.environ.get("AUTODISTILL_LIBRARY") or "~/.autodistill/studies").expanduser()


def shipped() -> list[RecordedStudy]:
    """The entries that come with the package, by name."""
    return entries(resources.files("autodistill.recorded"))


def own() -> list[RecordedStudy]:
    """The user's own entries, by name."""
    return entries(own_library()) if own_library().is_dir() else []


def library() -> list[RecordedStudy]:
    """All entries, the user's own first. An entry of the user replaces a shipped one of the same name."""
    mine = own()
    names = {study.name for study in mine}
    return [*mine, *(study for study in shipped() if study.name not in names)]


def find(name: str, studies: Iterable[RecordedStudy] | None = None) -> RecordedStudy:
    """An entry by name.

    Raises:
        StudyError: there is none of that name.
    """
    by_name = {study.name: study for study in (library() if studies is None else studies)}
    if name not in by_name:
        raise StudyError(not_allowed("the recorded study", name, by_name))
    return by_name[name]


def load(folder: Path | Traversable) -> RecordedStudy:
    """Read an entry; its recipes are converted to this version's schema.

    Raises:
        StudyError: a file is missing or cannot be read, or a newer autodistill wrote it.
    """
    try:
        about = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
        if about["schema"] > ENTRY_SCHEMA:
            raise StudyError(
                f"{folder} was recorded by a newer autodistill (schema {about['schema']}; this one reads {ENTRY_SCHEMA}): upgrade"
            )
        with resources.as_file(folder / "trials.parquet") as path:
            records = read_records(path)
        dataset = about["dataset"]
        return RecordedStudy(
            name=about["name"],
            group=about["group"],
            dataset=dataset["name"],
            fingerprint=dataset["fingerprint"],
            task=dataset["task"],
            metric=dataset["metric"],
            train_rows=dataset["train_rows"],
            teacher_score=about["teacher_score"],
            features={name: float(value) for name, value in about["features"].items()},
            records=[_current(record) for record in records],
            about=about,
        )
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as cause:
        raise StudyError(
            f"{folder} is not a recorded study ({type(cause).__name__}: {cause}); it should hold {' and '.join(_FILES)}, "
            "as `autodistill studies add` writes them"
        ) from None


def write(folder: Path, about: Mapping[str, Any], records: Iterable[TrialRecord], best: Recipe | None = None) -> None:
    """Write an entry, or replace it. study.yaml is written last, because a folder without it is not an entry. best: its best recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").unlink(missing_ok=True)
    write_records(list(records), folder / "trials.parquet")
    if best is not None:
        (folder / "recommended.yaml").write_text(best.to_yaml(), encoding="utf-8")
    aside = folder / "study.yaml.part"
    aside.write_text(yaml.safe_dump({"schema": ENTRY_SCHEMA, **about}, sort_keys=False, allow_unicode=True), encoding="utf-8")
    aside.replace(folder / "study.yaml")


def entries(place: Path | Traversable) -> list[RecordedStudy]:
    """The entries in a folder, by name."""
    folders = (item for item in place.iterdir() if item.is_dir() and (item / "study.yaml").is_file())
    return [load(folder) for folder in sorted(folders, key=lambda item: item.name)]


def _current(record: TrialRecord) -> TrialRecord:
    recipe = migrate(record.recipe)
    return record.model_copy(update={"recipe": recipe, "recipe_version": recipe["version"]})
