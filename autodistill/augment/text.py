"""Augmentations of texts.

Two levels: `words` maps one text's words to new words, before the tokenizer; `tokens` says which tokens of a whole split
to keep, after it. Both are seeded by their caller, so a view of a split can be made again and its teacher outputs stored.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from autodistill.components import TEXT, component


@component("augmentation", kind="random", tasks=TEXT, level="words")
def random_words(words: list[str], rng: np.random.Generator, *, strength: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1) -> list[str]:
    """Random word operations: each word is, with probability `strength`, deleted, swapped with its neighbour or said again elsewhere.

    Three of the four operations of EDA (synonyms are left out); at least one word remains.
    Source: Wei, Zou 2019, "EDA: Easy Data Augmentation Techniques", section 2.
    When: small training sets; raise the strength with the length of the texts.
    """
    result = list(words)
    hits = rng.random(len(words)) < strength
    for operation in rng.integers(3, size=int(hits.sum())):
        place = int(rng.integers(len(result)))
        if operation == 0 and len(result) > 1:
            del result[place]
        elif operation == 1 and len(result) > 1:
            other = place - 1 if place + 1 == len(result) else place + 1
            result[place], result[other] = result[other], result[place]
        elif operation == 2:
            result.insert(int(rng.integers(len(result) + 1)), result[place])
    return result


@component("augmentation", tasks=TEXT, level="tokens")
def token_dropout(special: np.ndarray, rng: np.random.Generator, *, strength: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1) -> np.ndarray:
    """Token dropout: each token is left out with probability `strength`; the special ones stay.

    Shapes: special (total,) bool over all tokens of a split → (total,) bool, True where a token is kept.
    Source: token cutoff of Shen et al. 2020, "A Simple but Tough-to-Beat Data Augmentation Approach", section 3, here by
    leaving the tokens out of the input.
    When: students that lean on single words (cnn); gentler than word operations on word order.
    """
    return special | (rng.random(len(special)) >= strength)
