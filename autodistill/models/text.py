"""Texts as token ids: encoded once, stored without padding, memory-mapped, put together into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from autodistill.cache import ensure
from autodistill.errors import DataError, ModelError
from autodistill.models.base import TextBatch
from autodistill.models.sources import source_folder
from autodistill.storage import cache_folder, digest, new_tensors

_CHUNK = 2000


@dataclass(frozen=True)
class EncodedText:
    """A split's token ids, row after row, special tokens included: `Inputs`.

    ids: (total,) int32. segments: (total,) uint8, the tokenizer's token types: 1 on the second text of a pair if the model
    uses them. offsets: (N + 1,) int64, row i is ids[offsets[i]:offsets[i + 1]]. fingerprint: of the texts, the tokenizer and
    the length they are cut to.
    """

    ids: Tensor
    segments: Tensor
    offsets: Tensor
    pad_id: int
    fingerprint: str

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        """Number of tokens of each row, (N,) int64."""
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def bytes(self) -> int:
        """Of ids, segments and offsets."""
        return sum(part.nbytes for part in (self.ids, self.segments, self.offsets))

    def to(self, device: torch.device) -> EncodedText:
        """The same rows on a device."""
        ids, segments, offsets = (part.to(device) for part in (self.ids, self.segments, self.offsets))
        return replace(self, ids=ids, segments=segments, offsets=offsets)

    def batch(self, rows: Tensor, length: int | None = None) -> TextBatch:
        """The rows as a batch, padded on the right to the longest of them, or to `length`. rows: (B,) int64."""
        index, mask = self.token_index(rows, length)
        ids = self.ids[index].long().masked_fill_(~mask, self.pad_id)
        return TextBatch(ids, mask, self.segments[index].long().masked_fill_(~mask, 0))

    def token_index(self, rows: Tensor, length: int | None = None) -> tuple[Tensor, Tensor]:
        """The positions of some rows' tokens in `ids`, see `Inputs`."""
        start = self.offsets[rows][:, None]
        lengths = self.offsets[rows + 1][:, None] - start
        position = torch.arange(int(lengths.max()) if length is None else length, device=lengths.device)[None, :]
        mask = position < lengths
        return start + position * mask, mask

    def even_batches(self, rows: int, tokens: int) -> Iterator[Tensor]:
        """Rows of similar length together, longest first."""
        lengths = self.lengths
        order = torch.argsort(lengths, descending=True)
        at = 0
        while at < len(order):
            count = max(1, min(rows, tokens // int(lengths[order[at]])))
            yield order[at : at + count]
            at += count

    def median_row(self) -> Tensor:
        """By length."""
        return torch.argsort(self.lengths, stable=True)[len(self) // 2 : len(self) // 2 + 1]

    def describe_row(self, row: int) -> str:
        """The number of tokens, special ones included."""
        return f"{int(self.lengths[row])} tokens"


def load_tokenizer(model: str | Path) -> Any:
    """The fast tokenizer of a model: a folder (a fine-tuned teacher's, say) or a hub id.

    Raises:
        ModelError: there is none, or it is not a fast one.
    """
    from transformers import AutoTokenizer

    own = Path(model).expanduser()
    folder = own if (own / "tokenizer.json").exists() else source_folder(str(model), weights=False)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as cause:  # transformers raises many types here, which all mean the same to the user
        raise ModelError(f"the tokenizer of {model} cannot be loaded from {folder}: {cause}") from None
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # transformers makes such a tokenizer if there are no tokenizer files
        raise ModelError(f"{model} has no tokenizer files (tokenizer.json) in {folder}; save its tokenizer there")
    if not tokenizer.is_fast:
        raise ModelError(f"{model} has no fast tokenizer (tokenizer.json); give a teacher that has one")
    return tokenizer


def encode_split(texts: Sequence[str], text_pairs: Sequence[str] | None, tokenizer: Any, max_length: int) -> EncodedText:
    """Tokenise texts (and their pairs), or read the result from the cache.

    Rows longer than max_length are cut; in a pair the longer text is cut first.

    Raises:
        DataError: a text has no tokens, or a pair is missing.
        RunError: the cache cannot be written.
    """
    if text_pairs is not None and len(text_pairs) != len(texts):
        raise DataError(f"{len(texts)} texts have {len(text_pairs)} pairs; every text needs one")
    joined = "\x00".join(texts), "" if text_pairs is None else "\x00".join(text_pairs)
    lengths = np.array([len(text) for text in texts], dtype=np.int64).tobytes()
    settings = f"{tokenizer.pad_token_id} {max_length} {text_pairs is None}"
    fingerprint = digest("encoded-1", uncut(tokenizer).to_str(), settings, lengths, *joined)
    path = cache_folder() / "encoded" / fingerprint / "tokens.safetensors"
    ensure(path, lambda: _write(path, texts, text_pairs, tokenizer, max_length))
    arrays = load_file(path)
    return EncodedText(arrays["ids"], arrays["segments"], arrays["offsets"], _pad_id(tokenizer), fingerprint)


def read_texts(texts: Sequence[str], text_pairs: Sequence[str] | None, tokenizer: Any, max_length: int) -> TextBatch:
    """Texts (and their pairs) as one batch, as `encode_split` reads them, without the cache."""
    pairs = None if text_pairs is None else list(text_pairs)
    encoded = tokenizer(list(texts), pairs, truncation=True, max_length=max_length, padding=False).encodings
    ids, segments = (torch.tensor([token for row in encoded for token in getattr(row, name)]) for name in ("ids", "type_ids"))
    offsets = torch.tensor([0, *(len(row.ids) for row in encoded)]).cumsum(0)
    return EncodedText(ids, segments, offsets, _pad_id(tokenizer), "").batch(torch.arange(len(encoded)))


@dataclass(frozen=True)
class TokenSample:
    """How a tokenizer reads some rows before they are cut.

    counts: the tokens of each row, special ones included. pieces, unknown: how many tokens that are not special all rows have, and how many
    of these stand for something unknown. words, letters: what is between spaces, and its characters.
    """

    counts: list[int]
    pieces: int
    unknown: int
    words: int
    letters: int


def sample_tokens(rows: Sequence[Any], tokenizer: Any) -> TokenSample:
    """How a tokenizer reads rows. rows: texts, or tuples of two."""
    read = uncut(tokenizer).encode_batch(list(rows))
    words = [word for row in rows for text in ((row,) if isinstance(row, str) else row) for word in text.split()]
    unknown = -1 if tokenizer.unk_token_id is None else tokenizer.unk_token_id
    return TokenSample(
        counts=[len(one.ids) for one in read],
        pieces=sum(len(one.ids) - sum(one.special_tokens_mask) for one in read),
        unknown=sum(one.ids.count(unknown) for one in read),
        words=len(words),
        letters=sum(map(len, words)),
    )


def uncut(tokenizer: Any) -> Any:
    """A copy of a fast tokenizer's backend (of the library tokenizers) that neither truncates nor pads.

    Every call of the tokenizer changes whether and where it does; that is not part of what it is.
    """
    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def _pad_id(tokenizer: Any) -> int:
    return 0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)


def _write(path: Path, texts: Sequence[str], text_pairs: Sequence[str] | None, tokenizer: Any, max_length: int) -> None:
    ids: list[np.ndarray] = []
    segments: list[np.ndarray] = []
    lengths: list[int] = []
    for start in range(0, len(texts), _CHUNK):
        part = slice(start, start + _CHUNK)
        pairs = None if text_pairs is None else list(text_pairs[part])
        encoded = tokenizer(list(texts[part]), pairs, truncation=True, max_length=max_length, padding=False)
        for one in encoded.encodings:
            lengths.append(len(one.ids))
            ids.append(np.asarray(one.ids, dtype=np.int32))
            segments.append(np.asarray(one.type_ids, dtype=np.uint8))
    if 0 in lengths:
        raise DataError(f"row {lengths.index(0) + 1} has no tokens: {texts[lengths.index(0)]!r}; remove it or give it a text")
    total = sum(lengths)
    shapes = {"ids": ("int32", (total,)), "segments": ("uint8", (total,)), "offsets": ("int64", (len(lengths) + 1,))}
    with new_tensors(path, shapes) as arrays:
        arrays["ids"][:] = np.concatenate(ids)
        arrays["segments"][:] = np.concatenate(segments)
        arrays["offsets"][1:] = np.cumsum(lengths)
