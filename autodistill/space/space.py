"""The space of a search: its file, copies of it for a search, and the recipes that a search must beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autodistill.components import check
from autodistill.errors import SpaceError, not_allowed
from autodistill.recipe import ADDED, Recipe, Training, without_teacher
from autodistill.records import Role
from autodistill.space.domain import Domain, Scalar
from autodistill.space.file import read_parameters, space_file
from autodistill.space.parameters import at
from autodistill.space.teachers import FAMILY, TEACHER, WithTeachers
from autodistill.task_types import TASKS, modality_of, target_of

LENGTH = {"epochs": True, "steps": True, "passes": False, "max_steps": True}
"""The fields of a training that say how long it is, and whether they are whole numbers."""
_STUDENT = (FAMILY, "student.model")
"""What a student is, beside its sizes."""


@dataclass(frozen=True)
class Space(WithTeachers):
    """A search space for one task type: which recipes a search may propose."""

    @classmethod
    def load(cls, name_or_path: str, task: str) -> Space:
        """Read a shipped space by name, or a file by path, for one task type.

        Raises:
            SpaceError: there is no such space, it does not validate, or it is not for the task.
            ComponentError: an installed package has components that cannot be used.
        """
        check()
        if task not in TASKS:
            raise SpaceError(not_allowed("the task type", task, TASKS))
        file = space_file(name_or_path)
        name, about, parameters = read_parameters(file, task)
        space = cls(name, task, about, parameters, file.source)
        space.defaults()  # a space whose defaults are no recipe is an error here, not in the middle of a search
        return space

    def fixed_later(self, student: Mapping[str, Any]) -> dict[str, Scalar]:
        """Fields of a student that were added later (`recipe.ADDED`), if the space fixes them at one value for it.

        student: the fields that its recipe has.
        """
        part = "student"
        own = replace(self, parameters={path: domains for path, domains in self.parameters.items() if path.startswith(f"{part}.")})
        active = own.active({f"{part}.{name}": value for name, value in student.items()})
        fixed = {path.removeprefix(f"{part}."): domain.default for path, _, domain in active if domain.kind == "value"}
        return {name: value for name, value in fixed.items() if (part, name) in ADDED}

    def has_student(self, recipe: Mapping[str, Any]) -> bool:
        """Whether the space has students of a recipe's family and, where this has several, of its model, under the recipe's teacher.

        recipe: its plain data.
        """
        values = {path: at(recipe, path) for path in self.parameters}
        return all(domain.contains(values[path]) for path, _, domain in self.active(values) if path in _STUDENT)

    def length_for(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """How long a recipe from elsewhere is trained here: fields of its `training`. It keeps its values where the space has them for such
        a recipe; else it gets the space's defaults.

        recipe: its plain data.
        """
        values = {path: at(recipe, path) for path in self.parameters}
        length = {name: getattr(Training(), name) for name in LENGTH}
        for path, _, domain in self.active(values):
            part, _, name = path.partition(".")
            if part == "training" and name in length:
                length[name] = values[path] = values[path] if domain.contains(values[path]) else domain.default
        return length

    def with_epochs(self, epochs: int) -> Space:
        """A copy of the space with this many epochs of training. If it has a number of steps, this and its bounds change in proportion."""
        share, space = epochs / self.defaults().training.epochs, self.fixed("training.epochs", epochs)
        scaled = {
            path: tuple(domain.scaled(share, whole) for domain in self.parameters[path])
            for name, whole in LENGTH.items()
            if name != "epochs" and (path := f"training.{name}") in self.parameters
        }
        return replace(space, parameters={**space.parameters, **scaled})

    def with_class_weights(self, weights: str) -> Space:
        """A copy of the space with these class weights for teachers and students.

        Raises:
            SpaceError: its task has no classes.
        """
        if weights != "none" and not target_of(self.task).has_class_weights:
            raise SpaceError(f"class_weights is {weights!r}, but {self.task} has no classes; leave it out")
        paths = (f"{TEACHER}class_weights", "objective.class_weights")
        return replace(self, parameters={**self.parameters, **{path: (Domain("value", weights),) for path in paths}})

    def with_max_length(self, tokens: int) -> Space:
        """A copy of the space whose teachers and students read at most this many tokens of a text.

        Raises:
            SpaceError: its rows are images.
        """
        if not modality_of(self.task).texts:
            raise SpaceError(f"max_length is {tokens}, but {self.task} has no texts; leave it out")
        return replace(self, parameters={**self.parameters, f"{TEACHER}max_length": (Domain("value", tokens),)})

    def without_unlabelled(self) -> Space:
        """A copy of the space for a dataset without unlabelled rows."""
        paths = ("training.unlabelled_share", "training.unlabelled_choice", "training.unlabelled_keep", "training.stages")
        return replace(self, parameters={path: domains for path, domains in self.parameters.items() if path not in paths})

    def baselines(self, defaults: Recipe | None = None) -> dict[Role, Recipe]:
        """What a search must beat. All have the student and the training of the defaults, or of the recipe that is given in their place.

        Without a teacher (`with_self_teacher`): hard labels alone, and the defaults, which are self-distillation. Else:
        no teacher (without labels: the student as it starts); plain KD (Hinton 2015) on the labelled rows; if the space's recipes use
        unlabelled rows, the teacher's decisions as labels (Lee 2013) and plain KD, both on all rows; and the defaults.
        """
        defaults = defaults or self.defaults()
        data = defaults.model_dump() | {"augmentation": {"kind": "none"}}
        all_rows = data["training"] | {"unlabelled_choice": "all", "unlabelled_keep": 1.0, "stages": "mixed"}
        data["training"] = all_rows | {"unlabelled_share": 0.0}
        weights = {"class_weights": defaults.objective.class_weights}
        target = target_of(self.task)
        plain = weights | target.plain_objective
        baselines: dict[Role, Recipe] = {"no_kd": Recipe.parse(without_teacher(data | {"objective": weights}))}
        if defaults.teacher.is_self:
            return baselines | {"defaults": defaults}
        baselines["plain_kd"] = Recipe.parse(data | {"objective": plain})
        if all_rows["unlabelled_share"] > 0:
            if target.decision_loss is not None:
                decisions = weights | {"hard_label_weight": 0.5, "prediction": {**target.decision_loss, "weight": 0.5}}
                baselines["pseudo_labels"] = Recipe.parse(data | {"objective": decisions, "training": all_rows})
            baselines["plain_kd_all"] = Recipe.parse(data | {"objective": plain, "training": all_rows})
        return baselines | {"defaults": defaults}
