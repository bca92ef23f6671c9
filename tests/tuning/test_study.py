"""Study folders, and what a search refuses before it starts Ray."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import types
from contextlib import nullcontext
from pathlib import Path

import optuna
import pytest
from fakes import FACTS, FakeFeasible, FakeRunner, make_settings, make_space, make_teachers
from test_full_disk import in_this_process
from test_full_disk import search as search_here
from test_ledger import Bench

from autodistill.environment import describe_environment
from autodistill.errors import RecipeError, RunError, StudyError
from autodistill.events import SearchMessage
from autodistill.recipe import Recipe
from autodistill.study import Study
from autodistill.study_folder import lock_study, read_about, write_about
from autodistill.train.assignment import Assignment, Report, TrialResult
from autodistill.tuning import ray_backend
from autodistill.tuning import run as run_module
from autodistill.tuning.run import run_search


class Reached(Exception):
    """The search got as far as starting Ray."""


def ask(folder: Path, monkeypatch: pytest.MonkeyPatch, **asked: object) -> Study:
    """A search up to the point where Ray would start."""

    def no_ray(*_: object) -> None:
        raise Reached

    monkeypatch.setattr(ray_backend, "_init", no_ray)
    monkeypatch.setattr("autodistill.tuning.run.ray_running", no_ray)
    space = make_space(folder)
    return run_search(
        make_settings(folder, **asked),
        space=space,
        dataset=FACTS,
        teachers=make_teachers(space),
        runner=FakeRunner(),
        feasible=FakeFeasible(),
        baselines=space.baselines(),
    )


def test_a_search_that_breaks_before_its_first_trial_can_be_resumed(tmp_path, monkeypatch):
    with pytest.raises(Reached):
        ask(tmp_path, monkeypatch)
    study = Study.open(tmp_path / "s")
    assert study.trial_records == []
    assert study.best is None
    assert study.best_folder is None
    assert study.counts == {"complete": 0, "pruned": 0, "fail": 0, "infeasible": 0, "interrupted": 0}
    assert len(study.records) == 0
    with pytest.raises(
        RecipeError, match=r"has no recipe \(recommended\.yaml\): no trial of this study has completed; continue it with --resume"
    ):
        _ = study.recommended
    queue = study.optuna_study().get_trials()
    assert [trial.user_attrs["proposal"]["role"] for trial in queue] == ["no_kd", "plain_kd", "defaults"]
    with pytest.raises(StudyError, match="exists; continue it with --resume"):
        ask(tmp_path, monkeypatch)
    with pytest.raises(Reached):
        ask(tmp_path, monkeypatch, resume=True, trials=20)
    assert len(study.optuna_study().get_trials()) == 3
    about = read_about(study.folder)
    assert len(about["sessions"]) == 2
    assert about["settings"]["trials"] == 20


class AlwaysFails:
    """A runner without success. ran: the recipes and seeds that it was given."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, int]] = []

    def __call__(self, assignment: Assignment, report: Report) -> TrialResult:
        self.ran.append((assignment.recipe.id, assignment.seed))
        raise ValueError("no such folder")


def test_a_resumed_search_repeats_nothing_that_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "run_round", in_this_process)
    monkeypatch.setattr(run_module, "ray_running", lambda settings: nullcontext(run_module.RunningRay(1, True)))
    runner = AlwaysFails()
    advice = "What failed is not run again: remove the cause, and start another study with --study NAME"
    for _ in range(2):  # the second time nothing is left to run
        with pytest.raises(RunError, match=rf"7 failed, the first with 'ValueError: no such folder'; .*{advice}"):
            search_here(tmp_path, runner, trials=4, resume=bool(runner.ran))
        assert len(set(runner.ran)) == len(runner.ran) == 7
    failed = [Recipe.parse(record.recipe) for record in Study.open(tmp_path / "s").trial_records[-2:]]
    events = []
    with pytest.raises(RunError, match="11 failed"):
        search_here(tmp_path, runner, trials=8, resume=True, own=failed, listen=events.append)
    assert len(set(runner.ran)) == len(runner.ran) == 11
    assert [event.text for event in events if isinstance(event, SearchMessage)] == [
        f"the recipe {recipe.id} is not run again, because it failed in trial {trial}: ValueError: no such folder"
        for recipe, trial in zip(failed, (5, 6), strict=True)
    ]


def test_a_search_has_its_study_for_itself(tmp_path, monkeypatch):
    lock = lock_study(tmp_path / "s")
    with pytest.raises(StudyError, match="a search is running on the study"):
        ask(tmp_path, monkeypatch)
    lock.release()
    with pytest.raises(Reached):
        ask(tmp_path, monkeypatch)


