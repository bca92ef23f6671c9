"""Mixup: rows mixed with partners from the same batch, inputs and targets alike.

Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", equation 1; for texts on the word embeddings, Guo, Mao,
Zhang 2019, "Augmenting Data with Mixup for Sentence Classification" (wordMixup). One share for a batch, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autodistill.models.base import Batch, ImageBatch, Outputs, TextBatch


@dataclass(frozen=True)
class Mix:
    """How a batch is mixed: row i becomes share · row i + (1 − share) · row partner[i]. partner: (B,) int64."""

    partner: Tensor
    share: float

    @classmethod
    def draw(cls, concentration: float, rows: int, rng: np.random.Generator) -> Mix:
        """A share from Beta(concentration, concentration), folded to ≥ 1/2 so that a row stays the larger part, and a permutation."""
        share = float(rng.beta(concentration, concentration))
        return cls(torch.from_numpy(rng.permutation(rows)), max(share, 1.0 - share))

    def tensor(self, values: Tensor) -> Tensor:
        """Mix the rows of a float tensor (B, …)."""
        return self.share * values + (1.0 - self.share) * values[self.partner]

    def batch(self, batch: Batch) -> Batch:
        """Mix the pixels; of texts, only the mask here: theirs are mixed where they are embedded (`embeddings`)."""
        if isinstance(batch, ImageBatch):
            return ImageBatch(self.tensor(batch.pixels))
        return TextBatch(batch.ids, batch.mask | batch.mask[self.partner], batch.segments)

    def outputs(self, outputs: Outputs) -> Outputs:
        """Mix all of a teacher's outputs, which stands for running it on the mixed rows."""
        mixed: dict[str, Any] = {
            name: self.tensor(value) if isinstance(value, Tensor) else [self.tensor(item) if item.numel() else item for item in value]
            for name, value in vars(outputs).items()
        }
        return Outputs(**mixed)

    @contextmanager
    def embeddings(self, table: nn.Module | None) -> Iterator[None]:
        """While the block runs, mix what a text student's word embeddings give."""
        if table is None:
            yield
            return
        handle = table.register_forward_hook(lambda _module, _inputs, output: self.tensor(output))
        try:
            yield
        finally:
            handle.remove()
