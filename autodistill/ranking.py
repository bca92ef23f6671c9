"""Which trials of a study count, and which is the best: pure functions of its records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from autodistill.limits import Limits
from autodistill.records import FOLLOWING, TrialRecord

INTERRUPTED = "interrupted"
"""The first word of an interrupted trial's reason."""


def best_of(records: list[TrialRecord], limits: Limits) -> TrialRecord | None:
    """The best complete trial within the limits; of equal scores the one with fewer parameters, then the earlier trial."""
    ranked = rank(records, limits)
    return ranked[0] if ranked else None


def rank(records: list[TrialRecord], limits: Limits) -> list[TrialRecord]:
    """The complete trials within the limits, best first, each recipe once.

    If recipes were repeated with more seeds, the repeated recipe with the best mean is first; the rest follow by score.
    """
    complete = [item for item in records if item.state == "complete" and limits.check(item.params, item.latency_ms).feasible]
    means = mean_scores(complete)

    def order(item: TrialRecord) -> tuple[float, float, int]:
        return -(item.score or 0.0), item.params if item.params is not None else math.inf, item.trial

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
    """Of the complete trials, by recipe id: the mean score over seeds, and how many seeds."""
    by_recipe: dict[str, dict[int, float]] = {}
    for item in records:
        if item.state == "complete" and item.score is not None:
            by_recipe.setdefault(item.recipe_id, {})[item.seed] = item.score
    return {recipe: (sum(scores.values()) / len(scores), len(scores)) for recipe, scores in by_recipe.items()}


def count(records: list[TrialRecord]) -> dict[str, int]:
    """The number of trials by how they ended. `fail` excludes interrupted trials, which are run again."""
    counts = Counter("interrupted" if was_interrupted(record) else record.state for record in records)
    return {state: counts[state] for state in ("complete", "pruned", "fail", "infeasible", "interrupted")}


def was_interrupted(record: TrialRecord) -> bool:
    """Whether a trial was cut off without a fault of its own (and was put back into the queue)."""
    return record.state == "fail" and (record.reason or "").startswith(INTERRUPTED)
