"""Asking and telling, without Ray."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import types
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from fakes import (
    ERROR,
    FACTS,
    GOOD,
    FakeFeasible,
    assert_sound,
    count,
    finished,
    look,
    make_settings,
    make_space,
    make_teachers,
    quality,
    score_at,
)
from optuna.trial import TrialState

from autodistill.errors import RunError, StudyError
from autodistill.limits import Limits
from autodistill.optuna_storage.open import open_storage, open_to_search
from autodistill.ranking import best_of
from autodistill.recipe import Recipe
from autodistill.records import Point
from autodistill.space import Space
from autodistill.study_folder import default_storage, write_about
from autodistill.train.assignment import TrialResult
from autodistill.tuning import ledger as ledger_module
from autodistill.tuning.ledger import Ledger
from autodistill.tuning.round import Round
from autodistill.tuning.sampler import Halving, make_sampler, rungs
from autodistill.tuning.translate import StudyPlan


class Bench:
    """A ledger over a study in a folder; `again` opens it as a process that was started anew would."""

    def __init__(self, folder: Path, *, sizes=(GOOD,), limits=None, feasible=None, enqueue=True, space=None, **settings):
        limits = limits or Limits()
        self.settings = make_settings(folder, max_params=limits.max_params, max_latency_ms=limits.max_latency_ms, **settings)
        self.folder = self.settings.folder
        self.folder.mkdir(exist_ok=True)
        self.space = space or make_space(folder, sizes)
        self.feasible = feasible or FakeFeasible(limits)
        self.events = []
        self.plan = StudyPlan(self.settings, FACTS, make_teachers(self.space), {"python": "3"}, limits, self.settings.max_epochs)
        write_about(self.folder, {"study": "s"})
        self.again()
        if enqueue:
            for role, recipe in self.space.baselines().items():
                self.ledger.enqueue(role, [recipe])

    def again(self) -> Ledger:
        storage = open_to_search(default_storage(self.folder), "s")
        study = optuna.create_study(study_name="s", storage=storage, direction="maximize", load_if_exists=True, pruner=Halving())
        self.ledger = Ledger(study, storage, self.plan, self.space, self.feasible, self.folder, self.events.append)
        study.sampler = make_sampler(self.settings.seed, self.ledger.finished)
        return self.ledger

    def propose(self):
        """The next trial that runs."""
        while True:
            run = self.ledger.propose()
            if run is not None:
                return run

    def train(self, run, factor: float = 1.0) -> str:
        """Train a proposed trial: 'pruned' or 'complete'."""
        number = run.trial.number
        student = Path(run.assignment.student_folder)
        student.mkdir(parents=True)
        for epoch in range(1, run.epochs + 1):
            point = Point(epoch=epoch, score=factor * score_at(run.recipe, epoch), train_loss=1 / epoch, seconds=float(epoch))
            if self.ledger.report(number, point):
                self.ledger.prune(number)
                return "pruned"
        result = TrialResult(
            factor * score_at(run.recipe, run.epochs), run.epochs, {"accuracy": 0.5}, count(run.recipe), 2.0, {"train": 1.0}
        )
        self.ledger.complete(number, result, 9.5)
        return "complete"

    def look(self):
        self.ledger.write(force=True)
        return look(self.folder)


def test_a_search_in_full(tmp_path):
    bench = Bench(tmp_path, trials=12)
    outcomes = []
    while bench.ledger.wants_more():
        run = bench.propose()
        outcomes.append((run.role, bench.train(run)))
    assert [role for role, _ in outcomes] == ["no_kd", "plain_kd", "defaults"] + ["search"] * 12
    assert "pruned" in [outcome for _, outcome in outcomes]
    stored, _ = bench.look()
    records = assert_sound(bench.folder, 12)
    for trial, record, (role, outcome) in zip(stored, records, outcomes, strict=True):
        assert (record.role, record.state) == (role, outcome)
        assert trial.intermediate_values
        assert record.seconds == (9.5 if outcome == "complete" else record.curve[-1].seconds)
        assert record.retention == pytest.approx(record.score / 0.9)
        assert record.environment == {"python": "3"}
        assert record.params == count(Recipe.parse(record.recipe))
    defaults = stored[2]
    assert defaults.params == bench.space.encode(bench.space.defaults())
    assert stored[0].params == {}  # no distillation is no point of this space
    assert [type(event).__name__ for event in bench.events].count("TrialFinished") == 15


def test_stopped_trials_are_those_that_lose_at_a_rung(tmp_path):
    assert rungs(9) == (1, 3)
    assert rungs(30) == (3, 9, 27)
    assert rungs(1) == ()
    bench = Bench(tmp_path, trials=6, enqueue=False)
    first, second = bench.propose(), bench.propose()
    assert bench.train(first) == "complete"
    assert bench.train(second, factor=0.1) == "pruned"
    stored, records = bench.look()
    assert stored[1].state == TrialState.PRUNED
    assert list(stored[1].intermediate_values) == [1]
    assert records[1].score == stored[1].intermediate_values[1]


def test_the_last_epoch_is_never_judged(tmp_path):
    bench = Bench(tmp_path, trials=2, max_epochs=1, enqueue=False)
    assert [bench.train(bench.propose(), factor) for factor in (1.0, 0.1)] == ["complete", "complete"]


def test_baselines_are_never_stopped(tmp_path):
    bench = Bench(tmp_path, trials=1, enqueue=False)
    assert bench.train(bench.propose()) == "complete"
    for role, recipe in bench.space.baselines().items():
        bench.ledger.enqueue(role, [recipe])
        bench.ledger.enqueue(role, [recipe])  # a second time has no effect
    for role in ("no_kd", "plain_kd", "defaults"):
        run = bench.propose()
        assert run.role == role
        assert bench.train(run, factor=0.01) == "complete"
    assert not bench.ledger.wants_more()
    bench.look()
    assert_sound(bench.folder, 1)


def test_infeasible_proposals_are_told_and_not_counted(tmp_path):
    bench = Bench(tmp_path, limits=Limits(max_params=100_000), trials=10)
    while bench.ledger.wants_more():
        run = bench.propose()
        assert run.recipe.student.channels == 64
        bench.train(run)
    stored, records = bench.look()
    infeasible = [record for record in records if record.state == "infeasible"]
    assert infeasible
    assert len(finished(records)) == 13
    for record in infeasible:
        trial = stored[record.trial]
        assert trial.state == TrialState.PRUNED
        assert trial.constraints["max_params"] == pytest.approx(record.params / 100_000 - 1)
        assert trial.constraints["max_params"] > 0
        assert not trial.intermediate_values
        assert record.reason == f"{record.params:,} parameters, max_params is 100,000"
    assert bench.ledger.study.best_trial.number == best_of(records, bench.ledger.limits).trial
    numbers = [record.trial for record in infeasible]
    half = len(stored) // 2
    assert sum(number >= half for number in numbers) <= sum(number < half for number in numbers)  # the sampler learns


def test_baselines_over_the_limits_run_and_are_not_best(tmp_path):
    class Wide(FakeFeasible):
        def __call__(self, recipe):
            return self.limits.check(10**9 if not recipe.objective.terms else 1, None)

    limits = Limits(max_params=100_000)
    bench = Bench(tmp_path, limits=limits, feasible=Wide(limits), trials=1)
    run = bench.propose()
    assert (run.role, run.costs.feasible) == ("no_kd", False)
    number = run.trial.number
    bench.ledger.complete(number, TrialResult(0.99, 1, {}, 10**9, None), 1.0)
    assert bench.ledger.ranked() == []
    bench.train(bench.propose())
    _, records = bench.look()
    assert records[0].state == "complete"
    assert best_of(records, limits).role == "plain_kd"


def test_limits_that_nothing_keeps_stop_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "PATIENCE", 20)
    bench = Bench(tmp_path, limits=Limits(max_params=1000), enqueue=False)
    with pytest.raises(RunError, match=r"20 proposals in a row .*max_params is 1,000 and the smallest student had 64,000.*Raise the limit"):
        bench.propose()
    _, records = bench.look()
    assert [record.state for record in records] == ["infeasible"] * 20


def test_a_space_that_is_exhausted_stops_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "PATIENCE", 20)
    text = make_space(tmp_path).source
    fixed = Path(text).read_text().replace("{choice: [64, 128, 256], default: 64}", "{value: 64}")
    fixed = fixed.replace("{choice: [kl, mse], default: kl}", "{choice: [kl, mse]}").replace(
        "{float: [1.0, 8.0], log: true, default: 2.0,", "{value: 2.0,"
    )
    fixed = fixed.replace("{float: [0.05, 1.0], log: true, default: 0.2}", "{value: 0.2}")
    fixed = fixed.replace("{float: [1.0e-4, 1.0e-1], log: true, default: 3.0e-3}", "{value: 3.0e-3}")
    Path(text).write_text(fixed)
    space = Space.load(text, "text-classification")
    bench = Bench(tmp_path, space=space, trials=5)
    for _ in range(4):  # no_kd, plain_kd, defaults (kl) and the one other point (mse)
        bench.train(bench.propose())
    with pytest.raises(RunError, match="exhausted"):
        bench.propose()
    _, records = bench.look()
    assert len(records) == 4  # a repeat is in the storage alone
    assert len({record.recipe_id for record in records}) == 4


def test_failures_keep_their_reason(tmp_path):
    def broken(recipe):
        if recipe.training.batch_size == ERROR:
            raise ValueError("heads must divide")
        return Limits().check(1, None)

    bench = Bench(tmp_path, sizes=(ERROR,), feasible=broken, enqueue=False, trials=3)
    assert bench.ledger.propose() is None
    bench.feasible = bench.ledger.feasible = FakeFeasible()
    run = bench.propose()
    bench.ledger.report(run.trial.number, Point(epoch=1, score=0.3, train_loss=1.0, seconds=1.0))
    bench.ledger.fail(run.trial.number, "ValueError: no", 1.5)
    run = bench.propose()
    bench.ledger.complete(run.trial.number, TrialResult(math.nan, 1, {}, 1, None), 1.0)
    stored, records = bench.look()
    assert [record.reason for record in records] == ["ValueError: heads must divide", "ValueError: no", "DivergedError: the score is nan"]
    assert [trial.state for trial in stored] == [TrialState.FAIL] * 3
    assert records[1].curve[0].score == 0.3
    assert not bench.ledger.wants_more()


def test_what_failed_is_not_run_again_in_any_role(tmp_path, monkeypatch):
    bench = Bench(tmp_path, trials=2)
    ran = []
    while bench.ledger.wants_more():
        run = bench.propose()
        ran.append((run.recipe_id, run.assignment.seed))
        if run.role == "defaults":  # the best one
            bench.train(run)
        else:
            bench.ledger.fail(run.trial.number, "ValueError: no")
    assert len(set(ran)) == 5
    bench.ledger.write(force=True)
    ledger = bench.again()
    assert sorted(ledger.failed()) == sorted({*ran} - {ran[2]})
    for record in list(ledger.records.values()):
        ledger.enqueue("given", [Recipe.parse(record.recipe)])
    ledger.follow_up()  # of the best one, the recipe without a teacher is the baseline that failed
    waiting = [trial for trial in ledger.study.get_trials() if trial.state == TrialState.WAITING]
    assert [trial.user_attrs["proposal"]["role"] for trial in waiting] == ["given"]  # what did not fail may be given
    assert bench.propose().recipe_id == ran[2][0]
    number, epochs = max(ledger.running), ledger.running[max(ledger.running)].epochs
    ledger.complete(number, TrialResult(0.7, epochs, {}, 1, None), 1.0)
    assert not ledger.wants_more()


def test_where_few_rows_have_labels_score_and_agreement_decide_together(tmp_path):
    """The storage's values, the rungs and the best trial go by the standing; the records keep the score."""
    bench = Bench(tmp_path, enqueue=False, trials=6)
    bench.plan = dataclasses.replace(bench.plan, dataset=dataclasses.replace(FACTS, agreement_rows=900))
    bench.again()
    (folder,) = {ref.folder for ref in bench.plan.teachers.values()}
    score, ended = 0.9, {}
    for place in range(6):  # of equal scores, with falling agreements: all but the first are stopped at the first rung
        run = bench.propose()
        assert run.assignment.judge == folder
        agreement, student = 0.8 - 0.1 * place, Path(run.assignment.student_folder)
        student.mkdir(parents=True)
        for epoch in range(1, run.epochs + 1):
            point = Point(epoch=epoch, score=score, train_loss=1.0, seconds=1.0, agreement=agreement, standing=(score + agreement) / 2)
            if bench.ledger.report(run.trial.number, point):
                bench.ledger.prune(run.trial.number)
                break
        else:
            costs = {"accuracy": score}, count(run.recipe), 2.0
            result = TrialResult(score, 1, *costs, agreement=agreement, standing=(score + agreement) / 2)
            bench.ledger.complete(run.trial.number, result, 9.5)
        ended[run.trial.number] = agreement
    stored, records = bench.look()
    assert [(trial.number, trial.value) for trial in stored if trial.state == TrialState.COMPLETE] == [(0, pytest.approx(0.85))]
    assert [item.trial for item in records] == sorted(ended)
    assert [(item.score, item.agreement) for item in records] == [(score, ended[item.trial]) for item in records]
    assert [item.standing for item in records] == [(score + ended[item.trial]) / 2 for item in records]
    assert [item.state for item in records] == ["complete", *["pruned"] * 5]


