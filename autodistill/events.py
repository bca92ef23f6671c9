"""The events of a running search: small facts, for a live view or plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from autodistill.limits import Limits
from autodistill.records import Point, Role, TrialRecord

StageName = Literal[
    "data", "teacher", "outputs", "warm", "trials", "frontier", "students", "test", "folder", "onnx", "qat", "page", "judging"
]  # fmt: skip


@dataclass(frozen=True)
class StageStarted:
    """A stage of the whole job begins."""

    stage: StageName
    text: str


@dataclass(frozen=True)
class StageProgress:
    """The progress of a stage: `done` of `total` steps."""

    stage: StageName
    done: int
    total: int
    text: str


@dataclass(frozen=True)
class StageFinished:
    """A stage has ended. text: its result."""

    stage: StageName
    seconds: float
    text: str


@dataclass(frozen=True)
class SearchStarted:
    """Ray runs, and the first trial comes next. `done` counts finished search trials of earlier sessions.

    limits: on students. baselines: how many there are, on top of the trials.
    """

    study: str
    folder: str
    trials: int
    done: int
    workers: int
    time_budget: float | None
    limits: Limits = field(default_factory=Limits)
    baselines: int = 3


@dataclass(frozen=True)
class TrialStarted:
    """A worker has begun a trial. params and latency_ms are those of the untrained student."""

    trial: int
    role: Role
    recipe_id: str
    student: str
    epochs: int
    params: int | None
    latency_ms: float | None


@dataclass(frozen=True)
class TrialReported:
    """An epoch has been evaluated. `rung` counts the rungs of early stopping that the trial has reached."""

    trial: int
    point: Point
    rung: int


@dataclass(frozen=True)
class TrialFinished:
    """A trial has ended, in any way. An infeasible proposal ends without a start."""

    record: TrialRecord


@dataclass(frozen=True)
class SearchMessage:
    """A sentence for people."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class SearchFinished:
    """There are no more trials. why: the reason, None if the requested number was reached."""

    counts: dict[str, int]
    seconds: float
    why: str | None = None


Event = (
    StageStarted
    | StageProgress
    | StageFinished
    | SearchStarted
    | TrialStarted
    | TrialReported
    | TrialFinished
    | SearchMessage
    | SearchFinished
)
Listen = Callable[[Event], None]


class Stage:
    """Reports a stage's start and, if it succeeds, its end and duration."""

    def __init__(self, tell: Listen, stage: StageName, text: str) -> None:
        self.tell, self.stage, self.text = tell, stage, text

    def __enter__(self) -> Stage:
        self.began = time.monotonic()
        self.tell(StageStarted(self.stage, self.text))
        return self

    def end(self, text: str) -> None:
        """Report the result."""
        self.text = text

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.tell(StageFinished(self.stage, time.monotonic() - self.began, self.text))
