"""Rows described without their labels: counts, frozen features, and the plain input as features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodistill.features.counts import WORD, image_features, text_features
from autodistill.features.frozen import Encoder, combined, gradients, shrunk
from autodistill.tasks.base import Split

_SURFACE_SIDE = 8


@dataclass(frozen=True)
class Seen:
    """Two samples of rows: N to learn from, M to score on.

    counted: dataset features of the first sample. frozen: features by an encoder that is not trained on the rows, dense (N, D) and
    (M, D). surface: the plain input as features, dense or sparse (N, E) and (M, E); E is 0 if there are none.
    """

    counted: dict[str, float]
    frozen: tuple[np.ndarray, np.ndarray]
    surface: tuple[Any, Any]


def see_images(fit: Split, held: Split) -> Seen:
    """Histograms of oriented gradients; the pixels of small images."""
    assert fit.images is not None
    assert held.images is not None
    return Seen(image_features(fit), (outlines(fit), outlines(held)), (_pixels(fit.images), _pixels(held.images)))


def see_texts(fit: Split, held: Split, encoder: str) -> Seen:
    """Embeddings by the encoder, and TF-IDF; both combined for pairs as in `combined`.

    Raises:
        ModelError: the encoder cannot be loaded.
    """
    *frozen, pieces = _embedded(fit, held, encoder)
    words = words_of(fit)
    return Seen(text_features(fit, pieces), (frozen[0], frozen[1]), (words(fit), words(held)))


def _embedded(fit: Split, held: Split, encoder: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frozen features of both samples, and the number of word pieces of each row to fit."""
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


def words_of(fit: Split) -> Callable[[Split], Any]:
    """A function from a split to its TF-IDF features (N, D), sparse, over the words and word pairs of `fit`; D is 0 without words.

    For pairs the two texts' features are combined as embeddings are.
    """
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(token_pattern=WORD, ngram_range=(1, 2), sublinear_tf=True)
    try:
        words.fit([*(fit.texts or ()), *(fit.text_pairs or ())])
    except ValueError:  # no text has a word
        return lambda split: csr_matrix((len(split), 0))

    def columns(split: Split) -> Any:
        first = words.transform(split.texts)
        if split.text_pairs is None:
            return first
        second = words.transform(split.text_pairs)
        return hstack([first, second, abs(first - second), first.multiply(second)], format="csr")

    return columns


def outlines(split: Split) -> np.ndarray:
    """Histograms of oriented gradients and mean colours, (N, D)."""
    assert split.images is not None
    return gradients(split.images)


def _pixels(images: np.ndarray) -> np.ndarray:
    return shrunk(images, _SURFACE_SIDE).reshape(len(images), -1)
