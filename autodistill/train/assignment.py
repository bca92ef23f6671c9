"""What a worker receives and what it returns: plain data without torch, so that a search can run any function with this signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from autodistill.recipe import Recipe
from autodistill.records import Point
from autodistill.tasks.base import DatasetRef


@dataclass(frozen=True)
class Assignment:
    """Everything that a trial needs to know. It can be pickled and holds no arrays.

    teacher: folder of the fine-tuned teacher, None for a recipe that needs none. judge: folder of the teacher by whose decisions students
    are compared where few rows have labels (train/agreement.py), None if they are not. max_epochs: the study's budget; a recipe with fewer
    epochs keeps its own. threads: for the CPU work of this trial. student_folder: where to write the best epoch's weights, None to keep
    none. checkpoint: a file that keeps the trial's state after each epoch, and from which a stopped trial goes on; None for none.
    """

    recipe: Recipe
    dataset: DatasetRef
    seed: int
    max_epochs: int
    teacher: str | None = None
    threads: int = 1
    device: str = "auto"
    student_folder: str | None = None
    checkpoint: str | None = None
    judge: str | None = None


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial: the best point of its curve, and its cost. notes: for the study's log, on how it ran.

    agreement, standing: of that point, see `records.Point`.
    """

    score: float
    best_epoch: int
    metrics: dict[str, float]
    params: int
    flops: float | None
    seconds_by_stage: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    agreement: float | None = None
    standing: float | None = None

    @property
    def rank_score(self) -> float:
        """What students are ordered by: the standing or, without one, the score."""
        return self.score if self.standing is None else self.standing


Report = Callable[[Point], None]
"""Called after each epoch's evaluation. May raise SystemExit: the search has stopped the trial."""

Runner = Callable[[Assignment, Report], TrialResult]
"""What the search runs: `train.trial.run_trial`, or anything with its signature."""
