"""The settings of a search."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

from autodistill.errors import StudyError
from autodistill.option import KEPT, WHERE, setting
from autodistill.ranking import Preference
from autodistill.recipe import Recipe
from autodistill.settings.space import SpaceSettings
from autodistill.space import Space
from autodistill.storage import user_path
from autodistill.study_folder import study_names
from autodistill.values import ADDRESS, FLAG, FOLDER_NAME, GPUS, LONGEST_NAME, RECIPE, SECONDS, TEXT, URL, many, one_of, whole


def default_name(dataset: str) -> str:
    """A study's name from its dataset's: the last part of the path or id, with a dash for what a folder's name should not contain."""
    name = re.sub(r"[^\w.+@-]+", "-", Path(dataset.rstrip("/")).name.partition(".")[0]).strip("-.+@")
    return name.encode()[:LONGEST_NAME].decode(errors="ignore") or "study"


class SearchSettings(SpaceSettings):
    """The settings of `autodistill search`.

    Trials that end complete, pruned or failed count as `trials`; interrupted and infeasible ones do not.
    """

    command: ClassVar[str] = "search"
    trials: Annotated[int, whole(0)] = setting(20, "number of trials, in addition to the baselines", "N")
    time_budget: Annotated[float | None, SECONDS] = setting(None, "end after this time of trials; the rest can be resumed", "30m")
    max_epochs: Annotated[int | None, whole(1)] = setting(None, "most epochs of a trial (default: the space's)", "E")
    repeats: Annotated[int, whole(1)] = setting(1, "number of seeds for the baselines and the best five recipes", "N")
    data_curve: Annotated[bool, FLAG] = setting(False, "then train the best recipe on parts of the unlabelled rows, to see if more help")
    recipes: Annotated[tuple[str | Recipe, ...], many(RECIPE)] = setting(
        (), "a recipe of your own, run beside the baselines; may be repeated", "FILE", flag="--recipe"
    )
    prefer: Annotated[Preference, one_of(*get_args(Preference))] = setting(
        "score",
        "which student is recommended: the best one, or the fastest or smallest whose score is at most half a point below the best one's",
        "|".join(get_args(Preference)),
    )
    frontier: Annotated[bool, FLAG] = setting(
        True,
        "at the end, measure how long the best student of each family takes, beside the teacher and the linear model (default: True)",
        off="do not measure at the end how long the best student of each family takes",
    )
    cold: Annotated[bool, FLAG] = setting(False, "start with each family's defaults, not with what recorded studies recommend")
    explore: Annotated[bool, FLAG] = setting(False, "spread the trials evenly over the space, and stop none early")
    workers: Annotated[int | None, whole(1)] = setting(None, "number of trials at a time (default: as many as fit)", "N", WHERE)
    cpus_per_trial: Annotated[int, whole(1)] = setting(1, "CPU cores of a trial", "C", WHERE)
    gpus_per_trial: Annotated[float | None, GPUS] = setting(
        None, "GPUs of a trial, may be a fraction (default: as many trials share a GPU as fit, at most 8)", "0.25", WHERE
    )
    address: Annotated[str | None, ADDRESS] = setting(
        None, "the address of a running Ray cluster (default: only this machine)", "auto|HOST:PORT", WHERE
    )
    study: Annotated[str, FOLDER_NAME] = setting(
        lambda before: default_name(before["dataset"]), "name of the study and of its folder (default: the dataset's name)", "NAME", KEPT
    )
    studies_dir: Annotated[str, TEXT] = setting("studies", "the folder of studies", "DIR", KEPT)
    resume: Annotated[bool, FLAG] = setting(False, "continue the study of that name", None, KEPT)
    keep: Annotated[int, whole(1)] = setting(3, "number of students to keep on the disk", "N", KEPT)
    storage: Annotated[str | None, URL] = setting(
        None, "the URL of a database for the Optuna study (default: a journal in the study's folder)", "URL", KEPT
    )

    def open_space(self, shipped: str, task: str) -> Space:
        """See `SpaceSettings`; with `max_epochs`."""
        space = super().open_space(shipped, task)
        return space if self.max_epochs is None else space.with_epochs(self.max_epochs)

    def check(self) -> None:
        """Check what can be checked before the dataset is read, including recipes, and whether the study exists.

        Raises:
            UserError: something cannot be read, or conflicts with the rest: see its subclasses.
        """
        super().check()
        self.load_recipes()
        self.check_existence()

    def check_existence(self) -> None:
        """Check that a new study does not exist yet, and that a study to resume exists.

        Raises:
            StudyError: a new study exists, or a study to resume does not.
        """
        exists = (self.folder / "study.json").exists()
        if exists and not self.resume:
            raise StudyError(f"the study {self.folder} exists; continue it with --resume, or start another with --study NAME")
        if self.resume and not exists:
            raise StudyError(self.no_study())

    def no_study(self) -> str:
        """The error text for a study that cannot be resumed because it does not exist; it lists those that do."""
        there = study_names(self.folder.parent)
        return f"there is no study {self.study!r} in {self.folder.parent} to resume; studies there: {', '.join(there) or 'none'}"

    def load_recipes(self) -> list[Recipe]:
        """The user's own recipes.

        Raises:
            RecipeError: one cannot be read.
        """
        return [item if isinstance(item, Recipe) else Recipe.load(item) for item in self.recipes]

    @property
    def folder(self) -> Path:
        """The study's folder, absolute."""
        return user_path(self.studies_dir, StudyError).resolve() / self.study

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The settings from the output of `to_dict`, of this or an older version.

        Older versions have the dataset as a mapping and, for a limit that is a share of the teacher's, both a number and the share.
        """
        values = dict(data)
        if isinstance(values.get("dataset"), Mapping):
            older = dict(values["dataset"])
            values |= {"dataset": older.pop("name")} | {name: value for name, value in older.items() if name != "seed"}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        for name, share in (("max_params", "params_ratio"), ("max_latency_ms", "latency_ratio")):
            asked = values.pop(share, None)
            if asked is not None:
                values[name] = f"1/{asked:.10g}"
        values["recipes"] = [Recipe.parse(item) if isinstance(item, Mapping) else item for item in values.get("recipes", ())]
        return cls(**values)
