"""The disk of the studies is full: the search stops with one sentence, and a resumed one runs the trials that could not be kept."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from fakes import FACTS, FakeFeasible, FakeRunner, assert_sound, make_settings, make_space, make_teachers
from test_ledger import Bench

from autodistill.errors import DiskError
from autodistill.events import SearchFinished
from autodistill.ranking import was_interrupted
from autodistill.recipe import Recipe
from autodistill.records import Point
from autodistill.storage import STUDIES_ELSEWHERE, new_folder
from autodistill.study import Study
from autodistill.train.assignment import Assignment, Report, TrialResult
from autodistill.tuning import run as run_module
from autodistill.tuning import worker
from autodistill.tuning.round import Round
from autodistill.tuning.worker import run_assignment


def fill(place: Path) -> Path:
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler


class FullAfter:
    """A runner whose disk is full for the trials from one on, once they are trained."""

    def __init__(self, whole: int) -> None:
        self.whole, self.started = whole, 0

    def __call__(self, assignment: Assignment, report: Report) -> TrialResult:
        self.started += 1
        result = FakeRunner(pause=0.0)(assignment, report)
        if self.started > self.whole:
            with new_folder(Path(str(assignment.student_folder)), STUDIES_ELSEWHERE):
                raise OSError(28, os.strerror(28))
        return result


def in_this_process(tuner_round: Round, settings: Any, runner: Any) -> None:
    """`run_round` without Ray: one trial after the other, with the worker's own code."""
    import ray.tune

    for number in range(100):
        config = tuner_round.suggest(f"t{number}")
        if not isinstance(config, dict):
            break
        stopped: list[bool] = []

        def hear(content: dict[str, str], tune_id: str = f"t{number}", stopped: list[bool] = stopped) -> None:
            if not stopped and tuner_round.message(tune_id, content["message"]):
                stopped.append(True)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ray.tune, "report", hear)
            patch.setattr(worker, "_whereabouts", dict)
            run_assignment(config, runner)
        if tuner_round.must_stop():
            break
    if tuner_round.error is not None:
        raise tuner_round.error


def search(folder: Path, runner: Any, own: Sequence[Recipe] = (), listen: Any = None, **asked: Any) -> tuple[Study, list[Any]]:
    space, events = make_space(folder), []
    study = run_module.run_search(
        make_settings(folder, **asked), space=space, dataset=FACTS, teachers=make_teachers(space), runner=runner, feasible=FakeFeasible(),
        baselines=space.baselines(), own=own, listen=listen or events.append,
    )  # fmt: skip
    return study, events


def test_a_search_stops_and_a_resumed_one_trains_what_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "run_round", in_this_process)
    monkeypatch.setattr(run_module, "ray_running", lambda settings: nullcontext(run_module.RunningRay(1, True)))
    with pytest.raises(DiskError) as caught:
        search(tmp_path, FullAfter(4))
    assert str(caught.value).startswith("the search stops, because its trials cannot write their files: DiskError: ")
    assert str(caught.value).endswith(f"cannot be written: No space left on device. Make room or {STUDIES_ELSEWHERE}")
    records = Study.open(tmp_path / "s").trial_records
    assert {record.state for record in records if not was_interrupted(record)} <= {"complete", "pruned"}  # none has failed
    assert len(records) < 11
    assert [record.reason for record in records if was_interrupted(record)] == ["interrupted: a file could not be written"]
    study, events = search(tmp_path, FakeRunner(pause=0.0), resume=True)
    assert_sound(tmp_path / "s", 8)
    assert study.counts["fail"] == 0
    assert isinstance(events[-1], SearchFinished)


def test_messages_of_a_full_disk(tmp_path: Path) -> None:
    bench, lines = Bench(tmp_path), []
    tuner_round = Round(bench.ledger, bench.events.append, lines.append, lambda: False, False, 2)
    assert isinstance(tuner_round.suggest("first"), dict)
    assert isinstance(tuner_round.suggest("second"), dict)
    assert not tuner_round.must_stop()
    tuner_round.message("first", json.dumps({"kind": "disk", "seconds": 1.0, "reason": "OSError: full", "traceback": "Traceback"}))
    assert tuner_round.must_stop()  # without waiting for the second
    assert tuner_round.suggest("third") is None
    assert lines == ["trial 0 could not write a file\nTraceback"]
    bench.ledger.sweep("the search was stopped")
    again = bench.again()
    assert [again.propose().recipe_id for _ in range(3)].count(bench.ledger.records[0].recipe_id) == 1  # it is run again


def test_a_trial_whose_end_could_not_be_saved_is_not_ended_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    recipe = bench.propose().recipe_id

    def full() -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(bench.ledger.storage, "save", full)
        with pytest.raises(DiskError):
            bench.ledger.interrupt(0, "a file could not be written")
        assert not bench.ledger.running
    bench.ledger.sweep("the search was stopped")
    again = bench.again()
    assert [again.propose().recipe_id for _ in range(3)].count(recipe) == 1


def test_a_study_on_a_full_disk_loses_no_trial(small_disk: Path) -> None:
    bench = Bench(small_disk)
    bench.train(bench.propose())
    bench.ledger.write(force=True)
    parquet, journal = (small_disk / "s" / name for name in ("trials.parquet", "optuna.journal"))
    content = parquet.read_bytes()
    filler = fill(small_disk)

    def go_on() -> None:
        for _ in range(50):  # there may be room for a line or two
            bench.train(bench.propose())
            bench.ledger.write(force=True)

    with pytest.raises(DiskError, match=r"/s cannot be written: No space left on device\. Make room or keep the studies on another disk"):
        go_on()
    assert parquet.read_bytes() == content
    assert not list(small_disk.rglob("*.part*"))
    whole = journal.read_bytes()
    assert whole.endswith(b"\n")
    with pytest.raises(DiskError, match="cannot be written: No space left on device"), new_folder(small_disk / "student", "x") as aside:
        (aside / "model").write_bytes(bytes(100_000))
    filler.unlink()
    again = bench.again()
    again.sweep("the search was killed")
    while again.wants_more():
        run = again.propose()
        if run is not None:
            Path(str(run.assignment.student_folder)).mkdir(parents=True, exist_ok=True)
            again.report(run.trial.number, Point(epoch=1, score=0.5, train_loss=1.0, seconds=1.0))
            again.complete(run.trial.number, TrialResult(0.5, 1, {}, 10, None), 1.0)
    again.write(force=True)
    assert_sound(small_disk / "s", 8)
