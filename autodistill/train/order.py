"""The order in which a trial reads its rows: passes over the labelled rows, or batches that mix labelled and unlabelled rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

POOL = 50
"""This many batches are drawn together and sorted by length, so that a batch has little padding."""


class RowStream:
    """An endless stream of rows: each row once in random order, then each again in another order."""

    def __init__(self, rows: Tensor, generator: torch.Generator) -> None:
        self.rows, self.generator = rows, generator
        self._left = rows[:0]

    def take(self, count: int) -> Tensor:
        """The next rows, (count,) int64."""
        parts = [self._left]
        while sum(map(len, parts)) < count:
            parts.append(self.rows[torch.randperm(len(self.rows), generator=self.generator)])
        drawn = torch.cat(parts)
        self._left = drawn[count:]
        return drawn[:count]


class MixedBatches:
    """An endless stream of batches, each with the same share of unlabelled rows.

    Args:
        labelled, unlabelled: the row numbers, (N,) int64 each; `unlabelled` is empty for batches of labelled rows only.
        batch_size: rows of a batch.
        unlabelled_share: of each batch, rounded to whole rows; at least one row of a batch is labelled.
        lengths: the length of each row, by row number, so that a batch has rows of similar length. None for images.
        generator: draws the order.
    """

    def __init__(
        self,
        labelled: Tensor,
        unlabelled: Tensor,
        batch_size: int,
        unlabelled_share: float,
        lengths: Tensor | None,
        generator: torch.Generator,
    ) -> None:
        others = min(round(batch_size * unlabelled_share), batch_size - 1) if len(unlabelled) else 0
        self.counts = (batch_size - others, others)
        self.lengths, self.generator = lengths, generator
        self.streams = [RowStream(rows, generator) for rows in (labelled, unlabelled)]

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield from self._pool()

    def _pool(self) -> list[Tensor]:
        """The next batches. Labelled and unlabelled rows are each sorted by length and cut, so pieces at the same place fit together."""
        columns = []
        for stream, count in zip(self.streams, self.counts, strict=True):
            if count:
                rows = stream.take(POOL * count)
                columns.append((rows if self.lengths is None else rows[torch.argsort(self.lengths[rows], stable=True)]).split(count))
        order = torch.randperm(POOL, generator=self.generator).tolist()
        return [torch.cat([column[place] for column in columns]) for place in order]
