"""The plain input as features, without any encoder: TF-IDF of words."""

from __future__ import annotations

from typing import Any

from autodistill.features.counts import WORD
from autodistill.tasks.base import Split


class Words:
    """TF-IDF of the words and word pairs of a split's texts, (N, D) sparse; of pairs [a, b, |a − b|, a · b], as embeddings are combined.

    D is 0 where no text has a word.
    """

    def __init__(self, fit: Split) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._words: Any = TfidfVectorizer(token_pattern=WORD, ngram_range=(1, 2), sublinear_tf=True)
        try:
            self._words.fit([*(fit.texts or ()), *(fit.text_pairs or ())])
        except ValueError:  # there is no word in any text
            self._words = None

    def columns(self, split: Split) -> Any:
        """The features of a split's rows."""
        from scipy.sparse import csr_matrix, hstack

        if self._words is None:
            return csr_matrix((len(split), 0))
        first = self._words.transform(split.texts)
        if not split.text_pairs:
            return first
        second = self._words.transform(split.text_pairs)
        return hstack([first, second, abs(first - second), first.multiply(second)], format="csr")
