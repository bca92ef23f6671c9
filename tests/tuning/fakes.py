"""A runner that trains nothing, a space around it, and how the tests look at what a search left behind."""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from autodistill.environment import KEEP_MEMORY
from autodistill.facts import DatasetFacts, TeacherRef
from autodistill.limits import Feasibility, Limits
from autodistill.optuna_storage.open import open_storage
from autodistill.ranking import was_interrupted
from autodistill.recipe import Recipe
from autodistill.records import Point, TrialRecord, read_records
from autodistill.settings import SearchSettings
from autodistill.space import Space
from autodistill.study_folder import default_storage
from autodistill.teachers import Teachers
from autodistill.train.assignment import Assignment, Report, TrialResult

SPACE = """\
version: 1
name: fake
about: a space whose batch size decides what becomes of a trial
tasks: [text-classification]
parameters:
  teacher.model: {value: a-teacher}
  student.family: {value: cnn}
  student.channels: {choice: [64, 128, 256], default: 64}
  objective.hard_label_weight: {float: [0.05, 1.0], log: true, default: 0.2}
  objective.prediction.kind: {choice: [kl, mse], default: kl}
  objective.prediction.temperature: {float: [1.0, 8.0], log: true, default: 2.0, when: {objective.prediction.kind: kl}}
  training.epochs: {value: 9}
  training.batch_size: {choice: %s, default: %s}
  training.learning_rate: {float: [1.0e-4, 1.0e-1], log: true, default: 3.0e-3}
"""
GOOD, NAN, ERROR, NO_MEMORY = 32, 8, 16, 24
"""Batch sizes, and what they do."""

NO_LIMITS = Limits()
FACTS = DatasetFacts(name="fake", fingerprint="f" * 16, task="text-classification", metric="accuracy", train_rows=100)


def make_space(folder: Path, batch_sizes: tuple[int, ...] = (GOOD,)) -> Space:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fake.yaml"
    path.write_text(SPACE % (list(batch_sizes), batch_sizes[0]), encoding="utf-8")
    return Space.load(str(path), "text-classification")


def make_settings(folder: Path, **more: object) -> SearchSettings:
    asked = {"study": "s", "trials": 8, "max_epochs": 9, "workers": 2, "studies_dir": str(folder), "gpus_per_trial": 0}
    return SearchSettings(dataset="fake", **{**asked, **more})  # type: ignore[arg-type]


def make_teachers(space: Space) -> Teachers:
    return Teachers({space.defaults().teacher: TeacherRef("/teachers/a", 0.9)})


def quality(recipe: Recipe) -> float:
    """Score after endless training: best at a learning rate of 3e-3, no distillation costs a tenth."""
    distance = abs(math.log10(recipe.training.learning_rate / 3e-3))
    return 0.8 - 0.2 * distance - (0.1 if not recipe.objective.terms else 0.0)


def score_at(recipe: Recipe, epoch: int) -> float:
    return quality(recipe) * (1 - 0.5**epoch)


@dataclass(frozen=True)
class FakeRunner:
    """Sleeps and reports a curve. `starts`: a folder that gets a file for each start, with the process id in it."""

    pause: float = 0.02
    starts: str | None = None

    def __call__(self, assignment: Assignment, report: Report) -> TrialResult:
        recipe = assignment.recipe
        if self.starts is not None:
            place = Path(self.starts)
            (place / f"{recipe.id}-{time.time_ns()}").write_text(str(os.getpid()))
        student = Path(str(assignment.student_folder))
        student.mkdir(parents=True, exist_ok=True)
        epochs = min(recipe.training.epochs, assignment.max_epochs)
        for epoch in range(1, epochs + 1):
            time.sleep(self.pause)
            score = score_at(recipe, epoch)
            (student / "model.txt").write_text(f"{recipe.id} {epoch}")
            if epoch == 2:
                if recipe.training.batch_size == NAN:
                    score = math.nan
                elif recipe.training.batch_size == ERROR:
                    raise ValueError("the batch does\nnot fit")
                elif recipe.training.batch_size == NO_MEMORY:
                    raise MemoryError
            report(Point(epoch=epoch, score=score, train_loss=1 / epoch, seconds=self.pause * epoch, losses={"prediction": 0.5}))
        seen = {name: float(os.environ.get(name, "-1")) for name in ("OMP_NUM_THREADS", *KEEP_MEMORY)}
        return TrialResult(score_at(recipe, epochs), epochs, {"accuracy": score_at(recipe, epochs)} | seen, count(recipe), 1e6)


def count(recipe: Recipe) -> int:
    return recipe.student.channels * 1000


@dataclass(frozen=True)
class FakeFeasible:
    limits: Limits = NO_LIMITS

    def __call__(self, recipe: Recipe) -> Feasibility:
        return self.limits.check(count(recipe), recipe.student.channels / 100)


def look(folder: Path) -> tuple[list[FrozenTrial], list[TrialRecord]]:
    """The storage's trials and the table's records, after a check that the two agree."""
    trials = optuna.load_study(study_name=folder.name, storage=open_storage(default_storage(folder))).get_trials()
    records = {record.trial: record for record in read_records(folder / "trials.parquet")}
    ended = [
        trial
        for trial in trials
        if trial.state not in (TrialState.WAITING, TrialState.RUNNING)
        and trial.user_attrs.get("outcome", {}).get("verdict") not in ("repeat", "invalid")
    ]
    assert {trial.number for trial in ended} == set(records)
    names = {TrialState.COMPLETE: {"complete"}, TrialState.FAIL: {"fail"}, TrialState.PRUNED: {"pruned", "infeasible"}}
    for trial in ended:
        record = records[trial.number]
        assert record.state in names[trial.state]
        assert (record.state == "infeasible") == any(value > 0 for value in trial.constraints.values()) or record.role != "search"
        assert record.role == trial.user_attrs["proposal"]["role"]
        assert record.reason == trial.user_attrs["outcome"].get("reason")
        if record.curve or not was_interrupted(record):  # of a killed process, the storage has the scores alone
            assert {point.epoch: point.rank_score for point in record.curve} == trial.intermediate_values
        if record.state == "complete":
            assert record.rank_score == trial.value
        Recipe.parse(record.recipe)
    return trials, [records[number] for number in sorted(records)]


def finished(records: list[TrialRecord]) -> list[TrialRecord]:
    """The records of trials that count: not infeasible, not interrupted."""
    return [item for item in records if item.state != "infeasible" and not was_interrupted(item)]


def assert_sound(folder: Path, trials: int) -> list[TrialRecord]:
    """A search that has reached its number: exact count, nothing twice, nothing left over, one of each baseline, at most one twin."""
    stored, records = look(folder)
    assert not [trial for trial in stored if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    done = finished(records)
    roles = Counter(item.role for item in done)
    twins = roles.pop("twin", 0)
    assert {role: number for role, number in roles.items() if role not in ("search", "recommended")} == dict.fromkeys(
        ("no_kd", "plain_kd", "defaults"), 1
    )
    assert twins <= 1
    assert len(done) == trials + 3 + twins
    assert max(Counter((item.recipe_id, item.seed) for item in done).values()) == 1
    about = json.loads((folder / "study.json").read_text())
    assert about["study"] == folder.name
    return records