def test_a_study_that_began_without_it_compares_by_scores_alone(tmp_path):
    bench = Bench(tmp_path)
    assert bench.plan.dataset.agreement_rows == 0
    assert bench.propose().assignment.judge is None


def test_a_recipe_without_its_teacher_fails_alone(tmp_path):
    bench = Bench(tmp_path, enqueue=False)
    other = Recipe.parse(bench.space.defaults().model_dump() | {"teacher": {"model": "another"}})
    bench.ledger.enqueue("recommended", [other])
    assert bench.ledger.propose() is None
    _, records = bench.look()
    assert "no teacher 'another'" in records[0].reason


def test_what_is_cut_off_is_run_again_once(tmp_path):
    bench = Bench(tmp_path, trials=2)
    runs = [bench.propose() for _ in range(4)]
    bench.ledger.report(runs[3].trial.number, Point(epoch=1, score=0.5, train_loss=1.0, seconds=1.0))
    bench.ledger.write(force=True)
    ledger = bench.again()  # the process was killed
    assert not ledger.running
    ledger.sweep("the search was killed")
    ledger.sweep("the search was killed")
    stored, records = bench.look()
    assert [trial.state for trial in stored] == [TrialState.FAIL] * 4 + [TrialState.WAITING] * 4
    assert {record.reason for record in records} == {"interrupted: the search was killed"}
    assert [trial.user_attrs["proposal"]["again_of"] for trial in stored[4:]] == [0, 1, 2, 3]
    for role, recipe in bench.space.baselines().items():
        ledger.enqueue(role, [recipe])  # they are queued already
    again = []
    while ledger.wants_more():
        again.append(bench.propose())
        bench.train(again[-1])
    assert [(run.role, run.recipe.id) for run in again[:4]] == [(run.role, run.recipe.id) for run in runs]
    bench.look()
    assert_sound(bench.folder, 2)


