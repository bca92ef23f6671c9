"""The table that a recommender learns from: the score of each recipe on each dataset."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from autodistill.errors import DataError, RecipeError
from autodistill.recipe import ADDED, Recipe
from autodistill.task_types import has_labels, kin

if TYPE_CHECKING:
    from autodistill.recommender.library import RecordedStudy

_UNKNOWN: Mapping[str, Any] = {"task": "unknown", "teacher_score": np.nan, "unlabelled": False, "validation_rows": np.nan}
"""The columns of a long frame that say something of a dataset, with what they hold where it is not known."""
KEYS = ("dataset", "group", "score", *_UNKNOWN)
"""The columns that are not recipe fields."""
_NOT_FIELDS = ("version", "task", "teacher.epochs", *(f"{part}.{name}" for part, name in ADDED if part == "teacher"))
"""A teacher's training is not a recipe field here: its effect is in the teacher's score, and a new dataset has its own teacher."""


@dataclass(frozen=True)
class Table:
    """Scores of recipes on datasets, a row for each recipe on each dataset.

    recipes: a column for each recipe field, text or float; missing if a recipe has no such field.
    datasets: (N,) the dataset of each row. scores: (N,) higher is better.
    about: a row for each dataset, by name: group (near-duplicates share a group), task, teacher_score (missing if unknown), unlabelled
    (whether it had unlabelled rows), validation_rows (that scores are of; missing if unknown).
    features: a row for each dataset of `about`, in the same order; float, missing if unknown; may have no columns.
    """

    recipes: pd.DataFrame
    datasets: np.ndarray
    scores: np.ndarray
    about: pd.DataFrame
    features: pd.DataFrame

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> list[str]:
        """The datasets."""
        return [str(name) for name in self.about.index]

    @property
    def groups(self) -> list[str]:
        """The groups of datasets."""
        return sorted(set(self.about["group"]))

    @property
    def index(self) -> np.ndarray:
        """(N,) the place of each row's dataset in `about`."""
        return self.about.index.get_indexer(pd.Index(self.datasets))

    @property
    def teacher_scores(self) -> np.ndarray:
        """(N,) the teacher's score on each row's dataset; missing if unknown or not above 0."""
        scores = self.about["teacher_score"].to_numpy(float)[self.index]
        return np.where(scores > 0, scores, np.nan)

    def select(self, datasets: Collection[str]) -> Table:
        """The rows of some datasets."""
        kept = np.isin(self.datasets, list(datasets))
        names = [name for name in self.names if name in datasets]
        recipes = self.recipes[kept].reset_index(drop=True)
        return Table(recipes, self.datasets[kept], self.scores[kept], self.about.loc[names], self.features.loc[names])

    def without_groups(self, groups: Collection[str]) -> Table:
        """The rows of all other groups."""
        return self.select([name for name in self.names if self.about["group"][name] not in groups])

    @property
    def lots(self) -> list[Table]:
        """The parts that are learned from apart: the datasets with labels, and those without. Empty ones are left out."""
        labelled = [name for name in self.names if has_labels(str(self.about["task"][name]))]
        return [self.select(names) for names in (labelled, set(self.names).difference(labelled)) if names]

    def target(self, dataset: str) -> NewDataset:
        """One of the datasets, in the form of a new dataset."""
        return NewDataset(str(self.about["task"][dataset]), self.features.T[dataset], bool(self.about["unlabelled"][dataset]))


@dataclass(frozen=True)
class NewDataset:
    """The dataset to recommend for: its task type, its features by name (none, some or all of the recorded ones), and whether it has
    unlabelled rows.
    """

    task: str
    features: pd.Series
    unlabelled: bool = False

    @property
    def kin(self) -> str:
        """What is compared with other tasks: `task_types.kin`."""
        return kin(self.task)


