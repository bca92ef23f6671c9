"""Augmentations of images. Each one takes all images of a split and returns the same number; the caller seeds it."""

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
    When: a good first choice, unless left and right mean something (digits, letters, signs).
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

    Shapes: images (N, H, W, 3) uint8 → the same. The operations are those of timm's that get stronger with the magnitude.
    Source: Cubuk et al. 2020, "RandAugment: Practical automated data augmentation with a reduced search space".
    When: image sets that a larger student would otherwise memorise.
    """
    from timm.data.auto_augment import RandAugment, rand_augment_choices, rand_augment_ops

    mean = tuple(int(value) for value in images.mean(axis=(0, 1, 2)))
    # timm's `rand-m…` strings allow only whole magnitudes. At the highest one, 10, posterising would keep 0 bits, which Pillow refuses.
    hparams = {"img_mean": mean, "magnitude_std": 0.5, "magnitude_max": 9.99}
    augment = RandAugment(rand_augment_ops(10 * strength, hparams=hparams, transforms=rand_augment_choices("", increasing=True)))
    seed = int(rng.integers(2**32))
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        return np.stack([np.asarray(augment(Image.fromarray(image))) for image in flip_crop(images, rng)])
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


@component("augmentation", tasks=IMAGE, level="pixels")
def random_erasing(
    images: np.ndarray,
    rng: np.random.Generator,
    *,
    strength: Annotated[float, Field(ge=0.0, le=1.0)] = 0.4,
    probability: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5,
    after_flip_crop: bool = True,
) -> np.ndarray:
    """Random erasing: with `probability`, a rectangle of the image is filled with random pixels; after `flip_crop` or alone.

    The rectangle covers between 0.02 and `strength` of the image's area, and its height is 0.3 to 1/0.3 times its width. A rectangle
    that does not fit into the image is drawn again.

    Shapes: images (N, H, W, 3) uint8 → the same.
    Source: Zhong et al. 2020, "Random Erasing Data Augmentation", algorithm 1 (there s_h = `strength`, p = `probability`).
    When: objects may be partly hidden. Use a low strength if the objects are small.
    """
    count, height, width, _ = images.shape
    out = flip_crop(images, rng) if after_flip_crop else images.copy()
    for place in np.flatnonzero(rng.random(count) < probability):
        while True:
            area = rng.uniform(min(0.02, strength), strength) * height * width
            aspect = rng.uniform(0.3, 1 / 0.3)
            tall, wide = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
            if tall <= height and wide <= width:
                break
        top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
        out[place, top : top + tall, left : left + wide] = rng.integers(256, size=(tall, wide, 3), dtype=np.uint8)
    return out


@component("augmentation", tasks=IMAGE, level="pixels")
def selfmix(
    images: np.ndarray,
    rng: np.random.Generator,
    *,
    strength: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5,
    after_flip_crop: bool = True,
) -> np.ndarray:
    """SelfMix: a region of an image is pasted over another place of the same image; after `flip_crop` or alone.

    The region has the image's proportions and up to `strength` of its area (drawn uniformly). Where it is cut and where it is pasted
    are drawn independently. No other class enters the image, and the teacher labels the mixed image.

    Shapes: images (N, H, W, 3) uint8 → the same.
    Source: Shen 2023, "FerKD: Surgical Label Adaptation for Efficient Distillation" (SelfMix): CutMix within one image.
    When: the mixed classes of CutMix are too hard for a small student. Use a large weight on the teacher's predictions.
    """
    count, height, width, _ = images.shape
    mixed = flip_crop(images, rng) if after_flip_crop else images.copy()
    side = np.sqrt(rng.uniform(0.0, strength, count))
    tall, wide = np.rint(side * height).astype(int), np.rint(side * width).astype(int)
    tops, lefts = rng.integers(height - tall + 1, size=(2, count)), rng.integers(width - wide + 1, size=(2, count))
    for image, h, w, (top, to_top), (left, to_left) in zip(mixed, tall, wide, tops.T, lefts.T, strict=True):
        image[to_top : to_top + h, to_left : to_left + w] = image[top : top + h, left : left + w].copy()
    return mixed
