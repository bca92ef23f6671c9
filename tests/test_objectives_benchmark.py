"""benchmarks/objectives.py: which arms it runs, that it resumes, and that its numbers are those of the formulas."""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path

import pandas as pd
import pytest
from tiny_teacher import save_bert, text_dataset

from autodistill.components import TASKS, specs
from autodistill.recipe import SLOTS, Teacher
from autodistill.task_types import target_of

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import objectives

SCORES = {"no KD": [0.70, 0.72, 0.71], "kl": [0.74, 0.78, 0.79], "mse": [0.71, 0.69, 0.73]}


def row(arm: str, seed: int, score: float, dataset: str = "trec", student: str = "cnn") -> dict[str, object]:
    slot = "controls" if arm == "no KD" else "prediction"
    facts = {"task": "text-classification", "metric": "accuracy", "train_rows": 8000, "validation_rows": 500, "epochs": 6}
    what = {"dataset": dataset, "student": student, "slot": slot, "arm": arm, "seed": seed, "score": score}
    return facts | what | {"teacher_score": 0.95}


@pytest.mark.parametrize("task", [task for task in TASKS if target_of(task).has_labels])
def test_every_objective_of_a_task_has_an_arm_that_is_a_recipe(task: str) -> None:
    arms = objectives.arms(task)
    assert len({(arm.student, arm.slot, arm.name) for arm in arms}) == len(arms)
    recipes = [objectives.recipe_of(arm, task, Teacher(model="m"), epochs=2) for arm in arms]
    for slot in SLOTS:
        kinds = {getattr(recipe.objective, slot).name for recipe in recipes} - {"none"}
        assert kinds == set(specs(f"objective.{slot}", task))
    assert all(recipe.objective.hard_label_weight == 1.0 and len(recipe.objective.terms) <= 1 for recipe in recipes)
    controls = [recipe for arm, recipe in zip(arms, recipes, strict=True) if arm.name == "no KD"]
    assert all(not recipe.objective.terms for recipe in controls)
    bare = {recipe.student for recipe in controls}
    assert {recipe.student for recipe in recipes} == bare  # every student has its own no KD
    assert {recipe.teacher.init for arm, recipe in zip(arms, recipes, strict=True) if arm.random_teacher} == {"random"}


def test_means_spreads_and_differences_in_standard_errors() -> None:
    rows = [row(arm, seed, score) for arm, scores in SCORES.items() for seed, score in enumerate(scores)]
    cells = objectives.cells(rows)
    kl = cells["cnn", "prediction", "kl"]["trec"]
    assert kl.mean == pytest.approx(0.77)
    assert kl.sd == pytest.approx(math.sqrt((0.03**2 + 0.01**2 + 0.02**2) / 2))
    assert kl.gain == pytest.approx(0.06)
    error = math.sqrt(statistics.variance(SCORES["kl"]) / 3 + statistics.variance(SCORES["no KD"]) / 3)
    assert kl.gain_in_errors == pytest.approx(0.06 / error)
    assert cells["cnn", "controls", "no KD"]["trec"].gain is None
    assert objectives.text_of(kl) == "0.7700 ± 0.0265 (+3.7)"
    assert objectives.chance(3) == pytest.approx(0.1161, abs=1e-4)  # t of 4 degrees of freedom: P(|t| > 2) = 0.1161
    assert objectives.cell([0.5], [0.4]).gain_in_errors is None  # one seed says nothing of the spread
    assert objectives.cell([0.5, 0.5], [0.5, 0.5]).gain_in_errors is None


def test_the_page_leaves_in_what_did_not_help() -> None:
    rows = [row(arm, seed, score) for arm, scores in SCORES.items() for seed, score in enumerate(scores)]
    rows += [row("no KD", seed, 0.5 + 0.01 * seed, student="bert") for seed in range(3)]
    page = objectives.page(rows)
    assert "| prediction | mse | 0.7100 ± 0.0200 (+0.0) |" in page
    assert "Of 2 comparisons with no KD, 1 are better and 0 worse" in page
    assert "12% would be beyond them" in page
    assert "- **trec**: accuracy, 8,000 training and 500 validation rows, 6 epochs, teacher 0.9500" in page
    assert page.index("## cnn") < page.index("## bert")


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text('{"score": 1}\n{"sco')
    assert objectives.recorded(path) == [{"score": 1}]
    assert path.read_text() == '{"score": 1}\n'
    assert objectives.main(["--render", "--out", str(tmp_path / "none")]) == 2


@pytest.mark.slow
def test_it_runs_what_is_missing_and_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = text_dataset(40)
    pd.DataFrame({"text": made.train.texts, "label": made.train.labels}).to_parquet(tmp_path / "data.parquet")
    teacher = save_bert(tmp_path / "bert", positions=128)
    words = ["--datasets", str(tmp_path / "data.parquet"), "--teacher", str(teacher), "--out", str(tmp_path / "out"), "--json", "--epochs"]
    arms = ["--arms", "no KD", "kl, random teacher"]
    assert objectives.main([*words, "1", *arms, "--seeds", "1"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {(cell["student"], cell["arm"]) for cell in answer["cells"]} == {
        (student, arm) for student in ("cnn", "bert") for arm in ("no KD", "kl, random teacher")
    }
    first = (tmp_path / "out" / "trials.jsonl").read_text()
    assert objectives.main([*words, "1", "--arms", "no KD", "--seeds", "2"]) == 0
    after = (tmp_path / "out" / "trials.jsonl").read_text()
    assert after.startswith(first)
    assert len(after.splitlines()) == len(first.splitlines()) + 2  # the second seed of no KD, for either student
    capsys.readouterr()
    assert objectives.main([*words, "3", "--seeds", "1"]) == 2  # other epochs do not go into the same record
    assert "another --out" in capsys.readouterr().err
