from __future__ import annotations

import math

import pytest
from made import failed, record

from autodistill.limits import Limits
from autodistill.records import Point
from autodistill.report import measures
from autodistill.report.answer import answer

NONE = Limits()


def test_the_front_holds_what_nothing_beats_in_both_cost_and_score() -> None:
    points = {0: (100, 0.5), 1: (200, 0.7), 2: (300, 0.6), 3: (400, 0.9), 4: (400, 0.8), 5: (900, 0.9), 6: (50, float("nan"))}
    records = [record(trial, score=score, params=params) for trial, (params, score) in points.items()]
    records += [record(7, score=1.0, params=10, state="pruned"), failed(8, params=1), record(9, score=1.0, params=None)]
    assert [item.record.trial for item in measures.front(records, NONE, "params")] == [0, 1, 3]
    assert [item.record.trial for item in measures.front(records, Limits(max_params=399), "params")] == [0, 1]
    assert measures.front([], NONE, "latency_ms") == []


def test_seed_noise_is_the_pooled_standard_deviation() -> None:
    records = [record(trial, "repeat" if seed else "search", score, recipe_id=recipe, seed=seed) for trial, recipe, seed, score in [
        (0, "a", 0, 0.80), (1, "b", 0, 0.90), (2, "a", 1, 0.82), (3, "a", 2, 0.84), (4, "b", 1, 0.92), (5, "c", 0, 0.1),
    ]]  # fmt: skip
    by_id = {item.record.recipe_id: item for item in measures.by_recipe(records)}
    assert by_id["a"].mean == pytest.approx(0.82)
    assert by_id["a"].spread == pytest.approx(0.02)
    assert by_id["b"].spread == pytest.approx(math.sqrt(2 * 0.01**2))
    assert by_id["c"].spread is None
    assert by_id["a"].record.trial == 0
    assert by_id["a"].retention == pytest.approx(0.82 / 0.9)
    assert measures.seed_noise(records) == pytest.approx(math.sqrt((2 * 0.02**2 + 1 * 2 * 0.01**2) / 3))
    assert measures.seed_noise([record(0)]) is None


def _curve(*ends: float) -> list[Point]:
    return [Point(epoch=epoch, score=0.5, train_loss=1.0, seconds=end) for epoch, end in enumerate(ends, 1)]


def test_what_early_stopping_saved_is_the_epochs_not_run_at_the_trials_own_pace() -> None:
    # Of 8 planned epochs: 3 run at 10 s each (after 5 s of set-up) and 1 run at 7 s; completed ones save nothing.
    first = record(0, state="pruned", curve=_curve(15, 25, 35))
    second = record(1, state="pruned", curve=_curve(7))
    records = [first, second, record(2, curve=_curve(1, 2)), record(3, state="pruned", curve=[]), failed(4, curve=_curve(3))]
    assert measures.saved_by_stopping(records) == pytest.approx(5 * 10 + 7 * 7)
    longer = {**first.recipe, "training": {"epochs": 20}}
    assert measures.planned_epochs(record(5, recipe=longer, max_epochs=10)) == 10
    assert measures.epoch_seconds(record(6, curve=[])) is None


def test_what_stored_outputs_saved_is_one_pass_a_taught_epoch_less_what_was_spent() -> None:
    off = {"prediction": {"kind": "none"}, "intermediate": {"kind": "mi", "weight": 0.0}}
    untaught = record(0, "no_kd", recipe={"objective": off}, curve=_curve(1, 2, 3))
    taught = [record(1, curve=_curve(1, 2, 3), seconds_by_stage={"outputs": 4.0}), record(2, state="pruned", curve=_curve(1))]
    assert measures.taught_epochs([untaught, *taught]) == 4
    assert measures.saved_by_store([untaught, *taught], 20.0) == pytest.approx(4 * 20.0 - 20.0 - 4.0)
    assert measures.saved_by_store([untaught], 20.0) == 0.0
    assert measures.saved_by_store(taught, None) is None


def test_every_second_is_counted_once() -> None:
    records = [
        record(0, "no_kd", seconds=1.0), record(1, "search", seconds=2.0), record(2, state="pruned", seconds=4.0), failed(3, seconds=8.0),
        record(4, "repeat", seconds=16.0), record(5, state="infeasible", score=None, seconds=None), record(6, "explore", seconds=32.0),
    ]  # fmt: skip
    by_use = measures.worker_seconds(records)
    assert by_use == {"baselines": 1.0, "completed": 34.0, "stopped early": 4.0, "repeats": 16.0, "failed": 8.0}
    assert sum(by_use.values()) == sum(item.seconds or 0.0 for item in records)


def test_the_loss_mix_is_what_the_recipe_weighs() -> None:
    objective = {"hard_label_weight": 0.2, "prediction": {"kind": "kl", "weight": 0.8}, "intermediate": {"kind": "none"}}
    assert measures.loss_mix(record(0, recipe={"objective": objective})) == {
        "hard_label": 0.2, "prediction": 0.8, "intermediate": 0.0, "contrastive": 0.0, "attention": 0.0, "relation": 0.0,
    }  # fmt: skip


def test_only_what_differs_is_told_apart() -> None:
    recipes = [
        {"student": {"family": "cnn", "channels": 64}, "training": {"epochs": 8}},
        {"student": {"family": "bert"}, "training": {"epochs": 8}, "objective": {"prediction": {"kind": "kl"}}},
    ]
    records = [record(trial, recipe=recipe) for trial, recipe in enumerate(recipes)]
    assert measures.varying(records) == ["student.family", "student.channels", "objective.prediction.kind"]
    assert measures.varying(records[:1]) == []


def test_the_answer_is_one_sentence() -> None:
    assert (
        answer([record(0, score=0.81)], NONE)
        == "A transformer with 1.23M parameters reaches accuracy 0.8100, 90.0% of the teacher’s 0.9000."
    )
    repeated = [record(0, score=0.80, recipe_id="a"), record(1, "repeat", 0.82, recipe_id="a", seed=1)]
    assert "accuracy 0.8100 ± 0.0141 over 2 seeds, 90.0% of the teacher’s" in answer(repeated, NONE)
    assert answer([], NONE) == "No trial has ended yet, so there is no answer."
    assert "none of the 2 trials has a score within the limits; 2 trials failed" in answer([failed(0), failed(1)], NONE)
    assert "within the limits." in answer([record(0, params=10)], Limits(max_params=5))


def test_scores_that_are_no_numbers_are_no_scores() -> None:
    assert measures.completed([record(0, score=float("nan")), record(1, score=None), record(2, score=0.5)])[0].trial == 2
    assert measures.score_of(record(0, score=float("inf"))) is None
