"""One trial, on data and teachers that are made here in seconds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_teacher import save_bert, text_dataset, validation_metrics

from autodistill.components import specs
from autodistill.errors import DivergedError, ModelError, RecipeError
from autodistill.families import fitting_families
from autodistill.models.base import TextBatch
from autodistill.models.saved import load_saved_student
from autodistill.recipe import SLOTS, Recipe
from autodistill.records import Point
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef
from autodistill.teacher import outputs as store
from autodistill.teacher.finetune import finetune_teacher
from autodistill.train import data as train_data
from autodistill.train import trial
from autodistill.train.assignment import Assignment, TrialResult
from autodistill.train.data import open_inputs
from autodistill.train.reading import ahead
from autodistill.train.trial import run_trial

STUDENTS: dict[str, dict[str, Any]] = {
    "bert": {"family": "bert", "layers": 2, "hidden_size": 16, "heads": 2},
    "cnn": {"family": "cnn", "embedding_size": 16, "channels": 8},
    "bilstm": {"family": "bilstm", "embedding_size": 16, "hidden_size": 8, "layers": 1},
    "static": {"family": "static", "embedding_size": 16, "hidden_size": 8, "ngrams": 2, "buckets": 64},
}


class World:
    """A dataset on the disk, a fine-tuned teacher, and recipes for them."""

    def __init__(self, folder: Path, task: str) -> None:
        made = text_dataset(96, regression=task.endswith("regression"), pairs="pair" in task)
        frame = {"text": made.train.texts, "label": made.train.labels}
        if made.train.text_pairs:
            frame = {"text": made.train.texts, "text_b": made.train.text_pairs, "label": made.train.labels}
        self.ref = DatasetRef(str(folder / "data.parquet"))
        table = pd.DataFrame(frame)
        if task.endswith("regression"):  # more than two values, so that it is read as a score
            table["label"] = table["label"] + [0.25 * (row % 40) for row in range(len(table))]
        table.to_parquet(self.ref.name)
        self.task = task
        self.dataset = load_dataset(self.ref)
        assert self.dataset.task == task
        self.teacher = {
            "model": str(save_bert(folder / "bert", num_outputs=self.dataset.num_outputs)),
            "epochs": 2,
            "learning_rate": 1e-3,
            "max_length": 32,
        }
        self.folder = str(finetune_teacher(self.dataset, self.recipe().teacher, 0, device="cpu").folder)

    def recipe(self, student: str = "cnn", epochs: int = 2, **changes: Any) -> Recipe:
        data = {
            "task": self.task,
            "teacher": self.teacher,
            "student": STUDENTS.get(student) or STUDENTS[student.removeprefix("trimmed ")] | {"vocabulary": "trimmed"},
            "training": {"epochs": epochs, "batch_size": 16, "learning_rate": 3e-3},
        }
        return Recipe.parse(data | changes)

    def run(self, recipe: Recipe, **options: Any) -> tuple[TrialResult, list[Point]]:
        points: list[Point] = []
        assignment = Assignment(recipe, self.ref, **({"seed": 0, "max_epochs": 9, "teacher": self.folder, "device": "cpu"} | options))
        return run_trial(assignment, points.append), points


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, "text-classification")


KINDS = [(slot, kind) for slot in SLOTS for kind, spec in specs(f"objective.{slot}").items() if "text-classification" in spec.tasks]


def test_every_objective_trains_every_student_that_it_fits(world: World) -> None:
    for student in STUDENTS:
        for slot, kind in KINDS:
            families = fitting_families(specs(f"objective.{slot}")[kind], world.task)
            if families is not None and student not in families:
                continue
            recipe = world.recipe(student, epochs=1, objective={"hard_label_weight": 0.5, slot: {"kind": kind, "weight": 0.1}})
            result, points = world.run(recipe)
            assert 0 <= result.score <= 1, (student, slot, kind)
            assert set(points[0].losses) == {"hard_label", slot}


@pytest.mark.parametrize("layer_map", ["skip", "last", "first", "emd", "all"])
@pytest.mark.parametrize("tokens", ["cls", "mean", "tokens"])
def test_every_layer_map_and_form_of_states_trains(world: World, layer_map: str, tokens: str) -> None:
    part = {"kind": "mse", "layer_map": layer_map, "tokens": tokens, "projection": "orthogonal"}
    result, _ = world.run(world.recipe("bert", epochs=1, objective={"intermediate": part}))
    assert 0 <= result.score <= 1


@pytest.mark.parametrize("family", ["bert", "cnn", "static"])
@pytest.mark.parametrize("part", [{"kind": "cosine"}, {"kind": "mse", "projection": "orthogonal"}, {"kind": "mi", "weight": 0.03}])
def test_each_text_of_a_pair_is_compared(tmp_path: Path, family: str, part: dict[str, Any]) -> None:
    world = World(tmp_path, "text-pair-regression")
    objective = {"hard_label_weight": 0.5, "intermediate": part | {"tokens": "texts"}}
    result, points = world.run(world.recipe(family, epochs=4, objective=objective))
    assert points[-1].losses["intermediate"] < points[0].losses["intermediate"]
    assert -1 <= result.score <= 1


@pytest.mark.parametrize("layer_map", ["skip", "emd", "all"])
def test_only_the_last_layers_of_a_map_may_learn(world: World, layer_map: str) -> None:
    part = {"kind": "mse", "layer_map": layer_map, "layers": 1}
    result, _ = world.run(world.recipe("bert", epochs=1, objective={"intermediate": part}))
    assert 0 <= result.score <= 1


@pytest.mark.parametrize("task", ["text-regression", "text-pair-regression", "text-pair-classification"])
def test_scores_and_pairs_are_learned_from_a_teacher(tmp_path: Path, task: str) -> None:
    world = World(tmp_path, task)
    objective = {"hard_label_weight": 0.5, "prediction": {"kind": "mse", "weight": 0.5}, "intermediate": {"kind": "cosine", "weight": 0.1}}
    result, points = world.run(world.recipe("bert", epochs=4, objective=objective))
    assert points[-1].train_loss < points[0].train_loss
    assert -1 <= result.score <= 1


def test_a_student_learns_what_can_be_learned(world: World) -> None:
    training = {"epochs": 30, "batch_size": 8, "learning_rate": 2e-2}
    result, points = world.run(world.recipe("cnn", training=training), max_epochs=20)
    assert result.score >= 0.9  # one word decides the class
    assert result.score == max(point.score for point in points)
    assert points[-1].validation_loss is not None
    assert points[-1].validation_loss < math.log(2) / 2
    assert [point.epoch for point in points] == list(range(1, 21))  # max_epochs of the assignment holds


def test_equal_seeds_give_equal_curves_and_other_seeds_do_not(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = {"prediction": {"kind": "kl"}, "intermediate": {"kind": "mi", "weight": 0.1}}
    recipe = world.recipe("bert", objective=objective, augmentation={"kind": "random", "copies": 1, "mixup": 0.2})

    def losses(seed: int) -> list[tuple[float, float]]:
        return [(point.train_loss, point.score) for point in world.run(recipe, seed=seed)[1]]

    first = losses(3)
    assert losses(3) == first
    assert losses(4) != first
    monkeypatch.setattr(trial, "read_batches", lambda read, batches, device: ahead(read, batches))  # as on a GPU
    assert losses(3) == first


@pytest.mark.parametrize("family", STUDENTS)
def test_a_trimmed_student_trains_on_mixed_and_changed_rows(world: World, family: str, tmp_path: Path) -> None:
    augmentation = {"kind": "random", "strength": 0.3, "copies": 2, "mixup": 0.2}
    recipe = world.recipe(f"trimmed {family}", augmentation=augmentation)
    result, _ = world.run(recipe, student_folder=str(tmp_path / "student"))
    saved = load_saved_student(tmp_path / "student")
    opened = open_inputs(world.dataset, recipe.teacher, world.folder)
    assert validation_metrics(saved.model, opened.validation, world.dataset) == pytest.approx(result.metrics)  # type: ignore[arg-type]


def test_a_trial_on_stored_outputs_never_loads_the_teacher(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = {"prediction": {"kind": "kl"}, "intermediate": {"kind": "mse", "tokens": "mean"}}
    recipe = world.recipe("cnn", objective=objective, augmentation={"kind": "token_dropout", "copies": 1})
    world.run(recipe)  # stores what there is to store

    def loaded(*_: object) -> None:
        raise AssertionError("the teacher was loaded")

    monkeypatch.setattr(store, "load_teacher", loaded)
    train_data._opened.cache_clear()
    world.run(recipe, seed=1)
    with pytest.raises(AssertionError, match="the teacher was loaded"):
        world.run(world.recipe("cnn", objective=objective, augmentation={"kind": "token_dropout", "strength": 0.3}))


def test_without_objectives_no_teacher_is_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_data, "ensure_outputs", None)
    world.run(world.recipe("cnn"))


def test_a_loss_that_is_not_finite_ends_the_trial_with_a_reason(world: World) -> None:
    recipe = world.recipe("cnn", objective={"hard_label_weight": 0.0, "prediction": {"kind": "mse", "weight": 1e300}})
    with pytest.raises(DivergedError, match="not a finite number in epoch 1: prediction"):
        world.run(recipe)


@pytest.mark.parametrize(("task", "smoothing"), [("text-classification", 0.1), ("text-regression", 0.0)])
def test_a_points_validation_loss_is_the_saved_students(tmp_path: Path, task: str, smoothing: float) -> None:
    world = World(tmp_path, task)
    recipe = world.recipe("cnn", epochs=1, objective={"hard_label_weight": 1.0, "label_smoothing": smoothing})
    _, points = world.run(recipe, student_folder=str(tmp_path / "student"))
    model = load_saved_student(tmp_path / "student").model
    opened = open_inputs(world.dataset, recipe.teacher, world.folder)
    with torch.inference_mode():
        logits = model.eval()(opened.validation.batch(torch.arange(len(opened.validation)))).logits.double().numpy()
    labels = np.asarray(world.dataset.validation.labels)
    if task == "text-classification":
        expected = (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]).mean()
    else:
        train = np.asarray(world.dataset.train.labels)
        expected = np.square(logits[:, 0] - (labels - train.mean()) / train.std()).mean()
    assert points[0].validation_loss == pytest.approx(expected, rel=1e-4)


def test_the_best_epochs_weights_are_kept_and_come_back(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    recipe = world.recipe("bert", epochs=6, objective={"prediction": {"kind": "kl"}})
    result, _ = world.run(recipe, student_folder=str(folder))
    saved = load_saved_student(folder)
    assert saved.recipe == recipe
    assert saved.tokenizer == folder
    opened = open_inputs(world.dataset, recipe.teacher, world.folder)
    assert validation_metrics(saved.model, opened.validation, world.dataset) == pytest.approx(result.metrics)  # type: ignore[arg-type]
    assert sum(parameter.numel() for parameter in saved.model.parameters()) == result.params
    assert not any("teacher" in file.name for file in folder.iterdir())
    (folder / "saved.json").rename(folder / "student.json")  # as folders from before have it
    assert load_saved_student(folder).facts == saved.facts
    with pytest.raises(ModelError, match="holds no student"):
        load_saved_student(tmp_path)


def test_a_trial_that_is_stopped_leaves_nothing_behind(world: World, tmp_path: Path) -> None:
    def stop(_: Point) -> None:
        raise SystemExit

    assignment = Assignment(world.recipe(), world.ref, 0, 3, world.folder, device="cpu", student_folder=str(tmp_path / "student"))
    with pytest.raises(SystemExit):
        run_trial(assignment, stop)
    assert not (tmp_path / "student").exists()


def test_padding_does_not_change_what_a_trained_student_says(world: World, tmp_path: Path) -> None:
    world.run(world.recipe("bilstm"), student_folder=str(tmp_path / "student"))
    saved = load_saved_student(tmp_path / "student")
    opened = open_inputs(world.dataset, saved.recipe.teacher, world.folder)
    alone = opened.validation.batch(torch.tensor([2]))
    assert isinstance(alone, TextBatch)
    among = opened.validation.batch(torch.arange(8))
    with torch.no_grad():
        torch.testing.assert_close(saved.model(alone).logits[0], saved.model(among).logits[2], atol=1e-5, rtol=1e-5)


def test_an_assignment_without_a_teacher_is_refused(world: World) -> None:
    with pytest.raises(RecipeError, match="no fine-tuned teacher"):
        world.run(world.recipe(), teacher=None)
