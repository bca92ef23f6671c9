"""The students that no other beats in both score and a cost, and the commands that make one of them in full."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from autodistill.limits import Limits
from autodistill.records import TrialRecord
from autodistill.report import measures, texts


@dataclass(frozen=True)
class Choice:
    """A student on a Pareto front. score: its mean over seeds. unbeaten: the costs in which no other is both cheaper and better."""

    record: TrialRecord
    score: float
    unbeaten: tuple[str, ...]

    @property
    def text(self) -> str:
        """The student in a line: its trial, what it is, what it learns from, score and costs."""
        item = self.record
        what = f"trial {item.trial}, {texts.student(item.recipe)}, {texts.objective(item.recipe)}"
        costs = f"{texts.params(item.params)} parameters, {texts.latency(item.latency_ms)}"
        return f"{what}: {texts.clean(item.metric)} {texts.score(self.score)}, {costs}; unbeaten in {' and '.join(self.unbeaten)}"


def choices(records: Sequence[TrialRecord], limits: Limits) -> list[Choice]:
    """The students on the fronts of score against size and against latency, best score first."""
    costs: dict[str, tuple[str, ...]] = {}
    items = {}
    for cost, name in (("params", "size"), ("latency_ms", "latency")):
        for item in measures.front(records, limits, cost):  # type: ignore[arg-type]  # mypy widens the literals
            recipe = item.record.recipe_id
            items[recipe], costs[recipe] = item, (*costs.get(recipe, ()), name)
    ordered = sorted(items.values(), key=lambda item: (-item.mean, item.record.trial))
    return [Choice(item.record, item.mean, costs[item.record.recipe_id]) for item in ordered]


def distill_command(folder: str, name: str, trial: int | None = None) -> str:
    """The command that trains a study's recommended recipe in full, or that of one of its trials, ready to paste into a shell.

    folder: the study's. name: the study's.
    """
    return shlex.join(["autodistill", "distill", folder, *_which(trial), "--out", _student_folder(name, trial)])


def export_command(name: str, trial: int | None = None) -> str:
    """The command that writes the student of `distill_command` as ONNX."""
    return shlex.join(["autodistill", "export", _student_folder(name, trial)])


def _which(trial: int | None) -> list[str]:
    return [] if trial is None else ["--trial", str(trial)]


def _student_folder(name: str, trial: int | None) -> str:
    return f"{name}-student" if trial is None else f"{name}-{trial}-student"
