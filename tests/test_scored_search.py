"""A file of scores as the teacher: what students learn from it, and what is left out."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from autodistill.errors import DataError, UsageError
from autodistill.recipe import Recipe
from autodistill.space import LEARNED, Space
from autodistill.target import Classes
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef
from autodistill.tasks.scores import read_scores
from autodistill.teacher.scored import ScoredOutputs, scored_teacher
from autodistill.train.assignment import Assignment
from autodistill.train.data import TrialData, open_data
from autodistill.train.trial import run_trial


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from tiny_teacher import save_bert, text_dataset

    made = text_dataset(120)
    texts = [
        f"{text} {['film', 'plot', 'actor', 'scene'][row % 4]} {'the ' * (row // 24)}" for row, text in enumerate(made.train.texts or [])
    ]
    table = pd.DataFrame({"text": texts, "label": np.where(made.train.labels == 1, "good", "bad")}).drop_duplicates("text")
    table.to_parquet(tmp_path / "data.parquet")
    save_bert(tmp_path / "bert")
    return tmp_path


def write_scores(folder: Path, texts: list[str], good: np.ndarray) -> str:
    path = folder / "scores.csv"
    pd.DataFrame({"text": texts, "bad": 1 - good, "good": good}).to_csv(path, index=False)
    return str(path)


def opened(folder: Path, texts: list[str], good: np.ndarray) -> tuple[TrialData, Assignment]:
    path = write_scores(folder, texts, good)
    ref = DatasetRef(str(folder / "data.parquet"), teacher_scores=path)
    data = load_dataset(ref)
    scores = read_scores(path, data.target, per_row=1, text_columns=None)
    recipe = Recipe.parse(
        {
            "task": data.task,
            "teacher": {"model": str(folder / "bert"), "scores": scores.fingerprint, "max_length": 32},
            "student": {"family": "cnn", "embedding_size": 16, "channels": 8},
            "objective": {"hard_label_weight": 0.5, "prediction": {"kind": "kl", "weight": 0.5}},
            "training": {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3, "unlabelled_share": 0.5 if data.unlabelled else 0.0},
        }
    )
    teacher = scored_teacher(data, recipe.teacher, scores)
    assignment = Assignment(recipe, data.ref, 0, 9, str(teacher.folder), device="cpu")
    return open_data(assignment), assignment


def test_texts_in_no_split_are_unlabelled_rows_with_scores(folder: Path) -> None:
    train = load_dataset(DatasetRef(str(folder / "data.parquet"))).train.texts or []
    texts = [*train[:10], "a lovely actor", "a sad actor"]
    good = np.linspace(0.1, 0.9, len(texts))
    data, assignment = opened(folder, texts, good)
    assert data.dataset.unlabelled is not None
    assert data.dataset.unlabelled.texts == ["a lovely actor", "a sad actor"]
    outputs = data.view(0).teacher_outputs
    assert isinstance(outputs, ScoredOutputs)
    assert outputs.is_scored.tolist() == [True] * 10 + [False] * (data.rows - 10) + [True] * 2
    rows = torch.tensor([0, 9, data.rows, data.rows + 1])
    torch.testing.assert_close(outputs.batch(rows).logits.softmax(1)[:, 1].double(), torch.from_numpy(good[[0, 9, 10, 11]]))
    result = run_trial(assignment, lambda point: None)
    assert 0 <= result.score <= 1


def test_rows_without_scores_are_learned_by_their_labels_alone(folder: Path) -> None:
    from autodistill.models import build_student
    from autodistill.train.trial import Trainer

    train = load_dataset(DatasetRef(str(folder / "data.parquet"))).train.texts or []
    data, assignment = opened(folder, train[:10], np.full(10, 0.9))
    trainer = Trainer(assignment.recipe, build_student(assignment.recipe, data.context), data, torch.device("cpu"), 2, 0)
    without = trainer.step(torch.arange(20, 28), 1)
    assert float(without["prediction"]) == 0.0
    assert float(without["hard_label"]) > 0
    assert data.scored(torch.arange(4)) is None  # all of them have scores
    mixed = data.scored(torch.tensor([0, 20]))
    assert mixed is not None
    assert mixed.tolist() == [True, False]


def test_unlabelled_rows_without_scores_are_left_out(folder: Path) -> None:
    train = load_dataset(DatasetRef(str(folder / "data.parquet"))).train.texts or []
    path = write_scores(folder, [*train[:10], "a lovely actor", "a sad actor"], np.linspace(0.1, 0.9, 12))
    more = folder / "more.txt"
    more.write_text("\n".join([*(f"nobody scored film {number}" for number in range(50)), "A sad  actor"]))
    ref = DatasetRef(str(folder / "data.parquet"), teacher_scores=path, unlabelled=(str(more),))
    data = load_dataset(ref)
    assert data.unlabelled is not None
    assert data.unlabelled.texts == ["A sad  actor", "a lovely actor"]
    assert "unlabelled: 2 of 63 rows; left out: 10 that are in train, 1 duplicate, 50 without scores" in data.notes
    few = load_dataset(dataclasses.replace(ref, limit_unlabelled=1)).unlabelled
    assert few is not None
    assert set(few.texts or []) < {"A sad  actor", "a lovely actor"}
    more.write_text("nobody scored this")
    write_scores(folder, train[:10], np.full(10, 0.9))
    with pytest.raises(DataError, match=r"no unlabelled row can be used \(unlabelled: 0 of 11 rows.*1 without scores\)"):
        load_dataset(ref)


def test_a_file_of_labelled_texts_alone_gives_no_unlabelled_rows(folder: Path) -> None:
    train = load_dataset(DatasetRef(str(folder / "data.parquet"))).train.texts or []
    data, _ = opened(folder, train[:10], np.full(10, 0.9))
    assert data.dataset.unlabelled is None


def test_the_validation_rows_of_a_file_judge_it(folder: Path) -> None:
    dataset = load_dataset(DatasetRef(str(folder / "data.parquet")))
    texts = (dataset.train.texts or []) + (dataset.validation.texts or [])
    labels = np.concatenate([dataset.train.labels, dataset.validation.labels])
    path = write_scores(folder, texts, np.where(labels == 1, 0.8, 0.3))
    scores = read_scores(path, dataset.target, per_row=1, text_columns=None)
    teacher = Recipe.parse(
        {"task": dataset.task, "teacher": {"model": str(folder / "bert"), "scores": scores.fingerprint, "max_length": 32},
         "student": {"family": "cnn"}}
    ).teacher  # fmt: skip
    few = scored_teacher(dataset, teacher, scores)
    assert (few.train, few.validation, few.unlabelled) == (1.0, 1.0, None)
    assert few.score is None  # fewer than fifty rows judge nobody
    many = dataclasses.replace(dataset, validation=dataset.train, fingerprint="other")
    assert scored_teacher(many, teacher, scores).score == 1.0


@pytest.mark.parametrize("task", ["text-classification", "text-regression"])
def test_what_needs_states_is_left_out_of_the_space(task: str) -> None:
    import random

    space = Space.load("text", task)
    logits = space.with_teacher_scores("f" * 16)
    assert {"intermediate mi", "relation rkd"} <= set(space.needing_states())
    assert logits.needing_states() == []
    rng = random.Random(0)
    for recipe in [logits.defaults(), *logits.baselines().values(), *(logits.sample(rng) for _ in range(200))]:
        assert recipe.teacher.scores == "f" * 16
        assert set(recipe.objective.terms) <= {"prediction"}
        assert recipe.training.unlabelled_choice != "diverse"
    assert all(domain.choices != () for slot in LEARNED for domain in logits.parameters.get(f"{slot}.kind", ()) if domain.kind == "choice")


def test_what_a_space_holds_fixed_is_left_out_too() -> None:
    space = (
        Space.load("text", "text-classification").fixed("objective.intermediate.kind", "mi").fixed("training.unlabelled_choice", "diverse")
    )
    assert "intermediate mi" in space.needing_states()
    recipe = space.with_teacher_scores("f" * 16).defaults()
    assert recipe.objective.intermediate.name == "none"
    assert recipe.training.unlabelled_choice == "all"


def test_a_share_of_a_file_is_refused_before_anything_is_read(folder: Path, tmp_path: Path) -> None:
    from autodistill.api import search
    from autodistill.recommending import recommend

    for ask in (functools.partial(search, studies_dir=str(tmp_path)), recommend):
        with pytest.raises(UsageError, match="a file of scores has no size"):
            ask(str(folder / "data.parquet"), teacher_scores="scores.csv", max_params="1/7.5")


def test_a_file_of_other_classes_is_refused(folder: Path) -> None:
    path = write_scores(folder, ["a film"], np.array([0.5]))
    with pytest.raises(DataError, match="no column for the classes 'awful'"):
        read_scores(path, Classes(("awful", "good")), per_row=1, text_columns=None)
