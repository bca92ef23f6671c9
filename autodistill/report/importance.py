"""Which components of the pipeline mattered in a study: a functional ANOVA over groups of parameters.

A random forest learns the score from the recipe. A component's marginal is the forest's prediction with all other components averaged
out; its share is the variance of the marginal over the variance of the forest's predictions. The rest is due to interactions between
components. Source: Hutter, Hoos, Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter Importance", with two
differences. A component is a group of parameters (of a slot: its kind, its weight, and the parameters of that kind). And the marginals
are taken over the study's own recipes instead of a uniform box: a parameter is never evaluated where it does not apply, and the shares
describe the recipes that were tried, many of which the sampler drew near the good ones. Where the range of one component depends on
another (a transformer's learning rates are lower than a CNN's), the two share their common effect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autodistill.records import TrialRecord

FEWEST = 10
"""With fewer complete trials than this, importance is not computed."""

_TREES = 100
_LEAF = 2
_RECIPES = 100
"""The largest number of recipes that marginals are taken over: a component needs its square of predictions."""

_NAMED = 4
"""How many components the sentence names at most."""

MISSING = "–"
"""The value of a parameter that a recipe does not have."""


@dataclass(frozen=True)
class Importance:
    """Each component's share of the variance of the score, largest first; without the components that no recipe varied.

    interactions: the share of effects that components have only together. explained: the share of the score's variance that the
    forest predicts in trials that it was not fitted on (out of bag). trials: how many trials it learned from. reason: why there are
    no shares; empty if there are some.
    """

    shares: dict[str, float] = field(default_factory=dict)
    interactions: float = 0.0
    explained: float = 0.0
    trials: int = 0
    reason: str = ""


def component_importance(records: Sequence[TrialRecord], seed: int = 0) -> Importance:
    """The importance of each component in the complete trials of one study.

    Pruned trials are left out, because their scores are those of fewer epochs. seed: of the forest.
    """
    complete = [record for record in records if record.state == "complete"]
    used = [record for record in complete if record.rank_score is not None and math.isfinite(record.rank_score)]
    if len(used) < FEWEST:
        return Importance(trials=len(used), reason=f"{len(used)} complete trials are too few; at least {FEWEST} are needed")
    scores = np.array([record.rank_score for record in used], dtype=float)
    if np.ptp(scores) == 0:
        return Importance(trials=len(used), reason="all trials have the same score")
    table, components = encode([record.recipe for record in used])
    if not components:
        return Importance(trials=len(used), reason="all trials have the same recipe")

    from sklearn.ensemble import RandomForestRegressor  # takes a second to import

    forest = RandomForestRegressor(_TREES, min_samples_leaf=_LEAF, oob_score=True, random_state=seed).fit(table, scores)
    explained = float(forest.oob_score_)
    if explained <= 0:
        return Importance(
            explained=explained, trials=len(used), reason=f"the scores of {len(used)} trials do not follow from their recipes yet"
        )
    points = table[np.random.default_rng(seed).permutation(len(table))[:_RECIPES]]
    total = float(forest.predict(points).var())
    shares = {name: marginal_variance(forest, points, columns) / total for name, columns in components.items()} if total else {}
    over = max(1.0, sum(shares.values()))  # above 1 where components are not independent, such as kinds that fit one student family only
    shares = {name: share / over for name, share in sorted(shares.items(), key=lambda item: -item[1])}
    return Importance(shares, max(0.0, 1.0 - sum(shares.values())), explained, len(used))


def marginal_variance(forest: Any, points: np.ndarray, columns: list[int]) -> float:
    """Variance over the points of E[prediction | these columns], with all other columns averaged over the points.

    Shapes: points (N, P).
    """
    mixed = np.repeat(points[None, :, :], len(points), axis=0)  # (N of these columns, N of the others, P)
    mixed[:, :, columns] = points[:, None, columns]
    means = forest.predict(mixed.reshape(-1, points.shape[1])).reshape(len(points), len(points)).mean(axis=1)
    return float(means.var())


def encode(recipes: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, dict[str, list[int]]]:
    """Recipes as a table of numbers, and the columns of each component. Parameters that do not vary are left out.

    A numeric parameter is one column, with a value below all others if a recipe does not have it. Any other parameter has a column
    of 0 and 1 for each of its values, and one for its absence.
    """
    flat = [dict(_leaves(recipe)) for recipe in recipes]
    columns: list[np.ndarray] = []
    components: dict[str, list[int]] = {}
    for path in sorted({path for values in flat for path in values}):
        values = [row.get(path, MISSING) for row in flat]
        if len({repr(value) for value in values}) == 1 or component_of(path) is None:
            continue
        for column in _columns(values):
            components.setdefault(str(component_of(path)), []).append(len(columns))
            columns.append(column)
    return np.stack(columns, axis=1) if columns else np.empty((len(recipes), 0)), components


def component_of(path: str) -> str | None:
    """The component that a recipe's key path belongs to; None if it is not part of the pipeline (version, task)."""
    head, _, rest = path.partition(".")
    if head != "objective":
        return head if rest else None
    slot, _, inner = rest.partition(".")
    return slot if inner else "hard labels"


def _leaves(recipe: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in recipe.items():
        leaves += _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return leaves


def _columns(values: list[Any]) -> list[np.ndarray]:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == sum(value != MISSING for value in values):
        below = min(numbers) - (max(numbers) - min(numbers) or 1.0)
        return [np.array([below if value == MISSING else value for value in values], dtype=float)]
    return [np.array([value == kind for value in values], dtype=float) for kind in sorted(set(values), key=str)]


def sentence(importance: Importance) -> str:
    """One line for people: "Mattered most: student 61%, prediction 22%, …", or why that is not known."""
    if importance.reason:
        return f"What mattered most is not known: {importance.reason}."
    named = [(name, share) for name, share in importance.shares.items() if share >= 0.01][:_NAMED]
    if importance.interactions >= 0.01:
        named.append(("interactions", importance.interactions))
    listed = ", ".join(f"{name} {share:.0%}" for name, share in named)
    return f"Mattered most: {listed} (of the variance of {importance.trials} trials' scores)."
