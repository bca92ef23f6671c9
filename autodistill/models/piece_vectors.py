"""A vector for each word piece: the teacher's encoder reads the piece alone.

Source: Tulkens and van Dongen 2024, "Model2Vec", https://github.com/MinishLab/model2vec (`model2vec.distill`): each piece goes through the
encoder between the tokenizer's special tokens, the states of the last layer are averaged, the vectors are reduced by PCA and weighted by
the rarity of the piece. The package model2vec is not used here, because its extra `distill` allows no current version of transformers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from autodistill.cache import ensure
from autodistill.errors import RecipeError, explained
from autodistill.models.base import pick_device
from autodistill.models.sources import quiet
from autodistill.models.teacher_weights import check_width
from autodistill.models.text import load_tokenizer
from autodistill.storage import cache_folder, digest, file_fingerprint, new_tensors

SIF = 1e-4
"""The weight of a piece is SIF / (SIF + its probability): Arora, Liang, Ma 2017, "A Simple but Tough-to-Beat Baseline for Sentence
Embeddings", equation 3, with Model2Vec's constant."""
_UNUSED = re.compile(r"\[unused\d+\]")
_AT_ONCE = 512


def encoder_pieces(folder: Path, vocab_size: int, width: int, scale: float) -> Tensor:
    """The pieces' vectors in their first `width` principal directions, weighted, of standard deviation `scale`: (vocab_size, width).

    Special tokens, and those that a tokenizer reserves (`[unused7]`), have zeros.

    Raises:
        RecipeError: the teacher's states are narrower than `width`.
    """
    scores, rows = _principal(folder, vocab_size)
    check_width("student.embedding_size", width, scores.shape[1])
    vectors = scores[:, :width] * rarity(len(rows)).unsqueeze(1)
    table = torch.zeros(vocab_size, width)
    table[rows] = vectors * (scale / vectors.std())
    return table


def rarity(pieces: int) -> Tensor:
    """The weights of the pieces, (pieces,), in a vocabulary sorted by falling frequency.

    Their probabilities are estimated by Zipf's law, 1 / (rank + 1), as in Model2Vec, so no corpus has to be counted.
    """
    shares = 1.0 / torch.arange(2, pieces + 2, dtype=torch.float64)
    return (SIF / (SIF + shares / shares.sum())).float()


def _principal(folder: Path, vocab_size: int) -> tuple[Tensor, Tensor]:
    """All principal components of the pieces' vectors, (pieces, D) by falling variance; and the pieces' ids. They are cached."""
    files = [folder / name for name in ("model.safetensors", "config.json", "tokenizer.json")]
    key = digest("piece-vectors-1", str(vocab_size), *(file_fingerprint(file) for file in files))
    path = cache_folder() / "pieces" / f"{key}.safetensors"

    def write() -> None:
        tokenizer = load_tokenizer(folder)
        rows = torch.tensor(list(_words(tokenizer, vocab_size)))
        logging.getLogger(__name__).warning("the teacher reads each of its %d word pieces alone, once; kept in %s", len(rows), path)
        scores = principal_components(piece_states(folder, tokenizer, rows))
        with new_tensors(path, {"scores": ("float16", tuple(scores.shape)), "rows": ("int64", tuple(rows.shape))}) as arrays:
            arrays["scores"][:], arrays["rows"][:] = scores.numpy(), rows.numpy()

    ensure(path, write)
    stored = load_file(path)
    return stored["scores"].float(), stored["rows"]


def _words(tokenizer: Any, vocab_size: int) -> Iterator[int]:
    special = set(tokenizer.all_special_ids)
    for row, piece in enumerate(tokenizer.convert_ids_to_tokens(list(range(vocab_size)))):
        if row not in special and piece is not None and not _UNUSED.fullmatch(piece):
            yield row


def piece_states(folder: Path, tokenizer: Any, rows: Tensor) -> Tensor:
    """For some pieces: the mean of the encoder's last states over the piece and the special tokens around it. (pieces,) → (pieces, D).

    Raises:
        RecipeError: the teacher's folder holds no encoder that transformers opens.
    """
    from transformers import AutoModel

    refusal = f"student.init is 'teacher', but {folder} holds no encoder to read pieces with"
    with explained(lambda reason: RecipeError(f"{refusal}: {reason}; use init: random")), quiet():
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    device = pick_device()
    model = model.to(device).eval()
    before, after = _around(tokenizer)
    vectors = []
    with torch.inference_mode():
        for part in rows.split(_AT_ONCE):
            ids = torch.cat([before.expand(len(part), -1), part.unsqueeze(1), after.expand(len(part), -1)], dim=1).to(device)
            states = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            vectors.append(states.float().mean(dim=1).cpu())
    return torch.cat(vectors)


def _around(tokenizer: Any) -> tuple[Tensor, Tensor]:
    """The special tokens that the tokenizer puts before and after a text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    ids, special = torch.tensor(encoded["input_ids"]), torch.tensor(encoded["special_tokens_mask"])
    words = (special == 0).nonzero()[:, 0]
    return ids[: words[0]], ids[words[-1] + 1 :]


def principal_components(vectors: Tensor) -> Tensor:
    """The centred vectors (N, D) in the coordinates of their covariance's eigenvectors, by falling variance: (N, D)."""
    centred = (vectors - vectors.mean(dim=0)).double()
    directions = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)
    scores = centred @ directions
    largest = scores.gather(0, scores.abs().argmax(0, keepdim=True))
    return (scores * largest.sign()).float()  # an eigenvector's sign is arbitrary
