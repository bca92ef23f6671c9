"""Searches that start Ray."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from fakes import (
    ERROR,
    FACTS,
    GOOD,
    NAN,
    NO_MEMORY,
    FakeFeasible,
    FakeRunner,
    assert_sound,
    finished,
    look,
    make_settings,
    make_space,
    make_teachers,
)
from optuna.trial import TrialState
from ray.tune.utils.object_cache import _ObjectCache

from autodistill.environment import KEEP_MEMORY, gpu_names
from autodistill.errors import RunError, StudyError
from autodistill.limits import Limits
from autodistill.recipe import Recipe
from autodistill.schema import COMMENT, RECIPE_FILE, as_text, recipe_schema
from autodistill.study import Study
from autodistill.tuning import run as run_module
from autodistill.tuning.ray_backend import ray_running
from autodistill.tuning.run import run_search
from autodistill.tuning.tune_hooks import Messages

pytestmark = pytest.mark.slow


def search(
    folder: Path,
    *,
    sizes=(GOOD,),
    listen=lambda event: None,
    runner=None,
    limits=None,
    space=None,
    warm=(),
    families=(),
    facts=FACTS,
    **asked,
) -> Study:
    space = space or make_space(folder, sizes)
    limits = limits or Limits()
    return run_search(
        make_settings(folder, max_params=limits.max_params, **asked),
        space=space,
        dataset=facts,
        teachers=make_teachers(space),
        runner=runner or FakeRunner(),
        feasible=FakeFeasible(limits),
        baselines=space.baselines(),
        warm=warm,
        families=families,
        listen=listen,
    )


@pytest.fixture(scope="module")
def ray_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Ray for the tests in this process; each search finds it initialised and leaves it running."""
    with ray_running(make_settings(tmp_path_factory.mktemp("ray"))):
        yield


@pytest.fixture(scope="module")
def mixed(ray_up, tmp_path_factory) -> tuple[Study, list[object]]:
    """A search over trials that complete, stop early, raise, diverge and run out of memory."""
    events: list[object] = []

    def listen(event: object) -> None:
        events.append(event)
        raise RuntimeError("a view that breaks")

    folder = tmp_path_factory.mktemp("mixed")
    space = make_space(folder, (GOOD, NAN, ERROR, NO_MEMORY))
    warm = [
        Recipe.parse({**space.defaults().model_dump(), "training": {**space.defaults().model_dump()["training"], "batch_size": size}})
        for size in (NAN, ERROR, NO_MEMORY)
    ]
    good = {**space.defaults().model_dump()["objective"], "hard_label_weight": 0.3}  # as good as any: nothing stops it early
    warm.append(Recipe.parse({**space.defaults().model_dump(), "objective": good}))
    study = search(folder, space=space, warm=warm, listen=listen, trials=14, limits=Limits(max_params=200_000), keep=2)
    return study, events


def test_recommended_recipes_and_one_of_each_family_come_before_the_samplers(ray_up, tmp_path):
    space = make_space(tmp_path, (GOOD,))
    data = space.defaults().model_dump()
    own = [Recipe.parse({**data, "objective": {**data["objective"], "hard_label_weight": weight}}) for weight in (0.3, 0.4, 0.5)]
    study = search(tmp_path, space=space, warm=own[:1], families=[space.defaults(), *own], trials=4, workers=1)
    tried = [(record.role, record.recipe_id) for record in sorted(study.trial_records, key=lambda record: record.trial)][3:]
    assert tried[:3] == [("recommended", own[0].id), ("search", own[1].id), ("search", own[2].id)]
    assert len(tried) >= 4
    assert tried[3][0] == "search"
    short = search(tmp_path / "short", space=space, warm=own[:1], families=own, trials=2, workers=1)
    assert sum(record.role in ("recommended", "search") for record in short.trial_records) == 2


