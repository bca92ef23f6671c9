"""Augmentations of texts. The caller seeds each of them, so a view of a split can be repeated and its teacher outputs stored.

Its level says what an augmentation takes and returns (views.py). Before the tokenizer: `words`, one text's words → new words, and
`texts`, a split's texts → as many texts. Over all tokens of a split: `keep` returns a mask of the tokens to keep, and `replace`
returns new token ids for the old ones. Masked language models are in contextual.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from autodistill.augment.neighbours import nearest_words, vocabulary
from autodistill.components import TEXT, component
from autodistill.errors import DataError
from autodistill.tasks.tables import read_table


@component("augmentation", kind="random", tasks=TEXT, level="words")
def random_words(words: list[str], rng: np.random.Generator, *, strength: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1) -> list[str]:
    """Random word operations: with probability `strength`, a word is deleted, swapped with its neighbour or repeated elsewhere.

    These are three of the four operations of EDA (the fourth is `synonyms`); at least one word remains.
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


@component("augmentation", tasks=TEXT, level="keep")
def token_dropout(special: np.ndarray, rng: np.random.Generator, *, strength: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1) -> np.ndarray:
    """Token dropout: each token is left out with probability `strength`; the special ones stay.

    Shapes: special (total,) bool over all tokens of a split → (total,) bool, True where a token is kept.
    Source: token cutoff of Shen et al. 2020, "A Simple but Tough-to-Beat Data Augmentation Approach", section 3; here the tokens
    are left out of the input.
    When: students that rely on single words (cnn). It keeps the word order better than word operations do.
    """
    return special | (rng.random(len(special)) >= strength)


@component("augmentation", tasks=TEXT, level="keep")
def span_cutoff(
    special: np.ndarray, offsets: np.ndarray, rng: np.random.Generator, *, strength: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
) -> np.ndarray:
    """Span cutoff: one run of neighbouring tokens is left out of each row, `strength` × its tokens long; the special ones stay.

    The length is rounded, and at least one token remains; every place is equally likely. In a pair of texts the run may reach from
    the first text into the second.

    Shapes: special (total,) bool over all tokens of a split; offsets (N + 1,) int64, where its rows begin → (total,) bool, True
    where a token is kept.
    Source: Shen et al. 2020, "A Simple but Tough-to-Beat Data Augmentation Approach", section 3; here the tokens are left out of the
    input.
    When: longer texts whose meaning does not depend on one place. It is harder than token dropout of the same strength.
    """
    before = np.concatenate([[0], np.cumsum(~special)])  # ordinary tokens up to each place
    tokens = before[offsets[1:]] - before[offsets[:-1]]
    length = np.minimum(np.rint(strength * tokens).astype(np.int64), np.maximum(tokens - 1, 0))
    start = rng.integers(tokens - length + 1)
    row = np.repeat(np.arange(len(tokens)), np.diff(offsets))
    rank = before[:-1] - before[offsets[:-1]][row]
    return special | (rank < start[row]) | (rank >= (start + length)[row])


@component("augmentation", tasks=TEXT, level="replace")
def synonyms(
    ids: np.ndarray,
    rng: np.random.Generator,
    tokenizer: Any,
    teacher: Path,
    *,
    strength: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1,
    neighbours: Annotated[int, Field(ge=1, le=100)] = 5,
) -> np.ndarray:
    """Synonyms from the teacher's embeddings: with probability `strength`, a word is replaced by one of its nearest words.

    The nearest words are the `neighbours` words with the largest cosine of the teacher's input embeddings; each is equally likely.
    Only words that are a single token are replaced, and only by such words. Antonyms and question words are near each other too: the
    teacher sees the changed text, but the hard labels stay. Unlike EDA it also replaces stop words, because leaving them out would need
    a list of them for each language.

    Shapes: ids (total,) int32, all tokens of a split → (total,) int32; teacher: the fine-tuned teacher's folder.
    Source: the synonym replacement of EDA (Wei, Zou 2019, section 2), with embedding neighbours instead of WordNet as in Wang,
    Yang 2015, "That's So Annoying!!!: A Lexical and Frame-Semantic Embedding Based Data Augmentation Approach".
    When: small training sets with few different words. Use a small weight on hard labels if a single word can decide the class.

    Raises:
        ModelError: the teacher's tokenizer marks no words, or it has no table of input embeddings.
    """
    vocab = vocabulary(tokenizer)
    goes_on = np.append(vocab.goes_on[ids[1:]], False)
    words = (vocab.word[ids] >= 0) & ~goes_on
    hit = np.flatnonzero(words & (rng.random(len(ids)) < strength))
    sources = np.unique(ids[words])
    replaced = ids.copy()
    if len(hit):
        nearest = nearest_words(teacher, tokenizer, sources, neighbours)
        replaced[hit] = nearest[np.searchsorted(sources, ids[hit]), rng.integers(nearest.shape[1], size=len(hit))]
    return replaced


@component("augmentation", tasks=TEXT, level="texts")
def paraphrase(texts: list[str], rng: np.random.Generator, *, path: Annotated[str, Field(min_length=1)]) -> list[str]:
    """Paraphrases from your own file, made by back-translation or a language model for example; a text is replaced by one of its own.

    path: a parquet file (csv, tsv and jsonl are read too) with the columns `text` and `paraphrase`. A text may have several rows; each
    copy draws one of them. A text without a paraphrase stays unchanged.

    Source: Edunov et al. 2018, "Understanding Back-Translation at Scale"; Xie et al. 2020, "Unsupervised Data Augmentation for
    Consistency Training", section 3.1 (back-translation for classifiers).
    When: small training sets, if you have paraphrases. Use as many copies as each text has paraphrases.

    Raises:
        DataError: the file cannot be read, lacks a column, holds something other than text, or has none of the texts.
    """
    file = Path(path).expanduser()
    table = read_table(file)
    missing = [name for name in ("text", "paraphrase") if name not in table.names]
    if missing:
        raise DataError(
            f"{file} has no column {' and no column '.join(missing)}, only {', '.join(table.names)}; "
            "augmentation paraphrase reads the columns text and paraphrase"
        )
    phrases: dict[str, list[str]] = {}
    for row, (text, phrase) in enumerate(zip(table.values("text"), table.values("paraphrase"), strict=True)):
        if not isinstance(text, str) or not isinstance(phrase, str | None):
            raise DataError(f"{file}, {table.place(row)}: text is {text!r} and paraphrase {phrase!r}; both should be texts")
        if phrase and phrase.strip():
            phrases.setdefault(text, []).append(phrase)
    draws = rng.random(len(texts))
    changed = [phrases[text][int(draw * len(phrases[text]))] if text in phrases else text for text, draw in zip(texts, draws, strict=True)]
    if not phrases.keys() & set(texts):
        raise DataError(
            f"none of the {len(texts):,} training texts is in the column text of {file}, which has {table.rows:,} rows, the first one "
            f"{table.values('text')[0]!r}; give the file that was made from this dataset"
        )
    return changed
