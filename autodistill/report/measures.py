"""The numbers that figures and pages show: pure functions of a study's records, without plotly."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from autodistill.limits import Limits
from autodistill.recipe import SLOTS
from autodistill.records import BASELINES, FOLLOWING, TrialRecord

Cost = Literal["params", "latency_ms"]
Item = TypeVar("Item")

TERMS: dict[str, str] = {"hard_label": "hard labels"} | {slot: slot for slot in SLOTS}
"""The terms of a student's loss for people, by their names in records."""


def score_of(record: TrialRecord) -> float | None:
    """The record's score if it is a finite number, whether the trial was completed or stopped early."""
    return record.score if record.score is not None and math.isfinite(record.score) else None


def completed(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials that were trained to the end and have a finite score."""
    return [record for record in records if record.state == "complete" and score_of(record) is not None]


@dataclass(frozen=True)
class Seeds:
    """A recipe's scores over seeds. spread: the sample standard deviation (n − 1), None with fewer than two seeds."""

    record: TrialRecord
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean score."""
        return statistics.fmean(self.scores)

    @property
    def retention(self) -> float | None:
        """The mean score over the teacher's, None if either is missing or the teacher's is not positive."""
        return self.record.model_copy(update={"score": self.mean}).retention

    @property
    def spread(self) -> float | None:
        """The sample standard deviation over seeds."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None


def by_recipe(records: Sequence[TrialRecord]) -> list[Seeds]:
    """Each completed recipe once, with its score for every seed; the record is that of its first trial, not of a repeat."""
    runs: dict[str, dict[int, float]] = {}
    first: dict[str, TrialRecord] = {}
    for record in sorted(completed(records), key=lambda item: (item.role in FOLLOWING, item.trial)):
        first.setdefault(record.recipe_id, record)
        runs.setdefault(record.recipe_id, {}).setdefault(record.seed, record.score or 0.0)
    return [Seeds(first[recipe], tuple(scores.values())) for recipe, scores in runs.items()]


def seed_noise(records: Sequence[TrialRecord]) -> float | None:
    """The standard deviation of a score between seeds, pooled over the repeated recipes; None if no recipe was repeated."""
    repeated = [item.scores for item in by_recipe(records) if len(item.scores) > 1]
    freedom = sum(len(scores) - 1 for scores in repeated)
    if not freedom:
        return None
    return math.sqrt(sum(statistics.variance(scores) * (len(scores) - 1) for scores in repeated) / freedom)


def front(records: Sequence[TrialRecord], limits: Limits, cost: Cost) -> list[Seeds]:
    """The Pareto front: completed recipes within the limits that no other beats in both cost and mean score, cheapest first."""
    feasible = [item for item in by_recipe(records) if limits.check(item.record.params, item.record.latency_ms).feasible]
    return undominated((value, item.mean, item) for item in feasible if (value := getattr(item.record, cost)) is not None)


def undominated(priced: Iterable[tuple[float, float, Item]]) -> list[Item]:
    """The items that no other beats in both cost and score, cheapest first. priced: of each its cost, its score and itself."""
    front: list[Item] = []
    highest = -math.inf
    for _, score, item in sorted(priced, key=lambda entry: (entry[0], -entry[1])):
        if score > highest:
            front.append(item)
            highest = score
    return front


def planned_epochs(record: TrialRecord) -> int:
    """How many epochs the trial would have run without early stopping."""
    return min(int(record.recipe.get("training", {}).get("epochs", record.max_epochs)), record.max_epochs)


def epoch_seconds(record: TrialRecord) -> float | None:
    """Seconds per epoch of the trial; None if no epoch ended. With two epochs or more, the time of its set-up is left out."""
    points = record.curve
    if not points:
        return None
    if len(points) > 1 and points[-1].epoch > points[0].epoch:
        return (points[-1].seconds - points[0].seconds) / (points[-1].epoch - points[0].epoch)
    return points[-1].seconds / max(points[-1].epoch, 1)


def saved_by_stopping(records: Sequence[TrialRecord]) -> float:
    """An estimate of the seconds that early stopping saved: the epochs that were not run, at each trial's own seconds per epoch."""
    saved = 0.0
    for record in records:
        pace = epoch_seconds(record) if record.state == "pruned" else None
        if pace is not None:
            saved += pace * max(0, planned_epochs(record) - record.curve[-1].epoch)
    return saved


def taught_epochs(records: Sequence[TrialRecord]) -> int:
    """Epochs in which a student learned from the teacher's outputs. Without a store, each would run the teacher over all training rows."""
    return sum(record.curve[-1].epoch for record in records if record.curve and any(weight for name, weight in weights(record).items()))


def saved_by_store(records: Sequence[TrialRecord], pass_seconds: float | None) -> float | None:
    """An estimate of the seconds that stored teacher outputs saved: one teacher pass for each taught epoch, minus the time spent.

    pass_seconds: how long one pass over the training rows took when the outputs were stored; None if they were in the cache
    already, and then the result is None too. The time spent includes the outputs that trials computed for augmented rows.
    """
    if pass_seconds is None:
        return None
    spent = pass_seconds + sum(record.seconds_by_stage.get("outputs", 0.0) for record in records)
    return max(0.0, taught_epochs(records) * pass_seconds - spent)


def weights(record: TrialRecord) -> dict[str, float]:
    """The weights of the distillation terms in a recipe's loss, by slot; 0 if a term is off."""
    objective: Mapping[str, Any] = record.recipe.get("objective", {})
    by_slot = {}
    for slot in SLOTS:
        part = objective.get(slot, {})
        by_slot[slot] = 0.0 if part.get("kind", "none") == "none" else float(part.get("weight", 1.0))
    return by_slot


def loss_mix(record: TrialRecord) -> dict[str, float]:
    """All weights in a recipe's loss: `hard_label` and the slots of objectives; 0 if a term is off."""
    return {"hard_label": float(record.recipe.get("objective", {}).get("hard_label_weight", 0.0))} | weights(record)


Kind = Literal["baselines", "completed", "stopped early", "repeats", "failed"]


def worker_seconds(records: Sequence[TrialRecord]) -> dict[Kind, float]:
    """Seconds of the trials by kind, summed over all workers. The time of interrupted trials is not recorded."""
    total: dict[Kind, float] = {"baselines": 0.0, "completed": 0.0, "stopped early": 0.0, "repeats": 0.0, "failed": 0.0}
    for record in records:
        seconds = record.seconds if record.seconds is not None and math.isfinite(record.seconds) else 0.0
        kind: Kind = "completed"
        if record.state == "fail":
            kind = "failed"
        elif record.role in BASELINES:
            kind = "baselines"
        elif record.role in FOLLOWING:
            kind = "repeats"
        elif record.state == "pruned":
            kind = "stopped early"
        total[kind] += seconds
    return total


def leaf(recipe: Mapping[str, Any], path: str) -> Any:
    """A recipe's value at a key path; None if it has none."""
    value: Any = recipe
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def varying(records: Sequence[TrialRecord]) -> list[str]:
    """The key paths at which the records' recipes differ, in the order of a recipe: student, objective, augmentation, training."""
    seen: dict[str, set[Any]] = {}
    for record in records:
        for part in ("student", "objective", "augmentation", "training"):
            _collect(record.recipe.get(part, {}), part, seen)
    present = {
        path: values | ({None} if any(leaf(item.recipe, path) is None for item in records) else set()) for path, values in seen.items()
    }
    parts = ("student", "objective", "augmentation", "training")
    return sorted((path for path, values in present.items() if len(values) > 1), key=lambda path: parts.index(path.partition(".")[0]))


def _collect(value: Any, path: str, seen: dict[str, set[Any]]) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _collect(item, f"{path}.{key}", seen)
    elif isinstance(value, str | int | float | bool):
        seen.setdefault(path, set()).add(value)
