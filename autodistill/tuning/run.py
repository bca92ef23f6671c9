"""`run_search`: runs all trials of a search, from the first baseline to the recommended recipe."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna

from autodistill import study_folder
from autodistill.environment import describe_environment
from autodistill.errors import DiskError, RunError, StudyError
from autodistill.events import Event, Listen, SearchFinished, SearchMessage, SearchStarted
from autodistill.facts import DatasetFacts, TeacherRef
from autodistill.limits import Feasible, Limits
from autodistill.optuna_storage.open import SavedStorage, close_storage, open_to_search
from autodistill.ranking import count, has_failed, preferred
from autodistill.recipe import Recipe, Teacher
from autodistill.records import Role
from autodistill.schema import COMMENT, RECIPE_FILE, as_text, recipe_schema
from autodistill.settings import SearchSettings
from autodistill.space import Space
from autodistill.storage import STUDIES_ELSEWHERE, disk_error_of, disk_errors, is_disk_full, write_whole
from autodistill.study import Study
from autodistill.teachers import Teachers
from autodistill.train.assignment import Runner
from autodistill.tuning.ledger import Ledger
from autodistill.tuning.ray_backend import RunningRay, ray_running, run_round
from autodistill.tuning.resuming import check_held, refuse_differences, storage_url
from autodistill.tuning.round import Halt, Round
from autodistill.tuning.sampler import Halving, make_sampler
from autodistill.tuning.translate import StudyPlan
from autodistill.values import without_password


class SearchInterrupted(KeyboardInterrupt):
    """Ctrl-C: the trials that ran are recorded, and the study can be resumed."""

    def __init__(self, study: Study) -> None:
        super().__init__(f"interrupted; continue with --study {study.name} --resume")
        self.study = study


def run_search(
    settings: SearchSettings,
    *,
    space: Space,
    dataset: DatasetFacts,
    teachers: Mapping[Teacher, TeacherRef],
    runner: Runner,
    feasible: Feasible,
    baselines: Mapping[Role, Recipe],
    limits: Limits | None = None,
    own: Sequence[Recipe] = (),
    warm: Iterable[Recipe] = (),
    families: Iterable[Recipe] = (),
    listen: Listen = lambda event: None,
    gpu_share: float | None = None,
) -> Study:
    """Run a search, or continue one.

    Args:
        settings: the user's settings.
        space: proposes recipes.
        dataset: facts about the dataset, for the records.
        teachers: the fine-tuned teachers, by the `teacher` part of the recipes.
        runner: trains one trial, in a worker; importable there or picklable.
        feasible: checks an untrained student against the limits, in this process, before the trial starts.
        limits: on students, in numbers; by default those of the settings, which then must not be shares of the teacher's size.
        baselines: by role; run first, never stopped early, never counted in `settings.trials`.
        own: the user's recipes; run next, under the same rules as the baselines.
        warm: recipes to try before the sampler's, counted in `settings.trials`; with `settings.explore` these are the space-filling ones.
        families: recipes to try after these, counted in `settings.trials`: one of each family of students that nothing is known of.
        listen: called with each event; an exception that it raises is written to search.log.
        gpu_share: GPUs of a trial where the settings do not say; None for one, if there is a GPU.

    Returns:
        The study. If the time budget ends first, unfinished trials are recorded as interrupted and come first when the study is
        resumed, as after Ctrl-C.

    Raises:
        StudyError: the study exists (without `resume`), does not exist (with it), is in use, or has other settings.
        RunError: no trial completed, no proposal is feasible, or Ray does not run.
        SearchInterrupted: Ctrl-C (a KeyboardInterrupt). A second one ends the process at once.
    """
    began = time.monotonic()
    folder = settings.folder
    limits = limits or Limits.asked(settings.max_params, settings.max_latency_ms, [])
    plan = StudyPlan(settings, dataset, Teachers(teachers), describe_environment(), limits, settings.max_epochs or longest(space))
    about: dict[str, Any] = json.loads(json.dumps(about_search(plan, space)))  # the form in which it will be read again
    if not settings.resume:
        settings.check_existence()
    elif not folder.is_dir():
        raise StudyError(settings.no_study())
    is_new = not folder.exists()
    lock = study_folder.lock_study(folder)
    storage: SavedStorage | None = None
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        before = study_folder.read_about(folder)
        if before is not None:
            if not settings.resume:
                settings.check_existence()
            refuse_differences(before, about)
            about["sessions"] = before["sessions"] + about["sessions"]
            about["dataset"]["agreement_rows"] = compared_on = before["dataset"].get("agreement_rows", 0)
            plan = dataclasses.replace(plan, dataset=dataclasses.replace(dataset, agreement_rows=compared_on))  # as its trials so far
        url = storage_url(settings, before)
        about["settings"]["storage"] = None if url == study_folder.default_storage(folder) else without_password(url)
        storage = open_to_search(url, settings.study)
        check_held(storage, url, settings, before)
        study_folder.write_about(folder, about)
        optuna_study = optuna.create_study(
            study_name=settings.study, storage=storage, direction="maximize", load_if_exists=True, pruner=Halving()
        )
        emit = _emitter(listen, folder)
        ledger = Ledger(optuna_study, storage, plan, space, feasible, folder, emit)
        optuna_study.sampler = make_sampler(settings.seed, ledger.finished)
        ledger.sweep("the search was killed")
        for role, recipe in baselines.items():
            ledger.enqueue(role, [recipe])
        enqueued = {recipe.id for recipe in baselines.values()}
        failed = ledger.failed()
        for recipe in own:
            if (same := failed.get((recipe.id, settings.seed))) is not None:
                cause = f"it failed in trial {same.trial}: {same.reason}"
                emit(SearchMessage(f"the recipe {recipe.id} is not run again, because {cause}", "warning"))
        ledger.enqueue("given", [recipe for recipe in own if recipe.id not in enqueued])
        enqueued |= {recipe.id for recipe in own}
        first = [recipe for recipe in warm if recipe.id not in enqueued][: settings.trials]
        ledger.enqueue("explore" if settings.explore else "recommended", first)
        enqueued |= {recipe.id for recipe in first}
        others = [recipe for recipe in families if recipe.id not in enqueued]
        ledger.enqueue("search", others[: settings.trials - len(first)])
        shared = settings if settings.gpus_per_trial is not None else settings.model_copy(update={"gpus_per_trial": gpu_share})
        why = _run(ledger, shared, runner, emit, began, len(baselines))
        study = Study(folder, about, url)
        emit(SearchFinished(study.counts, time.monotonic() - began, why))
        if why == "interrupted":
            raise SearchInterrupted(study)
        if not ledger.ranked():
            raise RunError(_no_best(ledger, why))
        return study
    finally:
        optuna.logging.set_verbosity(level)
        if storage is not None:
            close_storage(storage)
        if is_new and not (folder / "study.json").exists():  # a search that did not begin leaves nothing
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _run(ledger: Ledger, settings: SearchSettings, runner: Runner, emit: Listen, began: float, baselines: int) -> str | None:
    """Run rounds of Ray Tune until the ledger wants no more. Returns the reason if it ends earlier."""
    deadline = None if settings.time_budget is None else began + settings.time_budget

    def late() -> bool:
        return deadline is not None and time.monotonic() >= deadline

    why: str | None = "failed"
    try:
        with _interruptible() as interrupted:
            try:
                if not ledger.wants_more():
                    ledger.follow_up()
                if ledger.wants_more() and not late():
                    with ray_running(settings) as ray:
                        asked = settings.trials, ledger.searched, ray.workers, settings.time_budget, ledger.limits, baselines
                        emit(SearchStarted(settings.study, str(ledger.folder), *asked))
                        try:
                            for _ in range(3):  # the trials; repeats of the best; the trials that are compared with the winner
                                _rounds(ledger, settings, ray, runner, emit, lambda: interrupted.is_set() or late())
                                ledger.follow_up()
                        finally:
                            ledger.sweep("the search was stopped")  # record first, then kill: a second Ctrl-C must not lose the record
            except Halt:
                pass
            why = "interrupted" if interrupted.is_set() else "time budget" if ledger.wants_more() else None
    finally:
        ledger.sweep("the search was stopped")
        ledger.write(force=True)
        if why != "failed" or ledger.ranked():
            _recommend(ledger)
    return why


def _rounds(ledger: Ledger, settings: SearchSettings, ray: RunningRay, runner: Runner, emit: Listen, halted: Callable[[], bool]) -> None:
    def must_stop() -> bool:
        return halted() or bool(ray.dead())

    while ledger.wants_more():
        if halted():
            raise Halt
        before = ledger.finished
        try:
            note = functools.partial(log, ledger.folder)
            run_round(Round(ledger, emit, note, must_stop, not ray.own, ray.workers, ray.nodes_gone), settings, runner)
        except RunError:
            raise
        except Halt:
            if not halted():
                _check_alive(ray)
            raise
        except Exception as cause:
            _check_alive(ray)
            if (full := disk_error_of(cause)) is not None:
                raise full from None
            if is_disk_full(cause):
                raise DiskError(f"a disk is full ({_first_line(cause)}), so the search stops; make room") from None
            log(ledger.folder, f"Ray Tune stopped: {type(cause).__name__}: {cause}")
            if ledger.finished == before:
                raise RunError(f"Ray Tune does not run ({_first_line(cause)}); see {ledger.folder / 'search.log'}") from cause
            emit(SearchMessage(f"Ray Tune stopped ({_first_line(cause)}); continuing with a new one", "warning"))
        if halted():
            raise Halt
        _check_alive(ray)
        ledger.sweep("Ray lost it")
        if ledger.finished == before and ledger.wants_more():
            raise RunError(f"Ray Tune ends without running a trial; see {ledger.folder / 'search.log'}")


def _check_alive(ray: RunningRay) -> None:
    """Check that Ray's daemons run.

    Raises:
        RunError: one of them is gone.
    """
    if dead := ray.dead():
        which = ", ".join(dead)
        raise RunError(f"a process of Ray ({which}) was killed or has crashed, so the search stops; its finished trials are kept") from None


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second ends the process."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def on_signal(number: int, frame: Any) -> None:
        if pressed.is_set():
            os._exit(130)
        pressed.set()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _recommend(ledger: Ledger) -> None:
    """Write recommended.yaml and best/ from the trial that is preferred.

    Raises:
        DiskError: they cannot be written.
    """
    with disk_errors(ledger.folder, STUDIES_ELSEWHERE):
        _write_best(ledger)


def _write_best(ledger: Ledger) -> None:
    prefer = ledger.settings.prefer
    best = preferred(list(ledger.records.values()), ledger.limits, prefer)
    if best is None:
        return
    retention = "" if best.retention is None else f", {best.retention:.1%} of the teacher's"
    which = {"score": "best recipe", "latency": "fastest good recipe", "size": "smallest good recipe"}[prefer]
    head = (
        f"{COMMENT}{RECIPE_FILE}\n"
        f"# The {which} of study {best.study} on {best.dataset}: trial {best.trial} ({best.role}).\n"
        f"# Validation {best.metric} {best.score:.4f}{retention}; seed {best.seed}, at most {best.max_epochs} epochs.\n"
    )
    write_whole(ledger.folder / RECIPE_FILE, as_text(recipe_schema()))
    write_whole(ledger.folder / "recommended.yaml", head + Recipe.parse(best.recipe).to_yaml())
    student, place = ledger.folder / "students" / str(best.trial), ledger.folder / "best"
    if student.is_dir():
        aside = ledger.folder / "best.part"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            shutil.copytree(student, aside)
            shutil.rmtree(place, ignore_errors=True)
            aside.rename(place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    elif prefer != "score":  # resumed with another preference: what lies there is another recipe's student
        shutil.rmtree(place, ignore_errors=True)


def _no_best(ledger: Ledger, why: str | None) -> str:
    records = list(ledger.records.values())
    failed = [record for record in records if has_failed(record)]
    if why == "time budget":
        budget = ledger.settings.time_budget
        return f"no trial completed within the time budget of {budget:g} s; continue with --resume and a longer --time-budget"
    if any(record.state == "complete" for record in records):
        return "trials completed, but none within --max-params and --max-latency; raise them, or give a space with smaller students"
    if failed:
        return (
            f"no trial completed: {len(failed)} failed, the first with {failed[0].reason!r}; see {ledger.folder / 'search.log'}. "
            "What failed is not run again: remove the cause, and start another study with --study NAME"
        )
    return f"no trial completed ({count(records)}); ask for more than {ledger.settings.trials} --trials"


def about_search(plan: StudyPlan, space: Space) -> dict[str, Any]:
    """The content of study.json for a search that begins now."""
    settings = plan.settings
    return {
        "schema": study_folder.SCHEMA,
        "study": settings.study,
        "settings": settings.to_dict() | {"resume": False},
        "limits": dataclasses.asdict(plan.limits),
        "max_epochs": plan.max_epochs,
        "dataset": {name: getattr(plan.dataset, name) for name in DatasetFacts.__dataclass_fields__},
        "space": space.to_dict(),
        "teachers": plan.teachers.to_list(),
        "teacher_score": plan.teachers.best.score,
        "sessions": [{"started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "environment": plan.environment}],
    }


def longest(space: Space) -> int:
    """The most epochs that a recipe of the space can have."""
    domains = space.parameters.get("training.epochs")
    if domains is None:
        return space.defaults().training.epochs
    return int(max(domain.largest for domain in domains))


def _emitter(listen: Listen, folder: Path) -> Listen:
    def emit(event: Event) -> None:
        try:
            listen(event)
        except Exception as cause:  # a broken view must not end the search
            log(folder, f"the listener failed on {type(event).__name__}: {type(cause).__name__}: {cause}")

    return emit


def log(folder: Path, text: str) -> None:
    """Add to the study's search.log, if it can be written."""
    with suppress(OSError), (folder / "search.log").open("a", encoding="utf-8") as file:
        file.write(f"{datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')} {text.rstrip()}\n")


def _first_line(cause: BaseException) -> str:
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[-1] if lines else ''}"
