"""Distillation from a file of scores: what is written, what the card says of such a teacher, and which files are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard
from tiny_teacher import save_bert, texts

import autodistill
from autodistill.cli.main import main
from autodistill.errors import DataError, RecipeError
from autodistill.export.distill import Distilled, distill
from autodistill.export.onnx import export
from autodistill.export.student import load_student
from autodistill.recipe import Recipe
from autodistill.report.texts import ABSENT
from autodistill.settings import DistillSettings

LABELS = ("bad", "good")
SPACE = """\
version: 1
name: small
about: a test
tasks: [text-classification]
parameters:
  teacher.model: {{value: {teacher}}}
  teacher.max_length: {{value: 16}}
  student.family: {{value: cnn}}
  student.embedding_size: {{value: 16}}
  student.channels: {{choice: [8, 16]}}
  objective.prediction.kind: {{choice: [kl, mse]}}
  objective.intermediate.kind: {{choice: [none, mi]}}
  training.epochs: {{value: 1}}
  training.steps: {{value: 10}}
  training.unlabelled_share: {{value: 0.5}}
"""
UNSURE = "lovely"
"""The teacher is wrong about texts with this word."""


class ScoredWorld:
    """A dataset with 140 rows to train on and 90 to test, and files of a teacher's scores of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "reviews"
        self.data.mkdir()
        lines, labels = texts(600)
        rows = pd.DataFrame({"text": lines, "label": [LABELS[label] for label in labels]}).drop_duplicates("text")
        self.train, self.test, self.more = rows[:140], rows[140:230], rows[230:280]
        self.train.to_parquet(self.data / "train.parquet")
        self.test.to_parquet(self.data / "test.parquet")
        save_bert(folder / "base")

    def scores(self, rows: pd.DataFrame, name: str = "scores.csv", sure: float = 0.9) -> Path:
        """A file of probabilities."""
        right = ~rows["text"].str.contains(UNSURE)
        good = np.where((rows["label"] == "good") == right, sure, 1 - sure)
        pd.DataFrame({"text": rows["text"], "bad": 1 - good, "good": good}).to_csv(self.folder / name, index=False)
        return self.folder / name

    def recipe(self, **changes: Any) -> Recipe:
        """A short recipe with a teacher network, for which a file of scores can stand."""
        data = {
            "task": "text-classification",
            "teacher": {"model": str(self.folder / "base"), "max_length": 16},
            "student": {"family": "cnn", "embedding_size": 16, "channels": 8},
            "objective": {"hard_label_weight": 0.5, "prediction": {"kind": "kl", "weight": 0.5}},
            "training": {"epochs": 2, "steps": 20, "batch_size": 16, "learning_rate": 1e-2, "unlabelled_share": 0.5},
        }
        return Recipe.parse(data | changes)

    def distill(self, recipe: Recipe | Path, out: str = "out", **options: Any) -> Distilled:
        return distill(recipe, str(self.data), self.folder / out, **({"seeds": 1, "control": False} | options))


@pytest.fixture
def world(tmp_path: Path) -> ScoredWorld:
    return ScoredWorld(tmp_path)


def accuracy(done: Distilled, rows: pd.DataFrame) -> float:
    """Of the written student, asked anew."""
    return float(np.mean(load_student(done.folder).predict(rows["text"]) == rows["label"]))


def teacher_accuracy(rows: pd.DataFrame) -> float:
    return float(1 - rows["text"].str.contains(UNSURE).mean())


