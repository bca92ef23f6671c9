"""Searches in a process of their own, which are killed or told to stop."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from fakes import (
    FACTS,
    FakeFeasible,
    FakeRunner,
    assert_sound,
    look,
    make_settings,
    make_space,
    make_teachers,
)
from optuna.trial import TrialState

from autodistill.errors import StudyError
from autodistill.limits import Limits
from autodistill.optuna_storage.open import open_storage
from autodistill.study import Study
from autodistill.study_folder import default_storage
from autodistill.tuning.run import run_search

pytestmark = pytest.mark.slow


class Driver:
    """A search that can be killed."""

    def __init__(self, folder: Path, **asked: object) -> None:
        self.folder = folder
        self.study = folder / "s"
        path = os.pathsep.join([str(Path(__file__).parent)])
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "driver.py"), str(folder), json.dumps({"trials": 8, **asked})],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def until(self, reached: Callable[[], bool]) -> None:
        for _ in range(1200):
            if self.process.poll() is not None:
                raise AssertionError(f"the search ended early with {self.process.returncode}: {self.process.communicate()[0]}")
            if reached():
                return
            time.sleep(0.1)
        raise AssertionError("nothing came of it in two minutes")

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """What the storage says while the search runs."""
        if not (self.study / "study.json").exists() or not (self.study / "optuna.journal").exists():
            return []
        try:
            return optuna.load_study(study_name="s", storage=open_storage(default_storage(self.study))).get_trials()
        except (KeyError, RuntimeError):
            return []  # it is being made

    def ended(self) -> int:
        return sum(trial.state.is_finished() for trial in self.trials())

    def started(self) -> list[int]:
        """Process ids of the workers, one for each start of a trial."""
        return [int(path.read_text() or 0) for path in sorted(self.folder.glob("*-*"), key=lambda path: path.name.split("-")[1])]

    def end(self) -> str:
        output, _ = self.process.communicate(timeout=120)
        return output


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
    pids = {pid}
    while more := {child for child, parent in parents.items() if parent in pids} - pids:
        pids |= more
    return pids


def listening(pids: set[int]) -> list[tuple[str, int]]:
    """Addresses (hexadecimal, as /proc/net/tcp has them) and ports that processes listen on."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                match = re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
            except OSError:
                continue
            if match:
                inodes.add(match[1])
    sockets = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, _, port = fields[1].partition(":")
                sockets.append((address, int(port, 16)))
    return sockets


LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


@pytest.mark.timeout(600)
def test_a_killed_search_resumes_with_nothing_lost_or_twice(tmp_path):
    driver = Driver(tmp_path, pause=0.15)
    driver.until(lambda: driver.ended() >= 3 and any(trial.state == TrialState.RUNNING for trial in driver.trials()))

    sockets = listening(family(driver.process.pid))
    assert len(sockets) > 3  # Ray's daemons
    assert [item for item in sockets if item[0] not in LOOPBACK] == []

    space = make_space(tmp_path)
    with pytest.raises(StudyError, match="a search is running on the study"):
        run_search(
            make_settings(tmp_path, resume=True),
            space=space,
            dataset=FACTS,
            teachers=make_teachers(space),
            runner=FakeRunner(),
            feasible=FakeFeasible(Limits()),
            baselines=space.baselines(),
        )

    driver.process.kill()
    driver.process.wait()
    before = driver.trials()
    cut = [trial.number for trial in before if trial.state == TrialState.RUNNING]
    assert cut

    again = Driver(tmp_path, resume=True, pause=0.01)
    assert again.end() == ""  # silent
    assert again.process.returncode == 0
    records = assert_sound(again.study, 8)
    assert [record.reason for record in records if record.trial in cut] == ["interrupted: the search was killed"] * len(cut)
    done = {trial.number: trial.values for trial in before if trial.state.is_finished()}
    after = again.trials()
    assert {number: after[number].values for number in done} == done
    starts = Counter(path.name.split("-")[0] for path in tmp_path.glob("*-*"))
    cut_recipes = {after[number].user_attrs["proposal"]["recipe_id"] for number in cut}
    assert {recipe for recipe, times in starts.items() if times > 1} <= cut_recipes


@pytest.mark.timeout(600)
def test_a_killed_worker_and_ctrl_c(tmp_path):
    driver = Driver(tmp_path, pause=0.15)
    driver.until(lambda: len(driver.started()) > 0)
    os.kill(driver.started()[0], signal.SIGKILL)
    driver.until(lambda: driver.ended() >= 4)
    os.killpg(driver.process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    assert driver.end() == ""
    assert driver.process.returncode == 130
    stored, records = look(driver.study)
    assert not [trial for trial in stored if trial.state == TrialState.RUNNING]
    reasons = Counter(record.reason for record in records if record.state == "fail")
    assert reasons["interrupted: its worker process was killed"] == 1
    stopped = reasons["interrupted: the search was stopped"]
    assert [trial.state for trial in stored].count(TrialState.WAITING) >= stopped
    assert not [folder for folder in (driver.study / "students").iterdir() if folder.name not in {str(r.trial) for r in records}]

    again = Driver(tmp_path, resume=True, pause=0.01)
    assert again.end() == ""
    assert again.process.returncode == 0
    assert_sound(again.study, 8)
    assert Study.open(again.study).counts["fail"] == 0


@pytest.mark.timeout(600)
def test_sigterm_ends_a_search_in_good_order(tmp_path):
    """What a scheduler or `docker stop` sends to the process that it started."""
    driver = Driver(tmp_path, pause=0.15)
    driver.until(lambda: driver.ended() >= 3 and len(driver.started()) > driver.ended())
    os.kill(driver.process.pid, signal.SIGTERM)
    assert driver.end() == ""
    assert driver.process.returncode == 143
    stored, records = look(driver.study)
    assert not [trial for trial in stored if trial.state == TrialState.RUNNING]
    assert {record.reason for record in records if record.state == "fail"} <= {"interrupted: the search was stopped"}
