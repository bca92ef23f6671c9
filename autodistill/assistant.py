"""A finished student that teaches a smaller one: a teacher assistant (Mirzadeh et al. 2020, "Improved Knowledge Distillation via Teacher
Assistant").
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodistill.components import specs
from autodistill.errors import ModelError, StudyError, explained
from autodistill.recipe import Recipe, Teacher
from autodistill.storage import user_path
from autodistill.study_folder import read_about
from autodistill.task_types import modality_of

STUDENT_WEIGHTS, STUDENT_FACTS = "student.safetensors", "saved.json"

AS_IT_IS: dict[str, Any] = {
    "init": "pretrained",
    "pooling": "model",
    "head_init": "random",
    "epochs": 0,
    "min_steps": 0,
    "max_steps": 0,
}
"""Fields of a recipe's teacher with which nothing is trained, because an assistant is already trained."""


def read_facts(folder: Path) -> dict[str, Any]:
    """The recorded facts of a saved student, beside its recipe.

    Raises:
        ModelError: they cannot be read.
    """
    path = folder / STUDENT_FACTS if (folder / STUDENT_FACTS).exists() else folder / "student.json"
    with explained(lambda reason: ModelError(f"{path} cannot be read ({reason}); search or distil this student again")):
        facts = dict(json.loads(path.read_text(encoding="utf-8")))
        facts["context"] = dict(facts["context"])
    return facts


@dataclass(frozen=True)
class Assistant:
    """A student from a search, as a teacher. folder: of its files. recipe: its own. facts: its saved.json. dataset: of its study."""

    folder: Path
    recipe: Recipe
    facts: dict[str, Any]
    dataset: dict[str, Any]

    @property
    def fields(self) -> dict[str, Any]:
        """The fixed fields of a recipe's teacher, if this student is the teacher."""
        return AS_IT_IS | {"max_length": self.facts["context"]["max_length"]}

    @property
    def has_attention(self) -> bool:
        """Whether objectives can read its attention."""
        return bool(specs("student")[self.recipe.student.name.partition(":")[0]].options.get("attention"))

    @property
    def size(self) -> int:
        """About how many parameters it has, by its file of weights, which are float32."""
        return (self.folder / STUDENT_WEIGHTS).stat().st_size // 4

    def check(self, teacher: Teacher, rows_fingerprint: str, name: str) -> None:
        """Check that it can teach on a dataset. name: of the dataset.

        Raises:
            StudyError: it was trained on other rows, or the recipe asks for more training of it.
        """
        if self.dataset.get("fingerprint") != rows_fingerprint:
            raise StudyError(
                f"teacher {teacher.model!r} is a student of {self.dataset.get('name')!r} with other rows than {name!r} has now, and "
                "may have learned validation rows. Search with the dataset, --limit-train, --unlabelled and --seed of its study"
            )
        own = teacher.model_dump()
        other = [f"teacher.{field}: {value}" for field, value in self.fields.items() if own[field] != value]
        if other:
            needed = ", ".join(other)
            raise StudyError(f"teacher {teacher.model!r} is a finished student, which is used as it is; the recipe needs {needed}")


def find_assistant(model: str) -> Assistant | None:
    """The best student of a study, if a teacher's name is the path of the study's folder or of its best/; else None.

    Raises:
        StudyError: the study has no best student, or its student reads images.
        RecipeError: the student's recipe cannot be read.
    """
    place = user_path(model, ModelError)
    study = place.parent if (place / STUDENT_WEIGHTS).exists() else place
    about = read_about(study) if study.is_dir() else None
    if about is None:
        return None
    folder = place if study != place else place / "best"
    if not (folder / STUDENT_WEIGHTS).exists():
        raise StudyError(f"teacher {model!r} is a study without a best student (best/); search until a trial is complete")
    facts = read_facts(folder)
    recipe = Recipe.load(folder / "recipe.yaml")
    if not modality_of(recipe.task).texts:
        raise StudyError(f"teacher {model!r} is a study of images; only a student that reads texts can be a teacher. Give a timm model")
    return Assistant(folder, recipe, facts, about["dataset"])
