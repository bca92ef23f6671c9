"""Comparing students with their teacher on unlabelled rows: which rows, what is measured, and that nothing learns from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_trial import World
from tiny_teacher import text_dataset

from autodistill.facts import TeacherRef
from autodistill.models.fitting import all_logits
from autodistill.models.saved import load_saved_student
from autodistill.recipe import Recipe, Teacher
from autodistill.stages import tell_of_agreement
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, Split
from autodistill.teacher.load import encode, load_teacher
from autodistill.teachers import Teachers
from autodistill.train import agreement
from autodistill.train.agreement import Agreement, agreement_count, agreement_rows
from autodistill.train.assignment import Assignment
from autodistill.train.data import TrialData, open_data
from autodistill.train.trial import Trainer

CPU = torch.device("cpu")
KL = {"hard_label_weight": 0.5, "prediction": {"kind": "kl", "weight": 0.5}}


def with_texts(folder: Path, task: str = "text-classification") -> World:
    """A dataset of 96 rows, and some 300 texts without labels."""
    made = World(folder, task)
    first = text_dataset(400, seed=5).train.texts or []
    rows = pd.DataFrame({"text": [f"{text} {['film', 'plot', 'actor'][row % 3]}" for row, text in enumerate(first)]})
    if "pair" in task:
        rows["text_b"] = rows["text"].iloc[::-1].to_numpy()
    rows.drop_duplicates().to_parquet(folder / "more.parquet")
    made.ref = dataclasses.replace(made.ref, unlabelled=(str(folder / "more.parquet"),))
    made.dataset = load_dataset(made.ref)
    return made


@pytest.fixture
def world(tmp_path: Path) -> World:
    return with_texts(tmp_path)


def recipe(world: World, objective: dict[str, Any] = KL, **training: Any) -> Recipe:
    options = {"epochs": 3, "batch_size": 16, "learning_rate": 3e-3, "unlabelled_share": 0.75}
    return world.recipe(objective=objective, training=options | training)


def rows_of(dataset: Dataset, validation: int, unlabelled: int) -> Dataset:
    """The dataset with so many rows in these two splits."""
    names = {"validation": validation, "unlabelled": unlabelled}
    splits = {name: Split(np.zeros(rows, np.int64), [f"{name} {row}" for row in range(rows)]) for name, rows in names.items()}
    return dataclasses.replace(dataset, **splits)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("validation", "unlabelled", "count"),
    [
        (15, 10_000, 985),  # filled up to a thousand
        (600, 10_000, 400),
        (15, 1_000, 200),  # at most a fifth
        (949, 10_000, 51),
        (951, 10_000, 0),  # fewer than 50 are not worth it
        (15, 249, 0),
        (2_000, 10_000, 0),
    ],
)
def test_the_validation_split_is_filled_up_to_a_thousand_rows(validation: int, unlabelled: int, count: int) -> None:
    data = rows_of(text_dataset(96), validation, unlabelled)
    assert agreement_count(data) == count
    rows = agreement_rows(data)
    assert len(set(rows.tolist())) == len(rows) == count
    assert all(len(data.train) <= row < len(data.train) + unlabelled for row in rows)
    assert rows.tolist() == sorted(rows.tolist())


def test_without_unlabelled_rows_there_are_none() -> None:
    assert agreement_count(text_dataset(96)) == 0


def test_the_seed_of_the_splits_draws_them(world: World) -> None:
    other = dataclasses.replace(world.dataset, ref=dataclasses.replace(world.ref, seed=1))
    assert agreement_rows(world.dataset).tolist() == agreement_rows(world.dataset).tolist()
    assert agreement_rows(world.dataset).tolist() != agreement_rows(other).tolist()


def teachers(*parts: dict[str, Any]) -> Teachers:
    return Teachers({Teacher(**{"model": "big"} | part): TeacherRef(f"/teachers/{place}", 0.9) for place, part in enumerate(parts)})


def test_the_only_trained_teacher_is_the_judge() -> None:
    assert teachers({}).judge == "/teachers/0"
    assert teachers({}, {"max_length": 64}).judge is None
    assert teachers({"init": "random"}).judge is None
    assert teachers({"init": "self"}).judge is None
    assert Teachers().judge is None


@pytest.mark.parametrize(
    ("validation", "unlabelled", "trained", "said"),
    [
        (
            15,
            10_000,
            1,
            "15 validation rows can hardly tell students apart, so they are also compared by what the teacher says of 985 of the ",
        ),
        (15, 10_000, 2, "15 validation rows can hardly tell students apart; more labelled rows would"),
        (15, 0, 1, "15 validation rows can hardly tell students apart; more labelled rows would, or rows without labels (--unlabelled)"),
        (500, 0, 1, None),
        (2_000, 10_000, 1, None),
    ],
)
def test_people_are_told_that_few_rows_have_labels(validation: int, unlabelled: int, trained: int, said: str | None) -> None:
    heard: list[Any] = []
    data = rows_of(text_dataset(96), validation, unlabelled)
    tell_of_agreement(data, teachers(*[{"max_length": 32 + number} for number in range(trained)]), heard.append)
    assert [event.text.startswith(said) for event in heard] == ([] if said is None else [True])
    assert [event.level for event in heard] == ([] if said is None else ["warning" if "; more" in said else "info"])


def data_of(world: World, one: Recipe, judge: str | None) -> TrialData:
    return open_data(Assignment(one, world.ref, 0, 9, world.folder, device="cpu", judge=judge))


def read_in_training(world: World, one: Recipe, judge: str | None) -> set[int]:
    """The numbers of all rows that a training reads."""
    from autodistill.models import build_student

    data = data_of(world, one, judge)
    trainer = Trainer(one, build_student(one, data.context), data, CPU, one.training.epochs, 0)
    epochs = range(1, one.training.epochs + 1)
    return {row for epoch in epochs for batch in trainer.batches.of_epoch(epoch, data.view(epoch - 1)) for row in batch.tolist()}


def test_nothing_learns_from_them(world: World) -> None:
    one, held_out = recipe(world, steps=200), set(agreement_rows(world.dataset).tolist())
    assert len(held_out) >= 50
    everything = set(range(len(world.dataset.all_training_rows)))
    assert read_in_training(world, one, world.folder) == everything - held_out
    assert read_in_training(world, one, None) == everything


@pytest.mark.parametrize("task", ["text-classification", "text-pair-classification", "text-regression"])
@pytest.mark.parametrize("student", ["cnn", "trimmed bert"])
def test_it_is_the_metric_against_the_teachers_decisions(tmp_path: Path, task: str, student: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODISTILL_PRECISION", "float32")  # in bfloat16 the order of near scores changes
    world = with_texts(tmp_path, task)
    objective = {"hard_label_weight": 0.5, "prediction": {"kind": "mse", "weight": 0.5}}
    one = recipe(world, objective).model_copy(update={"student": world.recipe(student).student})
    data, part = world.dataset, one.teacher
    result, points = world.run(one, judge=world.folder, student_folder=str(tmp_path / "student"))

    assert data.unlabelled is not None
    held_out = data.unlabelled.take(agreement_rows(data) - len(data.train))
    teacher, tokenizer = load_teacher(Path(world.folder))
    inputs = encode(data, held_out, tokenizer, part)
    saved = load_saved_student(tmp_path / "student")
    stored = all_logits(teacher, inputs, data.num_outputs, CPU).half().float()  # as teacher outputs are
    decided = data.target.decided(stored.numpy())
    answers = all_logits(saved.model, inputs, data.num_outputs, CPU).numpy()
    agreement = data.target.evaluate(data.metric, answers, decided)[data.metric]
    assert result.agreement == pytest.approx(agreement, abs=5e-3)

    labelled, others = len(data.validation), len(held_out)
    for point in points:
        assert point.agreement is not None
        assert point.standing == pytest.approx((labelled * point.score + others * point.agreement) / (labelled + others))
        assert point.rank_score == point.standing
    best = max(points, key=lambda point: point.rank_score)
    assert (result.best_epoch, result.score, result.rank_score) == (best.epoch, best.score, best.standing)


def test_the_epoch_that_is_kept_is_the_best_by_both(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    agreements = iter([0.5, 0.9, 0.6])
    monkeypatch.setattr(Agreement, "measure", lambda self, logits: next(agreements))
    result, points = world.run(recipe(world), judge=world.folder)
    assert max(points, key=lambda point: point.standing or 0.0).epoch == 2
    assert (result.best_epoch, result.agreement) == (2, 0.9)


def test_a_student_without_a_teacher_is_compared_too(world: World) -> None:
    alone = recipe(world, {"hard_label_weight": 1.0}, unlabelled_share=0.0)
    result, points = world.run(alone, judge=world.folder)
    assert result.agreement is not None
    assert 0.0 <= result.agreement <= 1.0
    without, same = world.run(alone)
    assert without.agreement is without.standing is same[0].agreement is None
    assert without.rank_score == without.score
    assert [point.score for point in points] == [point.score for point in same]  # it learned the same things


def test_only_rows_that_have_scores_count(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "LEAST", 5)
    data = world.dataset
    logits = torch.randn(len(data.all_training_rows), 2, generator=torch.Generator().manual_seed(0))
    scored = torch.arange(len(logits)) % 3 == 0
    made = Agreement.of(data, logits, scored)
    assert made is not None
    assert made.rows.tolist() == [row for row in agreement_rows(data).tolist() if row % 3 == 0]
    assert made.decisions.tolist() == logits[made.rows].argmax(dim=1).tolist()
    assert Agreement.of(data, logits, torch.zeros(len(logits), dtype=torch.bool)) is None
