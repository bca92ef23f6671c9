"""One recipe trained with several seeds: each is a full trial, whose student stays on the disk until the last is done."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import queue
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodistill.cache import discard_damaged
from autodistill.models.fitting import cpu_threads
from autodistill.records import Point
from autodistill.storage import disk_errors, write_whole
from autodistill.train.assignment import Assignment, TrialResult
from autodistill.train.trial import run_trial

Heard = Callable[[Assignment, Point], None]
_POLL = 0.2


@dataclass(frozen=True)
class Trained:
    """A trained student. folder: its weights (models.saved). reused: an earlier, stopped run had finished it."""

    assignment: Assignment
    result: TrialResult
    folder: Path
    reused: bool = False


def assignment_folder(work: Path, assignment: Assignment) -> Path:
    """The folder of a seed's student while the others are trained."""
    return work / f"{assignment.recipe.id}-{assignment.seed}"


def train_all(assignments: Sequence[Assignment], work: Path, workers: int, hear: Heard) -> list[Trained]:
    """Run trials, or reuse those that an earlier run finished. The result is in the order of the assignments.

    workers: trials at once; if more than one, each runs in a process of its own. hear: receives each epoch's point.

    Raises:
        DivergedError: a loss is not a finite number; finished students of other seeds stay for the next run.
    """
    trained: dict[Assignment, Trained] = {}
    for assignment in assignments:
        kept = _kept(work, assignment)
        if kept is not None:
            trained[assignment] = kept
    missing = [item for item in assignments if item not in trained]
    if workers > 1 and len(missing) > 1:
        trained |= _in_processes(missing, work, min(workers, len(missing)), hear)
    else:
        for item in missing:
            trained[item] = _train(item, work, lambda point, item=item: hear(item, point))  # type: ignore[misc]
    return [trained[item] for item in assignments]


def forget(work: Path, assignments: Sequence[Assignment]) -> None:
    """Remove the kept students."""
    for assignment in assignments:
        folder = assignment_folder(work, assignment)
        shutil.rmtree(folder, ignore_errors=True)
        _result_file(folder).unlink(missing_ok=True)


def _result_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _kept(work: Path, assignment: Assignment) -> Trained | None:
    folder = assignment_folder(work, assignment)
    for path in (folder, _result_file(folder)):
        discard_damaged(path)  # the run holds the lock of all of them
    if not (folder.is_dir() and _result_file(folder).exists()):
        return None
    content = json.loads(_result_file(folder).read_text(encoding="utf-8"))
    content.pop("environment", None)  # of an older version
    return Trained(assignment, TrialResult(**content), folder, reused=True)


def _train(assignment: Assignment, work: Path, report: Callable[[Point], None]) -> Trained:
    folder = assignment_folder(work, assignment)
    result = run_trial(dataclasses.replace(assignment, student_folder=str(folder)), report)
    file = _result_file(folder)
    with disk_errors(file):
        write_whole(file, json.dumps(dataclasses.asdict(result)))
    return Trained(assignment, result, folder)


def _in_processes(assignments: Sequence[Assignment], work: Path, workers: int, hear: Heard) -> dict[Assignment, Trained]:
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not outlive a fork
    with spawn.Manager() as manager, ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        points: Any = manager.Queue()
        futures: dict[Future[Trained], Assignment] = {
            pool.submit(_child, item, work, points, place): item for place, item in enumerate(assignments)
        }
        try:
            waiting = set(futures)
            while waiting:
                ended, waiting = wait(waiting, timeout=_POLL, return_when=FIRST_COMPLETED)
                _pass_on(points, assignments, hear)
                for future in ended:
                    future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return {item: future.result() for future, item in futures.items()}


def _pass_on(points: Any, assignments: Sequence[Assignment], hear: Heard) -> None:
    while True:
        try:
            place, point = points.get_nowait()
        except queue.Empty:
            return
        hear(assignments[place], point)


def _child(assignment: Assignment, work: Path, points: Any, place: int) -> Trained:
    with cpu_threads(assignment.threads):
        return _train(assignment, work, lambda point: points.put((place, point)))