def test_a_file_without_test_rows_gives_no_test_score_of_a_teacher(world: ScoredWorld) -> None:
    path = world.scores(pd.concat([world.train, world.more]))
    heard: list[str] = []
    done = world.distill(
        world.recipe(), teacher_scores=str(path), control=True, seeds=2, listen=lambda event: heard.append(getattr(event, "text", ""))
    )
    facts = json.loads((done.folder / "distillation.json").read_text(encoding="utf-8"))
    teacher, test = facts["teacher"], facts["test"]
    assert [teacher[name] for name in ("test", "test_metrics", "validation", "params", "latency_ms")] == [None] * 5
    assert (facts["student"]["retention"], test["retention_mean"], test["distillation_ratio"], test["beside_teacher"]) == (None,) * 4
    assert done.retention is None
    assert (teacher["scores"]["file"], teacher["scores"]["kind"], teacher["scores"]["texts"]) == ("scores.csv", "probabilities", 190)
    assert teacher["scores"]["coverage"] == {"train": 1.0, "unlabelled": 1.0, "validation": 1.0, "test": 0.0}
    assert facts["dataset"]["rows"]["unlabelled"] == 50
    assert facts["student"]["test"] == pytest.approx(accuracy(done, world.test))
    assert any("replace the recipe's teacher, which is not trained" in text for text in heard)

    made = Recipe.load(done.folder / "recipe.yaml")
    assert made.id == facts["recipe_id"]
    assert made.teacher.scores == teacher["scores"]["fingerprint"]

    card = ModelCard.load(done.folder / "README.md")
    assert card.data.base_model is None
    assert "distilled from a teacher's scores in the file `scores.csv`" in card.text
    assert "holds probabilities of 190 texts" in card.text
    assert "covers only 0.0% of the test rows; so there is no retention and no distillation ratio" in card.text
    gain = np.mean([run["test"] for run in facts["seeds"]]) - np.mean([run["test"] for run in facts["no_kd"]])
    assert f"Gain of distillation (distilled − no KD, means over the seeds): **{gain:+.4f}**" in card.text
    for words in ("Retention", "| teacher", "Distillation ratio", "faster", "nan", "None"):
        assert words not in card.text


def test_students_are_compared_with_the_file_on_the_rows_that_it_has(world: ScoredWorld) -> None:
    covered = world.test[:60]
    done = world.distill(world.recipe(), teacher_scores=str(world.scores(pd.concat([world.train, covered, world.more]))), control=True)
    teacher, student, beside = done.facts["teacher"], done.facts["student"], done.facts["test"]["beside_teacher"]
    assert 0.5 < teacher_accuracy(covered) < 1
    assert teacher["test"] == pytest.approx(teacher_accuracy(covered))
    assert teacher["scores"]["coverage"]["test"] == pytest.approx(60 / 90)
    assert beside["rows"] == 60
    assert student["test"] == pytest.approx(accuracy(done, world.test))
    assert beside["student"] == pytest.approx(accuracy(done, covered))
    assert done.retention == pytest.approx(accuracy(done, covered) / teacher_accuracy(covered))
    card = (done.folder / "README.md").read_text(encoding="utf-8")
    assert f"| teacher, on the 60 of 90 test rows that it has scores for | {ABSENT} | {teacher_accuracy(covered):.4f} |" in card
    assert "Retention (this student's test score over the teacher's, on the 60 of 90 test rows that it has scores for)" in card


def test_a_file_of_all_test_rows_is_judged_as_a_network_is(world: ScoredWorld) -> None:
    done = world.distill(world.recipe(), teacher_scores=str(world.scores(pd.concat([world.train, world.test, world.more]))))
    assert done.facts["teacher"]["test"] == pytest.approx(teacher_accuracy(world.test))
    assert done.retention == pytest.approx(accuracy(done, world.test) / teacher_accuracy(world.test))
    card = (done.folder / "README.md").read_text(encoding="utf-8")
    assert f"| teacher | {ABSENT} | {teacher_accuracy(world.test):.4f} |" in card
    assert "Retention (this student's test score over the teacher's): **" in card


def study_of(world: ScoredWorld, path: Path) -> Path:
    """A study's folder, as far as `distill` reads it."""
    recipe = world.distill(world.recipe(), out="first", teacher_scores=str(path)).folder / "recipe.yaml"
    study = world.folder / "study"
    study.mkdir()
    (study / "recommended.yaml").write_bytes(recipe.read_bytes())
    (study / "study.json").write_text(json.dumps({"schema": 2, "settings": {"teacher_scores": str(path)}}), encoding="utf-8")
    return study