def test_a_kill_in_the_middle_of_a_sweep_queues_nothing_twice(tmp_path, monkeypatch):
    bench = Bench(tmp_path, trials=1, enqueue=False)
    run = bench.propose()
    ledger = bench.again()

    def killed(*_args, **_more):
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger.study, "tell", killed)
    with pytest.raises(KeyboardInterrupt):
        ledger.sweep("the search was killed")
    ledger = bench.again()
    ledger.sweep("the search was killed")
    assert bench.propose().recipe.id == run.recipe.id
    assert [trial.state for trial in ledger.study.get_trials()] == [TrialState.FAIL, TrialState.RUNNING]


def test_a_trial_that_kills_its_workers_fails_the_second_time(tmp_path):
    bench = Bench(tmp_path, trials=1, enqueue=False)
    first = bench.propose()
    bench.ledger.worker_died(first.trial.number)
    assert bench.ledger.wants_more()
    second = bench.propose()
    assert second.recipe.id == first.recipe.id
    bench.ledger.sweep("the search was stopped")  # a stop in between does not forget the first death
    third = bench.propose()
    bench.ledger.worker_died(third.trial.number)
    _, records = bench.look()
    assert [record.reason for record in records] == [
        "interrupted: its worker process was killed",
        "interrupted: the search was stopped",
        "WorkerDied: its worker process was killed twice (out of memory, or a crash in native code?)",
    ]
    assert not bench.ledger.wants_more()


