"""Recorded studies carried over: students that are made of their teacher's own layers to another teacher, losses to another task type."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from autodistill.components import specs
from autodistill.errors import SpaceError
from autodistill.families import family_spec
from autodistill.models.pretrained import pretrained_entry
from autodistill.recommender.library import RecordedStudy
from autodistill.space import FAMILY, Space
from autodistill.task_types import target_of


def carried_over(studies: Sequence[RecordedStudy], space: Space) -> list[RecordedStudy]:
    """The studies as one with the space's task and teacher would have been recorded.

    Half of its teacher is a good student; three layers of width 384 are, under any teacher but the one that they are half of, a poor
    start (all-mpnet-base-v2 on trec: .906, where half of all-MiniLM-L6-v2 has .950 under its own). So under a teacher that the space can
    take layers from, recorded halves of other teachers become halves of this one, trained at its students' rate, and recorded students of
    other shares of a teacher's layers are left out.

    Where no study is of the space's task type, those of others have to do. Their students learned from their teacher's outputs by a loss
    that the task may not have; it becomes the task's own (`kl` on classes becomes `binary_kl` on labels).
    """
    models = {teacher.model for teacher in space.teachers() if teacher.scores is None}
    half = _half(space)
    is_new = all(study.task != space.task for study in studies)
    carried = []
    for study in studies:
        records = []
        for record in study.records:
            recipe = _of_task(record.recipe, space.task) if is_new else record.recipe
            share = None if half is None or recipe["teacher"]["model"] in models else _share(recipe)
            if half is not None and share == 0.5:
                rate = {"learning_rate": half["training"]["learning_rate"]}
                recipe = recipe | {"student": half["student"], "training": recipe["training"] | rate}
            if share in (None, 0.5):
                records.append(record if recipe is record.recipe else record.model_copy(update={"recipe": recipe}))
        carried.append(dataclasses.replace(study, records=records))
    return carried


def _of_task(recipe: dict[str, Any], task: str) -> dict[str, Any]:
    """A recipe with the losses on its teacher's outputs and decisions that a task has in their place."""
    own, other = target_of(recipe["task"]), target_of(task)
    if own.kind == other.kind:
        return recipe
    prediction = recipe["objective"]["prediction"]
    for ours, theirs in ((own.soft_loss, other.soft_loss), (own.decision_loss, other.decision_loss)):
        if ours is not None and theirs is not None and prediction["kind"] == ours["kind"]:
            return recipe | {"objective": recipe["objective"] | {"prediction": {**theirs, "weight": prediction["weight"]}}}
    return recipe


def _half(space: Space) -> dict[str, Any] | None:
    """The defaults of the space's students that are made of their teacher's layers, whatever its width; None if it has none."""
    families = {family for domain in space.for_its_teachers().parameters.get(FAMILY, ()) for family in domain.values}
    for family, spec in specs("student", space.task).items():
        if "teacher_layers" in spec.options and family in families:
            try:
                return space.fixed(FAMILY, family).defaults().model_dump()
            except SpaceError:  # the teacher has too few layers
                return None
    return None


def _share(recipe: Mapping[str, Any]) -> float | None:
    """The share of its teacher's layers that a recorded student is made of; None if it is made of something else."""
    student, entry = recipe["student"], pretrained_entry("text", recipe["teacher"]["model"])
    spec = family_spec(student["family"])
    if spec is None or entry is None or not entry.layers or student.get("init", "teacher") != "teacher":
        return None
    width = spec.options.get("teacher_width")
    exact = "teacher_layers" in spec.options or (spec.options.get("attention") and width and student.get(width) == entry.embedding_size)
    return student["layers"] / entry.layers if exact else None
