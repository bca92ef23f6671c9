"""What the objectives share: which positions count, in which precision a loss is computed, and what has no direction."""

from __future__ import annotations

import torch
from torch import Tensor

SHORTEST = 1e-4
"""The length below which a vector has no direction. States and embeddings are longer, usually by orders of magnitude."""


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


def unit(vectors: Tensor, dim: int = -1, shortest: float | Tensor = SHORTEST) -> Tensor:
    """The vectors along `dim` at length 1, in full precision; one that is not longer than `shortest` is left as it is.

    The gradient through a vector's direction goes with 1/length. At a zero vector there is none, and near it there is only rounding
    noise, multiplied by as much as F.normalize's 1e12. Left as it is, a zero vector has the gradient of its own values.
    Shapes: vectors (…, D, …); shortest: a number, or one for each vector → as vectors.
    """
    vectors = full_precision(vectors)
    length = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
    return vectors / length.masked_fill(length <= shortest, 1.0)


def centred(vectors: Tensor, dim: int) -> Tensor:
    """The vectors along `dim` less their mean, at length 1, in full precision.

    One that is then not longer than SHORTEST of its length before is left so: what equal numbers leave is rounding noise.
    Shapes: vectors (…, D, …) → as vectors.
    """
    vectors = full_precision(vectors)
    length = torch.linalg.vector_norm(vectors.detach(), dim=dim, keepdim=True)
    return unit(vectors - vectors.mean(dim=dim, keepdim=True), dim, SHORTEST * length)


def average(values: Tensor) -> Tensor:
    """The mean of values (N, …) of N positions, a scalar; 0, with a gradient of 0, where there is no position."""
    return values.mean() if len(values) else values.sum()


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
