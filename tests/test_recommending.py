"""Recommending for a dataset, and the warm start of a search: real students, made-up studies, no encoder."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_teacher import save_bert, text_dataset

import autodistill
from autodistill import recommending
from autodistill.errors import ModelError
from autodistill.events import SearchMessage, StageFinished
from autodistill.limits import Feasibility, Limits
from autodistill.models import base, build_student, count_params
from autodistill.models.base import StudentContext, StudentModule
from autodistill.models.sources import source_folder
from autodistill.recipe import Recipe
from autodistill.space import Space
from autodistill.teacher.load import untrained_teacher
from autodistill.train.cost import count_parameters
from autodistill.train.data import open_inputs, read_by_student

sys.path.insert(0, str(Path(__file__).parent / "recommend"))
from recorded import dataset_facts, study

SPACE = Space.load("text", "text-classification")


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommending, "dataset_features", lambda data: dataset_facts(2))


def feasible(recipe: Recipe) -> Feasibility:
    return Limits().check(1, None)


@pytest.mark.slow
def test_recommending_for_a_file_measures_the_students(tmp_path: Path) -> None:
    made = text_dataset(200)
    assert made.classes is not None
    rows = pd.DataFrame({"text": made.train.texts, "label": [made.classes[label] for label in made.train.labels]})
    rows.to_parquet(tmp_path / "rows.parquet")
    teacher = str(save_bert(tmp_path / "bert", positions=128))
    studies = [study(number, recipes=12) for number in range(3)]
    asked = {"teacher": teacher, "studies": studies, "max_params": 60_000, "top": 2}
    advice = recommending.recommend(str(tmp_path / "rows.parquet"), **asked)
    assert (advice.task, advice.metric) == ("text-classification", "accuracy")
    assert "36" not in advice.learnt_from or "3 datasets" in advice.learnt_from
    opened = open_inputs(made, advice.recipes[0].recipe.teacher, source_folder(teacher))
    for item, seconds in zip(advice.recipes, advice.seconds, strict=True):
        assert item.recipe.teacher.model == teacher
        assert item.params is not None
        assert item.params <= 60_000
        if item.recipe.student.own.get("vocabulary", "full") == "full":
            assert item.params == count_params(item.recipe, read_by_student(opened, item.recipe).context)
        assert item.latency_ms is not None
        assert item.latency_ms > 0
        assert seconds > 0
    teacher_params = count_parameters(untrained_teacher(made, advice.recipes[0].recipe.teacher)[0])
    shared = autodistill.recommend(str(tmp_path / "rows.parquet"), **asked | {"max_params": "1/1.1"})
    assert all(item.params is not None and item.params <= teacher_params / 1.1 for item in shared.recipes)
    scores = pd.DataFrame({"text": made.train.texts, "bad": 1.0 - made.train.labels, "good": 1.0 * made.train.labels})
    scored = autodistill.recommend(str(tmp_path / "rows.parquet"), **asked, teacher_scores=scores)
    assert all(item.recipe.teacher.scores and set(item.recipe.objective.terms) <= {"prediction"} for item in scored.recipes)
    again = autodistill.recommend(str(tmp_path / "rows.parquet"), **asked)  # the package's name can be called
    assert [item.recipe.id for item in again.recipes] == [item.recipe.id for item in advice.recipes]


def test_a_search_begins_with_recommended_points_of_its_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommending, "library", lambda: [study(number, recipes=12) for number in range(3)])
    finished: list[StageFinished] = []
    warm = recommending.warm_recipes(
        text_dataset(), SPACE, feasible, 20, 0, lambda event: finished.append(event) if isinstance(event, StageFinished) else None
    )
    assert len({recipe.id for recipe in warm.recipes}) == recommending.WARM
    assert all(SPACE.contains(recipe) for recipe in warm.recipes)
    assert not {recipe.id for recipe in warm.recipes} & {recipe.id for recipe in SPACE.baselines().values()}  # they are run anyhow
    assert finished[0].text.startswith("8 recipes recommended by 3 studies of text-classification (most like: set")
    assert "--cold" in finished[0].text
    for trials, begun_with in ((0, 0), (1, 1), (4, 2), (5, 3)):
        assert len(recommending.warm_recipes(text_dataset(), SPACE, feasible, trials, 0, lambda event: None).recipes) == begun_with


def test_with_a_time_budget_no_recipe_is_begun_with_that_takes_most_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommending, "library", lambda: [study(number, recipes=12) for number in range(3)])
    timed: list[Recipe] = []

    def seconds(recipe: Recipe, opened: object) -> float:
        timed.append(recipe)
        return 46.0 if recipe.student.name == slow else 45.0

    monkeypatch.setattr(recommending, "training_seconds", seconds)
    slow = "none"
    opened = dict.fromkeys(SPACE.teachers())

    def warm(longest: float) -> tuple[list[Recipe], int]:
        in_time = recommending.InTime(feasible, opened, longest)  # type: ignore[arg-type]
        return list(recommending.warm_recipes(text_dataset(), SPACE, in_time, 20, 0, lambda event: None).recipes), in_time.left_out

    usual, left_out = warm(45.0)
    assert (len(usual), left_out) == (recommending.WARM, 0)
    slow = usual[0].student.name
    assert slow not in {recipe.student.name for recipe in warm(45.0)[0]}
    assert warm(45.0)[1] > 0
    timed.clear()
    assert warm(1.0) == ([], recommending.WARM_TIMED)
    assert len(timed) == recommending.WARM_TIMED


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_a_student_is_timed_at_the_precision_of_its_training(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODISTILL_PRECISION", precision)
    monkeypatch.setattr(base, "cpu_has_bfloat16", lambda: True)
    mixed: list[bool] = []

    def built(recipe: Recipe, context: StudentContext) -> StudentModule:
        student = build_student(recipe, context)
        student.register_forward_pre_hook(lambda module, inputs: mixed.append(torch.is_autocast_enabled("cpu")))
        return student

    monkeypatch.setattr(recommending, "build_student", built)
    space = SPACE.fixed("teacher.model", str(save_bert(tmp_path / "bert", positions=128))).fixed("student.family", "bert")
    recipe = space.fixed("student.hidden_size", 128).defaults()
    opened = open_inputs(text_dataset(), recipe.teacher, source_folder(recipe.teacher.model))
    assert recommending.training_seconds(recipe, opened, "cpu") > 0
    assert mixed == [precision == "auto"] * (recommending.TIMED_STEPS + 1)


def test_a_search_that_cannot_be_advised_starts_cold_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, SearchMessage | StageFinished):
            texts.append(event.text)

    monkeypatch.setattr(recommending, "library", lambda: [study(0, recipes=12)])
    space = Space.load("text", "text-regression")
    assert recommending.warm_recipes(text_dataset(regression=True), space, feasible, 20, 0, listen) == recommending.Warm()
    assert texts == ["no study of text-regression is recorded, so the search starts without recommendations"]

    def fail(data: object) -> dict[str, float]:
        raise ModelError("the encoder cannot be fetched")

    monkeypatch.setattr(recommending, "dataset_features", fail)
    assert recommending.warm_recipes(text_dataset(), SPACE, feasible, 20, 0, listen) == recommending.Warm()
    assert texts[-1] == "the search starts without recommendations: the encoder cannot be fetched"