def test_nodes_that_leave_are_no_fault_of_a_trial(tmp_path):
    bench = Bench(tmp_path, trials=1, enqueue=False)
    for nodes_gone in (0, 1, 2, 4):  # one that leaves is noticed only after its worker is lost
        bench.ledger.worker_died(bench.propose().trial.number, nodes_gone)
        bench.ledger = bench.again()  # also in a resumed search
    bench.ledger.worker_died(bench.propose().trial.number, 4)
    _, records = bench.look()
    cut = ["interrupted: its worker process was killed"] * 4
    assert [record.reason for record in records] == [
        *cut,
        "WorkerDied: its worker process was killed twice (out of memory, or a crash in native code?)",
    ]
    assert not bench.ledger.wants_more()


def test_students_on_disk_are_bounded(tmp_path):
    bench = Bench(tmp_path, trials=8, keep=2)
    most = 0
    while bench.ledger.wants_more():
        bench.train(bench.propose())
        most = max(most, len(list((bench.folder / "students").iterdir())))
    _, records = bench.look()
    best = sorted(
        (record for record in records if record.state == "complete"), key=lambda record: (-record.score, record.params, record.trial)
    )
    assert {folder.name for folder in (bench.folder / "students").iterdir()} == {str(record.trial) for record in best[:2]}
    assert most == 2
    assert best[0].score == pytest.approx(
        max(quality(Recipe.parse(record.recipe)) * (1 - 0.5**9) for record in records if record.state == "complete")
    )


