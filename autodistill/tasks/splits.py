"""Three splits for every dataset: stratified and seeded, with a note on every decision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autodistill.errors import DataError

LEAST = 10
"""The least number of rows that can be split."""
REST = "rest"
"""The name of the part with the training rows that a limit leaves out."""
WITHOUT_LABEL = "without label"
"""The name of the part with the rows of the training table that have no label."""
_TEST, _VALIDATION, _LIMIT = 1, 2, 3  # separate random streams, so that one decision does not change another


@dataclass(frozen=True)
class Part:
    """Rows (ascending) of one of the source's tables."""

    table: str
    rows: np.ndarray


def stratified(keys: np.ndarray, count: int, rng: np.random.Generator, *, leave_one: bool) -> np.ndarray:
    """Pick `count` of the rows (ascending indices), from each stratum in proportion, up to rounding.

    leave_one: leave at least one row of every stratum, so that a held-out split never takes a class's only row; then fewer than
    `count` rows may be picked. Otherwise every stratum gives at least one row, if `count` allows.
    """
    _, of, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    exact = sizes * (count / len(keys))
    most = sizes - 1 if leave_one else sizes
    least = np.minimum(most, 0 if leave_one or count < len(sizes) else 1)
    quota = np.clip(np.floor(exact).astype(np.int64), least, most)
    while (missing := count - quota.sum()) != 0:
        room = np.flatnonzero(quota < most) if missing > 0 else np.flatnonzero(quota > least)
        if not len(room):
            break
        behind = (exact - quota)[room] * np.sign(missing)
        quota[room[np.argsort(-behind, kind="stable")[: abs(missing)]]] += np.sign(missing)
    picked = [rng.permutation(np.flatnonzero(of == stratum))[: quota[stratum]] for stratum in range(len(sizes))]
    return np.sort(np.concatenate(picked))


def held_out(rows: int) -> int:
    """How many rows to hold out for a split: a tenth, at most 2,000, but at least a hundred if that is no more than a fifth.

    With 2,000 rows the standard error of an accuracy of 0.9 is 0.7 points. More rows would make every epoch slower for little gain.
    """
    return min(2000, round(max(0.1 * rows, min(100, 0.2 * rows))))


def plan(keys: dict[str, np.ndarray], seed: int, limit_train: int | None, name: str) -> tuple[dict[str, Part], list[str]]:
    """Which rows of which tables make up train, validation and test, and notes on it.

    keys: the strata of each labelled table: train, with or without validation and test; or only "all". If a limit leaves out training
    rows, they are the part `rest`.

    Raises:
        DataError: there are too few rows.
    """
    notes: list[str] = []
    base = "all" if "all" in keys else "train"
    kept = np.arange(len(keys[base]))
    if len(kept) < LEAST:
        raise DataError(f"dataset {name!r} has {len(kept)} rows to train on and hold out from; at least {LEAST} are needed")
    parts: dict[str, Part] = {}

    def hold_out(kept: np.ndarray, stream: int, what: str) -> tuple[np.ndarray, np.ndarray]:
        size = held_out(len(keys[base])) if base == "train" else max(1, round(0.1 * len(keys[base])))
        picked = stratified(keys[base][kept], size, np.random.default_rng([seed, stream]), leave_one=True)
        if not len(picked):
            raise DataError(f"dataset {name!r} has {len(keys[base])} rows in {base}, too few to hold out a {what} split from them")
        return np.delete(kept, picked), kept[picked]

    for split in ("validation", "test"):
        if split in keys:
            parts[split] = Part(split, np.arange(len(keys[split])))
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
        notes.append("there is no test split with labels: the validation split is the test split here")
    if "test" not in parts:
        kept, rows = hold_out(kept, _TEST, "test")
        parts["test"] = Part(base, rows)
        notes.append(f"test: {len(rows)} rows held out, stratified, seed {seed}")
    if "validation" not in parts:
        kept, rows = hold_out(kept, _VALIDATION, "validation")
        parts["validation"] = Part(base, rows)
        notes.append(f"validation: {len(rows)} rows held out of train, stratified, seed {seed}")
    if limit_train is not None and limit_train < len(kept):
        rng = np.random.default_rng([seed, _LIMIT])
        notes.append(f"train: {limit_train} of {len(kept)} rows, stratified, seed {seed}; validation and test are whole")
        taken = stratified(keys[base][kept], limit_train, rng, leave_one=False)
        parts[REST] = Part(base, np.delete(kept, taken))
        kept = kept[taken]
    parts["train"] = Part(base, kept)
    return parts, notes
