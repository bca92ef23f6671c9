"""An Optuna trial of ours, and the TrialRecord that it stands for.

The storage is the truth: a record is made from a stored trial and from what its study was asked, and from nothing else.
These attributes are set on a trial beside its parameters:

    role, recipe, recipe_id, seed           when it is proposed (recipe: plain data, also of what the space cannot express)
    params, latency_ms                      when the untrained student has been measured
    again_of, deaths                        on one that repeats an interrupted trial; workers that died of it
    verdict                                 on one that was not run (infeasible, repeat, invalid) or not finished (interrupted)
    reason, outcome                         when it ends (outcome: curve, metrics, costs, environment)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from autodistill.recipe import Recipe, Teacher
from autodistill.records import BASELINES, State, TrialRecord
from autodistill.search.settings import DatasetFacts, SearchSettings, TeacherRef

INFEASIBLE, REPEAT, INVALID, INTERRUPTED = "infeasible", "repeat", "invalid", "interrupted"
"""Verdicts. Interrupted trials are FAIL in the storage, the other three PRUNED without an epoch: TPE keeps away from them."""


@dataclass(frozen=True)
class Plan:
    """What a search runs on: the settings, and what the caller made ready."""

    settings: SearchSettings
    dataset: DatasetFacts
    teachers: dict[Teacher, TeacherRef]
    environment: dict[str, str]

    def teacher_score(self, recipe: Recipe) -> float | None:
        """The score of the recipe's teacher."""
        return self.teachers[recipe.teacher].score if recipe.teacher in self.teachers else None


def state_of(trial: FrozenTrial) -> State | None:
    """How a stored trial ended; None where it runs, waits, or never became a recipe that was worth a record."""
    if "recipe" not in trial.user_attrs or trial.user_attrs.get("verdict") in (REPEAT, INVALID):
        return None
    if trial.state == TrialState.COMPLETE:
        return "complete"
    if trial.state == TrialState.FAIL:
        return "fail"
    if trial.state == TrialState.PRUNED:
        return "infeasible" if trial.user_attrs.get("verdict") == INFEASIBLE else "pruned"
    return None


def counts_as_finished(trial: FrozenTrial) -> bool:
    """Whether a trial is one of those asked for: complete, pruned or failed, and not cut off."""
    return state_of(trial) in ("complete", "pruned", "fail") and trial.user_attrs.get("verdict") != INTERRUPTED


def is_baseline(trial: FrozenTrial) -> bool:
    """Whether a trial is one of the baselines."""
    return trial.user_attrs.get("role") in BASELINES


def record_of(trial: FrozenTrial, plan: Plan) -> TrialRecord | None:
    """The record of a stored trial that has ended."""
    state = state_of(trial)
    if state is None:
        return None
    attrs = trial.user_attrs
    outcome: dict[str, Any] = attrs.get("outcome", {})
    curve = outcome.get("curve", [])
    recipe = attrs["recipe"]
    teacher = plan.teachers.get(Teacher.model_validate(recipe["teacher"]))
    return TrialRecord(
        study=plan.settings.study,
        trial=trial.number,
        role=attrs["role"],
        state=state,
        reason=attrs.get("reason"),
        recipe_id=attrs["recipe_id"],
        recipe_version=recipe["version"],
        recipe=recipe,
        dataset=plan.dataset.name,
        dataset_fingerprint=plan.dataset.fingerprint,
        task=plan.dataset.task,
        metric=plan.dataset.metric,
        train_rows=plan.dataset.train_rows,
        seed=attrs.get("seed", plan.settings.seed),
        max_epochs=plan.settings.max_epochs,
        score=trial.value if state == "complete" else max((point["score"] for point in curve), default=None),
        metrics=outcome.get("metrics", {}),
        curve=curve,
        teacher_score=None if teacher is None else teacher.score,
        params=attrs.get("params"),
        flops=outcome.get("flops"),
        latency_ms=attrs.get("latency_ms"),
        started=None if trial.datetime_start is None else trial.datetime_start.timestamp(),
        seconds=outcome.get("seconds"),
        seconds_by_stage=outcome.get("seconds_by_stage", {}),
        environment=outcome.get("environment", {}),
    )
