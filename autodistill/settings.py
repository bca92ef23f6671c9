"""The settings of a search, a recommendation and a distillation: every setting once.

A field has its type, its allowed values (values.py), its default, its text for people, and its place on the command line. It gives the
command's option, Python's keyword, the key of a `--config` file and of study.json, and the command that reproduces a study.
To add a setting: a field here, then `python docs/settings.py`, which writes keywords.py and docs/settings.md.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import model_validator

from autodistill.assistant import find_assistant
from autodistill.components import TASKS
from autodistill.errors import DataError, RecipeError, SpaceError, StudyError, UsageError, not_allowed
from autodistill.option import DATA, KEPT, WHAT, WHERE, Settings, setting
from autodistill.ranking import Preference
from autodistill.recipe import ClassWeights, Recipe
from autodistill.space import Space, shipped_spaces, space_tasks
from autodistill.storage import user_path
from autodistill.study_folder import read_about, study_names
from autodistill.target import TARGETS
from autodistill.tasks.base import DatasetRef
from autodistill.tasks.source import TASK_KINDS
from autodistill.tasks.unlabelled import check_places, places_of
from autodistill.values import (
    ADDRESS,
    COUNT,
    COUNT_OR_SHARE,
    DATASET,
    FLAG,
    FOLDER_NAME,
    GPUS,
    LONGEST_NAME,
    MILLISECONDS_OR_SHARE,
    RECIPE,
    SECONDS,
    TEXT,
    UNLABELLED,
    URL,
    many,
    one_of,
    text,
    whole,
)
from autodistill.yamlfile import load_yaml

METRICS = tuple(dict.fromkeys(name for target in TARGETS for name in target.metrics))
"""Every metric that can be chosen."""
RANDOM = "random"
"""The name of the control among the teachers: the space's own model with random weights."""


class DatasetSettings(Settings):
    """The rows: the settings that searching, recommending and distilling have in common."""

    dataset: Annotated[str, DATASET] = setting(..., "a name (see `autodistill datasets`), a hub id, a file or folder", "NAME|PATH", DATA)
    limit_train: Annotated[int | None, COUNT] = setting(None, "train on only N of its rows: a seeded, stratified subset", "N", DATA)
    unlabelled: Annotated[tuple[str, ...], UNLABELLED] = setting(
        (),
        "rows without labels: csv, tsv, jsonl, parquet, txt (one text on each line), a folder of images; may be repeated; "
        "`rest` means the training rows beyond --limit-train",
        "PATH",
        DATA,
    )
    limit_unlabelled: Annotated[int | None, COUNT] = setting(None, "use only N unlabelled rows: a seeded subset", "N", DATA)
    text_columns: Annotated[tuple[str, ...] | None, many(TEXT)] = setting(
        None, "the column of texts; give it twice for pairs of texts", "NAME", DATA, "--text-column"
    )
    label_column: Annotated[tuple[str, ...] | None, many(TEXT)] = setting(
        None, "the column of labels; for several labels per row it may be repeated: a column of 0 and 1 for each label", "NAME", DATA
    )
    label_separator: Annotated[str | None, text("a text that is not empty", "(?s).+")] = setting(
        None, "the separator of several labels in a text, as in `a,b`", "SIGN", DATA
    )
    task: Annotated[str | None, one_of(*TASK_KINDS)] = setting(
        None, "what the labels are, if their values could be either (default: as they look)", "|".join(TASK_KINDS), DATA
    )
    metric: Annotated[str | None, one_of(*METRICS)] = setting(
        None, f"the metric that scores students: {', '.join(METRICS)} (default: the dataset's)", "NAME", DATA
    )
    seed: Annotated[int, whole(0)] = setting(0, "the seed of everything random", "S")

    @property
    def ref(self) -> DatasetRef:
        """A reference with which a worker opens the same rows."""
        places = places_of(self.unlabelled)
        return DatasetRef(
            name=self.dataset,
            limit_train=self.limit_train,
            seed=self.seed,
            text_columns=self.text_columns,
            label_column=self.label_column[0] if self.label_column and len(self.label_column) == 1 else self.label_column,
            label_separator=self.label_separator,
            unlabelled=places,
            limit_unlabelled=self.limit_unlabelled,
            task=self.task,
            metric=self.metric,
        )

    def check(self) -> None:
        """Check what can be checked before the dataset is read: that the named files exist.

        Raises:
            UsageError: the metric is not one of the task's.
            DataError: a file of unlabelled rows does not exist.
        """
        if self.task is not None and self.metric is not None:
            metrics = next(target.metrics for target in TARGETS if target.kind == self.task)
            if self.metric not in metrics:
                raise UsageError(not_allowed(f"task is {self.task}, and the metric", self.metric, metrics))
        check_places(self.unlabelled, self.limit_train)


