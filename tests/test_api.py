"""The main job from end to end: a file of rows, a small real teacher, Ray, Optuna, and the student on the disk."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tiny_teacher import save_bert, save_rows, validation_metrics

import autodistill
from autodistill.api import _limits_before, check_own
from autodistill.cli.main import main
from autodistill.errors import RecipeError, StudyError, UsageError
from autodistill.events import StageFinished
from autodistill.limits import Limits
from autodistill.models.saved import load_saved_student
from autodistill.recipe import Recipe
from autodistill.settings import SearchSettings
from autodistill.space import Space
from autodistill.study_folder import SCHEMA, write_about
from autodistill.tasks import load_dataset
from autodistill.teacher.load import load_teacher
from autodistill.train.assignment import Assignment
from autodistill.train.cost import count_parameters
from autodistill.train.data import open_inputs
from autodistill.train.trial import run_trial

SPACE = """\
version: 1
name: small
about: a test
tasks: [text-classification]
parameters:
  teacher.model: {{value: {teacher}}}
  teacher.learning_rate: {{value: 1.0e-3}}
  teacher.max_length: {{value: 32}}
  student.family: {{choice: [cnn, bert]}}
  student.layers: {{value: 1, when: {{student.family: bert}}}}
  student.hidden_size: {{choice: [16, 32], when: {{student.family: bert}}}}
  student.heads: {{value: 2, when: {{student.family: bert}}}}
  student.embedding_size: {{value: 16, when: {{student.family: cnn}}}}
  student.channels: {{choice: [8, 16], when: {{student.family: cnn}}}}
  objective.prediction.kind: {{choice: [kl, mse]}}
  objective.intermediate.kind: {{choice: [none, mi]}}
  augmentation.kind: {{choice: [none, token_dropout]}}
  training.epochs: {{value: 2}}
  training.learning_rate: {{float: [1.0e-3, 1.0e-2], log: true}}
