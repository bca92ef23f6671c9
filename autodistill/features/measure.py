"""`dataset_features`: which rows are sampled, what is measured on them, and the cache on disk."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np

from autodistill.cache import ensure, new_cached_folder
from autodistill.errors import RunError, UsageError
from autodistill.features.names import FEATURES, OF_LABELS, VERSION
from autodistill.models.pretrained import MINILM
from autodistill.storage import cache_folder, digest
from autodistill.target import Target
from autodistill.tasks.base import Dataset, Split
from autodistill.tasks.splits import stratified

if TYPE_CHECKING:
    from autodistill.features.seen import Seen

LEAST = 20
_FIT, _HELD, _HALF = 11, 12, 13  # separate random streams


def dataset_features(data: Dataset, *, rows: int = 2000, seed: int = 0, encoder: str = MINILM) -> dict[str, float]:
    """The features of a dataset: each name of FEATURES with a finite number. A dataset without labels has no names of OF_LABELS.

    Labels are counted over all training rows. The rest is measured on stratified samples: at most `rows` training rows to describe
    and to learn from, and half as many validation rows to score on. The test split is never used, and nothing is fine-tuned.
    The result is cached by dataset, metric, rows, seed, encoder and version.

    Args:
        data: an opened dataset.
        rows: the largest number of training rows to sample.
        seed: of the samples.
        encoder: the frozen text encoder, a folder or a hub id. Only features by the default encoder can be compared with those of
            the recorded studies.

    Raises:
        UsageError: rows is too small.
        ModelError: the encoder cannot be loaded.
        RunError: the cache cannot be written, or a feature is not a finite number.
    """
    if rows < LEAST:
        raise UsageError(f"rows is {rows}; allowed: {LEAST} or more rows to measure the features of a dataset on")
    key = digest(f"features-{VERSION}", data.fingerprint, data.task, data.metric, str(rows), str(seed), encoder)
    folder = cache_folder() / "features" / key
    file = folder / "features.json"

    def write() -> None:
        measured = _measure(data, rows, seed, encoder)
        with new_cached_folder(folder) as aside:
            (aside / file.name).write_text(json.dumps(measured, indent=1), encoding="utf-8")

    ensure(folder, write)
    return {name: float(value) for name, value in json.loads(file.read_text(encoding="utf-8")).items()}


def _measure(data: Dataset, rows: int, seed: int, encoder: str) -> dict[str, float]:
    from autodistill.features.landmarks import intrinsic_dimension

    target = data.target
    fit = _sample(data.train, rows, target, np.random.default_rng([seed, _FIT]))
    held_out = _sample(data.validation, max(rows // 2, 1), target, np.random.default_rng([seed, _HELD]))
    seen = data.modality.look(fit, held_out, encoder)
    features: dict[str, float] = {
        **data.modality.flags,
        **target.features(data.train.labels),
        **seen.counted,
        **(_landmarks(data, fit, held_out, seen, seed) if target.has_labels else {}),
        "intrinsic_dimension": intrinsic_dimension(seen.frozen[0]),
    }
    bad = [name for name, value in features.items() if not math.isfinite(value)]
    if bad:
        raise RunError(f"dataset {data.name!r}: the features {', '.join(bad)} are not finite; check its rows with load_dataset")
    return {name: features.get(name, 0.0) for name in FEATURES if target.has_labels or name not in OF_LABELS}


def _landmarks(data: Dataset, fit: Split, held_out: Split, seen: Seen, seed: int) -> dict[str, float]:
    """The scores of simple learners, and how far apart the classes lie."""
    from autodistill.features.landmarks import linear, majority, neighbours, score, separability

    target, (x, x_held_out) = data.target, seen.frozen
    keys = target.strata(fit.labels)
    half = stratified(keys, (len(fit) + 1) // 2, np.random.default_rng([seed, _HALF]), leave_one=False)
    targets = target.regressed(fit.labels)

    def scored(predicted: np.ndarray) -> float:
        return score(target, data.metric, predicted, held_out.labels)

    base = majority(target, data.metric, targets, held_out.labels)
    probe = scored(linear(x, targets, x_held_out))
    plain = scored(linear(seen.surface[0], targets, seen.surface[1])) if seen.surface[0].shape[1] else base
    return {
        "majority_score": base,
        "probe_score": probe,
        "probe_gain": probe - base,
        "probe_slope": probe - scored(linear(x[half], targets[half], x_held_out)),
        "knn_score": scored(neighbours(x, targets, x_held_out)),
        "surface_score": plain,
        "surface_gain": probe - plain,
        "separability": separability(x, keys),
    }


def _sample(split: Split, rows: int, target: Target, rng: np.random.Generator) -> Split:
    """A stratified sample of at most `rows` rows, in random order."""
    kept = np.arange(len(split))
    if rows < len(split):
        kept = stratified(target.strata(split.labels), rows, rng, leave_one=False)
    return split.take(rng.permutation(kept))
