"""The latencies of the frontier: of every family, of teachers, of the linear model."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from made import record
from tiny_teacher import image_dataset, save_bert, text_dataset
from world import STUDENTS, World

from autodistill.export import frontier as measuring
from autodistill.export.frontier import _teacher, measure_frontier
from autodistill.export.latency import LEAST, paired_latency
from autodistill.facts import TeacherRef
from autodistill.models.base import pick_device
from autodistill.models.fitting import all_logits
from autodistill.recipe import Recipe, Teacher
from autodistill.report.frontier import Measured
from autodistill.teacher.load import load_teacher
from autodistill.teachers import Teachers
from autodistill.train.data import open_inputs


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three calls of each model."""
    monkeypatch.setattr(measuring, "SECONDS", 0.0)


@pytest.mark.parametrize("task", ["text-classification", "text-pair-classification"])
def test_the_latencies_of_every_family_and_of_what_stands_beside_them(tmp_path: Path, task: str) -> None:
    data, world = text_dataset(40, pairs="pair" in task), World(tmp_path, task)
    folder = save_bert(tmp_path / "teacher")
    part = Teacher(model=str(folder), max_length=16)
    opened = {part: open_inputs(data, part, folder)}
    families = [name for name in STUDENTS if name != "bert-apart"] if task == "text-classification" else ["static"]  # that one reads pairs
    recipes = [Recipe.parse(world.recipe(family).model_dump() | {"teacher": part.model_dump()}) for family in families]
    records = [record(number, recipe=recipe.model_dump(), recipe_id=recipe.id) for number, recipe in enumerate(recipes)]
    teachers = Teachers({part: TeacherRef(str(folder), 0.9, linear_score=0.8)})
    kept = measure_frontier(data, opened, teachers, records, tmp_path)
    measured = Measured.of_study({"frontier": kept})
    assert measured is not None
    assert list(measured.students) == [recipe.id for recipe in recipes]
    every = [*measured.students.values(), *measured.teachers, measured.linear]
    assert all(times is not None and min(times) > 0 for times in every)
    assert (measured.linear_params or 0) > 10
    assert 0 < measured.core_share <= 1

    # What is timed of the teacher is what the teacher says of the rows.
    places = np.arange(5)
    answers = _teacher(data, part, str(folder))(data.modality.rows(data.validation, places))
    meant = all_logits(load_teacher(folder)[0], opened[part].validation, data.num_outputs, pick_device("cpu"))[:5]
    np.testing.assert_allclose(answers, meant, atol=1e-5)


def test_images_have_a_frontier_too(tmp_path: Path) -> None:
    data = image_dataset(12, size=32)
    part = Teacher(model="timm:resnet10t", init="scratch", scores="0" * 16)
    opened = {part: open_inputs(data, part, tmp_path)}
    recipe = Recipe.parse({"task": data.task, "teacher": part.model_dump(), "student": {"family": "timm:lcnet_050"}})
    kept = measure_frontier(
        data,
        opened,
        Teachers({part: TeacherRef("", None, linear_score=0.5)}),
        [record(0, recipe=recipe.model_dump(), recipe_id=recipe.id)],
        tmp_path,
    )
    assert kept["teachers"] == [None]  # a file of scores takes no time
    assert min(*kept["students"][recipe.id], *kept["linear"]) > 0


def test_a_slow_call_is_timed_as_often_as_there_is_time_for() -> None:
    calls = []

    def slow() -> None:
        calls.append(time.sleep(0.005))

    assert paired_latency({"slow": slow}, seconds=0.0)["slow"] >= 5
    assert len(calls) == 1 + LEAST
