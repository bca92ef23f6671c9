"""The state of a running search, built from its events, for the views."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from autodistill.events import (
    Event,
    SearchFinished,
    SearchStarted,
    StageFinished,
    StageName,
    StageProgress,
    StageStarted,
    TrialFinished,
    TrialReported,
    TrialStarted,
)
from autodistill.limits import Limits
from autodistill.ranking import count, rank, searched, was_interrupted
from autodistill.records import BASELINES, Role, TrialRecord
from autodistill.report import texts


@dataclass
class StageState:
    """A stage. seconds: None while it runs; the sum if the stage runs more than once (several teachers)."""

    text: str
    began: float
    done: int = 0
    total: int = 0
    seconds: float | None = None
    earlier: float = 0.0


@dataclass
class TrialState:
    """A running trial."""

    trial: int
    role: Role
    student: str
    epochs: int
    params: int | None
    began: float
    epoch: int = 0
    score: float | None = None


@dataclass
class Progress:
    """The state of a search. earlier: a function that reads the records of earlier sessions from a study's folder."""

    earlier: Callable[[str], list[TrialRecord]] = lambda folder: []
    clock: Callable[[], float] = time.monotonic
    stages: dict[StageName, StageState] = field(default_factory=dict)
    running: dict[int, TrialState] = field(default_factory=dict)
    finished: dict[int, TrialRecord] = field(default_factory=dict)
    """By number, in the order in which they ended."""
    search: SearchStarted | None = None
    ended: SearchFinished | None = None
    trials_began: float | None = None

    def __post_init__(self) -> None:
        self.began = self.clock()

    def hear(self, event: Event) -> None:
        """Update the state from an event."""
        now = self.clock()
        match event:
            case StageStarted(stage, text):
                before = self.stages.get(stage)
                self.stages[stage] = StageState(text, now, earlier=0.0 if before is None else before.seconds or 0.0)
            case StageProgress(stage, done, total, text):
                state = self.stages.setdefault(stage, StageState(text, now))
                state.done, state.total, state.text = done, total, text
            case StageFinished(stage, seconds, text):
                state = self.stages.setdefault(stage, StageState(text, now))
                state.seconds, state.text = state.earlier + seconds, text
            case SearchStarted():
                self.search, self.trials_began = event, now
                self.finished = {record.trial: record for record in self.earlier(event.folder)} | self.finished
            case TrialStarted():
                self.running[event.trial] = TrialState(event.trial, event.role, event.student, event.epochs, event.params, now)
            case TrialReported(trial, point) if trial in self.running:
                running = self.running[trial]
                running.epoch = point.epoch
                running.score = point.score if running.score is None else max(running.score, point.score)
            case TrialFinished(record):
                self.running.pop(record.trial, None)
                self.finished[record.trial] = record
            case SearchFinished():
                self.ended = event
                self.running.clear()

    def ranked(self) -> list[TrialRecord]:
        """The complete trials within the limits, best first."""
        return rank(list(self.finished.values()), Limits() if self.search is None else self.search.limits)

    @property
    def best(self) -> TrialRecord | None:
        """The best trial so far."""
        ranked = self.ranked()
        return ranked[0] if ranked else None

    @property
    def shown(self) -> list[TrialRecord]:
        """The finished trials without infeasible proposals, in the order in which they ended."""
        return [record for record in self.finished.values() if record.state != "infeasible"]

    @property
    def counts(self) -> dict[str, int]:
        """The number of trials by how they ended."""
        return count(list(self.finished.values()))

    @property
    def searched(self) -> int:
        """How many of the requested trials have ended."""
        return searched(list(self.finished.values()))

    def seconds(self, stage: StageName) -> float:
        """How many seconds a stage took; 0 if it was not needed."""
        state = self.stages.get(stage)
        if stage == "trials" and (state is None or state.seconds is None) and self.ended is not None:
            return self.ended.seconds
        return 0.0 if state is None else state.seconds or 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.began

    def time_left(self) -> float | None:
        """An estimate from the mean duration of the finished trials, at most the rest of the time budget; None without either."""
        if self.search is None or self.trials_began is None or self.ended is not None:
            return None
        now = self.clock()
        budget = None if self.search.time_budget is None else max(0.0, self.trials_began + self.search.time_budget - now)
        durations = [record.seconds for record in self.shown if record.seconds is not None and not was_interrupted(record)]
        if not durations:
            return budget
        mean = sum(durations) / len(durations)
        ended = {record.role for record in self.shown if record.role in BASELINES and not was_interrupted(record)}
        baselines = max(0, self.search.baselines - len(ended))
        work = mean * (max(0, self.search.trials - self.searched) + baselines)
        work -= sum(min(now - trial.began, mean) for trial in self.running.values())
        left = max(0.0, work) / max(1, self.search.workers)
        return left if budget is None else min(left, budget)


def state_word(record: TrialRecord) -> str:
    """How a trial ended, for people."""
    words = {"complete": "complete", "pruned": "pruned", "fail": "failed", "infeasible": "infeasible"}
    return "interrupted" if was_interrupted(record) else words[record.state]


def failure(record: TrialRecord) -> str:
    """How a trial that did not complete ended, and why: `failed: …`, or `interrupted: …`, which is how the reason of those begins."""
    return str(record.reason) if was_interrupted(record) else f"failed: {record.reason}"


def best_line(progress: Progress) -> str | None:
    """The best so far: score, trial, student, share of the teacher's score, and its difference to no KD."""
    best = progress.best
    if best is None:
        return None
    role = "" if best.role == "search" else f" ({texts.ROLES[best.role]})"
    parts = [f"{texts.score(best.score)} trial {best.trial}{role}", texts.student(best.recipe)]
    if best.retention is not None:
        parts.insert(1, f"{texts.percent(best.retention)} of the teacher")
    bare = next((item for item in progress.finished.values() if item.role == "no_kd" and item.state == "complete"), None)
    if bare is not None and bare.score is not None and best.score is not None and best.trial != bare.trial:
        parts.insert(2 if best.retention is not None else 1, f"{best.score - bare.score:+.4f} vs no KD")
    return " · ".join(parts)


def count_line(progress: Progress) -> str:
    """Counts of trials by how they ended."""
    counts = progress.counts
    requested = "" if progress.search is None else f"/{progress.search.trials}"
    baselines = len({record.role for record in progress.shown if record.role in BASELINES and not was_interrupted(record)})
    parts = [f"{progress.searched}{requested} + {texts.plural(baselines, 'baseline')}"]
    parts += [f"{counts['complete']} complete", f"{counts['pruned']} pruned", f"{counts['fail']} failed"]
    parts += [f"{counts[name]} {name}" for name in ("infeasible", "interrupted") if counts[name]]
    return " · ".join(parts)


def time_line(progress: Progress) -> str:
    """The time that has elapsed and the time that is left."""
    parts = [f"{texts.duration(round(progress.elapsed))} elapsed"]
    left = progress.time_left()
    if left is not None:
        parts.append(f"about {texts.duration(round(left))} left")
    if progress.search is not None:
        workers = progress.search.workers
        parts.append(f"{workers} at a time")
        if progress.search.time_budget is not None:
            parts.append(f"time budget {texts.duration(progress.search.time_budget)}")
    return " · ".join(parts)
