"""Smaller students for recipes whose student is over a limit."""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Collection, Iterator
from contextlib import suppress

from autodistill.errors import RecipeError, StudyError
from autodistill.families import family_spec
from autodistill.limits import Feasible, Limits
from autodistill.recipe import Component, Recipe, Teacher
from autodistill.space import FAMILY, Space

STUDENTS_TRIED = 200
"""How many recipes of the space, or of one family of it, are drawn for their students."""

VOCABULARY = "vocabulary"
"""The field that may change first: with the pieces of the training rows alone a student loses nothing, and more of its size than with
narrower vectors. (The cnn with few labels: on nine sets +.001 on the test splits, for a fifth to a half of the parameters; with half of the
width, for half of the parameters and without residual convolutions, −.016 on four.)"""


class LimitFit:
    """Gives a recipe over the limits another student of its family, which keeps them.

    feasible: checks an untrained student against the limits. limits: the same, for messages. seed: of the students, which are drawn from
    the space.
    """

    def __init__(self, space: Space, feasible: Feasible, limits: Limits, seed: int = 0) -> None:
        self.space, self.feasible, self.limits, self.seed = space, feasible, limits, seed
        self._tried: dict[str | None, dict[Component, Recipe]] = {}
        self._ranked: dict[tuple[Teacher, Component], list[Component]] = {}

    def tried(self, family: str | None = None) -> dict[Component, Recipe]:
        """Students of one family, or of all, each with a recipe of the space that has it."""
        if family not in self._tried:
            space = self.space if family is None else self.space.fixed(FAMILY, family)
            rng = random.Random(self.seed)
            self._tried[family] = {recipe.student: recipe for recipe in (space.sample(rng) for _ in range(STUDENTS_TRIED))}
        return self._tried[family]

    @functools.cached_property
    def defaults(self) -> Recipe:
        """The space's defaults with a student within the limits. If none of its family is a substitute, those of the first family whose
        own default has one, in the order in which the space names them; else those of the largest of all students that keep the limits.

        Raises:
            StudyError: no student that was tried keeps the limits.
        """
        defaults = self.space.defaults()
        fitted = self(defaults)
        if fitted is not None:
            return fitted
        of_another = next(self.of_families(), None)
        if of_another is not None:
            return of_another
        costs = {student: self.feasible(recipe) for student, recipe in self.tried().items()}
        fitting = [student for student, cost in costs.items() if cost.feasible]
        if fitting:
            student = max(fitting, key=lambda student: costs[student].params or 0)
            of_family = self.space.fixed(FAMILY, student.name).defaults() if student.name in self._families else defaults
            return Recipe.parse(of_family.model_dump() | {"student": student.model_dump()})
        params = min(cost.params for cost in costs.values() if cost.params is not None)
        latencies = [cost.latency_ms for cost in costs.values() if cost.latency_ms is not None]
        fastest = f", the fastest {min(latencies):.3g} ms" if latencies else ""
        limits = dataclasses.asdict(self.limits)
        asked = ", ".join(f"{name} {value}" for name, value in limits.items() if value is not None)
        raise StudyError(
            f"no student of the space {self.space.name!r} keeps the limits ({asked}): "
            f"the smallest of {STUDENTS_TRIED} has {params:,} parameters{fastest}; raise them, or give another --space"
        )

    def of_families(self, known: Collection[str] = ()) -> Iterator[Recipe]:
        """The defaults of each family but the default and the `known` ones, in the order in which the space names them, with a student
        within the limits. Families of which none is a substitute are left out.
        """
        families = [family for family in self._families if family not in {*known, self.space.defaults().student.name}]
        drawn = {student.name for student in self.tried()} if families else set()  # a family may be there for other teachers alone
        for family in families:
            if family in drawn:
                fitted = self(self.space.fixed(FAMILY, family).defaults())
                if fitted is not None:
                    yield fitted

    @functools.cached_property
    def _families(self) -> list[str]:
        """The families of the space's students, in its order."""
        return list(dict.fromkeys(str(value) for domain in self.space.parameters.get(FAMILY, ()) for value in domain.values))

    def __call__(self, recipe: Recipe) -> Recipe | None:
        """The recipe, if it keeps the limits. Else the same one with the student of its family that keeps them and has most fields in
        common with its own, but for the vocabulary; of several, the one with the most parameters. None if there is none, or only ones
        that are narrower than a student made of its teacher's layers.
        """
        if self.limits == Limits() or self.feasible(recipe).feasible:  # without limits nothing need be measured
            return recipe
        for student in self._instead_of(recipe):
            with suppress(RecipeError):  # an objective may name layers that a smaller student lacks
                return Recipe.parse(recipe.model_dump() | {"student": student.model_dump()})
        return None

    def _instead_of(self, recipe: Recipe) -> list[Component]:
        """The students of the recipe's family that keep the limits, the best substitute first."""
        key = recipe.teacher, recipe.student
        if key not in self._ranked:
            own, found = recipe.student.model_dump(), list[tuple[int, int, Component]]()
            width = _width_of_layers(recipe.student)
            for student in self.tried(recipe.student.name) if recipe.student.name in self._families else ():
                if width is not None and student.own[width] != recipe.student.own[width]:
                    continue
                cost = self.feasible(recipe.model_copy(update={"student": student}))
                common = sum(own.get(name) == value for name, value in student.model_dump().items() if name != VOCABULARY)
                found += [(common, cost.params or 0, student)] if cost.feasible else []
            self._ranked[key] = [student for *_, student in sorted(found, key=lambda item: item[:2], reverse=True)]
        return self._ranked[key]


def _width_of_layers(student: Component) -> str | None:
    """The field with the width of a student that is made of its teacher's layers; None for others.

    A narrower one starts from projections of these layers, and loses more than a student of another family. (stsb, 1,000 labels: half of
    the teacher .808, at half of its width .712, a static student .789.)
    """
    spec = family_spec(student.name)
    if spec is None or not spec.options.get("attention") or student.own.get("init") != "teacher":
        return None
    field: str | None = spec.options.get("teacher_width")
    return field
