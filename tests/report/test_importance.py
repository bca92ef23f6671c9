"""Component importances against functions whose shares of variance are known."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from made import failed, record

from autodistill.records import TrialRecord
from autodistill.report.importance import Importance, component_importance, component_of, encode, sentence
from autodistill.space import Space


def records_of(rows: list[dict[str, Any]], score: Callable[[dict[str, Any]], float]) -> list[TrialRecord]:
    return [record(number, recipe=row, score=score(row)) for number, row in enumerate(rows)]


def a_recipe(rng: random.Random) -> dict[str, Any]:
    """Independent uniforms, and a contrastive slot whose parameters exist only where its kind does."""
    kind = rng.choice(["none", "none", "crd", "infonce"])
    contrastive: dict[str, Any] = {"kind": kind}
    if kind != "none":
        contrastive |= {"weight": rng.random(), "temperature": rng.random()}
    return {
        "version": 1,
        "task": "text-classification",
        "teacher": {"model": "big"},
        "student": {"family": "cnn", "x": rng.random()},
        "augmentation": {"kind": "none", "x": rng.random()},
        "training": {"x": rng.random()},
        "objective": {"hard_label_weight": rng.random(), "contrastive": contrastive},
    }


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    rng = random.Random(3)
    return [a_recipe(rng) for _ in range(300)]


def test_shares_of_a_sum_of_independent_uniforms(rows: list[dict[str, Any]]) -> None:
    # variances 9/12 and 1/12
    importance = component_importance(records_of(rows, lambda row: 3 * row["student"]["x"] + row["augmentation"]["x"]))
    assert importance.reason == ""
    assert importance.shares["student"] == pytest.approx(0.9, abs=0.04)
    assert importance.shares["augmentation"] == pytest.approx(0.1, abs=0.04)
    assert importance.shares["training"] < 0.01
    assert importance.shares["contrastive"] < 0.01  # a slot of conditional parameters without an effect
    assert list(importance.shares)[:2] == ["student", "augmentation"]
    assert importance.explained > 0.9
    assert importance.trials == 300


def test_an_interaction_is_neither_components(rows: list[dict[str, Any]]) -> None:
    # x·y with x, y uniform on ±1/2: E[f|x] = 0, so that all variance is the interaction's
    importance = component_importance(records_of(rows, lambda row: (row["student"]["x"] - 0.5) * (row["training"]["x"] - 0.5)))
    assert importance.interactions > 0.6
    # with means of 1/2: 1/48 and 1/48 for x and y, 1/144 together: shares 3/7, 3/7, 1/7
    importance = component_importance(records_of(rows, lambda row: row["student"]["x"] * row["training"]["x"]))
    assert importance.shares["student"] == pytest.approx(3 / 7, abs=0.08)
    assert importance.shares["training"] == pytest.approx(3 / 7, abs=0.08)
    assert importance.interactions == pytest.approx(1 / 7, abs=0.08)


def test_a_slot_counts_with_its_kind_and_its_conditional_parameters(rows: list[dict[str, Any]]) -> None:
    def score(row: dict[str, Any]) -> float:
        part = row["objective"]["contrastive"]
        return row["student"]["x"] + (1 + part["weight"] if part["kind"] == "crd" else 0.0)

    # kind crd has probability 1/4 and then adds 1 + u: variance 1/4·(7/3) − (3/8)² = 0.4427, the student's 1/12
    importance = component_importance(records_of(rows, score))
    assert importance.shares["contrastive"] == pytest.approx(0.4427 / (0.4427 + 1 / 12), abs=0.04)
    assert importance.shares["student"] == pytest.approx((1 / 12) / (0.4427 + 1 / 12), abs=0.04)


def test_it_says_so_where_nothing_can_be_said(rows: list[dict[str, Any]]) -> None:
    few = records_of(rows[:9], lambda row: row["student"]["x"])
    assert component_importance([*few, failed(9), record(10, state="pruned", score=0.4)]) == Importance(
        trials=9, reason="9 complete trials are too few; at least 10 are needed"
    )
    assert component_importance(records_of(rows[:20], lambda _: 0.5)).reason == "all trials have the same score"
    noise = np.random.default_rng(0)
    same = [record(number, score=float(noise.random())) for number in range(20)]
    assert component_importance(same).reason == "all trials have the same recipe"
    scattered = component_importance(records_of(rows[:40], lambda _: float(noise.random())))
    assert scattered.reason == "the scores of 40 trials do not follow from their recipes yet"
    assert scattered.shares == {}


def test_recipes_of_a_shipped_space_are_encoded_by_component() -> None:
    space, rng = Space.load("text", "text-classification"), random.Random(0)
    recipes = [space.sample(rng).model_dump() for _ in range(60)]
    table, components = encode(recipes)
    assert set(components) == {
        "hard labels", "prediction", "intermediate", "contrastive", "attention", "relation", "student", "augmentation", "training",
    }  # fmt: skip
    assert sorted(column for columns in components.values() for column in columns) == list(range(table.shape[1]))
    assert np.isfinite(table).all()
    assert component_of("task") is None
    assert component_of("objective.label_smoothing") == "hard labels"
    assert component_of("teacher.epochs") == "teacher"
    importance = component_importance(
        records_of(recipes, lambda row: {"static": 0.6, "cnn": 0.7, "bilstm": 0.8, "bert": 0.9}[row["student"]["family"]])
    )
    assert next(iter(importance.shares)) == "student"
    assert importance.shares["student"] > 0.6


def test_the_sentence_names_the_largest_shares() -> None:
    shares = {"student": 0.61, "prediction": 0.22, "training": 0.05, "augmentation": 0.04, "relation": 0.02, "attention": 0.001}
    importance = Importance(shares, interactions=0.059, explained=0.5, trials=27)
    assert sentence(importance) == (
        "Mattered most: student 61%, prediction 22%, training 5%, augmentation 4%, interactions 6% (of the variance of 27 trials' scores)."
    )
    assert sentence(Importance(trials=4, reason="4 complete trials are too few; at least 10 are needed")) == (
        "What mattered most is not known: 4 complete trials are too few; at least 10 are needed."
    )
