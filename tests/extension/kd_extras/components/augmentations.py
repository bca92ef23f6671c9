"""An augmentation of texts."""

from __future__ import annotations

import numpy as np

from autodistill.components import TEXT, component


@component("augmentation", tasks=TEXT, level="words")
def rotated(words: list[str], rng: np.random.Generator) -> list[str]:
    """Each text begins at one of its words, and its beginning follows its end."""
    first = int(rng.integers(len(words)))
    return words[first:] + words[:first]
