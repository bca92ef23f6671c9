"""`dataset_features`: which rows are looked at, the order of the measurements, and the cache on the disk."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np

from autodistill.errors import RunError, UsageError
from autodistill.features.names import FEATURES, VERSION
from autodistill.models.pretrained import MINILM
from autodistill.storage import cache_folder, digest, lock, new_folder
from autodistill.tasks.base import Dataset, Split
from autodistill.tasks.splits import strata, stratified

LEAST = 20
_FIT, _HELD, _HALF = 11, 12, 13  # separate random streams
_SURFACE_SIDE = 8


def dataset_features(data: Dataset, *, rows: int = 2000, seed: int = 0, encoder: str = MINILM) -> dict[str, float]:
    """What a dataset is like: every name of FEATURES with a finite number.

    Counts of labels are of all training rows. The rest is measured on a stratified sample: at most `rows` training rows to look
    at and learn from, and half as many validation rows to score on; the test split is never looked at. Nothing is fine-tuned.
    Kept in the cache folder by dataset, metric, rows, seed and version.

    Args:
        data: an opened dataset.
        rows: training rows that are sampled at most.
        seed: of the sample.
        encoder: the frozen text encoder, a folder or a hub id. Features by another one than the default cannot be compared
            with those of the recorded studies.

    Raises:
        UsageError: rows is too small.
        ModelError: the encoder is not to be had.
        RunError: the cache cannot be written, or a feature is no finite number.
    """
    if rows < LEAST:
        raise UsageError(f"rows is {rows}; allowed: {LEAST} or more rows to measure the features of a dataset on")
    key = digest(f"features-{VERSION}", data.fingerprint, data.task, data.metric, str(rows), str(seed), encoder)
    folder = cache_folder() / "features" / key
    file = folder / "features.json"
    if not file.exists():
        with lock(folder):
            if not file.exists():
                measured = _measure(data, rows, seed, encoder)
                with new_folder(folder) as aside:
                    (aside / file.name).write_text(json.dumps(measured, indent=1), encoding="utf-8")
    return {name: float(value) for name, value in json.loads(file.read_text(encoding="utf-8")).items()}


def _measure(data: Dataset, rows: int, seed: int, encoder: str) -> dict[str, float]:
    from autodistill.features.counts import image_features, label_features, text_features
    from autodistill.features.frozen import gradients
    from autodistill.features.landmarks import intrinsic_dimension, linear, majority, neighbours, score, separability, targets

    fit = _sample(data.train, rows, data.is_regression, np.random.default_rng([seed, _FIT]))
    held = _sample(data.validation, max(rows // 2, 1), data.is_regression, np.random.default_rng([seed, _HELD]))
    if data.image_size is not None:
        assert fit.images is not None
        assert held.images is not None
        seen = image_features(fit, data.image_size)
        x, x_held = gradients(fit.images), gradients(held.images)
    else:
        x, x_held, pieces = _embedded(fit, held, encoder)
        seen = text_features(fit, pieces)
    surface, surface_held = _surface(fit, held)

    keys = strata(fit.labels, data.is_regression)
    half = stratified(keys, (len(fit) + 1) // 2, np.random.default_rng([seed, _HALF]), leave_one=False)
    wanted = targets(fit.labels, data.outputs, data.is_regression)

    def scored(predicted: np.ndarray) -> float:
        return score(data.metric, predicted, held.labels)

    base = 0.0 if data.is_regression else majority(data.metric, wanted, held.labels)
    probe = scored(linear(x, wanted, x_held))
    plain = scored(linear(surface, wanted, surface_held)) if surface.shape[1] else base
    found: dict[str, float] = {
        "is_image": float(data.is_image),
        "is_pair": float(fit.text_pairs is not None),
        "is_regression": float(data.is_regression),
        **label_features(data),
        **seen,
        "majority_score": base,
        "probe_score": probe,
        "probe_gain": probe - base,
        "probe_slope": probe - scored(linear(x[half], wanted[half], x_held)),
        "knn_score": scored(neighbours(x, wanted, x_held)),
        "surface_score": plain,
        "surface_gain": probe - plain,
        "separability": separability(x, keys),
        "intrinsic_dimension": intrinsic_dimension(x),
    }
    bad = [name for name, value in found.items() if not math.isfinite(value)]
    if bad:
        raise RunError(f"dataset {data.name!r}: the features {', '.join(bad)} are no finite numbers; check its rows with load_dataset")
    return {name: found.get(name, 0.0) for name in FEATURES}


def _sample(split: Split, rows: int, regression: bool, rng: np.random.Generator) -> Split:
    """At most so many rows, stratified, in a random order."""
    kept = np.arange(len(split))
    if rows < len(split):
        kept = stratified(strata(split.labels, regression), rows, rng, leave_one=False)
    kept = rng.permutation(kept)

    def taken(texts: list[str] | None) -> list[str] | None:
        return None if texts is None else [texts[row] for row in kept]

    images = None if split.images is None else split.images[kept]
    return replace(split, labels=split.labels[kept], texts=taken(split.texts), text_pairs=taken(split.text_pairs), images=images)


def _embedded(fit: Split, held: Split, encoder: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frozen features of both samples, and the word pieces of the rows to fit."""
    from autodistill.features.frozen import Encoder, combined

    assert fit.texts is not None
    assert held.texts is not None
    model = Encoder(encoder)
    texts, pieces = [*fit.texts, *held.texts], model.pieces(fit.texts)
    if fit.text_pairs is None or held.text_pairs is None:
        rows = model.embed(texts)
    else:
        pieces = pieces + model.pieces(fit.text_pairs)
        both = model.embed([*texts, *fit.text_pairs, *held.text_pairs])
        rows = combined(both[: len(texts)], both[len(texts) :])
    return rows[: len(fit)], rows[len(fit) :], pieces


def _surface(fit: Split, held: Split) -> tuple[Any, Any]:
    """The plain input as features: the pixels of small images, or TF-IDF, put together for pairs as embeddings are."""
    from autodistill.features.counts import WORD

    if fit.images is not None and held.images is not None:
        return _pixels(fit.images), _pixels(held.images)
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(token_pattern=WORD, ngram_range=(1, 2), sublinear_tf=True)
    try:
        words.fit([*(fit.texts or ()), *(fit.text_pairs or ())])
    except ValueError:  # there is no word in any text
        return csr_matrix((len(fit), 0)), csr_matrix((len(held), 0))

    def columns(split: Split) -> Any:
        first = words.transform(split.texts)
        if split.text_pairs is None:
            return first
        second = words.transform(split.text_pairs)
        return hstack([first, second, abs(first - second), first.multiply(second)], format="csr")

    return columns(fit), columns(held)


def _pixels(images: np.ndarray) -> np.ndarray:
    from autodistill.features.frozen import shrunk

    return shrunk(images, _SURFACE_SIDE).reshape(len(images), -1)
