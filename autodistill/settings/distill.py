"""The settings of a distillation in full."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import model_validator

from autodistill.errors import DataError, RecipeError, StudyError
from autodistill.option import DATA, KEPT, WHAT, WHERE, setting
from autodistill.recipe import Recipe
from autodistill.records import read_records
from autodistill.settings.dataset import DatasetSettings
from autodistill.settings.scores_file import no_scores, with_scores_file
from autodistill.settings.search import SearchSettings
from autodistill.storage import user_path
from autodistill.study_folder import is_study, read_about
from autodistill.tasks.base import DatasetRef
from autodistill.values import DATASET, FLAG, RECIPE, SCORES, text, whole


class DistillSettings(DatasetSettings):
    """The settings of `autodistill distill`."""

    command: ClassVar[str] = "distill"
    dataset: Annotated[str, DATASET] = setting(
        ..., "a name, a hub id, a file or folder (default: the rows of the study whose folder has RECIPE)", "NAME|PATH", DATA
    )
    recipe: Annotated[str | Recipe, RECIPE] = setting(
        ..., "a recipe's file, or a study's folder (its recommended.yaml)", "RECIPE", WHAT, "RECIPE"
    )
    trial: Annotated[int | None, whole(0)] = setting(
        None, "the recipe of this trial of the study whose folder is RECIPE (default: the recommended one)", "N", WHAT
    )
    steps: Annotated[int | None, whole(1)] = setting(
        None, "train for N steps instead of as many as the recipe says; for images four times as many pay", "N", WHAT
    )
    out: Annotated[str, text("the folder that the student is to be written into")] = setting(..., "the folder to write", "DIR", KEPT)
    seeds: Annotated[int, whole(1)] = setting(3, "number of students to train, one for each seed", "N")
    seed: Annotated[int, whole(0)] = setting(0, "the first seed; also that of the splits and the teacher", "S")
    control: Annotated[bool, FLAG] = setting(
        True,
        "also train the same student without a teacher, for the distillation ratio (default: True)",
        off="do not train a student without a teacher, so there is no distillation ratio",
    )
    teacher_scores: Annotated[str | None, SCORES] = setting(
        None,
        "a file of a teacher's scores for texts or images, instead of the recipe's teacher (default: the file of the recipe's study)",
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
        """The recipe, with the number of steps that is asked for.

        Raises:
            RecipeError: it cannot be read.
            StudyError: the study has no such trial.
        """
        recipe = self._given_recipe()
        if self.steps is None:
            return recipe
        training = recipe.training.model_dump() | {"steps": self.steps, "passes": 0.0, "max_steps": 0}
        return Recipe.parse(recipe.model_dump() | {"training": training})

    def _given_recipe(self) -> Recipe:
        if self.trial is not None:
            return self._trial_recipe(self.trial)
        return self.recipe if isinstance(self.recipe, Recipe) else Recipe.load(self.recipe)

    def _trial_recipe(self, trial: int) -> Recipe:
        folder = None if isinstance(self.recipe, Recipe) else user_path(self.recipe, RecipeError)
        if folder is None or not is_study(folder):
            raise StudyError(f"trial {trial} is of a study, and {self.recipe} is not a study's folder; give that, or leave the trial out")
        records = read_records(folder / "trials.parquet") if (folder / "trials.parquet").exists() else []
        record = next((item for item in records if item.trial == trial), None)
        if record is None:
            there = f"its trials are 0 to {max(item.trial for item in records)}" if records else "none of its trials has ended"
            raise StudyError(f"the study {folder} has no trial {trial} that has ended; {there}")
        return Recipe.parse(record.recipe)

    @property
    def ref(self) -> DatasetRef:
        """A reference with which a worker opens the same rows."""
        return with_scores_file(super().ref, self.scores_file)

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
                raise DataError(no_scores(path))
            raise DataError(
                f"the study {self._study} had its teacher's scores from {path}, but this file does not exist; say where it is now with "
                "--teacher-scores FILE"
            )


def _folder_of(recipe: str | Path) -> Path:
    """The folder of a recipe's file, which may be a study's; or the path itself, if it is a folder."""
    path = user_path(recipe, RecipeError)
    return path if path.is_dir() else path.parent