def make_table(rows: pd.DataFrame, fields: Sequence[str], features: pd.DataFrame | None = None) -> Table:
    """Build a table; runs of equal recipes on the same dataset are averaged.

    Args:
        rows: columns dataset, score, if known group (default: the dataset), task, teacher_score, unlabelled (default: none has any) and
            validation_rows; and the recipe fields.
        fields: the columns that are recipe fields.
        features: numbers by dataset (index), or None.

    Raises:
        DataError: no rows, a score that is not a number, or a dataset with two groups, tasks, teacher scores or both with and without
            unlabelled rows.
    """
    if rows.empty:
        raise DataError("the table of recorded recipes has no rows")
    frame = rows.copy()
    frame["dataset"] = frame["dataset"].astype(str)
    scores = pd.to_numeric(frame["score"], errors="coerce")
    if not np.isfinite(scores).all():
        raise DataError(f"the table has a score that is not a finite number: {frame['score'][~np.isfinite(scores)].iloc[0]!r}")
    frame["score"] = scores.astype(float)
    known: dict[str, Any] = {"group": frame["dataset"], **_UNKNOWN}
    for name, value in known.items():
        if name not in frame:
            frame[name] = value
    about = frame.groupby("dataset", sort=True)[list(known)]
    several = about.nunique(dropna=False)
    for name in several.columns:
        if (several[name] > 1).any():
            dataset = several.index[several[name] > 1][0]
            values = sorted(set(map(str, frame.loc[frame["dataset"] == dataset, name])))
            raise DataError(f"dataset {dataset!r} has more than one {name}: {', '.join(values[:5])}; it should have one")
    recipes = pd.DataFrame({field: _column(frame[field]) for field in fields}, index=frame.index)
    joined = pd.concat([frame[["dataset", "score"]], recipes], axis=1)
    order = joined.groupby(["dataset", *fields], dropna=False, sort=False)["score"].mean().reset_index()
    facts = about.first()
    by_dataset = pd.DataFrame(index=facts.index) if features is None else features.reindex(facts.index).astype(float)
    facts["teacher_score"] = facts["teacher_score"].astype(float)
    recipes = pd.DataFrame({field: _column(order[field]) for field in fields})
    return Table(recipes, order["dataset"].to_numpy(str), order["score"].to_numpy(float), facts, by_dataset)


def _column(values: pd.Series) -> pd.Series:
    """A recipe field as floats if all its values are numbers, else as Python strings, which are many times faster to iterate."""
    present = values.dropna()
    if present.map(lambda value: isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)).all():
        return values.astype(float)
    return values.map(lambda value: None if pd.isna(value) else str(value)).astype(object)


def flatten(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A recipe's fields by key path, such as `objective.prediction.kind`, without _NOT_FIELDS."""
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{path}.")
        elif path not in _NOT_FIELDS:
            flat[path] = str(value) if isinstance(value, list | tuple) else value
    return flat


def recipe_frame(recipes: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each recipe (plain data), with columns typed as in a table."""
    frame = pd.DataFrame([flatten(recipe) for recipe in recipes])
    return pd.DataFrame({name: _column(frame[name]) for name in frame.columns}, index=frame.index)


def _complete(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recorded recipe with the fields that came later, which all candidates have; else none would be the recorded one. If a package that
    it needs is missing, it stays as it is.
    """
    with suppress(RecipeError):
        return Recipe.parse(recipe).model_dump()
    return recipe


def from_studies(studies: Sequence[RecordedStudy]) -> Table:
    """The table of recorded studies: their complete trials, with each study as a dataset.

    A trial that diverged gets the worst complete score of its study, so that recipes that break training are not recommended. Pruned,
    infeasible and otherwise failed trials are left out, because they say nothing about a full training.

    Raises:
        DataError: there are no complete trials.
    """
    rows: list[dict[str, Any]] = []
    for study in studies:
        complete = [record.score for record in study.records if record.state == "complete" and record.score is not None]
        if not complete:
            continue
        key = {"dataset": study.name, "group": study.group, "task": study.task, "teacher_score": study.teacher_score}
        key |= {"unlabelled": study.unlabelled, "validation_rows": study.about.get("dataset", {}).get("validation_rows", np.nan)}
        for record in study.records:
            diverged = record.state == "fail" and (record.reason or "").startswith("DivergedError")
            if (record.state == "complete" and record.score is not None) or diverged:
                rows.append(key | {"score": min(complete) if diverged else record.score} | flatten(_complete(record.recipe)))
    if not rows:
        raise DataError("the recorded studies have no complete trial to learn from")
    frame = pd.DataFrame(rows)
    features = pd.DataFrame({study.name: study.features for study in studies}).T
    return make_table(frame, [name for name in frame.columns if name not in KEYS], features)
