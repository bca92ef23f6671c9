"""The recipe itself: its parts, whether they fit together, its id, and reading and writing it."""

from __future__ import annotations

import functools
import hashlib
import html
import json
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from autodistill.components import check, specs
from autodistill.errors import RecipeError
from autodistill.families import fitting_families
from autodistill.recipe.fields import BY_EMBEDDINGS, SHARED
from autodistill.recipe.objective import Objective
from autodistill.recipe.parts import Component, Part, TokenReading
from autodistill.recipe.problems import explain
from autodistill.recipe.slots import NONE, Augmentation, Student
from autodistill.recipe.teacher import Teacher
from autodistill.recipe.training import Training
from autodistill.recipe.versions import ADDED
from autodistill.storage import user_path
from autodistill.task_types import TASKS, TaskType, modality_of, target_of
from autodistill.yamlfile import YamlFile, load_yaml


class Recipe(Part):
    """One validated distillation pipeline, identified by `id`."""

    version: Literal[1] = 1
    task: TaskType
    teacher: Teacher
    student: Student
    objective: Objective = Objective()
    augmentation: Augmentation = Field(default=NONE, validate_default=True)
    training: Training = Training()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        parts: dict[str, Component] = {"student": self.student, "augmentation": self.augmentation}
        parts |= {f"objective.{slot}": part for slot, part in self.objective.slots.items()}
        modality, target = modality_of(self.task), target_of(self.task)
        family = self.student.name.partition(":")[0]
        for path, part in parts.items():
            if part.name == "none":
                continue
            if self.task not in part.spec.tasks:
                fitting = sorted(specs(part.slot, self.task))
                raise ValueError(f"{path}: {part.name!r} does not fit {self.task}; fitting ones: {', '.join(fitting) or 'none'}")
            families = fitting_families(part.spec, self.task)
            if families is not None and family not in families:
                raise ValueError(f"{path}: {part.name!r} needs a student of family {' or '.join(families)}, but this one is {family!r}")
        if (pooling := self.teacher.pooling) not in modality.allowed_poolings:
            raise ValueError(f"teacher.pooling is {pooling!r}; for {self.task} it can be {', '.join(modality.allowed_poolings)}")
        if self.augmentation.mixing not in modality.mixings:
            raise ValueError(f"augmentation.mixing is 'cutmix', which cuts images; for {self.task} only 'mixup' is allowed")
        intermediate = self.objective.intermediate
        if isinstance(intermediate, TokenReading) and intermediate.tokens not in modality.token_forms:
            default = " (its default)" if intermediate.tokens == SHARED["objective.intermediate"]["tokens"][1] else ""
            forms = " or ".join(map(repr, modality.token_forms))
            raise ValueError(
                f"objective.intermediate.tokens is {intermediate.tokens!r}{default}, which {self.task} does not have; set it to {forms}"
            )
        training = self.training
        if self.objective.self_distillation > 0:
            self._learns_from_itself()
        if not target.has_labels:
            self._learns_from_one_network()
        if self.teacher.scores is not None:
            self._reads_logits_alone()
        if self.teacher.is_self:
            self._has_no_teacher()
        if training.unlabelled_share > 0 and not self.objective.terms:
            raise ValueError(
                f"training.unlabelled_share is {training.unlabelled_share}, but no objective uses the teacher, and on rows without labels "
                "a student learns only from it; give an objective a weight above 0, or set unlabelled_share to 0"
            )
        if training.unlabelled_share == 0 and (training.unlabelled_choice != "all" or training.stages != "mixed"):
            raise ValueError("training.unlabelled_choice and training.stages say how unlabelled rows are used, but unlabelled_share is 0")
        if training.unlabelled_choice == "all" and training.unlabelled_keep < 1:
            raise ValueError("training.unlabelled_keep is below 1, but unlabelled_choice 'all' keeps every row; set it to 1, or choose")
        if training.unlabelled_choice not in target.row_choices:
            allowed = ", ".join(target.row_choices)
            raise ValueError(f"training.unlabelled_choice is {training.unlabelled_choice!r}; for {self.task} allowed: {allowed}")
        if training.stages != "mixed" and self.objective.hard_label_weight == 0:
            raise ValueError("training.stages ends on the labelled rows with hard labels, but objective.hard_label_weight is 0; raise it")
        if not self.objective.teaches and target.has_labels:
            raise ValueError("objective: the student has nothing to learn from; give hard_label_weight or an objective a weight above 0")
        if self.objective.label_smoothing > 0 and not target.has_label_smoothing:
            raise ValueError(f"objective.label_smoothing has no meaning for {self.task}; remove it or set it to 0")
        weighted = [name for name, part in (("teacher", self.teacher), ("objective", self.objective)) if part.class_weights != "none"]
        if self.teacher.vector_size is not None and not target.are_vectors:
            raise ValueError(f"teacher.vector_size is {self.teacher.vector_size}, and {self.task} has no vectors; leave it out")
        if weighted and not target.has_class_weights:
            raise ValueError(f"{weighted[0]}.class_weights has no meaning for {self.task}; remove it or set it to 'none'")
        return self

    def _learns_from_one_network(self) -> None:
        """Check a recipe for a task without labels. If it has no objective, its student stays as it starts."""
        if self.objective.hard_label_weight > 0:
            raise ValueError(
                f"objective.hard_label_weight is {self.objective.hard_label_weight:g}, and {self.task} has no labels; set it to 0, and "
                "give objective.prediction a kind (mse, cosine)"
            )
        if self.teacher.scores is not None or self.teacher.members != 1:
            raise ValueError(f"the teacher of {self.task} is one network; leave teacher.scores and teacher.members out")

    def _learns_from_itself(self) -> None:
        """Check a recipe with self-distillation, which softens the labels of single classes."""
        share = f"objective.self_distillation is {self.objective.self_distillation:g}"
        if not target_of(self.task).has_self_distillation:
            raise ValueError(f"{share}, which needs a task with one class per row, and this is {self.task}; set it to 0")
        if self.objective.hard_label_weight == 0:
            raise ValueError(f"{share}, a share of the loss on hard labels, whose weight is 0; raise objective.hard_label_weight")
        if self.augmentation.mixup > 0:
            raise ValueError(f"{share}, and mixed rows have no past predictions; set augmentation.mixup or self_distillation to 0")

    def _has_no_teacher(self) -> None:
        for slot, part in self.objective.terms.items():
            raise ValueError(
                f"objective.{slot}: {part.name!r} compares the student with its teacher, and teacher.init is 'self': there is none; "
                "set it to 'none', or use a teacher"
            )
        if not target_of(self.task).has_labels:
            raise ValueError(f"teacher.init is 'self', and {self.task} has no labels to learn from without a teacher; use a teacher")

    def _reads_logits_alone(self) -> None:
        for slot, part in self.objective.terms.items():
            if part.spec.reads_states:
                raise ValueError(
                    f"objective.{slot}: {part.name!r} reads the teacher's states or embeddings, but a file of scores (teacher.scores) has "
                    "only logits; set it to 'none', or use a teacher network"
                )
        if self.training.unlabelled_choice == BY_EMBEDDINGS:
            raise ValueError(
                f"training.unlabelled_choice is {BY_EMBEDDINGS!r}, which needs the teacher's embeddings, but a file of scores "
                "(teacher.scores) has none; give 'all', 'confident', 'uncertain' or 'random'"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as plain data, because the components' classes are made from signatures and are in no module."""
        return Recipe.parse, (self.model_dump(),)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits of the canonical JSON's SHA-256."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:12]

    def canonical_json(self) -> str:
        """All fields (those in `ADDED` only if they differ from its value), keys sorted, no white space. Equal recipes have equal texts."""
        data = self.model_dump()
        for (path, name), before in ADDED.items():
            part = functools.reduce(operator.getitem, path.split("."), data)
            if part.get(name, ...) == before:
                del part[name]
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    def _repr_html_(self) -> str:
        """The recipe in a notebook."""
        return f"<pre>{html.escape(self.to_yaml())}</pre>"

    def to_yaml(self) -> str:
        """The recipe as YAML, for people."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, default_flow_style=False, allow_unicode=True)

    @classmethod
    def parse(cls, data: Any) -> Recipe:
        """Validate plain data.

        Raises:
            RecipeError: something does not validate. Each problem has its key path and value.
            ComponentError: an installed package has components that cannot be used.
        """
        return _validate(cls, YamlFile("recipe", data, {}))

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a recipe file (YAML, or JSON, which is YAML too), or the recommended recipe in a study's folder.

        Raises:
            RecipeError: something cannot be read or does not validate. Each problem has its file, line, key path and value.
            ComponentError: an installed package has components that cannot be used.
        """
        path = user_path(path, RecipeError)
        if path.is_dir():
            path = path / "recommended.yaml"
            if not path.exists():
                is_study = (path.parent / "study.json").exists()
                why = (
                    "no trial of this study has completed; continue it with --resume"
                    if is_study
                    else "it is no study's; give that, or a file"
                )
                raise RecipeError(f"the folder {path.parent} has no recipe (recommended.yaml): {why}")
        return _validate(cls, load_yaml(path, RecipeError))


def without_teacher(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without its teacher, both as plain data: the same student and training, with only hard labels and labelled rows.

    If its task has no labels, the student stays as it starts.
    """
    own = recipe.get("objective", {})
    task = recipe.get("task")
    objective = {
        "hard_label_weight": 1.0 if task not in TASKS or target_of(task).has_labels else 0.0,
        "label_smoothing": own.get("label_smoothing", 0.0),
        "class_weights": own.get("class_weights", "none"),
    }
    labelled_rows = {"unlabelled_share": 0.0, "unlabelled_choice": "all", "unlabelled_keep": 1.0, "stages": "mixed"}
    return {**recipe, "objective": objective, "training": recipe.get("training", {}) | labelled_rows}


def _validate(cls: type[Recipe], file: YamlFile) -> Recipe:
    check()
    if not isinstance(file.data, Mapping):
        raise RecipeError(f"{file.source} should be a mapping with the keys task, teacher, student, …; it is {type(file.data).__name__}")
    try:
        return cls.model_validate(file.data)
    except ValidationError as cause:
        raise RecipeError("\n".join(explain(file, cause))) from None
