from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from autodistill.cli import main as command_line
from autodistill.recipe import Recipe
from autodistill.recommender.recommender import Recommendation
from autodistill.space import Space, shipped_spaces


class Advice:
    """What autodistill.recommending answers, with nothing behind it."""

    dataset, task, metric, train_rows = "d", "text-classification", "accuracy", 1234
    warnings = ("the data are unlike anything recorded",)
    timing, learnt_from, seconds = "timed", "9 recipes on 3 datasets", (12.0, 90.0)

    notes = ("Learnt from studies.", "Order: from the top.")

    def __init__(self, *intervals: tuple[float, float]) -> None:
        space = Space.load("text", "text-classification")
        recipes = [space.defaults(), space.baselines()["plain_kd"]]
        self.recipes = [
            Recommendation(recipe, 0.95, interval, ("sst2", "cr"), (("student cnn", 0.02),), 1_234_567, 0.8)
            for recipe, interval in zip(recipes, intervals, strict=True)
        ]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Puts an answer of the test's own in the place of the real one; holds what was asked."""
    seen: dict[str, Any] = {"advice": Advice((0.91, 0.98), (0.9, 0.97))}

    def recommend(dataset: str, **options: Any) -> Advice:
        seen.update(options, dataset=dataset)
        print("something that a library prints")
        return seen["advice"]

    module = ModuleType("autodistill.recommending")
    module.recommend = recommend  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "autodistill.recommending", module)
    monkeypatch.chdir(tmp_path)
    return seen


def main(*words: str) -> int:
    return command_line.main(["recommend", *words])


def test_every_option_reaches_the_recommender(asked: dict[str, Any]) -> None:
    Path("own.yaml").write_text(shipped_spaces()["text"], encoding="utf-8")  # it is read before the dataset
    words = (
        "--dataset d.csv --space own.yaml --teacher t --max-params 5M --max-latency 2ms --top 3 --limit-train 4k --seed 7 "
        "--text-column a --text-column b --label-column y"
    )
    assert main(*words.split()) == 0
    asked.pop("advice")
    assert callable(asked.pop("listen"))
    assert asked == {
        "dataset": "d.csv", "space": "own.yaml", "teacher": ("t",), "max_params": 5_000_000, "max_latency_ms": 2.0, "top": 3,
        "limit_train": 4000, "seed": 7, "text_columns": ("a", "b"), "label_column": ("y",), "label_separator": None,
        "unlabelled": (), "limit_unlabelled": None, "task": None, "metric": None, "max_length": None, "class_weights": None,
        "teacher_scores": None,
    }  # fmt: skip


def test_people_read_the_recipes_what_to_expect_and_why(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--dataset", "d") == 0
    printed = capsys.readouterr().out
    for text in (
        "Beware: the data are unlike",
        "95.0%",
        "91.0% to 98.0%",
        "1.23M",
        "0.8 ms",
        "1m30s",
        "like sst2, cr",
        "student cnn +2.0%",
        "Learnt from studies.",
        "Order: from the top.",
    ):
        assert text in printed
    assert "something that a library prints" not in printed


def test_recipe_files_are_written_and_can_be_read(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--dataset", "d", "--out", "recipe.yaml", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    files = [item["file"] for item in answer["recipes"]]
    assert files == ["recipe.yaml", "recipe-2.yaml"]
    for item in answer["recipes"]:
        assert Recipe.load(item["file"]) == Recipe.parse(item["recipe"])
        assert item["recipe_id"] == Recipe.load(item["file"]).id
    assert answer["recipes"][0]["interval_80"] == [0.91, 0.98]
    assert answer["recipes"][1]["training_seconds"] == 90.0
    assert "80% interval 91.0% to 98.0%" in Path("recipe.yaml").read_text()


def test_an_unbounded_interval_is_null_in_json(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    asked["advice"] = Advice((-math.inf, math.inf), (-math.inf, math.inf))
    assert main("--dataset", "d", "--json") == 0
    assert json.loads(capsys.readouterr().out)["recipes"][0]["interval_80"] == [None, None]
    assert main("--dataset", "d") == 0
    assert "unknown" in capsys.readouterr().out


def test_a_place_that_cannot_hold_a_file_is_told_before_anything_is_measured(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("--dataset", "d", "--out", "nowhere/recipe.yaml") == 2
    assert "--out is 'nowhere/recipe.yaml'" in capsys.readouterr().err
    assert "dataset" not in asked
