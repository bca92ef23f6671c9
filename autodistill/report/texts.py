"""How the command line writes numbers, names and recipes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from autodistill import families
from autodistill.recipe import SLOTS
from autodistill.records import Role

ABSENT = "–"
UNDISTILLED = "hard labels"
"""The objective's name for a recipe without any distillation objective."""
UNTRAINED = "untrained"
"""Its name if there are no hard labels either."""

ROLES: dict[Role, str] = {
    "no_kd": "no KD",
    "plain_kd": "plain KD",
    "pseudo_labels": "pseudo-labels",
    "plain_kd_all": "plain KD, all rows",
    "defaults": "defaults",
    "given": "given",
    "recommended": "recommended",
    "search": "search",
    "explore": "explore",
    "repeat": "repeat",
    "fewer_rows": "fewer unlabelled rows",
    "twin": "the best without a teacher",
}
"""A trial's role, for people."""


def clean(text: str) -> str:
    """The text as one line without control characters: a name from outside must not move the terminal's cursor."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split(" "))


def plural(number: int, word: str) -> str:
    """`1 epoch`, `2 epochs`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def score(value: float | None) -> str:
    """Four decimals."""
    return ABSENT if value is None or not math.isfinite(value) else f"{value:.4f}"


def percent(value: float | None) -> str:
    """A share in per cent, with one decimal."""
    return ABSENT if value is None or not math.isfinite(value) else f"{100 * value:.1f}%"


def params(value: int | None) -> str:
    """A number of parameters: 950, 81.2k, 4.39M, 1.20B."""
    if value is None:
        return ABSENT
    for size, unit in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        if value >= 0.9995 * size:
            scaled = value / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{unit}"
    return str(value)


def latency(value: float | None) -> str:
    """Milliseconds, to three digits."""
    return ABSENT if value is None or not math.isfinite(value) else f"{value:.3g} ms"


def duration(value: float | None) -> str:
    """0.4s, 42s, 3m12s, 1h04m, 2d03h."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if isinstance(value, float) and 0 < value < 9.95:
        return f"{value:.1f}s"
    whole = round(max(value, 0.0))
    for big, small, names in ((86400, 3600, "dh"), (3600, 60, "hm"), (60, 1, "ms")):
        if whole >= big:
            return f"{whole // big}{names[0]}{whole % big // small:02d}{names[1]}"
    return f"{whole}s"


def student(recipe: Mapping[str, Any]) -> str:
    """A recipe's student in a few characters: `bert 3×192`, `cnn 128`, `timm:resnet10t`.

    Takes plain data, as records hold it: a record may be older than the recipe's current schema.
    """
    return clean(families.short(recipe.get("student", {})))


def objective(recipe: Mapping[str, Any]) -> str:
    """The objectives that a recipe uses: `kl + mi`; `past predictions` where it learns from itself; `hard labels` where it has no other,
    `untrained` where it has nothing to learn.
    """
    part = recipe.get("objective", {})
    kinds = [part[slot]["kind"] for slot in SLOTS if slot in part and part[slot].get("weight", 1.0) > 0]
    kinds += ["past predictions"] if part.get("self_distillation", 0.0) > 0 else []
    alone = UNDISTILLED if part.get("hard_label_weight", 1.0) > 0 else UNTRAINED
    return clean(" + ".join(kind for kind in kinds if kind != "none") or alone)


def is_undistilled(recipe: Mapping[str, Any]) -> bool:
    """Whether a recipe has no distillation objective."""
    return objective(recipe) in (UNDISTILLED, UNTRAINED)
