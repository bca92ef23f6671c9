"""What the objectives share: the positions that count, the precision of a loss, and vectors without a direction."""

from __future__ import annotations

import torch
from torch import Tensor

SHORTEST = 1e-4
"""The length below which a vector has no direction. States and embeddings are longer, usually by orders of magnitude."""


def full_precision(tensor: Tensor) -> Tensor:
    """The tensor in float32; float64 stays as it is. Sums over a batch need more digits than bfloat16 has."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def positions(state: Tensor, mask: Tensor | None) -> Tensor:
    """The vectors that count, in full precision: (B, D) as it is, (B, T, D) → (N, D), the N positions where the mask is True.

    Shapes: state (B, D) or (B, T, D); mask (B, T) bool, or None for "all of them".
    """
    if state.dim() == 3:
        state = state.flatten(0, 1) if mask is None else state[mask]
    return full_precision(state)


def unit(vectors: Tensor, dim: int = -1, shortest: float | Tensor = SHORTEST) -> Tensor:
    """The vectors along `dim` at length 1, in full precision; a vector no longer than `shortest` is left as it is.

    The gradient through a vector's direction is proportional to 1/length. At a zero vector it does not exist. Near zero it is only
    rounding noise, which F.normalize multiplies by up to 1e12. Left as it is, a zero vector has the gradient of its own values.
    Shapes: vectors (…, D, …); shortest: a number, or one for each vector → the shape of vectors.
    """
    vectors = full_precision(vectors)
    length = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
    return vectors / length.masked_fill(length <= shortest, 1.0)


def centred(vectors: Tensor, dim: int) -> Tensor:
    """The vectors along `dim` minus their mean, at length 1, in full precision.

    If subtracting the mean leaves at most SHORTEST of a vector's length, it is not scaled: from equal numbers, rounding noise remains.
    Shapes: vectors (…, D, …) → the same.
    """
    vectors = full_precision(vectors)
    length = torch.linalg.vector_norm(vectors.detach(), dim=dim, keepdim=True)
    return unit(vectors - vectors.mean(dim=dim, keepdim=True), dim, SHORTEST * length)


def average(values: Tensor) -> Tensor:
    """The mean of values (N, …) of N positions, a scalar; 0, with a gradient of 0, if there are none."""
    return values.mean() if len(values) else values.sum()


def spread(mask: Tensor, most: int) -> Tensor:
    """A thinner mask: evenly spaced positions, as many of every row, at most `most` in all (but at least one of each row).

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
