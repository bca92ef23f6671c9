"""The ledger: the only place that asks the Optuna study for trials and tells it how they ended.

It does not know Ray. Whatever happens to a trial is written to the storage first; the records (trials.parquet) and the kept students
follow from the storage. A trial that is cut off is recorded as FAIL, "interrupted", and put back into the storage's queue. So a killed
search loses nothing, and a resume only needs `sweep`.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from autodistill.errors import ExhaustedError, RecipeError, SpaceError
from autodistill.events import Listen, TrialFinished, TrialReported
from autodistill.limits import Feasibility, Feasible
from autodistill.optuna_storage.open import SavedStorage
from autodistill.ranking import COSTS, has_failed, rank
from autodistill.recipe import Recipe, without_teacher
from autodistill.records import BASELINES, FOLLOWING, STOPPABLE, UNCOUNTED, Point, Role, TrialRecord, write_records
from autodistill.report.measures import front
from autodistill.space import Space
from autodistill.storage import STUDIES_ELSEWHERE, disk_errors
from autodistill.train.assignment import Assignment, TrialResult
from autodistill.tuning.sampler import chooser, enter_rung, rungs
from autodistill.tuning.translate import (
    INFEASIBLE,
    INTERRUPTED,
    INVALID,
    REPEAT,
    StudyPlan,
    counts_as_finished,
    is_uncounted,
    outcome_of,
    proposal_of,
    record_of,
)

PATIENCE = 200
"""After this many proposals in a row that are infeasible, invalid or repeat a trial, the search gives up."""


@dataclass
class Running:
    """A trial between its proposal and its end. costs: of its untrained student. environment: of its worker; empty until that has begun."""

    trial: optuna.Trial
    role: Role
    recipe: Recipe
    recipe_id: str
    costs: Feasibility
    assignment: Assignment
    points: list[Point] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """The most epochs that it can run."""
        return min(self.recipe.training.epochs, self.assignment.max_epochs)


class Ledger:
    """Asks the study for trials, tells it how they ended, and keeps the study's folder up to date."""

    def __init__(
        self, study: optuna.Study, storage: SavedStorage, plan: StudyPlan, space: Space, feasible: Feasible, folder: Path, emit: Listen
    ) -> None:
        self.study = study
        self.storage = storage
        self.plan = plan
        self.space = space
        self.feasible = feasible
        self.folder = folder
        self.emit = emit
        self.settings = plan.settings
        self.limits = plan.limits
        self.running: dict[int, Running] = {}
        self.records: dict[int, TrialRecord] = {}
        self.ended: dict[str, int] = {}  # recipe id → the trial that ran it to an end
        self.searched = 0
        self.refused = 0
        self.smallest = Feasibility(None, None)
        self._rungs = rungs(plan.max_epochs)
        self._ranked: list[TrialRecord] | None = None
        self._written = self._saved = 0.0
        self._changed = True
        for trial in study.get_trials(deepcopy=False):
            self._enter(trial)

    def save(self) -> None:
        """Write new changes to the storage. If that fails, a DiskError, the next call writes them."""
        with disk_errors(self.folder, STUDIES_ELSEWHERE):
            self.storage.save()

    # Proposing

    def enqueue(self, role: Role, recipes: Iterable[Recipe], seed: int | None = None) -> None:
        """Queue recipes, except those that the study has in this role with this seed, or that failed with it in any role.

        seed: by default the study's.
        """
        seed = self.settings.seed if seed is None else seed
        proposals = (proposal_of(trial) for trial in self.study.get_trials(deepcopy=False))
        present = {(proposal["role"], proposal["recipe_id"], proposal["seed"]) for proposal in proposals if proposal}
        failed = self.failed()
        for recipe in recipes:
            if (role, recipe.id, seed) not in present and (recipe.id, seed) not in failed:
                self._enqueue(role, recipe, seed, {})
        self.save()

    def failed(self) -> dict[tuple[str, int], TrialRecord]:
        """The trials that failed by themselves, by recipe id and seed."""
        return {(record.recipe_id, record.seed): record for record in self.records.values() if has_failed(record)}

    def follow_up(self) -> None:
        """Queue what follows from the trials so far: repeats, and once their winner is certain, what is compared with it."""
        self.repeat()
        if not self.wants_more():
            self.fewer_rows()
            self.twin()

    def repeat(self, best: int = 5) -> None:
        """Queue the baselines, the user's recipes and the `best` best others with more seeds, if the settings ask for that."""
        fixed = [record for record in self.records.values() if record.role in (*BASELINES, "given") and record.state == "complete"]
        searched = [record for record in self.ranked() if record.role not in UNCOUNTED]
        recipes = {record.recipe_id: Recipe.parse(record.recipe) for record in [*fixed, *searched[:best]]}
        for more in range(1, self.settings.repeats):
            self.enqueue("repeat", recipes.values(), self.settings.seed + more)

    def fewer_rows(self) -> None:
        """Queue the best recipe that uses unlabelled rows with a quarter, half and all of them, if the settings ask for that."""
        using = [record for record in self.ranked() if record.recipe["training"].get("unlabelled_share")]
        if not self.settings.data_curve or not using:
            return
        recipe = using[0].recipe
        for keep in (0.25, 0.5, 1.0):
            part = {"unlabelled_choice": "all" if keep == 1.0 else "random", "unlabelled_keep": keep}
            self.enqueue("fewer_rows", [Recipe.parse(recipe | {"training": recipe["training"] | part})])

    def twin(self) -> None:
        """Queue the best recipe without a teacher, with each seed that the best one has: this measures what distillation alone gains."""
        ranked = self.ranked()
        if not ranked or not Recipe.parse(ranked[0].recipe).objective.terms:
            return
        complete = [record for record in self.records.values() if record.state == "complete"]
        recipe = Recipe.parse(without_teacher(ranked[0].recipe))
        seeds = {record.seed for record in complete if record.recipe_id == ranked[0].recipe_id}
        for seed in sorted(seeds - {record.seed for record in complete if record.recipe_id == recipe.id}):
            self.enqueue("twin", [recipe], seed)

    def _enqueue(self, role: Role, recipe: Recipe, seed: int, more: dict[str, Any]) -> None:
        try:
            fixed = self.space.encode(recipe)
        except SpaceError:  # a baseline or a user's recipe need not be a point of the space; then only the recipe says what to run
            fixed = {}
        self.study.enqueue_trial(dict(fixed), user_attrs={"proposal": self._proposal(role, recipe, seed) | more})

    def _proposal(self, role: Role, recipe: Recipe, seed: int) -> dict[str, Any]:
        return {"role": role, "recipe_id": recipe.id, "seed": seed, "recipe": recipe.model_dump()}

    def wants_more(self) -> bool:
        """Whether there is a trial to start: one that waits in the queue, or fewer search trials than requested."""
        running = sum(run.role not in UNCOUNTED for run in self.running.values())
        if self.searched + running < self.settings.trials:
            return True
        return any(is_uncounted(trial) for trial in self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def propose(self) -> Running | None:
        """The next trial to run. None if the proposal ended at once (infeasible, invalid, a repeat); then ask again.

        Raises:
            ExhaustedError: too many proposals in a row could not be used; the message says why.
        """
        if self.refused >= PATIENCE:
            raise ExhaustedError(self._why_refused())
        trial = self.study.ask()
        queued = proposal_of(trial)
        role: Role = queued.get("role", "search")
        try:
            if queued:
                recipe = Recipe.parse(queued["recipe"])
                if self.space.contains(recipe):
                    self.space.suggest(chooser(trial))  # the queue's fixed values, so that the sampler learns from it
            else:
                recipe = self.space.suggest(chooser(trial))
        except (SpaceError, RecipeError) as cause:
            self._refuse(trial, INVALID, str(cause))
            return None
        proposal = queued or self._proposal(role, recipe, self.settings.seed)
        recipe_id = proposal["recipe_id"]
        if not queued and (recipe_id in self.ended or any(run.recipe_id == recipe_id for run in self.running.values())):
            self._refuse(trial, REPEAT, f"recipe {recipe_id} has been tried in trial {self.ended.get(recipe_id, 'that runs')}")
            return None
        return self._admit(trial, role, recipe, proposal)

    def _admit(self, trial: optuna.Trial, role: Role, recipe: Recipe, proposal: dict[str, Any]) -> Running | None:
        teacher = self.plan.teachers.get(recipe.teacher)
        assignment = Assignment(
            recipe=recipe,
            dataset=self.settings.ref,
            seed=proposal["seed"],
            max_epochs=self.plan.max_epochs,
            teacher=None if teacher is None else teacher.folder_for(recipe),
            threads=self.settings.cpus_per_trial,
            student_folder=str(self._student(trial.number)),
            judge=self.plan.teachers.judge if self.plan.dataset.agreement_rows else None,
        )
        costs, failure = Feasibility(), None
        try:
            costs = self.feasible(recipe) if teacher is not None else costs
        except Exception as cause:  # a student that cannot be built is that trial's failure, not the search's
            failure = f"{type(cause).__name__}: {cause}"
        trial.set_user_attr("proposal", proposal | {"params": costs.params, "latency_ms": costs.latency_ms})
        for name, value in costs.violations.items():
            trial.set_constraint(name, value)
        if not costs.feasible and role not in UNCOUNTED:
            self.smallest = Feasibility(_least(self.smallest.params, costs.params), _least(self.smallest.latency_ms, costs.latency_ms))
            self._refuse(trial, INFEASIBLE, self.limits.describe(costs))
            return None
        self.refused = 0
        self.running[trial.number] = run = Running(trial, role, recipe, proposal["recipe_id"], costs, assignment)
        if teacher is None:
            failure = f"ModelError: there is no teacher {recipe.teacher.model!r} in this study"
        if failure is not None:
            self.fail(trial.number, failure)
            return None
        self.save()
        return run

    def _refuse(self, trial: optuna.Trial, verdict: str, reason: str) -> None:
        self.refused += 1
        trial.set_user_attr("outcome", {"verdict": verdict, "reason": reason})
        if verdict == INVALID:
            trial.set_constraint("valid", 1.0)
        self._tell(trial, TrialState.PRUNED)

    def _why_refused(self) -> str:
        trials = self.study.get_trials(deepcopy=False)[-PATIENCE:]
        verdicts = [outcome_of(trial).get("verdict") for trial in trials]
        verdict = max(set(verdicts), key=verdicts.count)
        start = f"{PATIENCE} proposals in a row could not be used, so the search stops; "
        if verdict == REPEAT:
            return (
                start + f"they repeat trials: the space {self.space.name!r} seems to be exhausted. Ask for fewer trials or widen the space."
            )
        if verdict == INVALID:
            return (
                start
                + f"the space {self.space.name!r} makes recipes that do not validate; the last: {outcome_of(trials[-1]).get('reason')}"
            )
        exceeded = []
        if self.limits.max_params is not None and self.smallest.params is not None:
            exceeded.append(f"max_params is {self.limits.max_params:,} and the smallest student had {self.smallest.params:,}")
        if self.limits.max_latency_ms is not None and self.smallest.latency_ms is not None:
            exceeded.append(f"max_latency_ms is {self.limits.max_latency_ms:g} and the fastest student took {self.smallest.latency_ms:.3g}")
        return start + f"{'; '.join(exceeded)}. Raise the limit, or give a space with smaller students."

    # Results of trials

    def report(self, number: int, point: Point) -> bool:
        """Record an epoch. True if the trial should stop early (then call `prune`)."""
        run = self.running[number]
        run.trial.report(point.rank_score, point.epoch)
        run.points.append(point)
        self.emit(TrialReported(number, point, sum(epoch <= point.epoch for epoch in self._rungs)))
        # Trials of other roles do not enter the rungs: three good baselines there would stop nearly all trials of a short search.
        if run.role not in STOPPABLE or point.epoch >= run.epochs or point.epoch not in self._rungs:
            return False
        enter_rung(run.trial, point)
        return run.trial.should_prune()

    def complete(self, number: int, result: TrialResult, seconds: float) -> None:
        """A trial has been trained to its end."""
        if not math.isfinite(result.score):
            self.fail(number, f"DivergedError: the score is {result.score}", seconds)
            return
        costs = {"params": result.params, "flops": result.flops, "seconds_by_stage": result.seconds_by_stage}
        self._end(number, TrialState.COMPLETE, seconds=seconds, value=result.rank_score, metrics=result.metrics, **costs)

    def prune(self, number: int) -> None:
        """A trial has been stopped early."""
        points = self.running[number].points
        self._end(number, TrialState.PRUNED, seconds=points[-1].seconds if points else None)

    def fail(self, number: int, reason: str, seconds: float | None = None) -> None:
        """A trial has failed."""
        self._end(number, TrialState.FAIL, seconds=seconds, reason=reason)

    def worker_died(self, number: int, nodes_gone: int = 0) -> None:
        """A trial's worker process is gone. The first time, the trial is run again; the second time, it has failed.

        nodes_gone: how many nodes have left the cluster. If it has grown since the first time, that was no fault of the trial.
        """
        before = proposal_of(self.running[number].trial)
        deaths = 1 + (before.get("deaths", 0) if nodes_gone <= before.get("nodes_gone", 0) else 0)
        if deaths > 1:
            self.fail(number, "WorkerDied: its worker process was killed twice (out of memory, or a crash in native code?)")
        else:
            self.interrupt(number, "its worker process was killed", {"deaths": deaths, "nodes_gone": nodes_gone})

    def interrupt(self, number: int, why: str, more: dict[str, Any] | None = None) -> None:
        """A trial was cut off: put it back into the queue."""
        run = self.running[number]
        self._enqueue(run.role, run.recipe, run.assignment.seed, self._again(proposal_of(run.trial), number) | (more or {}))
        self._end(number, TrialState.FAIL, verdict=INTERRUPTED, reason=f"{INTERRUPTED}: {why}")

    def _again(self, proposal: dict[str, Any], number: int) -> dict[str, Any]:
        return {"again_of": number} | {name: proposal[name] for name in ("deaths", "nodes_gone") if name in proposal}

    def _end(self, number: int, state: TrialState, *, value: float | None = None, **outcome: Any) -> None:
        run = self.running[number]
        curve = [point.model_dump() for point in run.points]
        run.trial.set_user_attr("outcome", {"curve": curve, "environment": run.environment or self.plan.environment, **outcome})
        self._tell(run.trial, state, value)
        self.tidy()

    def _tell(self, trial: optuna.Trial, state: TrialState, value: float | None = None) -> None:
        record = self._enter(self.study.tell(trial, value, state))
        self.running.pop(trial.number, None)  # before it is saved: on a full disk, the sweep that follows must not end it again
        self.save()
        if record is not None:
            self.emit(TrialFinished(record))

    def sweep(self, why: str) -> None:
        """Leave no trial RUNNING: record it as interrupted, and put it back into the queue. A kill during this does no harm."""
        for number in sorted(self.running):
            self.interrupt(number, why)
        trials = self.study.get_trials(deepcopy=False)
        queued = {proposal_of(trial).get("again_of") for trial in trials}
        for trial in trials:
            if trial.state != TrialState.RUNNING:
                continue
            proposal = proposal_of(trial)
            if proposal:
                if trial.number not in queued:
                    self._enqueue(proposal["role"], Recipe.parse(proposal["recipe"]), proposal["seed"], self._again(proposal, trial.number))
                outcome = {"verdict": INTERRUPTED, "reason": f"{INTERRUPTED}: {why}"}
                # Its Trial object was in the process that asked for it, so its outcome is written to the storage directly.
                study_id = self.storage.get_study_id_from_name(self.study.study_name)
                trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
                self.storage.set_trial_user_attr(trial_id, "outcome", outcome)
            self._enter(self.study.tell(trial.number, state=TrialState.FAIL))
        self.save()
        self.tidy()

    # The folder

    def _enter(self, trial: FrozenTrial) -> TrialRecord | None:
        record = record_of(trial, self.plan)
        if record is None:
            return None
        self._changed = True
        self.records[trial.number] = record
        if record.state == "complete":
            self._ranked = None
        if counts_as_finished(trial):
            self.ended.setdefault(record.recipe_id, trial.number)
            self.searched += not is_uncounted(trial)
        return record

    @property
    def finished(self) -> int:
        """How many trials have ended, in any way."""
        return len(self.records)

    def ranked(self) -> list[TrialRecord]:
        """The complete trials within the limits, best first."""
        if self._ranked is None:
            self._ranked = rank(list(self.records.values()), self.limits)
        return self._ranked

    def _student(self, number: int) -> Path:
        return self.folder / "students" / str(number)

    def tidy(self) -> None:
        """Keep the students of the best few trials and of the running ones; delete the others."""
        kept = {str(record.trial) for record in self.ranked()[: self.settings.keep]} | {str(number) for number in self.running}
        cost = COSTS.get(self.settings.prefer)
        if cost is not None:  # whichever is the best score at the end, the student that is preferred then is on this front
            able = [record for record in self.records.values() if record.role not in FOLLOWING or record.role == "repeat"]
            kept |= {str(item.record.trial) for item in front(able, self.limits, cost)}
        students = self.folder / "students"
        if students.is_dir():
            for folder in students.iterdir():
                if folder.name.partition(".")[0] not in kept:  # trial 31 is writing to 31.part-…
                    shutil.rmtree(folder, ignore_errors=True)

    def write(self, force: bool = False) -> None:
        """Write what is new: to the storage every second, to trials.parquet every few seconds."""
        began = time.monotonic()
        if force or began > self._saved:
            self.save()
            self._saved = began + 1.0
        if not self._changed or not (force or began > self._written):
            return
        with disk_errors(self.folder, STUDIES_ELSEWHERE):
            write_records(list(self.records.values()), self.folder / "trials.parquet")
        self._changed = False
        now = time.monotonic()
        self._written = now + max(2.0, 100 * (now - began))  # a large table takes a while, so writing takes at most 1% of the time


def _least(first: Any, second: Any) -> Any:
    return min((item for item in (first, second) if item is not None), default=None)
