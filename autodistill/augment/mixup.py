"""Mixing: each row of a batch is mixed with a partner from the same batch, both inputs and targets.

`mixup` takes weighted sums of pixels or word embeddings. Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization",
equation 1; for texts, Guo, Mao, Zhang 2019, "Augmenting Data with Mixup for Sentence Classification" (wordMixup).
`cutmix` pastes a box of the partner's image into the row's image, and mixes the targets by area. Source: Yun et al. 2019, "CutMix:
Regularization Strategy to Train Strong Classifiers with Localizable Features", section 3.1.

A batch has one share and one box, as in the authors' code. The stored teacher outputs of both rows (feature maps too) are mixed by the
share; this approximates the teacher's outputs for the mixed row.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from autodistill.models.base import Batch, ImageBatch, Outputs, TextBatch


@dataclass(frozen=True)
class Mix(ABC):
    """How a batch is mixed: row i becomes share · row i + (1 − share) · row partner[i]. partner: (B,) int64."""

    partner: Tensor
    share: float

    @classmethod
    def draw(cls, concentration: float, rows: int, rng: np.random.Generator) -> Self:
        """A random permutation, and a share from Beta(concentration, concentration), folded to ≥ 1/2: a row stays the larger part."""
        share = float(rng.beta(concentration, concentration))
        return cls(torch.from_numpy(rng.permutation(rows)), max(share, 1.0 - share))

    def tensor(self, values: Tensor) -> Tensor:
        """Mix the rows of a float tensor (B, …)."""
        return self.share * values + (1.0 - self.share) * values[self.partner]

    @abstractmethod
    def batch(self, batch: Any) -> Batch:
        """Mix those parts of a batch that can be mixed before the student reads it."""

    def outputs(self, outputs: Outputs) -> Outputs:
        """Mix all outputs of the teacher, instead of running it on the mixed rows."""
        mixed: dict[str, Any] = {
            name: self.tensor(value) if isinstance(value, Tensor) else [self.tensor(item) if item.numel() else item for item in value]
            for name, value in vars(outputs).items()
        }
        return Outputs(**mixed)

    @contextmanager
    def embeddings(self, table: nn.Module | None) -> Iterator[None]:
        """While the block runs, mix the output of a text student's word embeddings. table: None if the inputs are already mixed."""
        if table is None:
            yield
            return
        handle = table.register_forward_hook(lambda _module, _inputs, output: self.tensor(output))
        try:
            yield
        finally:
            handle.remove()


@dataclass(frozen=True)
class TextMix(Mix):
    """A mix of texts: their word embeddings are mixed (`embeddings`)."""

    def batch(self, batch: TextBatch) -> TextBatch:
        """Mix the masks and segments only: a mixed row has the token positions of both rows."""
        segments = torch.where(batch.mask, batch.segments, batch.segments[self.partner])
        return TextBatch(batch.ids, batch.mask | batch.mask[self.partner], segments)


@dataclass(frozen=True)
class ImageMix(Mix):
    """A mix of images.

    box: top, bottom, left, right in pixels. Inside it are the partner's pixels, outside it the row's own; `share` is the area outside
    the box, as a share of the image. None for mixup, which sums pixels.
    """

    box: tuple[int, int, int, int] | None = None

    @classmethod
    def of(cls, batch: ImageBatch, mixing: str, concentration: float, rng: np.random.Generator) -> Self:
        """A mix of a batch. mixing: `mixup` or `cutmix`."""
        rows, _, height, width = batch.pixels.shape
        return cls.cut(concentration, rows, height, width, rng) if mixing == "cutmix" else cls.draw(concentration, rows, rng)

    @classmethod
    def cut(cls, concentration: float, rows: int, height: int, width: int, rng: np.random.Generator) -> Self:
        """A mix by a box of area 1 − share (as in `draw`), centred anywhere. It is clipped to the image, and the share corrected."""
        mix = cls.draw(concentration, rows, rng)
        side = math.sqrt(1.0 - mix.share)
        centre_y, centre_x = int(rng.integers(height)), int(rng.integers(width))
        tall, wide = round(side * height), round(side * width)
        top, left = centre_y - tall // 2, centre_x - wide // 2
        box = max(top, 0), min(top + tall, height), max(left, 0), min(left + wide, width)
        area = (box[1] - box[0]) * (box[3] - box[2])
        return cls(mix.partner, 1.0 - area / (height * width), box)

    def batch(self, batch: ImageBatch) -> ImageBatch:
        """Sum the pixels, or paste the partner's box."""
        if self.box is None:
            return ImageBatch(self.tensor(batch.pixels))
        top, bottom, left, right = self.box
        pixels = batch.pixels.clone()
        pixels[:, :, top:bottom, left:right] = batch.pixels[self.partner, :, top:bottom, left:right]
        return ImageBatch(pixels)
