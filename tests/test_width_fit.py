"""A space for a teacher that is narrower than its students."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from autodistill.errors import SpaceError
from autodistill.models.sources import config_width
from autodistill.recipe import Recipe
from autodistill.space import Space
from autodistill.width_fit import fit_widths

HEAD = "version: 1\nname: own\nabout: a space for this test\ntasks: [text-classification]\nparameters:\n"
FIELDS = {"bert": "hidden_size", "cnn": "embedding_size", "bilstm": "embedding_size", "static": "embedding_size"}


def too_wide(recipe: Recipe, width: int) -> bool:
    student = recipe.student.model_dump()
    return student["init"] != "random" and student[FIELDS[student["family"]]] > width


def own(tmp_path: Path, lines: str) -> Space:
    (tmp_path / "own.yaml").write_text(HEAD + "".join(f"  {line}\n" for line in lines.splitlines()))
    return Space.load(str(tmp_path / "own.yaml"), "text-classification")


@pytest.mark.parametrize("width", [16, 64, 128, 200])
def test_every_recipe_of_the_shipped_space_can_start(width: int) -> None:
    space = Space.load("text", "text-classification")
    model = space.defaults().teacher.model
    sampled = [space.sample(random.Random(seed)) for seed in range(300)]
    assert any(too_wide(recipe, width) for recipe in sampled)
    fitted, notes = fit_widths(space, {model: width})
    assert notes
    recipes = [fitted.sample(random.Random(seed)) for seed in range(300)]
    recipes += [fitted.defaults(), *fitted.baselines().values()]
    assert not [recipe for recipe in recipes if too_wide(recipe, width)]
    for recipe in sampled:  # nothing else is lost
        assert fitted.contains(recipe) != too_wide(recipe, width)


def test_a_wide_teacher_changes_nothing() -> None:
    space = Space.load("text", "text-classification")
    for widths in ({}, {"another": 8}, {space.defaults().teacher.model: 768}):
        assert fit_widths(space, widths) == (space, [])


def test_each_of_several_teachers_has_its_own_width(tmp_path: Path) -> None:
    space = own(
        tmp_path,
        "teacher.model: {choice: [narrow, wide], default: wide}\nstudent.family: {value: cnn}\n"
        "student.embedding_size: {choice: [32, 128], default: 128}\nstudent.init: {choice: [teacher, random], default: teacher}",
    )
    fitted, (note,) = fit_widths(space, {"narrow": 64, "wide": 256})
    assert note == "cnn students of embedding_size 128 do not start from the teacher narrow, whose width is 64"
    seen = {(r.teacher.model, r.student.embedding_size, r.student.init) for r in (fitted.sample(random.Random(i)) for i in range(200))}
    everything = {(model, size, init) for model in ("narrow", "wide") for size in (32, 128) for init in ("teacher", "random")}
    assert seen == everything - {("narrow", 128, "teacher")}


def test_without_random_students_the_wide_ones_go(tmp_path: Path) -> None:
    lines = "teacher.model: {value: narrow}\nstudent.family: {value: cnn}\n%s"
    for sizes, left in (
        ("student.embedding_size: {choice: [32, 64, 128], default: 128}", {32, 64}),
        ("student.embedding_size: {choice: [32, 64, 128], default: 128}\nstudent.init: {value: teacher}", {32, 64}),
        ("student.init: {value: teacher}\nstudent.embedding_size: {choice: [32, 128], default: 128}", {32}),
        ("student.embedding_size: {int: [24, 120], step: 8, default: 96}", {24, 32, 40, 48, 56, 64}),
    ):
        fitted, notes = fit_widths(own(tmp_path, lines % sizes), {"narrow": 64})
        assert notes
        assert {fitted.sample(random.Random(seed)).student.embedding_size for seed in range(200)} == left
        assert fitted.defaults().student.embedding_size in left
    for sizes in ("student.embedding_size: {value: 128}", "student.embedding_size: {int: [96, 120], default: 96}"):
        with pytest.raises(SpaceError, match=r"is wider than the teacher narrow, whose width is 64.*add a value of at most 64"):
            fit_widths(own(tmp_path, lines % sizes), {"narrow": 64})
    random_only = own(tmp_path, lines % "student.embedding_size: {value: 128}\nstudent.init: {value: random}")
    assert fit_widths(random_only, {"narrow": 64}) == (random_only, [])


def test_the_width_is_read_from_a_models_configuration(tmp_path: Path) -> None:
    for config, width in (
        ({"hidden_size": 32}, 32),
        ({"dim": 48}, 48),
        ({"hidden_size": 256, "embedding_size": 128}, 128),
        ({"model_type": "x"}, None),
        ([], None),
        ({"hidden_size": "wide"}, None),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert config_width(tmp_path) == width
    assert config_width(tmp_path / "nowhere") is None


def test_a_search_with_a_narrow_teacher_says_so_and_its_baselines_can_be_built(tmp_path: Path) -> None:
    from tiny_teacher import save_bert, text_dataset

    from autodistill.models import build_student
    from autodistill.prepare import fit_to_teachers
    from autodistill.train.data import open_inputs

    teacher, data, told = save_bert(tmp_path / "narrow", layers=2, width=32), text_dataset(24), []
    space = fit_to_teachers(Space.load("text", "text-classification").with_teacher_models([str(teacher)]), data, told.append)
    assert told.pop().text.startswith("left out: the student sentence-transformers/all-MiniLM-L6-v2, which has 22,713,216 parameters")
    assert {message.text.partition(" ")[0] for message in told} == set(FIELDS)
    assert all(f"do not start from the teacher {teacher}, whose width is 32" in message.text for message in told)
    opened = open_inputs(data, space.defaults().teacher, teacher)
    for recipe in space.baselines().values():
        build_student(recipe, opened.context)