def test_a_study_knows_its_file_and_other_files_are_refused(world: ScoredWorld, capsys: pytest.CaptureFixture[str]) -> None:
    path = world.scores(pd.concat([world.train, world.more]))
    study = study_of(world, path)
    words = ["distill", str(study), "--dataset", str(world.data), "--out", str(world.folder / "out"), "--seeds", "1"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "teacher: no test score, because its file has scores for only 0.0% of the test rows; so no retention" in shown
    assert "distillation gains" in shown
    (exported,) = export(world.folder / "out")
    assert exported.facts["max_abs_difference"] < 1e-3

    recipe = study / "recommended.yaml"
    assert DistillSettings(recipe=str(recipe), dataset="d", out="o").scores_file == str(path)
    other = world.scores(world.train, "other.csv", sure=0.8)
    with pytest.raises(DataError, match=r"other\.csv holds other scores .* than those that the recipe .* was made with"):
        world.distill(recipe, out="refused", teacher_scores=str(other))
    copy = world.folder / "copy.yaml"
    copy.write_bytes(recipe.read_bytes())
    with pytest.raises(RecipeError, match=r"the teacher of the recipe .* is a file of scores .*; give it with --teacher-scores FILE"):
        world.distill(copy, out="refused")
    path.rename(world.folder / "moved.csv")
    with pytest.raises(DataError, match=r"had its teacher's scores from .*scores\.csv, but this file does not exist; say where it is now"):
        world.distill(study, out="refused")
    with pytest.raises(DataError, match=r"teacher_scores: there is no file .*nowhere\.csv"):
        world.distill(copy, out="refused", teacher_scores=str(world.folder / "nowhere.csv"))
    assert not (world.folder / "refused").exists()
    assert world.distill(study, out="again", teacher_scores=str(world.folder / "moved.csv")).folder.is_dir()


def test_a_recipe_that_reads_states_cannot_have_a_file_of_scores(world: ScoredWorld) -> None:
    path = world.scores(world.train)
    recipe = world.recipe(objective={"intermediate": {"kind": "mi", "weight": 0.1, "tokens": "mean"}}, training={"epochs": 1})
    with pytest.raises(RecipeError, match=r"objective\.intermediate: 'mi' reads the teacher's states or embeddings"):
        world.distill(recipe, teacher_scores=str(path))
    training = world.recipe().training.model_dump() | {"unlabelled_choice": "diverse", "unlabelled_keep": 0.5}
    diverse = world.recipe(training=training)
    with pytest.raises(RecipeError, match=r"unlabelled_choice is 'diverse', which needs the teacher's embeddings"):
        world.distill(diverse, teacher_scores=str(path))
    with pytest.raises(RecipeError, match="learns on unlabelled rows too"):  # a file of the training rows alone brings none
        world.distill(world.recipe(), teacher_scores=str(path))
    assert not (world.folder / "out").exists()


@pytest.mark.slow
def test_a_search_with_a_file_of_scores_and_then_its_best_recipe_in_full(world: ScoredWorld) -> None:
    path, space = world.scores(pd.concat([world.train, world.more])), world.folder / "small.yaml"
    space.write_text(SPACE.format(teacher=world.folder / "base"), encoding="utf-8")
    folders = {"space": str(space), "studies_dir": str(world.folder / "studies")}
    study = autodistill.search(str(world.data), teacher_scores=str(path), trials=1, cold=True, **folders)  # type: ignore[arg-type]
    assert {"plain_kd_all", "search"} <= set(study.records["role"])
    done = world.distill(study.folder)
    assert study.recommended.id == done.facts["recipe_id"]
    assert done.facts["teacher"]["scores"]["fingerprint"] == study.recommended.teacher.scores
