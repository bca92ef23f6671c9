"""Students with a tokenizer of their own. Their tokens cannot be compared one by one with the teacher's."""

from __future__ import annotations

from typing import Any

from autodistill.errors import RecipeError
from autodistill.models import family_of
from autodistill.models.reread import same_tokens
from autodistill.recipe import Recipe
from autodistill.recipe.parts import Component
from autodistill.task_types import modality_of
from autodistill.train.taps import single_token_terms


def reads_other_tokens(student: Component, task: str, teacher_tokenizer: Any) -> bool:
    """Whether a student reads other tokens than a teacher with this tokenizer (None for a teacher of images).

    Raises:
        ModelError: the student's model is not available.
    """
    source = family_of(student).source(student)
    return source is not None and not same_tokens(teacher_tokenizer, modality_of(task).open_tokenizer(source))


def check_tokens(recipe: Recipe, teacher_tokenizer: Any) -> None:
    """Refuse an objective that compares single tokens if the student and its teacher read different ones.

    Raises:
        RecipeError: there is such an objective.
        ModelError: the student's model is not available.
    """
    terms = single_token_terms(recipe)
    if not terms or not reads_other_tokens(recipe.student, recipe.task, teacher_tokenizer):
        return
    slot, part = next(iter(terms.items()))
    model = family_of(recipe.student).pretrained_model(recipe.student)
    way_out = "set its tokens to 'cls' or 'mean'" if "tokens" in type(part).model_fields else "set its kind to 'none'"
    raise RecipeError(
        f"objective.{slot}: {part.name!r} compares the student with the teacher token by token, but the student "
        f"{model!r} has another tokenizer than the teacher {recipe.teacher.model!r}; {way_out}"
    )
