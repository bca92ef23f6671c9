"""Students, and what they share with teachers: one protocol, the encodings, and a file for each family of students."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from autodistill.components import Spec, specs
from autodistill.errors import ModelError, not_allowed

if TYPE_CHECKING:
    from autodistill.models.base import StudentContext, StudentModule
    from autodistill.models.family import StudentFamily
    from autodistill.recipe import Recipe
    from autodistill.recipe.parts import Component


def family_of(student: Component) -> StudentFamily:
    """The family of a recipe's student.

    Raises:
        ComponentError: the package of the family cannot be imported, or has something else with this name.
    """
    return _family(student.spec.kind)


def family_named(name: str) -> StudentFamily:
    """A family by its name in a student's folder: `cnn`, `timm:resnet10t`.

    Raises:
        ModelError: no such family is installed.
        ComponentError: the package of the family cannot be imported, or has something else with this name.
    """
    kind = name.partition(":")[0]
    if kind not in specs("student"):
        raise ModelError(not_allowed("the student's family", kind, specs("student"), "Install the package that has it."))
    return _family(kind)


@functools.cache
def _family(kind: str) -> StudentFamily:
    from autodistill.models.family import StudentFamily

    spec: Spec = specs("student")[kind]
    family = spec.load()
    if not (isinstance(family, type) and issubclass(family, StudentFamily)):
        problem = f"{spec.module}.{spec.function} is no class that derives from autodistill.models.family.StudentFamily"
        raise TypeError(problem) if spec.extension is None else spec.extension.error(problem)
    try:
        return family()
    except TypeError as cause:  # the class still has abstract methods
        if spec.extension is None:
            raise
        raise spec.extension.error(str(cause)) from None


def build_student(recipe: Recipe, context: StudentContext) -> StudentModule:
    """The recipe's student, ready to train. Its random weights are drawn from torch's generator; seed it before.

    Raises:
        RecipeError: the student's fields do not go together, or it cannot start from this teacher.
        ModelError: the model does not exist, or its weights cannot be fetched.
    """
    return _build(recipe.student, context)


@functools.lru_cache(maxsize=4096)
def _count(student: Component, context: StudentContext) -> int:
    import torch

    with torch.device("meta"):
        built = _build(student, replace(context, shapes_only=True))
    return sum(parameter.numel() for parameter in built.parameters())


def count_params(recipe: Recipe, context: StudentContext) -> int:
    """The number of the student's parameters, without allocating memory for them or reading weights.

    Raises:
        RecipeError, ModelError: the student cannot be built.
    """
    return _count(recipe.student, replace(context, teacher=None))


def untrained(recipe: Recipe) -> Recipe:
    """The recipe with the cheapest initialisation of its student, for a student that is only measured or gets saved weights."""
    return recipe.model_copy(update={"student": family_of(recipe.student).untrained(recipe.student)})


def _build(student: Component, context: StudentContext) -> StudentModule:
    from autodistill.models.start import start, start_folder

    folder, family = start_folder(student), family_of(student)
    variant = (student.variant,) if "variant" in student.spec.inputs else ()
    fields = student if folder is None else family.untrained(student)
    built = family.build(context, *variant, **fields.own)
    if folder is not None and not context.shapes_only:
        start(built, student, context)
    return built
