"""From a text's tokens to one vector."""

from __future__ import annotations

import torch
from torch import Tensor

from autodistill.models.base import TextBatch

PAIR_PARTS = 4
"""How many times wider the vector of a pair is than that of a single text."""


def masked_max(states: Tensor, mask: Tensor) -> Tensor:
    """The maximum of each feature over a text's tokens: (B, T, D) and (B, T) → (B, D); zeros for a text without tokens."""
    largest = states.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(dim=1)
    return largest.masked_fill(~mask.any(dim=1, keepdim=True), 0.0)


def pooled(states: Tensor, batch: TextBatch, pairs: bool) -> Tensor:
    """A text's vector: the maximum of each feature (B, D). For a pair (B, 4 D): both vectors, their absolute difference, and their product.

    This lets a network compare two texts although it reads words only in their neighbourhood. If the tokenizer does not mark the second
    text (segments all 0, as RoBERTa's), the pair counts as one text, and the other parts have no information. Source: Conneau et al. 2017,
    "Supervised Learning of Universal Sentence Representations from Natural Language Inference Data", section 3.1: [u, v, |u − v|, u ∗ v].
    """
    if not pairs:
        return masked_max(states, batch.mask)
    second = batch.segments == 1
    return compared(masked_max(states, batch.mask & ~second), masked_max(states, batch.mask & second))


def compared(one: Tensor, other: Tensor) -> Tensor:
    """The vector of a pair from the vectors of its two texts: (B, D) each → (B, 4 D). Source: see `pooled`."""
    return torch.cat([one, other, (one - other).abs(), one * other], dim=1)


def texts_apart(ids: Tensor, mask: Tensor, ends: tuple[int, int], pad_id: int) -> tuple[Tensor, Tensor]:
    """The two texts of B pairs, for an encoder that reads each alone: 2 B rows, first all first texts, then all second texts.

    ids (B, T), mask (B, T) bool: `<s> a </s> b </s>` or `<s> a </s> </s> b </s>`, padded on the right. ends: the ids of <s> and </s>.
    Returns ids and mask (2 B, L): `<s> a </s>` and `<s> b </s>`, padded to the longest.
    """
    place = torch.arange(ids.shape[1], device=ids.device)[None, :]
    end, start = _separators(ids, mask, ends[1])
    moved = ids.gather(1, (place + start).clamp(max=ids.shape[1] - 1))
    moved[:, 0] = ends[0]
    alone = torch.cat([mask & (place <= end), place < mask.sum(dim=1, keepdim=True) - start])
    # Shorter rows are faster, but a graph that is exported cannot have a width that depends on the values of its inputs.
    length = ids.shape[1] if torch.compiler.is_exporting() else int(alone.sum(dim=1).max())
    return torch.cat([ids, moved]).masked_fill(~alone, pad_id)[:, :length], alone[:, :length]


def texts_together(states: Tensor, ids: Tensor, mask: Tensor, ends: tuple[int, int]) -> Tensor:
    """Undo `texts_apart`: put the states of its rows (2 B, L, D) back at the positions of the pairs' tokens (B, T, D)."""
    first, moved = states.chunk(2)
    place = torch.arange(ids.shape[1], device=ids.device)[None, :]
    end, start = _separators(ids, mask, ends[1])

    def at(index: Tensor, source: Tensor) -> Tensor:
        return source.gather(1, index.clamp(0, states.shape[1] - 1).unsqueeze(-1).expand(-1, -1, states.shape[-1]))

    return torch.where((place <= end).unsqueeze(-1), at(place.expand_as(ids), first), at(place - start, moved))


def _separators(ids: Tensor, mask: Tensor, separator: int) -> tuple[Tensor, Tensor]:
    """The position of the first text's end, and of the last separator before the second text, which counts as its start; (B, 1) each."""
    is_separator = mask & (ids == separator)
    end = is_separator.int().argmax(dim=1, keepdim=True)
    twice = is_separator.gather(1, (end + 1).clamp(max=ids.shape[1] - 1))
    return end, end + twice.long()


def apart(states: Tensor, batch: TextBatch) -> tuple[Tensor, Tensor]:
    """The two texts of B pairs as 2 B rows: first all first texts, then all second texts, each starting at position 0.

    states (B, T, D) → states (2 B, T, D), zeros beyond a text's end, and their mask (2 B, T).
    """
    second = batch.mask & (batch.segments == 1)
    place = torch.arange(batch.ids.shape[1], device=batch.ids.device)[None, :]
    start = (batch.mask & ~second).sum(dim=1, keepdim=True)
    index = (place + start).clamp(max=batch.ids.shape[1] - 1)
    moved = states.gather(1, index.unsqueeze(-1).expand_as(states))
    mask = torch.cat([batch.mask & ~second, place < second.sum(dim=1, keepdim=True)])
    return torch.cat([states, moved]) * mask.unsqueeze(-1), mask


def together(states: Tensor, batch: TextBatch) -> Tensor:
    """Undo `apart`: put the states of the 2 B rows (2 B, T, D) back at the positions of the pairs' tokens (B, T, D)."""
    first, moved = states.chunk(2)
    place = torch.arange(batch.ids.shape[1], device=batch.ids.device)[None, :]
    start = (batch.mask & (batch.segments != 1)).sum(dim=1, keepdim=True)
    back = moved.gather(1, (place - start).clamp(min=0).unsqueeze(-1).expand_as(first))
    return torch.where((batch.mask & (batch.segments == 1)).unsqueeze(-1), back, first)