def test_a_student_that_is_being_written_stays(tmp_path):
    """The trial beside it ended meanwhile, and what is not kept was deleted: its folder, not yet in place, went too."""
    bench = Bench(tmp_path, trials=2)
    writing, other = bench.propose(), bench.propose()
    aside = bench.folder / "students" / f"{writing.trial.number}.part-0123abcd"
    left = bench.folder / "students" / "77.part-0123abcd"
    for folder in (aside, left):
        folder.mkdir(parents=True)
    bench.train(other)
    assert aside.is_dir()
    assert not left.exists()


def test_equal_scores_go_to_the_smaller_student(tmp_path):
    bench = Bench(tmp_path, trials=6, enqueue=False)
    for size in (300, 100, 200):
        run = bench.propose()
        bench.ledger.complete(run.trial.number, TrialResult(0.5, 1, {}, size, None), 1.0)
    assert [record.params for record in bench.ledger.ranked()] == [100, 200, 300]


def test_a_resumed_sampler_does_not_repeat_its_start(tmp_path):
    def first_points(finished):
        bench = Bench(tmp_path / f"{finished}", enqueue=False)
        bench.ledger.study.sampler = make_sampler(0, finished)
        return [bench.propose().recipe.id for _ in range(3)]

    (tmp_path / "0").mkdir()
    (tmp_path / "5").mkdir()
    start, later = first_points(0), first_points(5)
    assert not set(start) & set(later)
    (tmp_path / "0" / "s" / "optuna.journal").unlink()
    assert first_points(0) == start


def test_a_sqlite_storage_is_quick_and_refuses_what_it_cannot_open(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path / 'a.db'}")
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
    with pytest.raises(StudyError, match="cannot be opened"):
        open_storage(f"sqlite:///{tmp_path / 'no' / 'folder.db'}")


def test_space_filling_trials_run_to_their_end(tmp_path):
    bench = Bench(tmp_path, trials=6, explore=True)
    recipes = list(itertools.islice(bench.space.spread(0), 6))
    bench.ledger.enqueue("explore", recipes)
    factors = iter([1.0] * 5 + [0.1] * 4)  # by the rungs' measure the last ones lose
    while bench.ledger.wants_more():
        assert bench.train(bench.propose(), next(factors)) == "complete"
    _, records = bench.look()
    assert [record.recipe_id for record in records if record.role == "explore"] == [recipe.id for recipe in recipes]
    assert [len(record.curve) for record in records] == [9] * 9


def test_baselines_and_the_best_few_are_repeated_with_other_seeds(tmp_path):
    bench = Bench(tmp_path, trials=7, repeats=3, explore=True)
    spread = list(itertools.islice(bench.space.spread(0), 8))
    bench.ledger.enqueue("given", spread[7:])
    bench.ledger.enqueue("explore", spread[:7])
    while bench.ledger.wants_more():
        bench.train(bench.propose())
    first = sorted((item for item in bench.ledger.records.values() if item.role == "explore"), key=lambda item: -item.score)
    bench.ledger.repeat()
    bench.ledger.repeat()  # a second time has no effect
    run = bench.propose()
    bench.ledger.interrupt(run.trial.number, "a test")  # comes back with its own seed
    luck = {1: 1.0, 2: 0.9}
    while bench.ledger.wants_more():
        run = bench.propose()
        bench.train(run, luck[run.assignment.seed] * (1.2 if run.recipe.id == first[2].recipe_id else 1.0))
    _, records = bench.look()
    repeats = [item for item in finished(records) if item.role == "repeat"]
    wanted = {item.recipe_id for item in records if item.role in ("no_kd", "plain_kd", "defaults", "given")} | {
        item.recipe_id for item in first[:5]
    }
    assert Counter((item.recipe_id, item.seed) for item in repeats) == {(recipe, seed): 1 for recipe in wanted for seed in (1, 2)}
    assert bench.ledger.searched == 7
    ranked = bench.ledger.ranked()
    assert ranked[0].recipe_id == first[2].recipe_id  # the best mean over seeds, though two had a better first seed
    assert [item.recipe_id for item in ranked if item.role == "explore"][1:3] == [first[0].recipe_id, first[1].recipe_id]
    assert all(item.role != "repeat" for item in ranked)


