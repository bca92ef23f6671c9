from __future__ import annotations

from pathlib import Path

import pytest

from autodistill.modality import Image, Text
from autodistill.recipe import Recipe
from autodistill.space import Space
from autodistill.teacher.plan import Taps, TeacherShape
from autodistill.train.taps import space_taps, student_taps, teacher_taps

TEXT = TeacherShape(Text(), num_outputs=2, embedding=8, states=((8,),) * 7, attention=((2, 4),) * 6)
IMAGE = TeacherShape(Image(), num_outputs=2, embedding=8, states=((4, 8, 8), (8, 4, 4), (16, 2, 2)))


def _recipe(task: str = "text-classification", **objective: object) -> Recipe:
    student = {"family": "timm:lcnet_050"} if task.startswith("image") else {"family": "bert"}
    return Recipe.parse({"task": task, "teacher": {"model": "m"}, "student": student, "objective": objective})


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ({}, Taps()),
        ({"prediction": {"kind": "kl"}}, Taps()),
        ({"intermediate": {"kind": "mse", "tokens": "cls"}}, Taps(pooled=frozenset({"cls"}), entries=(2, 4, 6))),
        ({"intermediate": {"kind": "mse", "tokens": "tokens", "layer_map": "skip"}}, Taps(tokens=(2, 4, 6))),
        ({"intermediate": {"kind": "mse", "tokens": "tokens", "layer_map": "last"}}, Taps(tokens=(4, 5, 6))),
        ({"attention": {"kind": "minilm"}}, Taps(attention=(5,))),
        ({"intermediate": {"kind": "mse", "tokens": "tokens", "layer_map": "skip", "layers": 2}}, Taps(tokens=(4, 6))),
        ({"attention": {"kind": "mse", "layer_map": "skip"}}, Taps(attention=(1, 3, 5))),
        ({"attention": {"kind": "mse", "layer_map": "skip", "layers": 1}}, Taps(attention=(5,))),
        ({"relation": {"kind": "trg"}}, Taps(tokens=(6,))),
        ({"contrastive": {"kind": "colld"}}, Taps(pooled=frozenset({"cls"}), entries=(2, 4, 6))),
    ],
)
def test_a_trial_asks_the_teacher_for_its_own_layers_only(objective: dict[str, object], expected: Taps) -> None:
    assert teacher_taps(_recipe(**objective), 3, 3, TEXT) == expected


def test_image_states_are_pooled_or_maps() -> None:
    pooled = _recipe("image-classification", intermediate={"kind": "mse", "tokens": "mean"})
    assert teacher_taps(pooled, 3, 0, IMAGE) == Taps(pooled=frozenset({"mean"}), entries=(0, 1, 2))
    maps = _recipe("image-classification", attention={"kind": "at", "layer_map": "last"})
    assert teacher_taps(maps, 2, 0, IMAGE) == Taps(maps=(1, 2))


def test_the_student_fills_only_what_is_asked_for() -> None:
    assert student_taps(_recipe(prediction={"kind": "kl"})) == frozenset()
    assert student_taps(_recipe(intermediate={"kind": "mse"})) == {"states"}
    assert student_taps(_recipe(attention={"kind": "minilm"})) == {"attention"}


def test_a_space_asks_for_the_pooled_states_that_its_recipes_read(tmp_path: Path) -> None:
    assert space_taps(Space.load("text", "text-classification")) == Taps(pooled=frozenset({"cls", "mean"}))
    assert space_taps(Space.load("image", "image-classification")) == Taps(pooled=frozenset({"mean"}))
    own = tmp_path / "own.yaml"
    own.write_text(
        "version: 1\nname: own\nabout: a test\ntasks: [text-classification]\nparameters:\n"
        "  teacher.model: {value: m}\n  student.family: {value: cnn}\n  objective.intermediate.kind: {choice: [mse, none]}\n"
    )
    assert space_taps(Space.load(str(own), "text-classification")) == Taps(pooled=frozenset({"cls"}))  # the recipe's own default
