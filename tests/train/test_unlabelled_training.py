"""Training with unlabelled rows: what a step learns from which rows, and what trials with them cost."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from test_trial import World
from tiny_teacher import text_dataset

from autodistill.components import specs
from autodistill.errors import RecipeError
from autodistill.families import fitting_families
from autodistill.models.base import Outputs
from autodistill.models.sides import Side, TextSide
from autodistill.recipe import SLOTS, Recipe
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef
from autodistill.train.assignment import Assignment
from autodistill.train.data import TrialData, open_data
from autodistill.train.objective import BatchLabels, Objective
from autodistill.train.order import MixedBatches
from autodistill.train.trial import Trainer, run_trial

KL = {"hard_label_weight": 0.5, "prediction": {"kind": "kl", "weight": 0.5}}
LABELS = [(slot, kind) for slot in SLOTS for kind, spec in specs(f"objective.{slot}").items() if "labels" in spec.inputs]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, "text-classification")
    texts = text_dataset(200, seed=5).train.texts or []
    rows = pd.DataFrame({"text": [f"{text} {['film', 'plot', 'actor'][row % 3]}" for row, text in enumerate(texts)]})
    rows.drop_duplicates().to_parquet(tmp_path / "more.parquet")
    made.ref = dataclasses.replace(made.ref, unlabelled=(str(tmp_path / "more.parquet"),))
    made.dataset = load_dataset(made.ref)
    assert made.dataset.unlabelled_rows > 50
    return made


def recipe(world: World, objective: dict[str, Any] = KL, epochs: int = 2, **training: Any) -> Recipe:
    options = {"epochs": epochs, "batch_size": 16, "learning_rate": 3e-3, "unlabelled_share": 0.75}
    return world.recipe(objective=objective, training=options | training)


def data_of(world: World, one: Recipe) -> TrialData:
    return open_data(Assignment(one, world.ref, 0, 9, world.folder, device="cpu"))


def batches_of(world: World, one: Recipe, epochs: int) -> tuple[TrialData, Trainer, list[list[torch.Tensor]]]:
    from autodistill.models import build_student

    data = data_of(world, one)
    trainer = Trainer(one, build_student(one, data.context), data, torch.device("cpu"), epochs, 0)
    return data, trainer, [trainer.batches.of_epoch(epoch, data.view(epoch - 1)) for epoch in range(1, epochs + 1)]


def test_unlabelled_rows_take_the_place_of_labelled_ones_and_make_no_epoch_longer(world: World) -> None:
    labelled, with_them = recipe(world, unlabelled_share=0.0), recipe(world)
    data, _, plain = batches_of(world, labelled, 2)
    _, _, mixed = batches_of(world, with_them, 2)
    assert [len(epoch) for epoch in plain] == [len(epoch) for epoch in mixed]
    assert all(int((batch >= data.rows).sum()) == 12 for epoch in mixed for batch in epoch)
    assert all(int(batch.max()) < data.rows for epoch in plain for batch in epoch)


@pytest.mark.parametrize("share", [0.0, 0.75])
def test_a_budget_of_steps_is_kept_whatever_the_rows(world: World, share: float) -> None:
    _, _, epochs = batches_of(world, recipe(world, epochs=4, steps=50, unlabelled_share=share), 4)
    assert [len(epoch) for epoch in epochs] == [13, 13, 13, 13]
    assert {len(batch) for epoch in epochs for batch in epoch} == {16}
    _, points = world.run(recipe(world, epochs=4, steps=50, unlabelled_share=share))
    assert [point.epoch for point in points] == [1, 2, 3, 4]


def test_two_stages(world: World) -> None:
    one = recipe(world, epochs=5, steps=50, stages="unlabelled-labelled")
    data, trainer, epochs = batches_of(world, one, 5)
    is_mixed = [bool((batch >= data.rows).any()) for epoch in epochs for batch in epoch]
    assert is_mixed == [True] * 40 + [False] * 10
    has_labels = [trainer.batches.has_hard_labels(epoch, step) for epoch in range(1, 6) for step in range(10)]
    assert has_labels == [False] * 40 + [True] * 10
    _, points = world.run(one)
    assert [sorted(point.losses) for point in points] == [["prediction"]] * 4 + [["hard_label", "prediction"]]


def outputs(logits: torch.Tensor) -> Side:
    return TextSide(Outputs(logits, logits), torch.ones(len(logits), 1, dtype=torch.bool))


def test_hard_labels_are_those_of_labelled_rows_alone(world: World) -> None:
    one = recipe(world)
    student, teacher = torch.randn(6, 2), torch.randn(6, 2)
    labels, labelled = torch.tensor([0, 1, 1, -1, -1, -1]), torch.arange(3)
    targets = BatchLabels(labels, torch.arange(6), labelled=labelled)
    objective = Objective(one, outputs(student), outputs(teacher), {})
    loss, parts = objective(outputs(student), outputs(teacher), targets)
    hard = 0.5 * F.cross_entropy(student[:3], labels[:3])
    soft = 0.5 * 4.0 * F.kl_div((student / 2).log_softmax(1), (teacher / 2).softmax(1), reduction="batchmean")
    torch.testing.assert_close(parts["hard_label"], hard)
    torch.testing.assert_close(parts["prediction"], soft)  # of all rows
    torch.testing.assert_close(loss, hard + soft)


def test_mixed_rows_count_for_the_labels_that_they_and_their_partners_have(world: World) -> None:
    student = torch.randn(4, 2)
    labels, labelled, partner = torch.tensor([0, 1, -1, -1]), torch.arange(2), torch.tensor([2, 0, 1, 3])
    targets = BatchLabels(labels, torch.arange(4), labels[partner], 0.7, labelled, torch.tensor([1, 2]))
    objective = Objective(recipe(world), outputs(student), outputs(student), {})
    own = F.cross_entropy(student[[0, 1]], labels[[0, 1]])
    of_partners = F.cross_entropy(student[[1, 2]], labels[[0, 1]])  # row 1 has partner 0, row 2 partner 1
    torch.testing.assert_close(objective.hard(student, targets), 0.7 * own + 0.3 * of_partners)


@pytest.mark.parametrize(("slot", "kind"), LABELS)
def test_objectives_that_need_labels_are_given_the_labelled_rows(world: World, slot: str, kind: str) -> None:
    one = recipe(world, {"hard_label_weight": 0.5, slot: {"kind": kind}})
    student, teacher = torch.randn(8, 2), torch.randn(8, 2)
    labels, labelled = torch.tensor([0, 1, 1, 0, -1, -1, -1, -1]), torch.arange(4)
    torch.manual_seed(0)
    objective = Objective(one, outputs(student), outputs(teacher), {})
    _, mixed = objective(outputs(student), outputs(teacher), BatchLabels(labels, torch.arange(8), labelled=labelled))
    _, alone = objective(outputs(student[:4]), outputs(teacher[:4]), BatchLabels(labels[:4], torch.arange(4)))
    torch.testing.assert_close(mixed[slot], alone[slot])


def test_every_objective_trains_with_unlabelled_rows(world: World) -> None:
    for slot in SLOTS:
        for kind, spec in specs(f"objective.{slot}").items():
            families = fitting_families(spec, world.task)
            if world.task in spec.tasks and (families is None or "cnn" in families):
                mix = {"hard_label_weight": 0.5, "prediction": {"kind": "kl", "weight": 0.1}, slot: {"kind": kind, "weight": 0.1}}
                result, _ = world.run(recipe(world, mix, epochs=1))
                assert 0 <= result.score <= 1, (slot, kind)


@pytest.mark.parametrize("choice", ["confident", "uncertain", "diverse"])
def test_a_choice_keeps_its_share_of_the_unlabelled_rows(world: World, choice: str) -> None:
    one = recipe(world, unlabelled_choice=choice, unlabelled_keep=0.25)
    data = data_of(world, one)
    rows = data.unlabelled_rows(data.view(0))
    assert len(rows) == pytest.approx(0.25 * world.dataset.unlabelled_rows, abs=2)
    assert int(rows.min()) >= data.rows
    result, _ = world.run(one)
    assert 0 <= result.score <= 1


def test_augmented_copies_and_mixup_take_in_unlabelled_rows(world: World) -> None:
    one = Recipe.parse(recipe(world).model_dump() | {"augmentation": {"kind": "token_dropout", "copies": 2, "mixup": 0.5}})
    data = data_of(world, one)
    assert [len(data.view(epoch).inputs) for epoch in range(3)] == [data.all_rows] * 3
    _, points = world.run(one)
    assert np.isfinite([point.train_loss for point in points]).all()


def test_a_recipe_that_uses_unlabelled_rows_says_so_where_there_are_none(world: World) -> None:
    ref = dataclasses.replace(world.ref, unlabelled=())
    with pytest.raises(RecipeError, match="has no unlabelled rows; give some with --unlabelled"):
        run_trial(Assignment(recipe(world), ref, 0, 9, world.folder, device="cpu"), lambda point: None)


def test_recipes_refuse_what_makes_no_sense(world: World) -> None:
    for objective, training, reason in (
        ({"hard_label_weight": 1.0}, {}, "no objective uses the teacher"),
        (KL, {"unlabelled_share": 0.0, "stages": "unlabelled-labelled"}, "unlabelled_share is 0"),
        (KL, {"unlabelled_keep": 0.5}, "'all' keeps every row"),
        ({**KL, "hard_label_weight": 0.0}, {"stages": "unlabelled-labelled"}, "hard_label_weight is 0"),
    ):
        with pytest.raises(RecipeError, match=reason):
            recipe(world, objective, **training)


def test_scores(tmp_path: Path) -> None:
    world = World(tmp_path, "text-regression")
    texts = [f"{text} scene" for text in text_dataset(60, seed=9).train.texts or []]
    pd.DataFrame({"text": texts}).drop_duplicates().to_parquet(tmp_path / "more.parquet")
    world.ref = dataclasses.replace(world.ref, unlabelled=(str(tmp_path / "more.parquet"),))
    mix = {"hard_label_weight": 0.5, "prediction": {"kind": "mse", "weight": 0.5}}
    _, points = world.run(recipe(world, mix, unlabelled_choice="diverse", unlabelled_keep=0.5))
    assert np.isfinite([point.train_loss for point in points]).all()


def test_the_ids_of_older_recipes_stay() -> None:
    from autodistill.recipe import ADDED

    one = Recipe.parse({"task": "text-classification", "teacher": {"model": "m"}, "student": {"family": "cnn"}})
    text = one.canonical_json()
    assert not [name for part, name in ADDED if part == "training" and f'"{name}"' in text]
    changed = Recipe.parse(one.model_dump() | {"training": one.training.model_dump() | {"steps": 100}})
    assert '"steps":100' in changed.canonical_json()
    assert changed.id != one.id


def test_batches_need_no_unlabelled_rows() -> None:
    batch = next(iter(MixedBatches(torch.arange(3), torch.arange(0), 8, 0.0, None, torch.Generator())))
    assert len(batch) == 8


def test_rows_that_are_unlabelled_do_not_move_the_splits(world: World) -> None:
    without = load_dataset(dataclasses.replace(world.ref, unlabelled=()))
    assert without.fingerprint == world.dataset.fingerprint != world.dataset.rows_fingerprint
    assert isinstance(world.ref, DatasetRef)
