"""Images as batches: uint8 rows in, normalised pixels out."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autodistill.models.base import ImageBatch
from autodistill.storage import digest

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class EncodedImages:
    """A split's images: `Inputs`. images: (N, H, W, 3) uint8. mean, std: of the RGB channels from 0 to 1, as the teacher expects."""

    images: np.ndarray
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __len__(self) -> int:
        return len(self.images)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of the pixels and the normalisation."""
        return digest("images-1", str(self.images.shape), str((self.mean, self.std)), np.ascontiguousarray(self.images).tobytes())

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return int(self.images.shape[1])

    @property
    def lengths(self) -> None:
        """All images have the same size."""
        return None

    @property
    def ids(self) -> Tensor:
        """Images have no tokens: empty."""
        return torch.empty(0, dtype=torch.int32)

    @property
    def bytes(self) -> int:
        """Of the pixels."""
        return self.images.nbytes

    def to(self, device: torch.device) -> DeviceImages:
        """The same rows on a device."""
        return DeviceImages(self, device)

    def batch(self, rows: Tensor, length: int | None = None) -> ImageBatch:
        """The rows as a batch, (B, 3, H, W) float32. rows: (B,) int64. length: has no meaning for images."""
        return normalise(self.images[rows.numpy()], self.mean, self.std)

    def token_index(self, rows: Tensor, length: int | None = None) -> tuple[Tensor, Tensor]:
        """Images have no tokens."""
        raise TypeError("images have no tokens")

    def even_batches(self, rows: int, tokens: int) -> Iterator[Tensor]:
        """In the order of the split."""
        yield from torch.arange(len(self)).split(rows)

    def median_row(self) -> Tensor:
        """The first."""
        return torch.tensor([0])

    def describe_row(self, row: int) -> str:
        """Height and width."""
        return f"{self.images.shape[1]} × {self.images.shape[2]} pixels"


class DeviceImages:
    """A split's images on a device, uint8: a quarter of what they take as numbers that a model reads."""

    def __init__(self, encoded: EncodedImages, device: torch.device) -> None:
        self.images = torch.from_numpy(np.ascontiguousarray(encoded.images)).to(device)
        self._mean, self._scale = (part.to(device) for part in _channels(encoded.mean, encoded.std))

    def batch(self, rows: Tensor, length: int | None = None) -> ImageBatch:
        """See `EncodedImages.batch`."""
        return ImageBatch((self.images[rows].permute(0, 3, 1, 2).float() - self._mean) / self._scale)

    def token_index(self, rows: Tensor, length: int | None = None) -> tuple[Tensor, Tensor]:
        """Images have no tokens."""
        raise TypeError("images have no tokens")


def normalise(images: np.ndarray, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD) -> ImageBatch:
    """(pixel / 255 − mean) / std, channel by channel. In memory the channels stay last, which makes convolutions faster."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    centre, scale = _channels(mean, std)
    return ImageBatch((pixels - centre) / scale)


def _channels(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of pixels from 0 to 255, (1, 3, 1, 1) each."""
    centre, scale = (torch.tensor(part).view(1, 3, 1, 1) * 255 for part in (mean, std))
    return centre, scale