def test_another_storage_is_remembered_without_its_password(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    with pytest.raises(Reached):
        ask(tmp_path, monkeypatch, storage=url)
    assert not (tmp_path / "s" / "optuna.journal").exists()
    assert Study.open(tmp_path / "s").storage == url
    with pytest.raises(Reached):
        ask(tmp_path, monkeypatch, resume=True)
    assert not (tmp_path / "s" / "optuna.journal").exists()
    with pytest.raises(StudyError, match=r"is in the storage .*elsewhere\.db', not in .*other\.db"):
        ask(tmp_path, monkeypatch, resume=True, storage=f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(StudyError, match="the storage already holds a study 's'"):
        ask(tmp_path / "b", monkeypatch, storage=url)
    about = read_about(tmp_path / "s")
    about["settings"]["storage"] = "postgresql://me:***@host/db"
    write_about(tmp_path / "s", about)
    with pytest.raises(StudyError, match="give it with its password"):
        ask(tmp_path, monkeypatch, resume=True)
    with pytest.raises(StudyError, match="needs its password"):
        Study.open(tmp_path / "s").optuna_study()


def test_a_study_of_an_older_version_goes_on_in_its_database(tmp_path, monkeypatch):
    folder = tmp_path / "s"
    with pytest.raises(Reached):
        ask(tmp_path, monkeypatch)
    queue = Study.open(folder).optuna_study().get_trials()
    (folder / "optuna.journal").unlink()
    older = optuna.create_study(study_name="s", storage=f"sqlite:///{folder / 'optuna.db'}", direction="maximize")
    older.add_trials(queue[:2])
    study = Study.open(folder)
    assert study.storage == f"sqlite:///{folder / 'optuna.db'}"
    assert len(study.optuna_study().get_trials()) == 2
    with pytest.raises(Reached):
        ask(tmp_path, monkeypatch, resume=True)
    assert [trial.user_attrs["proposal"]["role"] for trial in older.get_trials()] == ["no_kd", "plain_kd", "defaults"]
    assert not (folder / "optuna.journal").exists()
    bench = Bench(tmp_path, enqueue=False)
    bench.train(bench.propose())
    assert older.get_trials()[0].state.is_finished()


def test_a_journal_elsewhere_is_refused(tmp_path, monkeypatch):
    with pytest.raises(StudyError, match=r"the storage is 'x\.journal'; allowed: the URL of a database.*leave --storage out"):
        ask(tmp_path, monkeypatch, storage="x.journal")
    assert not (tmp_path / "s" / "study.json").exists()


def test_a_study_that_has_lost_its_storage_is_not_overwritten(tmp_path, monkeypatch):
    with pytest.raises(Reached):
        ask(tmp_path, monkeypatch)
    bench = Bench(tmp_path, enqueue=False)
    bench.train(bench.propose())
    bench.ledger.write(force=True)
    (tmp_path / "s" / "study.json").unlink()
    (tmp_path / "s" / "optuna.journal").rename(tmp_path / "kept.journal")
    with pytest.raises(Reached):
        ask(tmp_path, monkeypatch)
    (tmp_path / "s" / "optuna.journal").unlink()
    table = (tmp_path / "s" / "trials.parquet").read_bytes()
    with pytest.raises(StudyError, match="does not hold it any more"):
        ask(tmp_path, monkeypatch, resume=True)
    assert (tmp_path / "s" / "trials.parquet").read_bytes() == table


def test_a_cluster_that_does_not_answer_is_told_at_once(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings = make_settings(tmp_path, address=f"127.0.0.1:{port}")
    with pytest.raises(RunError, match=rf"the Ray cluster '127.0.0.1:{port}' cannot be reached \(ConnectionRefusedError"):
        ray_backend.ray_running(settings).__enter__()


def test_folders_that_are_no_studies_are_told(tmp_path):
    with pytest.raises(StudyError, match=r"is not a study: it has no study\.json"):
        Study.open(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(StudyError, match=r"study\.json cannot be read .*; restore it"):
        Study.open(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(StudyError, match=r"newer autodistill \(schema 99"):
        Study.open(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({"schema": 2, "study": "s", "settings": {}, "dataset": [], "teachers": []}))
    with pytest.raises(StudyError, match="is damaged: it has no dataset; restore it"):
        Study.open(tmp_path)


def test_the_environment_names_versions_and_machine():
    versions = describe_environment()
    assert {"python", "autodistill", "torch", "ray", "optuna", "platform", "cpu", "cores"} <= set(versions)
    assert versions["ray"][0].isdigit()
    assert all(isinstance(value, str) and value for value in versions.values())


@pytest.mark.parametrize(
    ("asked", "cpus", "gpus", "workers"),
    [
        ({}, 8, 0, 8),
        ({"cpus_per_trial": 4}, 8, 0, 2),
        ({"cpus_per_trial": 4}, 2, 0, 1),
        ({"gpus_per_trial": 0.25}, 16, 1, 4),
        ({"gpus_per_trial": 0.1}, 16, 2, 20),
        ({"gpus_per_trial": 2}, 16, 8, 4),
        ({"workers": 3}, 8, 0, 3),
    ],
)
def test_workers_are_as_many_as_fit(tmp_path, monkeypatch, asked, cpus, gpus, workers):
    monkeypatch.setattr(ray_backend, "gpu_names", lambda: ("GPU",) * gpus)
    settings = make_settings(tmp_path, **{"workers": None, **asked})
    assert ray_backend.count_workers(settings, cpus, gpus) == workers


def test_a_second_ctrl_c_ends_the_process_at_once():
    code = (
        "import os, signal, time\n"
        "from autodistill.tuning.run import _interruptible\n"
        "with _interruptible() as pressed:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print(pressed.wait(5), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(5)\n"
        "    print('still here')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.returncode) == ("True\n", 130)


def test_autodistill_search_is_the_function(monkeypatch):
    import autodistill

    monkeypatch.setitem(sys.modules, "autodistill.api", types.SimpleNamespace(search=lambda dataset, **more: (dataset, more)))
    assert autodistill.search("digits", trials=2) == ("digits", {"trials": 2})
    assert autodistill.Study is Study