def test_the_best_recipe_is_tried_on_parts_of_the_unlabelled_rows_where_that_is_asked_for(tmp_path):
    bench = Bench(tmp_path, trials=2, data_curve=True, space=Space.load("text", "text-classification"))
    while bench.ledger.wants_more():
        bench.train(bench.propose())
    searched = bench.ledger.searched
    bench.ledger.fewer_rows()
    bench.ledger.fewer_rows()  # as a resumed search does
    best = bench.ledger.ranked()[0]
    parts = []
    while bench.ledger.wants_more():
        run = bench.propose()
        assert run.role == "fewer_rows"
        parts.append((run.recipe.training.unlabelled_choice, run.recipe.training.unlabelled_keep))
        assert run.recipe.student == Recipe.parse(best.recipe).student
        bench.train(run, factor=2.0)
    assert parts == [("random", 0.25), ("random", 0.5), ("all", 1.0)]
    assert bench.ledger.ranked()[0].trial == best.trial
    assert bench.ledger.searched == searched


def test_no_parts_are_tried_unasked(tmp_path):
    bench = Bench(tmp_path, trials=2, space=Space.load("text", "text-classification"))
    while bench.ledger.wants_more():
        bench.train(bench.propose())
    bench.ledger.fewer_rows()
    assert not bench.ledger.wants_more()


def test_the_winner_is_trained_without_a_teacher_with_each_of_its_seeds(tmp_path):
    bench = Bench(tmp_path, trials=3, repeats=2)
    while bench.ledger.wants_more():
        run = bench.propose()
        bench.train(run, 2.0 if run.role == "search" else 1.0)  # the defaults' twin is a baseline
    bench.ledger.follow_up()
    while bench.ledger.wants_more():
        run = bench.propose()
        assert run.role == "repeat"  # they decide who wins
        bench.train(run, 2.0 if run.recipe.id == bench.ledger.ranked()[0].recipe_id else 1.0)
    best = Recipe.parse(bench.ledger.ranked()[0].recipe)
    bench.ledger.follow_up()
    twins = []
    while bench.ledger.wants_more():
        run = bench.propose()
        twins.append((run.role, run.assignment.seed))
        assert (run.recipe.student, run.recipe.training) == (best.student, best.training)
        assert not run.recipe.objective.terms
        bench.train(run, factor=9.0)
    assert twins == [("twin", 0), ("twin", 1)]
    assert bench.ledger.ranked()[0].recipe_id == best.id  # it is a comparison, and wins nothing
    bench.ledger.follow_up()
    assert not bench.ledger.wants_more()


def test_a_winner_that_the_baseline_without_a_teacher_is_the_twin_of_needs_no_other(tmp_path):
    bench = Bench(tmp_path, trials=0)
    while bench.ledger.wants_more():
        run = bench.propose()
        bench.train(run, factor=2.0 if run.role == "plain_kd" else 1.0)
    assert bench.ledger.ranked()[0].role == "plain_kd"
    bench.ledger.follow_up()
    assert not bench.ledger.wants_more()


def test_what_trials_note_is_logged_once() -> None:
    lines: list[str] = []
    ended: list[int] = []
    ledger: Any = types.SimpleNamespace(running={1, 2}, complete=lambda number, result, seconds: ended.append(number))
    tuner_round = Round(ledger, lambda event: None, lines.append, lambda: False, True, 1, numbers={"a": 1, "b": 2})
    result = dataclasses.asdict(TrialResult(0.5, 1, {}, 10, None, notes=("it is slow", "it is cold")))
    for tune_id in ("a", "b"):
        assert not tuner_round.message(tune_id, json.dumps({"kind": "result", "result": result, "seconds": 1.0}))
    assert ended == [1, 2]
    assert lines == ["trial 1, and maybe others: it is slow", "trial 1, and maybe others: it is cold"]
