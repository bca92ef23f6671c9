from __future__ import annotations

import pytest

from autodistill.report import texts


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert texts.clean("a\x1b[2Jb\nc\td\x07é日") == "a [2Jb c d é日"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0"),
        (950, "950"),
        (999, "999"),
        (999_600, "1.00M"),
        (81_200, "81.2k"),
        (1_234_567, "1.23M"),
        (66_362_880, "66.4M"),
        (123_456_789, "123M"),
        (1_200_000_000, "1.20B"),
    ],
)
def test_parameters_have_three_digits(value: int | None, shown: str) -> None:
    assert texts.params(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0s"),
        (0.42, "0.4s"),
        (9, "9s"),
        (59.6, "1m00s"),
        (192, "3m12s"),
        (3840, "1h04m"),
        (183_600, "2d03h"),
        (-3, "0s"),
    ],
)
def test_durations_have_two_units(value: float | None, shown: str) -> None:
    assert texts.duration(value) == shown


def test_scores_shares_and_latencies() -> None:
    assert (texts.score(0.87125), texts.score(-0.1), texts.score(float("nan"))) == ("0.8712", "-0.1000", "–")
    assert (texts.plural(1, "trial"), texts.plural(0, "trial")) == ("1 trial", "0 trials")
    assert (texts.percent(0.974), texts.percent(None)) == ("97.4%", "–")
    assert (texts.latency(1.2345), texts.latency(None)) == ("1.23 ms", "–")


def test_a_recipe_is_told_by_its_student_and_its_objectives() -> None:
    recipe = {
        "student": {"family": "bert", "layers": 3, "hidden_size": 192},
        "objective": {
            "prediction": {"kind": "kl", "weight": 0.5},
            "intermediate": {"kind": "mi", "weight": 0.1},
            "contrastive": {"kind": "none"},
            "attention": {"kind": "mse", "weight": 0.0},
        },
    }
    assert texts.student(recipe) == "bert 3×192"
    assert texts.objective(recipe) == "kl + mi"
    assert texts.student({"student": {"family": "cnn", "channels": 128}}) == "cnn 128"
    assert texts.student({"student": {"family": "timm:resnet10t"}}) == "timm:resnet10t"
    assert texts.objective({"objective": {"hard_label_weight": 1.0}}) == "hard labels"
    assert texts.objective({"objective": {"hard_label_weight": 1.0, "self_distillation": 0.8}}) == "past predictions"
