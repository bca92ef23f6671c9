"""The examples run from top to bottom: on small made rows, with a tiny teacher, short trainings and one Ray for all of them."""

from __future__ import annotations

import ast
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny_teacher import save_bert, text_dataset

import autodistill
from autodistill import recommending
from autodistill.recipe import Recipe
from autodistill.recommender.library import library

EXAMPLES = Path(__file__).parent.parent / "examples"
SPACE = """\
version: 1
name: small
about: a test
tasks: [text-classification]
parameters:
  teacher.model: {{value: {teacher}}}
  teacher.max_steps: {{value: 0}}
  teacher.head_init: {{value: probe}}
  student.family: {{value: cnn}}
  student.embedding_size: {{value: 16}}
  student.channels: {{choice: [8, 16]}}
  objective.prediction.kind: {{choice: [kl, mse]}}
  training.epochs: {{value: 1}}
  training.steps: {{value: 4}}
  training.unlabelled_share: {{value: {share}}}
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the examples are called with, and an `autodistill` whose trainings are short."""
    made = text_dataset(160)
    rows = pd.DataFrame({"text": made.train.texts, "label": made.train.labels}).drop_duplicates("text")
    rows[:100].replace({"label": {0: "bad", 1: "good"}}).to_csv(tmp_path / "reviews.csv", index=False)
    (tmp_path / "more.txt").write_text("\n".join(rows["text"][100:]), encoding="utf-8")
    rows.replace({"label": {0: "", 1: "billing;urgent"}}).to_csv(tmp_path / "tickets.csv", index=False)
    teacher = str(save_bert(tmp_path / "bert", positions=128))
    for share in (0.0, 0.5):
        (tmp_path / f"{share}.yaml").write_text(SPACE.format(teacher=teacher, share=share), encoding="utf-8")
    search, distill, recommend = autodistill.search, autodistill.distill, autodistill.recommend

    def short(recipe: Recipe) -> Recipe:
        """Another recipe for the same task, trained in four steps."""
        student = {"family": "cnn", "embedding_size": 16, "channels": 8}
        parts = {"teacher": {"model": teacher, "max_steps": 0, "head_init": "probe"}, "training": {"epochs": 1, "steps": 4}}
        return Recipe.parse(recipe.model_dump() | parts | {"student": student})

    def short_search(*rows: Any, **asked: Any) -> Any:
        assert asked["trials"] >= 10
        space = str(tmp_path / f"{0.5 if 'unlabelled' in asked else 0.0}.yaml")
        own = [short(Recipe.load(path)) for path in asked.pop("recipes", ())]
        few = {"trials": 1, "space": space, "cold": True, "frontier": False, "max_latency_ms": None, "recipes": own}
        return search(*rows, **asked | few)

    def short_distill(recipe: Any, *rows: Any, **asked: Any) -> Any:
        recipe = short(recipe) if isinstance(recipe, Recipe) else recipe
        return distill(recipe, *rows, **asked | {"seeds": 1, "control": False})

    monkeypatch.setattr(autodistill, "search", short_search, raising=False)
    monkeypatch.setattr(autodistill, "distill", short_distill, raising=False)
    monkeypatch.setattr(autodistill, "recommend", lambda *rows, **asked: recommend(*rows, **asked, teacher=teacher), raising=False)
    features = next(item.features for item in library() if item.name == "sst2-all")
    monkeypatch.setattr(recommending, "dataset_features", lambda data: features)  # measuring them needs the default encoder
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_script(name: str, *words: str) -> None:
    runpy.run_path(str(EXAMPLES / name), run_name="example")["main"](*words)


def run_notebook(name: str) -> list[Any]:
    """What the cells of a notebook show, as a kernel would."""
    cells = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"]
    space: dict[str, Any] = {}
    shown = []
    for number, cell in enumerate(cell for cell in cells if cell["cell_type"] == "code"):
        code = ast.parse("".join(cell["source"]), f"{name}[{number}]")
        last = code.body.pop() if isinstance(code.body[-1], ast.Expr) else None
        exec(compile(code, f"{name}[{number}]", "exec"), space)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), f"{name}[{number}]", "eval"), space))
    return shown


def test_every_example_is_listed() -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert len(files) == 6
    assert {name for name in files if f"[{name}]({name})" in text} == files


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_csv_becomes_a_student(small: Path, one_ray: None, capsys: pytest.CaptureFixture[str]) -> None:
    run_script("own_csv.py", "reviews.csv")
    shown = capsys.readouterr()
    assert re.search(r"test score [01]\.\d{4}", shown.out)
    assert "trains its recipe in full" in shown.err
    assert (small / "reviews-student" / "model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_unlabelled_rows_are_compared(small: Path, one_ray: None, capsys: pytest.CaptureFixture[str]) -> None:
    run_script("unlabelled.py", "reviews.csv", "more.txt")
    said = capsys.readouterr().out
    assert "plain distillation, all rows" in said
    assert "the teacher's decisions as labels, all rows" in said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_black_box_teaches(small: Path, one_ray: None, capsys: pytest.CaptureFixture[str]) -> None:
    run_script("teacher_scores.py", "reviews.csv", "more.txt")
    recipe = Recipe.load(small / "studies" / "black-box")
    assert recipe.teacher.scores is not None
    assert capsys.readouterr().out.endswith(recipe.to_yaml() + "\n")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rows_have_several_labels(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_script("several_labels.py", "tickets.csv")
    assert "'billing': 0." in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_notebooks(small: Path, one_ray: None) -> None:
    study, _, frontier, _, pareto, _, recipe = run_notebook("look_at_a_study.ipynb")
    assert "reviews" in study.about["dataset"]["name"]
    assert study.verdict in study._repr_html_() or "&" in study._repr_html_()
    assert "teacher" in set(frontier["kind"])
    assert pareto.data
    assert "<pre>" in recipe._repr_html_()
    advice, own, leaderboard, roles = run_notebook("warm_start.ipynb")
    assert advice._repr_html_().count("<tr") == len(advice.recipes) + 1 == 4
    assert "Order: try them from the top." in advice._repr_html_()
    assert own.id == advice.recipes[0].recipe.id
    assert len(leaderboard) > 1
    assert "given" in roles.index
