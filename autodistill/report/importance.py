"""Which components of the pipeline mattered in a study: a functional ANOVA over groups of parameters.

A random forest learns the score from the recipe. A component's share is the variance of its marginal, that is of the forest's
prediction with all other components averaged out, over the variance of the forest's predictions; what the shares leave is owed to
interactions between components. Source: Hutter, Hoos, Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter
Importance", with two differences: a component is all its parameters at once (of a slot its kind, its weight, and whatever its kind
has), and the marginals are taken over the study's own recipes in place of a uniform box. So a parameter is never looked at where it
does not apply, and the shares are about the recipes that were tried, which a sampler drew near to the good ones. Where the range of
one component depends on another (a transformer's learning rates are lower than a CNN's), the two share what is owed to either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autodistill.records import TrialRecord

FEWEST = 10
"""Complete trials below which nothing is said."""

_TREES = 100
_LEAF = 2
_RECIPES = 100
"""Recipes over which marginals are taken at most: their square is how many predictions a component needs."""

_NAMED = 4
"""How many components the sentence names at most."""

MISSING = "–"
"""The value of a parameter that a recipe does not have."""


@dataclass(frozen=True)
class Importance:
    """Shares of the variance of the score, by component, largest first; components that no recipe varied are not in it.

    interactions: what the components do only together. explained: how much of the score's variance the forest foretells in trials
    that it has not seen (out of bag). trials: how many it learned from. reason: why there are no shares, empty where there are.
    """

    shares: dict[str, float] = field(default_factory=dict)
    interactions: float = 0.0
    explained: float = 0.0
    trials: int = 0
    reason: str = ""


def component_importance(records: Sequence[TrialRecord], seed: int = 0) -> Importance:
    """The importance of each component in the complete trials of one study.

    Pruned trials are left out: their scores are those of fewer epochs. `seed` is of the forest.
    """
    used = [record for record in records if record.state == "complete" and record.score is not None and math.isfinite(record.score)]
    if len(used) < FEWEST:
        return Importance(trials=len(used), reason=f"{len(used)} complete trials are too few to tell, {FEWEST} are the least")
    scores = np.array([record.score for record in used], dtype=float)
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
    over = max(1.0, sum(shares.values()))  # of components that are not independent, as the kinds for one student family only
    shares = {name: share / over for name, share in sorted(shares.items(), key=lambda item: -item[1])}
    return Importance(shares, max(0.0, 1.0 - sum(shares.values())), explained, len(used))


def marginal_variance(forest: Any, points: np.ndarray, columns: list[int]) -> float:
    """Variance over the points of E[prediction | these columns], all other columns being averaged over the points.

    Shapes: points (N, P).
    """
    mixed = np.repeat(points[None, :, :], len(points), axis=0)  # (N of these columns, N of the others, P)
    mixed[:, :, columns] = points[:, None, columns]
    means = forest.predict(mixed.reshape(-1, points.shape[1])).reshape(len(points), len(points)).mean(axis=1)
    return float(means.var())


def encode(recipes: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, dict[str, list[int]]]:
    """Recipes as numbers, and which columns are each component's. Parameters that do not vary are left out.

    A number is itself, and below all others where a recipe does not have the parameter; other values get a column each, of 0 and 1,
    as does their absence.
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
    """The component that a key path of a recipe belongs to; None for what is no part of the pipeline (version, task)."""
    head, _, rest = path.partition(".")
    if head != "objective":
        return head if rest else None
    slot, _, inner = rest.partition(".")
    return slot if inner else "hard labels"


def _leaves(recipe: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in recipe.items():
        found += _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return found


def _columns(values: list[Any]) -> list[np.ndarray]:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == sum(value != MISSING for value in values):
        below = min(numbers) - (max(numbers) - min(numbers) or 1.0)
        return [np.array([below if value == MISSING else value for value in values], dtype=float)]
    return [np.array([value == kind for value in values], dtype=float) for kind in sorted(set(values), key=str)]


def sentence(found: Importance) -> str:
    """One line for people: "Mattered most: student 61%, prediction 22%, …", or why that is not known."""
    if found.reason:
        return f"What mattered most is not known: {found.reason}."
    named = [(name, share) for name, share in found.shares.items() if share >= 0.01][:_NAMED]
    if found.interactions >= 0.01:
        named.append(("interactions", found.interactions))
    listed = ", ".join(f"{name} {share:.0%}" for name, share in named)
    return f"Mattered most: {listed} (of the variance of {found.trials} trials' scores)."
