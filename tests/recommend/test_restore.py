"""From a shipped entry back to a search's folder, and an entry read as a study's folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from autodistill.cli.main import main
from autodistill.errors import StudyError
from autodistill.facts import DatasetFacts, TeacherRef
from autodistill.ranking import best_of
from autodistill.recipe import Recipe
from autodistill.recommender.library import RecordedStudy, find, shipped
from autodistill.records import read_records
from autodistill.restoring import restore
from autodistill.settings import DistillSettings
from autodistill.space import Space
from autodistill.study import Study
from autodistill.teachers import Teachers
from autodistill.tuning.translate import StudyPlan, record_of


def test_a_restored_study_holds_the_entrys_trials(tmp_path: Path) -> None:
    entry = find("cr-all", shipped())
    study = restore(entry, tmp_path)
    assert [record.model_dump() for record in study.trial_records] == [record.model_dump() for record in entry.records]
    (teacher,) = {Recipe.parse(record.recipe).teacher for record in entry.records}
    teachers = Teachers({teacher: TeacherRef("", entry.teacher_score)})
    plan = StudyPlan(study.settings, DatasetFacts(**study.about["dataset"]), teachers, {}, study.limits, study.about["max_epochs"])
    trials = study.optuna_study().get_trials()
    points = {record.recipe["student"].get("hidden_size") for trial, record in zip(trials, entry.records, strict=True) if trial.params}
    assert 384 in points  # half of the teacher has other bounds of its length than the rest
    for trial, record in zip(trials, entry.records, strict=True):
        again = record_of(trial, plan)
        assert again is not None
        assert again.model_copy(update={"trial": record.trial}) == record
    assert all(trial.state != TrialState.RUNNING for trial in trials)
    with pytest.raises(StudyError, match="a study is restored only into a new folder"):
        restore(entry, tmp_path)


RECORDED = Path(__file__).parents[2] / "studies" / "recorded"
BRIEF = RECORDED.with_name("brief")


def test_an_entry_opens_like_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = find("cr-all", shipped())
    study = Study.find(str(RECORDED / "cr-all"), tmp_path)
    assert (study.name, study.teacher_score) == ("cr-all", entry.teacher_score)
    assert study.trial_records == read_records(RECORDED / "cr-all" / "trials.parquet")
    assert main(["report", str(RECORDED / "cr-all"), "--out", str(tmp_path / "cr.html")]) == 0
    assert "<title>cr" in (tmp_path / "cr.html").read_text(encoding="utf-8")
    asked = DistillSettings.read({"recipe": str(RECORDED / "cr-all"), "out": "student"})
    assert (asked.dataset, asked.limit_train) == ("cr", 6000)
    best = best_of(entry.records, study.limits)
    assert best is not None
    assert asked.load_recipe().id == Recipe.parse(best.recipe).id == study.recommended.id


@pytest.mark.parametrize(
    "entry", sorted(path.parent for place in (RECORDED, BRIEF) for path in place.glob("*/study.yaml")), ids=lambda path: path.name
)
def test_an_entrys_recommended_recipe_is_its_best(entry: Path) -> None:
    study = Study.open(entry)
    assert study.best is not None
    assert study.recommended == Recipe.parse(study.best.recipe)


def test_an_entry_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    text = (RECORDED / "cr-all" / "study.yaml").read_text(encoding="utf-8")
    (tmp_path / "study.yaml").write_text(text.replace("schema: 1", "schema: 2", 1), encoding="utf-8")
    with pytest.raises(StudyError, match=r"study\.yaml was written by a newer autodistill"):
        Study.open(tmp_path)


def test_a_search_goes_on_with_a_restored_study_of_a_regime(tmp_path: Path) -> None:
    entry = find("trec-few", shipped())
    space = Space.load("text", entry.task)
    (teacher,) = {Recipe.parse(record.recipe).teacher for record in entry.records}
    assert teacher == space.defaults().teacher
    check_restored(entry, tmp_path, space)


def test_a_restored_study_keeps_the_teacher_of_an_earlier_space(tmp_path: Path) -> None:
    entry = find("trec-few", shipped())
    changed = [
        record.model_copy(update={"recipe": record.recipe | {"teacher": record.recipe["teacher"] | {"patience": 150}}})
        for record in entry.records
    ]
    (teacher,) = {Recipe.parse(record.recipe).teacher for record in changed}
    space = Space.load("text", entry.task)
    assert teacher not in space.teachers()
    check_restored(replace(entry, records=changed), tmp_path, space.with_teacher(teacher))


def check_restored(entry: RecordedStudy, place: Path, space: Space) -> None:
    """It has this space, as `prepare` makes it where rows have no labels, and its trials have the values of their recipes."""
    study = restore(entry, place)
    assert study.folder == place / "trec-few"
    assert study.settings.dataset == "trec"
    assert study.about["space"] == json.loads(json.dumps(space.for_its_teachers().to_dict()))
    inside = [trial for trial in study.optuna_study().get_trials() if trial.params]  # the others are baselines, or of an earlier space
    assert inside
    for trial in inside:
        recipe = trial.user_attrs["proposal"]["recipe"]
        rates = [value for name, value in trial.params.items() if name.startswith("training.learning_rate")]  # its range is the family's
        assert rates == [recipe["training"]["learning_rate"]]
        assert trial.params["student.family"] == recipe["student"]["family"]


def test_a_condition_on_what_a_space_lacks_never_holds() -> None:
    loaded = Space.load("text", "text-classification")
    space = loaded.with_teacher(loaded.defaults().teacher)
    assert "teacher.scores" not in space.parameters
    families = space.for_its_teachers().parameters["student.family"]
    assert [domain.when for domain in families] == [(("teacher.model", (loaded.defaults().teacher.model,)),)]
