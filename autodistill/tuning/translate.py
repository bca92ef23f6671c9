"""From a stored Optuna trial to its TrialRecord.

The storage is the truth: a record is made only from a stored trial and from its study's settings.
Two attributes are set on a trial beside its parameters (only two, because each write is a transaction):

    proposal    role, recipe, recipe_id, seed; params and latency_ms of the untrained student; if the trial repeats an
                interrupted one: again_of; if its workers died: deaths (how many), nodes_gone (of the cluster, by then)
    outcome     reason; verdict if it was not run (infeasible, repeat, invalid) or not finished (interrupted);
                curve, metrics, costs, environment

The recipe is kept as plain data, because it may lie outside the space, as baselines may.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState

from autodistill.facts import DatasetFacts
from autodistill.limits import Limits
from autodistill.recipe import Teacher
from autodistill.records import UNCOUNTED, Point, State, TrialRecord
from autodistill.settings import SearchSettings
from autodistill.teachers import Teachers

INFEASIBLE, REPEAT, INVALID, INTERRUPTED = "infeasible", "repeat", "invalid", "interrupted"
"""Verdicts. Interrupted trials are FAIL in the storage; the others are PRUNED without an epoch, so that TPE avoids them."""


@dataclass(frozen=True)
class StudyPlan:
    """What a search runs on: the settings, and what the caller prepared.

    limits: on students, in numbers. max_epochs: of a trial, and what early stopping divides into rungs.
    """

    settings: SearchSettings
    dataset: DatasetFacts
    teachers: Teachers
    environment: dict[str, str]
    limits: Limits
    max_epochs: int


def proposal_of(trial: FrozenTrial | Trial) -> dict[str, Any]:
    """What a trial should run; empty if that is not decided yet."""
    return trial.user_attrs.get("proposal", {})


def outcome_of(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's outcome; empty if it has not ended."""
    return trial.user_attrs.get("outcome", {})


def state_of(trial: FrozenTrial) -> State | None:
    """How a stored trial ended; None if it runs or waits, and for repeats and invalid proposals, which get no record."""
    verdict = outcome_of(trial).get("verdict")
    if not proposal_of(trial) or verdict in (REPEAT, INVALID):
        return None
    if trial.state == TrialState.COMPLETE:
        return "complete"
    if trial.state == TrialState.FAIL:
        return "fail"
    if trial.state == TrialState.PRUNED:
        return "infeasible" if verdict == INFEASIBLE else "pruned"
    return None


def counts_as_finished(trial: FrozenTrial) -> bool:
    """Whether a trial counts as finished: complete, pruned or failed, and not cut off."""
    return state_of(trial) in ("complete", "pruned", "fail") and outcome_of(trial).get("verdict") != INTERRUPTED


def is_uncounted(trial: FrozenTrial) -> bool:
    """Whether a trial does not count toward the requested number."""
    return proposal_of(trial).get("role") in UNCOUNTED


def record_of(trial: FrozenTrial, plan: StudyPlan) -> TrialRecord | None:
    """The record of a stored trial that has ended."""
    state = state_of(trial)
    if state is None:
        return None
    proposal, outcome = proposal_of(trial), outcome_of(trial)
    curve = [Point.model_validate(point) for point in outcome.get("curve", [])]
    best = max(curve, key=lambda point: point.rank_score, default=None)  # the first of equal ones, as a trial keeps it
    score = None if best is None else best.score
    if state == "complete" and (best is None or best.standing is None):
        score = trial.value
    recipe = proposal["recipe"]
    teacher = plan.teachers.get(Teacher.model_validate(recipe["teacher"]))
    return TrialRecord(
        study=plan.settings.study,
        trial=trial.number,
        role=proposal["role"],
        state=state,
        reason=outcome.get("reason"),
        recipe_id=proposal["recipe_id"],
        recipe_version=recipe["version"],
        recipe=recipe,
        dataset=plan.dataset.name,
        dataset_fingerprint=plan.dataset.fingerprint,
        task=plan.dataset.task,
        metric=plan.dataset.metric,
        train_rows=plan.dataset.train_rows,
        seed=proposal["seed"],
        max_epochs=plan.max_epochs,
        score=score,
        metrics=outcome.get("metrics", {}),
        curve=curve,
        teacher_score=None if teacher is None else teacher.score,
        params=outcome.get("params", proposal.get("params")),
        flops=outcome.get("flops"),
        latency_ms=proposal.get("latency_ms"),
        started=None if trial.datetime_start is None else trial.datetime_start.timestamp(),
        seconds=outcome.get("seconds"),
        seconds_by_stage=outcome.get("seconds_by_stage", {}),
        environment=outcome.get("environment", {}),
        agreement=None if best is None else best.agreement,
        standing=None if best is None else best.standing,
    )