def test_every_end_is_recorded_in_both_places(mixed):
    study, _ = mixed
    records = assert_sound(study.folder, 14)
    counts = Counter(record.state for record in records)
    assert counts["complete"] >= 4
    assert counts["pruned"] >= 1
    assert study.counts == {**{state: counts[state] for state in ("complete", "pruned", "fail", "infeasible")}, "interrupted": 0}
    reasons = {record.reason for record in records if record.role == "recommended" and record.state == "fail"}
    assert reasons <= {"DivergedError: the score of epoch 2 is nan", "ValueError: the batch does not fit", "MemoryError"}
    first = next(record for record in records if record.role == "recommended")
    assert (first.state, first.reason) == ("fail", "DivergedError: the score of epoch 2 is nan")
    assert all(record.state == "complete" for record in records if record.role in ("no_kd", "plain_kd", "defaults"))
    for metrics in (record.metrics for record in records if record.state == "complete"):
        assert metrics["OMP_NUM_THREADS"] == 1
        assert {name: str(int(metrics[name])) for name in KEEP_MEMORY} == KEEP_MEMORY
    assert "does\nnot fit" in (study.folder / "search.log").read_text() or "the batch does" not in str(reasons)


def test_workers_are_kept_from_trial_to_trial(ray_up, tmp_path):
    starts = tmp_path / "starts"
    starts.mkdir()
    search(tmp_path, runner=FakeRunner(pause=0.1, starts=str(starts)), trials=20, workers=2)
    assert len({path.read_text() for path in starts.iterdir()}) <= 2
    # All that are free at one time wait for the next trials: Tune by itself would keep one of them.
    cache = _ObjectCache(may_keep_one=True)
    controller = SimpleNamespace(_actor_cache=cache, checkpoint=lambda force: None)
    trial = SimpleNamespace(trial_id="a", placement_group_factory="one CPU")
    tuner_round = SimpleNamespace(workers=3, numbers={"a": 7}, trials={})
    Messages(tuner_round).on_trial_add(controller, trial)
    assert tuner_round.trials == {7: trial}
    assert [cache.cache_object("one CPU", number) for number in range(4)] == [True, True, True, False]
    assert list(cache.flush_cached_objects()) == []
    assert list(cache.flush_cached_objects(force_all=True)) == [0, 1, 2]


def test_the_best_is_recommended_and_kept(mixed):
    study, _ = mixed
    best = study.best
    assert best.score == max(record.score for record in study.trial_records if record.state == "complete")
    assert study.recommended.id == best.recipe_id
    assert f"trial {best.trial} ({best.role})" in (study.folder / "recommended.yaml").read_text()
    assert (study.folder / "recommended.yaml").read_text().startswith(f"{COMMENT}{RECIPE_FILE}\n")
    assert (study.folder / RECIPE_FILE).read_text() == as_text(recipe_schema())
    assert (study.best_folder / "model.txt").read_text() == f"{best.recipe_id} 9"
    assert str(best.trial) in {folder.name for folder in (study.folder / "students").iterdir()}
    assert len(list((study.folder / "students").iterdir())) == 2
    assert set(study.baselines) == {"no_kd", "plain_kd", "defaults"}
    opened = Study.open(study.folder)
    assert opened.records.equals(study.records)
    assert opened.optuna_study().best_value == best.score
    about = json.loads((study.folder / "study.json").read_text())
    assert about["teacher_score"] == opened.teacher_score == 0.9
    assert about["dataset"]["fingerprint"] == FACTS.fingerprint
    assert about["sessions"][0]["environment"]["optuna"] == optuna.__version__
    places = {state: set() for state in ("complete", "pruned", "fail")}
    for record in study.trial_records:
        if record.state != "infeasible":
            assert record.environment["optuna"] == optuna.__version__
            places[record.state].add(tuple(record.environment[name] for name in ("host", "node", "device")))
    assert places["complete"] == places["pruned"] == places["fail"]
    ((host, node, device),) = places["fail"]
    assert (host, device) == (socket.gethostname(), "cuda:0" if gpu_names() else "cpu")
    assert re.fullmatch("[0-9a-f]{56}", node)


def test_events_tell_the_same_story_and_a_broken_listener_does_no_harm(mixed):
    study, events = mixed
    names = [type(event).__name__ for event in events]
    assert names[0] == "SearchStarted"
    assert names[-1] == "SearchFinished"
    finished = [event.record for event in events if type(event).__name__ == "TrialFinished"]
    assert sorted(finished, key=lambda record: record.trial) == study.trial_records
    started = {event.trial for event in events if type(event).__name__ == "TrialStarted"}
    assert started == {record.trial for record in study.trial_records if record.state != "infeasible"}
    points = Counter(event.trial for event in events if type(event).__name__ == "TrialReported")
    assert points == Counter({record.trial: len(record.curve) for record in study.trial_records if record.curve})
    assert "the listener failed" in (study.folder / "search.log").read_text()


