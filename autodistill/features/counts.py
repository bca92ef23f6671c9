"""Features that are counted: words, pixels. Those of labels are the target's (target.py)."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np

from autodistill.tasks.base import Split

WORD = r"\w+"
_TOKENS = 5000


def text_features(sample: Split, pieces: np.ndarray) -> dict[str, float]:
    """Lengths and words of the sampled rows. pieces: (N,) word pieces of each row."""
    find = re.compile(WORD).findall
    assert sample.texts is not None
    first = [find(text.lower()) for text in sample.texts]
    second = [find(text.lower()) for text in sample.text_pairs] if sample.text_pairs is not None else []
    rows = [a + b for a, b in zip(first, second, strict=True)] if second else first
    lengths = np.array([len(row) for row in rows])
    start = list(itertools.islice(itertools.chain.from_iterable(rows), _TOKENS))
    overlaps = [len({*a} & {*b}) / max(len({*a} | {*b}), 1) for a, b in zip(first, second, strict=False)]
    return {
        "words_mean": float(lengths.mean()),
        "words_p90": float(np.percentile(lengths, 90)),
        "pieces_mean": float(pieces.mean()),
        "pieces_p90": float(np.percentile(pieces, 90)),
        "pieces_per_word": float(pieces.sum() / max(lengths.sum(), 1)),
        "log_vocabulary": math.log10(1 + len(set(itertools.chain.from_iterable(rows)))),
        "type_token_ratio": len(set(start)) / max(len(start), 1),
        "pair_overlap": float(np.mean(overlaps)) if overlaps else 0.0,
    }


def image_features(sample: Split) -> dict[str, float]:
    """Size and contrast of the sampled images."""
    assert sample.images is not None
    grey = sample.images.mean(axis=3) / 255
    return {"log_image_side": math.log2(sample.images.shape[1]), "image_contrast": float(grey.std(axis=(1, 2)).mean())}
