"""Which trials of a study count, and which is the best: pure functions of its records.

Trials are ordered by `TrialRecord.rank_score`, which is called their score here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from autodistill.limits import Limits
from autodistill.records import FOLLOWING, UNCOUNTED, TrialRecord

Preference = Literal["score", "latency", "size"]
"""What a user wants most of the recommended student."""
COSTS: dict[Preference, Literal["latency_ms", "params"]] = {"latency": "latency_ms", "size": "params"}
"""The fields of a record that a preference goes by, where it is not the score."""
NEAR = 0.005
"""How far below the best score a student may be, to be recommended for its cost: half a point."""
INTERRUPTED = "interrupted"
"""The first word of an interrupted trial's reason."""


def best_of(records: list[TrialRecord], limits: Limits) -> TrialRecord | None:
    """The best complete trial within the limits; of equal scores the one with fewer parameters, then the earlier trial."""
    ranked = rank(records, limits)
    return ranked[0] if ranked else None


def preferred(records: list[TrialRecord], limits: Limits, prefer: Preference) -> TrialRecord | None:
    """The trial that is recommended.

    By `score`, the best one (`best_of`). By `latency` or `size`, of the complete trials within the limits whose mean score is at most
    `NEAR` below the best one's, the one with the lowest latency or the fewest parameters; equal costs go to the higher score. Latency is
    that of the record: of the untrained student for one row, which limits are checked against. The best one, where no cost is recorded.
    """
    ranked = rank(records, limits)
    if not ranked or prefer not in COSTS:
        return ranked[0] if ranked else None
    means = mean_scores(records)
    least = _mean(ranked[0], means) - NEAR - 1e-9  # of two decimal numbers, the difference may be larger by a rounding error
    near = [item for item in ranked if _mean(item, means) >= least]
    priced = [(cost, item) for item in near if (cost := getattr(item, COSTS[prefer])) is not None]
    return min(priced, key=lambda pair: (pair[0], -_mean(pair[1], means)))[1] if priced else ranked[0]


def _mean(record: TrialRecord, means: dict[str, tuple[float, int]]) -> float:
    mean = means.get(record.recipe_id, (record.rank_score or 0.0, 1))[0]
    return mean if math.isfinite(mean) else -math.inf


def rank(records: list[TrialRecord], limits: Limits) -> list[TrialRecord]:
    """The complete trials within the limits, best first, each recipe once.

    If recipes were repeated with more seeds, the repeated recipe with the best mean is first; the rest follow by score.
    """
    complete = [item for item in records if item.state == "complete" and limits.check(item.params, item.latency_ms).feasible]
    means = mean_scores(complete)

    def order(item: TrialRecord) -> tuple[float, float, int]:
        return -(item.rank_score or 0.0), item.params if item.params is not None else math.inf, item.trial

    ranked = sorted((item for item in complete if item.role not in FOLLOWING), key=order)
    best = max(
        (item for item in ranked if item.recipe_id in means and means[item.recipe_id][1] > 1),
        key=lambda item: means[item.recipe_id][0],
        default=None,
    )
    if best is not None:  # a lucky seed should not win against the mean over several seeds
        ranked.remove(best)
        ranked.insert(0, best)
    return ranked


def mean_scores(records: Sequence[TrialRecord]) -> dict[str, tuple[float, int]]:
    """Of the complete trials, by recipe id: the mean over seeds of what they are ordered by, and how many seeds."""
    by_recipe: dict[str, dict[int, float]] = {}
    for item in records:
        if item.state == "complete" and item.rank_score is not None:
            by_recipe.setdefault(item.recipe_id, {})[item.seed] = item.rank_score
    return {recipe: (sum(scores.values()) / len(scores), len(scores)) for recipe, scores in by_recipe.items()}


def count(records: list[TrialRecord]) -> dict[str, int]:
    """The number of trials by how they ended. `fail` excludes interrupted trials, which are run again."""
    counts = Counter("interrupted" if was_interrupted(record) else record.state for record in records)
    return {state: counts[state] for state in ("complete", "pruned", "fail", "infeasible", "interrupted")}


def searched(records: list[TrialRecord]) -> int:
    """How many of a search's requested trials have ended; baselines and infeasible proposals do not count among them."""
    return sum(item.state != "infeasible" and item.role not in UNCOUNTED and not was_interrupted(item) for item in records)


def has_failed(record: TrialRecord) -> bool:
    """Whether a trial failed by itself; one that was cut off did not."""
    return record.state == "fail" and not was_interrupted(record)


def was_interrupted(record: TrialRecord) -> bool:
    """Whether a trial was cut off without a fault of its own (and was put back into the queue)."""
    return record.state == "fail" and (record.reason or "").startswith(INTERRUPTED)
