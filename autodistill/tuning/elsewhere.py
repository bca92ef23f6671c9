"""Trials on machines that share no files with the search: its teachers, their outputs and its rows come through Ray, and students go back.

A desk (a Ray actor on the driver's machine) reads files of the driver's cache, and rows, for workers that do not see the driver's files.
What a worker's machine has in its own cache is not sent again: each file is fetched by one worker under a lock, and checked like any file
of the cache (autodistill/cache.py). The longest unused is removed where fetched files take too much (autodistill/fetched.py).
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autodistill import cache
from autodistill.errors import RunError
from autodistill.fetched import enter
from autodistill.storage import STUDIES_ELSEWHERE, cache_folder, disk_errors, new_folder, part_of
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.tasks.load import load_dataset, open_as
from autodistill.temporary import temporary_folder
from autodistill.train.assignment import Assignment, Report, Runner, TrialResult

PIECE = 32 * 2**20
"""Bytes that a desk reads at once."""
_FOLLOWED = ("AUTODISTILL_CACHE", "AUTODISTILL_DATA", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE")
"""Environment variables of the driver that decide which files a name means."""


class Desk:
    """The driver's files, for workers that do not see them. It reads in the cache alone, and writes in the study's folder alone.

    here: the folder that the search was started in. study: the study's folder. variables: of the driver's environment.
    """

    def __init__(self, here: str, study: str, variables: Mapping[str, str]) -> None:
        os.environ.update(variables)
        os.chdir(here)
        self.cache, self.study = cache_folder().resolve(), Path(study).resolve()

    def rows(self, ref: DatasetRef) -> Dataset:
        """The dataset, as the driver reads it."""
        return _read_once(ref)

    def files(self, path: str) -> dict[str, int] | None:
        """The files of a file or folder in the cache, with their sizes in bytes; a file itself is called "". None if it is not there."""
        place = _inside(self.cache, path)
        if not cache.is_whole(place):
            return None
        if place.is_file():
            return {"": place.stat().st_size}
        return {file.relative_to(place).as_posix(): file.stat().st_size for file in sorted(place.rglob("*")) if file.is_file()}

    def read(self, path: str, start: int) -> bytes:
        """At most `PIECE` bytes of a file in the cache."""
        with _inside(self.cache, path).open("rb") as file:
            file.seek(start)
            return file.read(PIECE)

    def keep(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write a student that was trained elsewhere."""
        with new_folder(_inside(self.study, folder), STUDIES_ELSEWHERE) as aside:
            for name, content in files.items():
                file = _inside(aside.resolve(), name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)


@functools.lru_cache(maxsize=2)
def _read_once(ref: DatasetRef) -> Dataset:
    """For all workers; each of them keeps what it has opened (train/data.py)."""
    return load_dataset(ref)


def _inside(home: Path, path: str) -> Path:
    place = (home / path).resolve()
    if not place.is_relative_to(home):
        raise RunError(f"{path} is not in {home}")
    return place


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """Runs trials with another runner, on any machine of the cluster.

    desk: the actor. mark: a file of the driver's; a worker that sees it sees all files of the driver. cache: the driver's.
    """

    runner: Runner
    desk: Any
    mark: str
    cache: str

    def __call__(self, assignment: Assignment, report: Report) -> TrialResult:
        return self.runner(assignment, report) if Path(self.mark).exists() else self._apart(assignment, report)

    def _apart(self, assignment: Assignment, report: Report) -> TrialResult:
        """Run a trial on a machine that does not see the driver's files."""
        cache.fetch_from(self.fetch)
        with open_as(assignment.dataset, functools.partial(_ask, self.desk.rows)), temporary_folder("autodistill-student-") as folder:
            student = folder / "student"
            local = dataclasses.replace(
                assignment,
                teacher=None if assignment.teacher is None else str(self.teacher(assignment.teacher)),
                judge=None if assignment.judge is None else str(self.teacher(assignment.judge)),
                student_folder=None if assignment.student_folder is None else str(student),
            )
            result = self.runner(local, report)
            if assignment.student_folder is not None and student.is_dir():
                files = {file.relative_to(student).as_posix(): file.read_bytes() for file in student.rglob("*") if file.is_file()}
                _ask(self.desk.keep, assignment.student_folder, files)
        return dataclasses.replace(
            result, notes=(*result.notes, f"trained on {socket.gethostname()}, which does not see the driver's files")
        )

    def teacher(self, folder: str) -> Path:
        """A teacher's folder in this machine's cache.

        Raises:
            RunError: it cannot be fetched.
        """
        path = cache_folder() / os.path.relpath(folder, self.cache)

        def missing() -> None:
            raise RunError(f"the teacher {folder} cannot be fetched from the driver's cache {self.cache}")

        cache.ensure(path, missing)
        return path

    def fetch(self, path: Path) -> bool:
        """Copy a file or folder of the driver's cache to the same place of this machine's. Returns whether the driver has it."""
        name = path.relative_to(cache_folder()).as_posix()
        sizes: dict[str, int] | None = _ask(self.desk.files, name)
        if sizes is None:
            return False
        if not name.startswith("models/"):  # base models are few, and are opened without a look at their checksums
            enter(path, sum(sizes.values()))
        aside = part_of(path)
        try:
            with disk_errors(path):
                for file, size in sizes.items():
                    target = aside / file if file else aside
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("wb") as opened:
                        for start in range(0, size, PIECE):
                            opened.write(_ask(self.desk.read, f"{name}/{file}" if file else name, start))
                aside.replace(path)
        finally:
            shutil.rmtree(aside, ignore_errors=True) if aside.is_dir() else aside.unlink(missing_ok=True)
        return True


def _ask(method: Any, *values: Any) -> Any:
    """The answer of the desk. Its errors are raised as they were there."""
    import ray
    from ray.exceptions import RayTaskError

    try:
        return ray.get(method.remote(*values))
    except RayTaskError as error:
        raise error.cause from None


@contextmanager
def reachable(runner: Runner, study: Path) -> Iterator[Runner]:
    """The runner for workers on any machine of the Ray cluster that runs, for the block. study: the search's folder."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    variables = {name: os.environ[name] for name in _FOLLOWED if name in os.environ}
    actor: Any = ray.remote(Desk)
    desk = actor.options(num_cpus=0, max_concurrency=8, scheduling_strategy=here).remote(str(Path.cwd()), str(study), variables)
    for left in study.glob(".*.here"):  # by a search that was killed
        left.unlink()
    mark = study.resolve() / f".{uuid.uuid4().hex}.here"
    mark.touch()
    try:
        yield Elsewhere(runner, desk, str(mark), str(cache_folder().absolute()))
    finally:
        mark.unlink(missing_ok=True)
        ray.kill(desk)
