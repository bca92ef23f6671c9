"""The order in which rows are read: batches of rows of like length, so that little is padding."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def training_batches(lengths: Tensor | None, rows: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Every row once, in random batches; with lengths (rows,), a batch's rows are neighbours by length.

    Rows are shuffled, then sorted by length within pools of 50 batches, then the batches are shuffled. The last, smaller batch is
    kept unless it is a single row (batch statistics and contrasts need two).
    """
    order = torch.randperm(rows, generator=generator)
    if lengths is not None:
        pools = order.split(50 * batch_size)
        order = torch.cat([pool[torch.argsort(lengths[pool], stable=True)] for pool in pools])
    batches = [batch for batch in order.split(batch_size) if len(batch) > 1 or rows == 1]
    return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]


def evaluation_batches(lengths: Tensor | None, rows: int, batch_size: int) -> Iterator[Tensor]:
    """Every row once, by length where there are lengths."""
    order = torch.arange(rows) if lengths is None else torch.argsort(lengths, stable=True)
    yield from order.split(batch_size)
