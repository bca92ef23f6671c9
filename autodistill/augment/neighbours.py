"""Which tokens are words, and which words are nearest to each other in a teacher's input embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from autodistill.cache import ensure
from autodistill.errors import ModelError, explained
from autodistill.models.sources import quiet, weight_files
from autodistill.storage import cache_folder, digest, file_fingerprint, new_tensors

_SOURCES_AT_ONCE = 512
_BEFORE_WORDS = ("Ġ", "▁")  # byte-level BPE's and SentencePiece's mark of a space


@dataclass(frozen=True)
class Vocabulary:
    """Which tokens of a tokenizer are words, by token id.

    word: (V,) int64, for each token the number of the word that it is by itself, if no continuation follows; −1 if it is not a word.
    Tokens that differ only in case are the same word. goes_on: (V,) bool, whether the token continues the word before it.
    numbers: each word, in lower case, with its number.
    """

    word: np.ndarray
    goes_on: np.ndarray
    numbers: dict[str, int]


def vocabulary(tokenizer: Any) -> Vocabulary:
    """Separate words from word pieces, punctuation, single letters, special and unused tokens.

    Raises:
        ModelError: the tokenizer marks neither pieces (##) nor words (Ġ, ▁).
    """
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special = set(tokenizer.all_special_tokens)
    pieces_marked = any(token.startswith("##") for token in tokens)
    word = np.full(len(tokens), -1, dtype=np.int64)
    goes_on = np.zeros(len(tokens), dtype=bool)
    numbers: dict[str, int] = {}
    for place, token in enumerate(tokens):
        if token in special:
            continue
        begins = not token.startswith("##") if pieces_marked else token.startswith(_BEFORE_WORDS)
        letters = token if pieces_marked else token[1:]
        goes_on[place] = not begins and (pieces_marked or token[:1].isalnum())
        if begins and letters.isalpha() and (len(letters) > 1 or not letters.isascii()):
            word[place] = numbers.setdefault(letters.casefold(), len(numbers))
    if not numbers or not (pieces_marked or goes_on.any()):
        raise ModelError(
            "the tokenizer marks neither pieces of words (##) nor the beginnings of words (Ġ, ▁), so its words cannot be identified; "
            "use the augmentation random or token_dropout"
        )
    return Vocabulary(word, goes_on, numbers)


def nearest_words(teacher: Path, tokenizer: Any, sources: np.ndarray, count: int) -> np.ndarray:
    """For some words, the nearest words by the cosine of a teacher's input embeddings; computed once and cached.

    Args:
        teacher: folder of a transformers model.
        tokenizer: its tokenizer.
        sources: (S,) token ids that are words.
        count: how many for each; fewer if there are not enough words.

    Returns:
        (S, count) int32 token ids, the nearest first.

    Raises:
        ModelError: the folder has no table of input embeddings for these ids.
    """
    weights = [file_fingerprint(file) for file in weight_files(teacher)]
    key = digest("neighbours-1", *weights, tokenizer.backend_tokenizer.to_str(), sources.astype(np.int64).tobytes(), str(count))
    path = cache_folder() / "neighbours" / f"{key}.safetensors"

    def write() -> None:
        nearest = _nearest(_input_embeddings(teacher), vocabulary(tokenizer), sources, count)
        with new_tensors(path, {"ids": ("int32", nearest.shape)}) as arrays:
            arrays["ids"][:] = nearest

    ensure(path, write)
    return load_file(path)["ids"].numpy()


def _nearest(embeddings: Tensor, vocab: Vocabulary, sources: np.ndarray, count: int) -> np.ndarray:
    candidates = np.flatnonzero(vocab.word >= 0)
    if candidates[-1] >= len(embeddings):
        raise ModelError(f"the tokenizer has tokens up to {candidates[-1]}, the teacher's embeddings end at {len(embeddings) - 1}")
    count = min(count, len(vocab.numbers) - 1)
    if count < 1:
        raise ModelError("the tokenizer has one word only, so there are no synonyms; use the augmentation random or token_dropout")
    table, word = F.normalize(embeddings[candidates], dim=1), torch.from_numpy(vocab.word[candidates])
    nearest = np.empty((len(sources), count), dtype=np.int32)
    for start in range(0, len(sources), _SOURCES_AT_ONCE):
        part = sources[start : start + _SOURCES_AT_ONCE]
        cosine = F.normalize(embeddings[part], dim=1) @ table.T
        cosine[torch.from_numpy(vocab.word[part])[:, None] == word[None, :]] = -torch.inf  # the word itself, in any case
        nearest[start : start + len(part)] = candidates[cosine.topk(count, dim=1).indices.numpy()]
    return nearest


def _input_embeddings(folder: Path) -> Tensor:
    from transformers import AutoModel

    refusal = f"{folder} has no input embeddings that can be read"
    with explained(lambda reason: ModelError(f"{refusal}: {reason}; use an augmentation other than synonyms")):
        with quiet():
            model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        embeddings: Tensor = model.get_input_embeddings().weight.detach()
    return embeddings
