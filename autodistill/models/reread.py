"""The same rows for a model that reads them differently: with other tokens, or with another normalisation of pixels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autodistill.models.base import ImageBatch, Normalisation, TextBatch
from autodistill.models.text import EncodedText, uncut


def same_tokens(tokenizer: Any, other: Any) -> bool:
    """Whether two fast tokenizers give every text the same ids."""
    return bool(uncut(tokenizer).to_str() == uncut(other).to_str())


def reread_texts(tokenizer: Any, other: Any, *, pair: bool, max_length: int) -> Callable[[TextBatch], TextBatch]:
    """A function from batches of one tokenizer's ids to batches of another's: it decodes the ids and tokenises the texts again.

    What the first tokenizer does not keep, such as capitals or unknown characters, is lost for the second.
    pair: whether rows are pairs of texts. max_length: tokens that a row is cut to.
    """
    if same_tokens(tokenizer, other):
        return lambda batch: batch
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id, tokenizer.mask_token_id}
    pad_id = 0 if other.pad_token_id is None else int(other.pad_token_id)

    def reread(batch: TextBatch) -> TextBatch:
        rows = [
            _texts(row[mask], special, tokenizer, 2 if pair else 1) for row, mask in zip(batch.ids.cpu(), batch.mask.cpu(), strict=True)
        ]
        columns = [list(column) for column in zip(*rows, strict=True)]
        encoded = other(*columns, truncation=True, max_length=max_length, padding=False).encodings
        width = max(len(row.ids) for row in encoded)
        ids = torch.tensor([row.ids + [pad_id] * (width - len(row.ids)) for row in encoded])
        segments = torch.tensor([row.type_ids + [0] * (width - len(row.ids)) for row in encoded])
        mask = torch.arange(width)[None, :] < torch.tensor([[len(row.ids)] for row in encoded])
        device = batch.ids.device
        return TextBatch(ids.to(device), mask.to(device), segments.to(device))

    return reread


def decoded(encoded: EncodedText, tokenizer: Any, number: int) -> tuple[list[str], list[str] | None]:
    """The texts that a split's tokens stand for, and their pairs. A text without tokens is empty.

    tokenizer: of the tokens. number: of texts in a row, 1 or 2; for 1 the pairs are None.
    """
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id, tokenizer.mask_token_id}
    rows = []
    for start, end in itertools.pairwise(encoded.offsets.tolist()):
        texts = _texts(encoded.ids[start:end], special, tokenizer, number)
        first_is_empty = number > 1 and set(encoded.ids[start : start + 2].tolist()) <= special  # [CLS] [SEP] the other [SEP]
        rows.append(("", texts[0]) if first_is_empty else texts)
    return [row[0] for row in rows], [row[1] for row in rows] if number > 1 else None


def _texts(ids: Tensor, special: set[int], tokenizer: Any, number: int) -> tuple[str, ...]:
    """The texts of a row, which are separated by special tokens. number: 1 or 2; if one is missing, the last is empty."""
    runs: list[list[int]] = []
    after_special = True
    for token in ids.tolist():
        if token not in special:
            if after_special and len(runs) < number:
                runs.append([])
            runs[-1].append(token)
        after_special = token in special
    texts = [tokenizer.decode(run, skip_special_tokens=True, clean_up_tokenization_spaces=False) for run in runs]
    return (*texts, *[""] * (number - len(texts)))


def renormalise(ours: Normalisation, theirs: Normalisation) -> Callable[[ImageBatch], ImageBatch]:
    """From images that are normalised in one way to images that are normalised in another."""
    if ours == theirs:
        return lambda batch: batch
    scale, shift = renormalisation(ours, theirs)

    def reread(batch: ImageBatch) -> ImageBatch:
        device = batch.pixels.device
        return ImageBatch(batch.pixels * scale.to(device) + shift.to(device))

    return reread


def renormalisation(ours: Normalisation, theirs: Normalisation) -> tuple[Tensor, Tensor]:
    """The scale and the shift, (1, 3, 1, 1) each, that make pixels in one normalisation pixels in another."""
    mean, std, other_mean, other_std = (torch.tensor(values).view(1, 3, 1, 1) for values in (*ours, *theirs))
    return std / other_std, (mean - other_mean) / other_std
