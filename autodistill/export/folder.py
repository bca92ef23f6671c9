"""Writes a trained student as a folder that other libraries open, in the format of its family.

Beside the family's files there are student.json, which describes the inputs and outputs (for `autodistill predict` and `export`),
and its recipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autodistill.models import family_of
from autodistill.models.family import SavedStudent
from autodistill.models.writing import write_json
from autodistill.target import Scaling
from autodistill.task_types import target_of

SCHEMA = 1
ABOUT = "student.json"


def write_student(folder: Path, saved: SavedStudent) -> dict[str, Any]:
    """Write a student's weights, configuration, tokenizer or transform, and student.json. Returns the contents of student.json.

    The folder exists and gets the files. There the student's outputs are in the dataset's units: the scale that it learned targets on is
    folded into its last layer, also in `saved.model`. Outputs that are vectors are at length 1 (`Target.finished`), there alone.
    """
    family, facts = family_of(saved.recipe.student), saved.facts
    Scaling(float(facts.get("target_mean", 0.0)), float(facts.get("target_scale", 1.0))).fold_into(saved.model.output_layer)
    facts.update(target_mean=0.0, target_scale=1.0)
    about: dict[str, Any] = {
        "schema": SCHEMA,
        "family": saved.recipe.student.name,
        "task": saved.recipe.task,
        "metric": facts["metric"],
        "classes": facts["classes"],
        "recipe_id": saved.recipe.id,
    }
    if "thresholds" in facts:
        about["thresholds"] = facts["thresholds"]
    target = target_of(saved.recipe.task, facts["classes"], width=facts["context"]["num_outputs"])
    if target.are_vectors:
        about["width"] = target.width
    names = dict(enumerate(target.output_names))
    about |= family.write(folder, saved, names)
    write_json(folder / ABOUT, about)
    (folder / "recipe.yaml").write_text(saved.recipe.to_yaml(), encoding="utf-8")
    return about
