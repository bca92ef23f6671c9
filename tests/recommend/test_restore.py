"""studies/restore.py: from a shipped entry back to a search's folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from optuna.trial import TrialState

from autodistill.errors import StudyError
from autodistill.facts import DatasetFacts, TeacherRef
from autodistill.recipe import Recipe
from autodistill.recommender.library import find, shipped
from autodistill.teachers import Teachers
from autodistill.tuning.translate import StudyPlan, record_of


@pytest.fixture
def restore(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("restore", Path(__file__).parents[2] / "studies" / "restore.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "restore", module)
    spec.loader.exec_module(module)
    return module


def test_a_restored_study_holds_the_entrys_trials(restore: ModuleType, tmp_path: Path) -> None:
    entry = find("digits", shipped())
    study = restore.restore(entry, tmp_path)
    assert [record.model_dump() for record in study.trial_records] == [record.model_dump() for record in entry.records]
    (teacher,) = {Recipe.parse(record.recipe).teacher for record in entry.records}
    teachers = Teachers({teacher: TeacherRef("", entry.teacher_score)})
    plan = StudyPlan(study.settings, DatasetFacts(**study.about["dataset"]), teachers, {}, study.limits, study.about["max_epochs"])
    trials = study.optuna_study().get_trials()
    for trial, record in zip(trials, entry.records, strict=True):
        again = record_of(trial, plan)
        assert again is not None
        assert again.model_copy(update={"trial": record.trial}) == record
    searched = [trial for trial in trials if trial.user_attrs["proposal"]["role"] == "explore"]
    assert all(
        trial.params["training.learning_rate"] == trial.user_attrs["proposal"]["recipe"]["training"]["learning_rate"] for trial in searched
    )
    assert all(trial.state != TrialState.RUNNING for trial in trials)
    with pytest.raises(StudyError, match="a study is only restored where there is none"):
        restore.restore(entry, tmp_path)