def test_an_existing_study_is_refused_or_resumed(mixed, tmp_path):
    study, _ = mixed
    folder = tmp_path / "copy"
    shutil.copytree(study.folder.parent, folder)
    space = make_space(folder, (GOOD, NAN, ERROR, NO_MEMORY))
    asked = {"space": space, "limits": Limits(max_params=200_000), "trials": 14}
    with pytest.raises(StudyError, match=r"exists; continue it with --resume, or start another with --study NAME"):
        search(folder, **asked)
    with pytest.raises(StudyError, match="seed was 0 and is 1"):
        search(folder, **asked, seed=1, resume=True)
    with pytest.raises(StudyError, match="max_epochs was 9 and is 4"):
        search(folder, **asked, max_epochs=4, resume=True)
    with pytest.raises(StudyError, match="space: training.batch_size was"):
        search(folder, sizes=(GOOD,), limits=Limits(max_params=200_000), resume=True)
    with pytest.raises(StudyError, match=r"no study 'other' in .* studies there: s"):
        search(folder, **asked, study="other", resume=True)
    before = (folder / "s" / "trials.parquet").read_bytes()
    events = []
    make_space(folder, (GOOD, NAN, ERROR, NO_MEMORY))
    compared = replace(FACTS, agreement_rows=900)  # as a later version would compare students of these rows
    resumed = search(folder, **asked, facts=compared, resume=True, listen=events.append)
    assert resumed.about["dataset"]["agreement_rows"] == 0
    assert [type(event).__name__ for event in events] == ["SearchFinished"]  # nothing to do: Ray is not even asked
    assert resumed.counts == study.counts
    assert len(before) == len((folder / "s" / "trials.parquet").read_bytes())


class Clock:
    """A clock that a test can put forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


def test_a_time_budget_leaves_a_study_to_resume(ray_up, tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(run_module, "time", clock)

    def listen(event: object) -> None:
        if type(event).__name__ == "TrialStarted" and event.role == "search":
            clock.ahead = 1000.0

    study = search(tmp_path, trials=50, time_budget=999.0, runner=FakeRunner(0.1), listen=listen)
    stored, records = look(study.folder)
    assert not [trial for trial in stored if trial.state == TrialState.RUNNING]
    cut = [record.trial for record in records if record.reason == "interrupted: the search was stopped"]
    assert 1 <= len(cut) <= 2
    assert [trial.user_attrs["proposal"]["again_of"] for trial in stored if trial.state == TrialState.WAITING] == cut
    assert study.counts["interrupted"] == len(cut)
    assert study.counts["complete"] >= 2
    search(tmp_path, trials=3, resume=True)
    assert_sound(study.folder, 3)


def test_a_search_without_a_complete_trial_names_the_first_failure(ray_up, tmp_path):
    with pytest.raises(RunError, match=r"no trial completed: 4 failed, the first with 'TypeError: .*not_a_runner"):
        search(tmp_path, trials=1, runner=not_a_runner)
    assert_sound(tmp_path / "s", 1)


def not_a_runner() -> None: ...


class Unloadable:
    """A runner whose module a worker does not have."""

    def __reduce__(self) -> tuple[object, ...]:
        return missing_module, ()


def missing_module() -> None:
    raise ImportError("no such module there")


def test_workers_that_cannot_load_the_runner_stop_the_search(ray_up, tmp_path):
    with pytest.raises(RunError, match=r"the workers cannot run trials: .*no such module there"):
        search(tmp_path, trials=30, runner=Unloadable())
    stored, records = look(tmp_path / "s")
    assert not [trial for trial in stored if trial.state == TrialState.RUNNING]
    assert len(records) <= 4  # it does not go through all of them
    assert {record.state for record in records} == {"fail"}
    assert finished(records) == []


# Searches in a process of their own