"""


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    rows = save_rows(tmp_path / "rows.parquet")
    space = tmp_path / "small.yaml"
    space.write_text(SPACE.format(teacher=save_bert(tmp_path / "bert")))
    return {"dataset": rows, "space": str(space), "studies_dir": str(tmp_path / "studies"), "cold": True}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_from_a_file_to_a_student(asked: dict[str, Any], one_ray: None, capsys: pytest.CaptureFixture[str]) -> None:
    stages: list[StageFinished] = []
    space = Space.load(asked["space"], "text-classification")
    own = space.defaults().model_dump() | {"teacher": {"model": "another"}, "objective": {"prediction": {"kind": "mse"}}}
    study = autodistill.search(
        **asked,
        trials=3,
        recipes=[Recipe.parse(own)],
        listen=lambda event: stages.append(event) if isinstance(event, StageFinished) else None,
    )

    records = study.records
    first = min((record for record in study.trial_records if record.role == "search"), key=lambda record: record.trial)
    assert first.recipe == space.fixed("student.family", "bert").defaults().model_dump()  # a cold search tries each family first
    assert list(records["role"][:4]) == ["no_kd", "plain_kd", "defaults", "given"]
    own_recipe = Recipe.parse(study.trial_records[3].recipe)
    assert (own_recipe.teacher, own_recipe.objective.prediction.kind) == (space.defaults().teacher, "mse")  # its teacher is the search's
    assert (records["state"][3], len(study.trial_records[3].curve)) == ("complete", own_recipe.training.epochs)
    assert len(records[(records["role"] == "search") & records["state"].isin(["complete", "pruned"])]) == 3
    assert set(records["teacher_score"]) == {study.teacher_score}
    trials = study.optuna_study().trials
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"}

    best = study.best
    assert best is not None
    assert best.score == records[records["state"] == "complete"]["score"].max()
    assert study.recommended.id == best.recipe_id
    assert (study.folder / "report.html").exists()
    students = study.frontier().query("kind == 'student'")
    assert set(students["name"]) <= {"cnn 8", "cnn 16", "bert 1×16", "bert 1×32"}
    assert (students["latency_ms_1"] > 0).all()
    assert (study.frontier().query("kind != 'student'")["latency_ms_32"] > 0).all()
    assert "frontier" in [stage.stage for stage in stages]

    # The student that was kept says on the disk what it said in its trial, and its recipe trained again gives it again.
    dataset = load_dataset(study.settings.ref)
    assert study.best_folder is not None
    saved = load_saved_student(study.best_folder)
    teacher = study.about["teachers"][0]["folder"]
    opened = open_inputs(dataset, saved.recipe.teacher, teacher)
    assert validation_metrics(saved.model, opened.validation, dataset)["accuracy"] == pytest.approx(best.score)
    again = run_trial(Assignment(study.recommended, dataset.ref, best.seed, best.max_epochs, teacher, device="cpu"), lambda point: None)
    assert again.score == pytest.approx(best.score)

    # A second search, from the command line, neither trains nor runs the teacher; it keeps its limits and prints one JSON object.
    words = ["search", "--dataset", asked["dataset"], "--space", asked["space"], "--studies-dir", asked["studies_dir"], "--cold"]
    assert main([*words, "--trials", "1", "--max-params", "1/2", "--study", "größe", "--json"]) == 0
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert set(answer) == {
        "study", "folder", "storage", "teacher_score", "teacher_params", "teacher_latency_ms", "teachers", "baselines", "best",
        "importance", "counts", "recommended", "seconds", "frontier",
    }  # fmt: skip
    assert re.search(r"teacher done in .*found in the cache", printed.err), printed.err
    second = autodistill.Study.open(answer["folder"])
    params = count_parameters(load_teacher(teacher)[0])
    assert (second.teacher.params, second.limits.max_params, second.settings.max_params) == (params, params // 2, "1/2")
    assert [record.score for record in second.trial_records[:3]] == [record.score for record in study.trial_records[:3]]  # equal seeds
    assert {role for role, score in answer["baselines"].items() if score is not None} == {"no_kd", "plain_kd", "defaults"}
    assert answer["counts"]["complete"] + answer["counts"]["pruned"] == 4
    assert all(record.params <= params // 2 for record in second.trial_records if record.state in ("complete", "pruned"))
    assert Recipe.load(answer["recommended"]).canonical_json() == Recipe.parse(answer["best"]["recipe"]).canonical_json()


def test_a_resumed_search_keeps_what_its_share_of_the_teachers_latency_came_to(tmp_path: Path) -> None:
    began = SearchSettings(dataset="d", study="s", max_latency_ms="1/9.4", studies_dir=str(tmp_path))
    began.folder.mkdir()
    write_about(began.folder, {"schema": SCHEMA, "settings": began.to_dict(), "limits": {"max_params": None, "max_latency_ms": 1.25}})

    def before(**changes: Any) -> Limits | None:
        return _limits_before(SearchSettings(**dict(began) | {"resume": True} | changes))

    assert before() == Limits(max_latency_ms=1.25)
    assert before(max_latency_ms="1/5") is None
    assert before(max_latency_ms=1.5) is None
    assert before(max_latency_ms=None) is None
    assert before(study="another") is None
    assert before(resume=False) is None
    older = {"dataset": {"name": "d", "seed": 0}, "study": "s", "max_latency_ms": 1.25, "latency_ratio": 9.4}
    write_about(began.folder, {"schema": 1, "settings": older})
    assert before() == Limits(max_latency_ms=1.25)


def test_a_recipe_of_ones_own_that_cannot_stand_beside_the_others_is_refused() -> None:
    space = Space.load("text", "text-classification")
    limits = Limits(max_params=1000)
    other = Space.load("text", "text-regression").defaults()
    with pytest.raises(RecipeError, match=f"{other.id} is for text-regression, but the search is for text-classification"):
        check_own(other, space, lambda recipe: limits.check(10, None), limits)
    with pytest.raises(UsageError, match="2,000 parameters, max_params is 1,000"):
        check_own(space.defaults(), space, lambda recipe: limits.check(2000, None), limits, unlabelled_rows=10)
    with pytest.raises(RecipeError, match="uses unlabelled rows, but the dataset has none"):
        check_own(space.defaults(), space, lambda recipe: limits.check(10, None), limits)


def test_limits_that_no_student_keeps_are_refused_before_the_teacher_is_trained(
    asked: dict[str, Any], isolated_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autodistill.prepare.train_teacher", lambda *args: pytest.fail("the teacher is trained"))
    with pytest.raises(StudyError, match=r"keeps the limits \(max_params 10\): .* has [\d,]+ parameters; raise them"):
        autodistill.search(**asked | {"max_params": 10, "max_latency_ms": None})
    assert not list(Path(asked["studies_dir"]).glob("*"))
