"""Augmentations of images: a whole split's images in, as many out, seeded by the caller."""

from __future__ import annotations

import random
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field

from autodistill.components import IMAGE, component


@component("augmentation", tasks=IMAGE, level="pixels")
def flip_crop(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Horizontal flip with probability 1/2, and a crop after reflecting an eighth of the size at every edge.

    Shapes: images (N, H, W, 3) uint8 → the same.
    Source: the CIFAR augmentation of He et al. 2016, "Deep Residual Learning", section 4.2 (there with zero padding).
    When: always a first choice, unless left and right mean something (digits, letters, signs).
    """
    count, height, width, _ = images.shape
    margin = max(1, height // 8)
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    top, left = rng.integers(2 * margin + 1, size=(2, count))
    cropped = np.moveaxis(windows[np.arange(count), top, left], 1, -1)
    flipped = rng.random(count) < 0.5
    cropped = np.ascontiguousarray(cropped)
    cropped[flipped] = cropped[flipped, :, ::-1]
    return cropped


@component("augmentation", tasks=IMAGE, level="pixels")
def randaugment(images: np.ndarray, rng: np.random.Generator, *, strength: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5) -> np.ndarray:
    """RandAugment: two random operations on each image, at magnitude 10 × strength, after `flip_crop`.

    Shapes: images (N, H, W, 3) uint8 → the same. The operations are timm's.
    Source: Cubuk et al. 2020, "RandAugment: Practical automated data augmentation with a reduced search space".
    When: image sets that a student of some size would otherwise learn by heart.
    """
    from timm.data.auto_augment import rand_augment_transform

    mean = tuple(int(value) for value in images.mean(axis=(0, 1, 2)))
    augment = rand_augment_transform(f"rand-m{10 * strength:g}-n2-mstd0.5", {"img_mean": mean})
    seed = int(rng.integers(2**32))
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        return np.stack([np.asarray(augment(Image.fromarray(image))) for image in flip_crop(images, rng)])
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
