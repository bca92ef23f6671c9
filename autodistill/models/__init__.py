"""Students and what teachers share with them: one protocol, encodings, and a file for each family of students."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autodistill.models.base import StudentContext, StudentModule
    from autodistill.recipe import Component, Recipe


def build_student(recipe: Recipe, context: StudentContext) -> StudentModule:
    """The recipe's student, ready to train. Its random weights are drawn from torch's generator; seed it before.

    Raises:
        RecipeError: the student's fields do not go together, or it cannot start from this teacher.
        ModelError: the model does not exist, or its weights cannot be had.
    """
    return _build(recipe.student, context)


@functools.lru_cache(maxsize=4096)
def _count(student: Component, context: StudentContext) -> int:
    import torch

    with torch.device("meta"):
        built = _build(student, replace(context, shapes_only=True))
    return sum(parameter.numel() for parameter in built.parameters())


def count_params(recipe: Recipe, context: StudentContext) -> int:
    """The number of the student's parameters, without taking memory for them or reading weights.

    Raises:
        RecipeError, ModelError: the student cannot be built.
    """
    return _count(recipe.student, replace(context, teacher=None))


def _build(student: Component, context: StudentContext) -> StudentModule:
    variant = (student.variant,) if "variant" in student.spec.inputs else ()
    built: StudentModule = student.spec.load()(context, *variant, **student.own)
    return built
