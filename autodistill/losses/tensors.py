"""What the objectives share: which positions count, and in which precision a loss is computed."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> Tensor:
    """The tensor in float32, or as it is where it is float64: sums over a batch need more digits than bfloat16 has."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def positions(state: Tensor, mask: Tensor | None) -> Tensor:
    """The vectors that count, in full precision: (B, D) as it is, (B, T, D) → (N, D), the N positions where the mask is True.

    Shapes: state (B, D) or (B, T, D); mask (B, T) bool, or None for "all of them".
    """
    if state.dim() == 3:
        state = state.flatten(0, 1) if mask is None else state[mask]
    return full_precision(state)


def spread(mask: Tensor, most: int) -> Tensor:
    """A thinner mask: the same number of evenly spaced positions of every row, `most` in all (but one of a row at least).

    Each row is thinned by itself, so neither padding nor the order of the rows changes what is kept.
    Shapes: mask (B, T) bool → (B, T) bool.
    """
    quota = max(1, most // mask.shape[0])
    count = mask.sum(dim=1, keepdim=True)
    rank = mask.cumsum(dim=1) - 1  # of each position among its row's True ones
    keep = torch.clamp(count, max=quota)
    step = rank * keep // count.clamp(min=1)  # rises `keep` times along a row; a position is kept where it rises
    before = (rank - 1) * keep // count.clamp(min=1)
    return mask & ((rank == 0) | (step > before))