class SpaceSettings(DatasetSettings):
    """The space: where recipes come from, and which students may be proposed."""

    space: Annotated[str | None, TEXT] = setting(
        None, "the search space (default: the shipped one for the task; see `autodistill spaces`)", "NAME|PATH", WHAT
    )
    teacher: Annotated[tuple[str, ...], many(TEXT)] = setting(
        (),
        "a transformers model (hub id or folder), timm:NAME for images, or `random` for a control that is not trained; may be repeated, "
        "for several teachers to choose from",
        "MODEL",
        WHAT,
    )
    max_params: Annotated[int | str | None, COUNT_OR_SHARE] = setting(
        None, "the most parameters of a student, or a share of the teacher's", "5M|1/7.5", WHAT
    )
    max_latency_ms: Annotated[float | str | None, MILLISECONDS_OR_SHARE] = setting(
        None, "the longest time of a student for one row on this machine, or a share of the teacher's", "2ms|1/9.4", WHAT, "--max-latency"
    )

    class_weights: Annotated[str | None, one_of(*get_args(ClassWeights))] = setting(
        None,
        "the weights of the classes in the loss on hard labels, for teachers and students: balanced means by inverse frequency, for "
        "classes of very different sizes (default: the space's)",
        "balanced|none",
        WHAT,
    )

    def open_space(self, shipped: str, task: str) -> Space:
        """The space for a task, with these settings in place of its own. shipped: the name of the default space.

        Raises:
            SpaceError: there is no such space, it does not validate, it is not for the task, it lacks a parameter that should be fixed, or
                class weights are set and the task has no classes.
            StudyError: a teacher is a study without a best student, or a study of images.
        """
        space = Space.load(self.space or shipped, task)
        if self.class_weights is not None:
            space = space.with_class_weights(self.class_weights)
        if self.teacher == (RANDOM,):
            return space.with_random_teacher()
        space = space.with_teacher_models(self.teacher) if self.teacher else space
        for model in dict.fromkeys(teacher.model for teacher in space.teachers()):
            assistant = find_assistant(model)
            space = space if assistant is None else space.with_assistant(model, assistant.fields, assistant.has_attention)
        return space

    def check(self) -> None:
        """Check what can be checked before the dataset is read, including the space.

        Raises:
            DataError: a file of unlabelled rows does not exist.
            UsageError: a teacher is named twice, or `random` beside others.
            SpaceError: the space cannot be read.
        """
        super().check()
        twice = [model for number, model in enumerate(self.teacher) if model in self.teacher[:number]]
        if twice:
            raise UsageError(f"teacher names {twice[0]!r} twice; name each model once")
        if RANDOM in self.teacher and len(self.teacher) > 1:
            raise UsageError("teacher is `random` with other teachers, but a control needs its own search; leave out the others, or it")
        if self.space is not None:
            self.open_space(self.space, _first_task(self.space))


def _first_task(space: str) -> str:
    """One of the tasks that a space declares. If it declares none, any task: reading the space then reports that error."""
    shipped = shipped_spaces()
    if space in shipped:
        return space_tasks(shipped[space])[2][0]
    if not Path(space).is_file():
        return TASKS[0]
    data = load_yaml(Path(space), SpaceError).data
    tasks = data.get("tasks") if isinstance(data, dict) else None
    return next((task for task in tasks if task in TASKS), TASKS[0]) if isinstance(tasks, list) else TASKS[0]


