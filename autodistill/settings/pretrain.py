"""The settings of a pretraining."""

from __future__ import annotations

from typing import Annotated, ClassVar

from autodistill.errors import DataError
from autodistill.option import DATA, KEPT, WHAT, Settings, setting
from autodistill.recipe import Recipe
from autodistill.storage import user_path
from autodistill.values import COUNT, FLAG, RECIPE, TEXT, UNLABELLED, many, text, whole


class PretrainSettings(Settings):
    """The settings of `autodistill pretrain`."""

    command: ClassVar[str] = "pretrain"
    texts: Annotated[tuple[str, ...], UNLABELLED] = setting(
        ...,
        "texts without labels: csv, tsv, jsonl, parquet, txt (one text on each line), or a folder of these; may be repeated",
        "FILE",
        DATA,
        "--text",
    )
    text_columns: Annotated[tuple[str, ...] | None, many(TEXT)] = setting(
        None, "the column of texts in tables; give it twice for pairs, whose texts are read one by one", "NAME", DATA, "--text-column"
    )
    student: Annotated[str | Recipe, RECIPE] = setting(
        ..., "a recipe's file, or a study's folder (its recommended.yaml), whose student is to be pretrained", "RECIPE", WHAT
    )
    teacher: Annotated[str | None, TEXT] = setting(
        None, "a model of sentence-transformers, or another encoder: a hub id or a folder (default: the recipe's)", "MODEL", WHAT
    )
    steps: Annotated[int, COUNT] = setting(4000, "optimizer steps", "N")
    seed: Annotated[int, whole(0)] = setting(0, "the seed of everything random", "S")
    out: Annotated[str | None, text("the folder that the student is to be written into")] = setting(
        None, "the folder to write (default: pretrained/, and in it the names of the student's family and the teacher)", "DIR", KEPT
    )
    overwrite: Annotated[bool, FLAG] = setting(False, "replace DIR, if it holds a student", None, KEPT)

    def load_recipe(self) -> Recipe:
        """The recipe.

        Raises:
            RecipeError: it cannot be read.
        """
        return self.student if isinstance(self.student, Recipe) else Recipe.load(self.student)

    def check(self) -> None:
        """Check what can be checked before anything is read.

        Raises:
            DataError: a file of texts does not exist.
            RecipeError: the recipe cannot be read.
        """
        for place in self.texts:
            if not user_path(place, DataError).exists():
                raise DataError(f"texts: there is no file or folder {place}; give a file of texts")
        self.load_recipe()