def default_name(dataset: str) -> str:
    """A study's name from its dataset's: the last part of the path or id, with a dash for what a folder's name should not contain."""
    name = re.sub(r"[^\w.+@-]+", "-", Path(dataset.rstrip("/")).name.partition(".")[0]).strip("-.+@")
    return name.encode()[:LONGEST_NAME].decode(errors="ignore") or "study"


class SearchSettings(SpaceSettings):
    """The settings of `autodistill search`.

    Trials that end complete, pruned or failed count as `trials`; interrupted and infeasible ones do not.
    """

    command: ClassVar[str] = "search"
    teacher_scores: Annotated[str | None, TEXT] = setting(
        None, "a file of a teacher's scores for texts, instead of a network: see docs/data.md", "FILE", WHAT
    )
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
    cold: Annotated[bool, FLAG] = setting(False, "do not start with the recipes that recorded studies recommend")
    explore: Annotated[bool, FLAG] = setting(False, "spread the trials evenly over the space, and stop none early")
    workers: Annotated[int | None, whole(1)] = setting(None, "number of trials at a time (default: as many as fit)", "N", WHERE)
    cpus_per_trial: Annotated[int, whole(1)] = setting(1, "CPU cores of a trial", "C", WHERE)
    gpus_per_trial: Annotated[float | None, GPUS] = setting(
        None, "GPUs of a trial, may be a fraction (default: 1 if there is a GPU)", "0.25", WHERE
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

    @property
    def ref(self) -> DatasetRef:
        """A reference with which a worker opens the same rows."""
        return _with_scores_file(super().ref, self.teacher_scores)

    def open_space(self, shipped: str, task: str) -> Space:
        """See `SpaceSettings`; with `max_epochs`."""
        space = super().open_space(shipped, task)
        return space if self.max_epochs is None else space.with_epochs(self.max_epochs)

    def check(self) -> None:
        """Check what can be checked before the dataset is read, including recipes, the teacher's scores, and whether the study exists.

        Raises:
            UserError: something cannot be read, or conflicts with the rest: see its subclasses.
        """
        super().check()
        if self.teacher_scores is not None:
            if isinstance(self.max_params, str) or isinstance(self.max_latency_ms, str):
                raise UsageError("a limit is a share of the teacher's, but a file of scores has no size; give limits as numbers")
            if not user_path(self.teacher_scores, DataError).is_file():
                raise DataError(_no_scores(self.teacher_scores))
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


def _folder_of(recipe: str | Path) -> Path:
    """The folder of a recipe's file, which may be a study's; or the path itself, if it is a folder."""
    path = user_path(recipe, RecipeError)
    return path if path.is_dir() else path.parent


def _with_scores_file(ref: DatasetRef, path: str | None) -> DatasetRef:
    """The reference with the absolute path of a file of a teacher's scores, because workers run in other folders."""
    return dataclasses.replace(ref, teacher_scores=None if path is None else str(user_path(path, DataError).absolute()))


def _no_scores(path: str) -> str:
    return f"teacher_scores: there is no file {path}; give a file with a teacher's scores (docs/data.md)"


class RecommendSettings(SpaceSettings):
    """The settings of `autodistill recommend`."""

    command: ClassVar[str] = "recommend"
    teacher: Annotated[tuple[str, ...], many(text("a model that has learned something, for a recommendation", r"(?!random$).*\S.*"))] = (
        setting((), "a transformers model (hub id or folder), or timm:NAME for images; may be repeated", "MODEL", WHAT)
    )
    top: Annotated[int, whole(1)] = setting(5, "number of recipes", "N")


class DistillSettings(DatasetSettings):
    """The settings of `autodistill distill`."""

    command: ClassVar[str] = "distill"
    dataset: Annotated[str, DATASET] = setting(
        ..., "a name, a hub id, a file or folder (default: the rows of the study whose folder has RECIPE)", "NAME|PATH", DATA
    )
    recipe: Annotated[str | Recipe, RECIPE] = setting(
        ..., "a recipe's file, or a study's folder (its recommended.yaml)", "RECIPE", WHAT, "RECIPE"
    )
    out: Annotated[str, text("the folder that the student is to be written into")] = setting(..., "the folder to write", "DIR", KEPT)
    seeds: Annotated[int, whole(1)] = setting(3, "number of students to train, one for each seed", "N")
    seed: Annotated[int, whole(0)] = setting(0, "the first seed; also that of the splits and the teacher", "S")
    control: Annotated[bool, FLAG] = setting(
        True,
        "also train the same student without a teacher, for the distillation ratio (default: True)",
        off="do not train a student without a teacher, so there is no distillation ratio",
    )
    teacher_scores: Annotated[str | None, TEXT] = setting(
        None,
        "a file of a teacher's scores for texts, instead of the recipe's teacher (default: the file of the recipe's study)",
        "FILE",
        WHAT,
    )
    workers: Annotated[int, whole(1)] = setting(1, "number of trainings at a time (default: 1, with all cores)", "N", WHERE)
    overwrite: Annotated[bool, FLAG] = setting(False, "replace DIR, if it holds a student", None, KEPT)

    @model_validator(mode="before")
    @classmethod
    def _rows_of_the_study(cls, values: Any) -> Any:
        """If no dataset is named: the rows of the recipe's study, with the study's settings for reading them.

        Raises:
            StudyError: the study cannot be read.
        """
        if not isinstance(values, dict) or values.get("dataset") is not None or not isinstance(values.get("recipe"), str | Path):
            return values
        about = read_about(_folder_of(values["recipe"]))
        if about is None:
            return values
        study = SearchSettings.from_dict(about["settings"])
        rows = {name: getattr(study, name) for name in DatasetSettings.model_fields}
        return {**rows, **{name: value for name, value in values.items() if value is not None}}

    def load_recipe(self) -> Recipe:
        """The recipe.

        Raises:
            RecipeError: it cannot be read.
        """
        return self.recipe if isinstance(self.recipe, Recipe) else Recipe.load(self.recipe)

    @property
    def ref(self) -> DatasetRef:
        """A reference with which a worker opens the same rows."""
        return _with_scores_file(super().ref, self.scores_file)

    @property
    def scores_file(self) -> str | None:
        """The file of the teacher's scores: the setting or, for a recipe with such a teacher, the file of the study whose folder has it."""
        if self.teacher_scores is not None or self.load_recipe().teacher.scores is None or self._study is None:
            return self.teacher_scores
        about = read_about(self._study) or {"settings": {}}
        path: str | None = about["settings"].get("teacher_scores")
        return path

    @property
    def _study(self) -> Path | None:
        """The folder of the recipe's file, which may be a study's; None for a recipe without a file."""
        return None if isinstance(self.recipe, Recipe) else _folder_of(self.recipe)

    def check(self) -> None:
        """Check what can be checked before the dataset is read, including that a needed file of scores exists.

        Raises:
            DataError: a file of unlabelled rows or of scores does not exist.
            RecipeError: the recipe cannot be read, or its teacher was a file of scores that is not known.
            StudyError: the study whose folder has the recipe cannot be read.
        """
        super().check()
        recipe, path = self.load_recipe(), self.scores_file
        if recipe.teacher.scores is not None and path is None:
            raise RecipeError(
                f"the teacher of the recipe {recipe.id} is a file of scores (fingerprint {recipe.teacher.scores}); give it with "
                "--teacher-scores FILE"
            )
        if path is not None and not user_path(path, DataError).is_file():
            if self.teacher_scores is not None:
                raise DataError(_no_scores(path))
            raise DataError(
                f"the study {self._study} had its teacher's scores from {path}, but this file does not exist; say where it is now with "
                "--teacher-scores FILE"
            )
