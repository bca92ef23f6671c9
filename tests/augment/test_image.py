"""Augmentations of images, against closed forms."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image
from timm.data.auto_augment import rand_augment_transform

from autodistill.augment.image import flip_crop, randaugment, random_erasing, selfmix


def test_flip_crop_gives_windows_of_the_reflected_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    out = flip_crop(images, np.random.default_rng(1))
    assert out.shape == images.shape
    for image, cropped in zip(images, out, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
        windows = [padded[top : top + 16, left : left + 16] for top in range(5) for left in range(5)]
        assert any(np.array_equal(cropped, window) or np.array_equal(cropped, window[:, ::-1]) for window in windows)


def test_randaugment_is_seeded_and_leaves_the_processs_generators_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    before = np.random.get_state()[1].copy()
    first = randaugment(images, np.random.default_rng(5), strength=0.5)
    assert np.array_equal(np.random.get_state()[1], before)
    np.random.seed(99)
    assert np.array_equal(randaugment(images, np.random.default_rng(5), strength=0.5), first)
    assert not np.array_equal(randaugment(images, np.random.default_rng(6), strength=0.5), first)
    assert first.shape == images.shape


def test_randaugment_is_timms_at_whole_magnitudes_and_knows_those_between() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    seed = int(np.random.default_rng(5).integers(2**32))
    rng = np.random.default_rng(5)
    rng.integers(2**32)
    cropped = flip_crop(images, rng)
    reference = rand_augment_transform("rand-m5-n2-mstd0.5-inc1", {"img_mean": tuple(int(value) for value in images.mean(axis=(0, 1, 2)))})
    random.seed(seed)
    np.random.seed(seed)
    expected = np.stack([np.asarray(reference(Image.fromarray(image))) for image in cropped])
    assert np.array_equal(randaugment(images, np.random.default_rng(5), strength=0.5), expected)
    assert not np.array_equal(randaugment(images, np.random.default_rng(5), strength=0.45), expected)


def test_randaugment_does_more_the_higher_its_strength_up_to_both_ends() -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), dtype=np.uint8)
    cropping = np.random.default_rng(5)
    cropping.integers(2**32)
    cropped = flip_crop(images, cropping).astype(float)
    changes = [
        np.abs(randaugment(images, np.random.default_rng(5), strength=strength) - cropped).mean() for strength in (0.0, 0.25, 0.6, 1.0)
    ]
    assert changes == sorted(changes)
    assert changes[3] > 1.2 * changes[0]


def test_random_erasing_erases_the_share_of_images_and_of_their_area_asked_for() -> None:
    images = np.zeros((1500, 64, 64, 3), dtype=np.uint8)
    before = images.copy()
    out = random_erasing(images, np.random.default_rng(0), strength=0.3, probability=0.4, after_flip_crop=False)
    assert np.array_equal(images, before)
    painted = (out > 0).any(axis=3)  # a random pixel is black once in 2^24 times
    hit = painted.any(axis=(1, 2))
    assert hit.mean() == pytest.approx(0.4, abs=5 * np.sqrt(0.24 / 1500))
    areas, aspects = [], []
    for image in painted[hit]:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        tall, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert image.sum() == tall * wide  # a whole rectangle
        areas.append(tall * wide / 64**2)
        aspects.append(tall / wide)
    # Every rectangle of these fits, so the share is uniform on [0.02, 0.3]; sides are rounded to pixels.
    assert min(areas) > 0.01
    assert max(areas) < 0.32
    assert np.mean(areas) == pytest.approx(0.16, abs=5 * 0.28 / np.sqrt(12 * 600))
    assert np.mean(aspects) == pytest.approx((0.3 + 1 / 0.3) / 2, abs=5 * 3.03 / np.sqrt(12 * 600))
    assert out[painted].mean() == pytest.approx(127.5, abs=1.0)


def test_random_erasing_draws_again_what_does_not_fit_and_can_do_nothing() -> None:
    images = np.zeros((50, 8, 8, 3), dtype=np.uint8)
    assert random_erasing(images, np.random.default_rng(0), strength=1.0, probability=1.0, after_flip_crop=False).any(axis=(1, 2, 3)).all()
    assert not random_erasing(images, np.random.default_rng(0), probability=0.0, after_flip_crop=False).any()
    assert not random_erasing(images, np.random.default_rng(0), strength=0.0, probability=1.0, after_flip_crop=False).any()


def test_selfmix_moves_a_region_within_each_image() -> None:
    height, width, count = 16, 24, 400
    place = np.arange(height * width).reshape(height, width)
    images = np.repeat(np.stack([place // width, place % width, place * 0], axis=-1)[None].astype(np.uint8), count, axis=0)
    images[..., 2] = np.arange(count)[:, None, None] % 256  # says whose pixels they are
    before = images.copy()
    out = selfmix(images, np.random.default_rng(0), strength=0.5, after_flip_crop=False)
    assert np.array_equal(images, before)
    assert np.array_equal(out[..., 2], images[..., 2])
    shares = []
    for image, original in zip(out.astype(int), images.astype(int), strict=True):
        moved = (image != original).any(axis=-1)
        if not moved.any():
            continue
        shift = (image - original)[moved]
        assert (shift == shift[0]).all()  # one region, moved as a whole
        rows, columns = np.flatnonzero(moved.any(axis=1)), np.flatnonzero(moved.any(axis=0))
        assert moved.sum() == len(rows) * len(columns) == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        shares.append(moved.mean())
    assert len(shares) > 0.9 * count
    assert max(shares) < 0.55
    # Rounding aside the share is uniform on [0, 1/2]; those that did not move (a pixel or nothing, or back to its place) are small.
    assert np.sum(shares) / count == pytest.approx(0.25, abs=5 * 0.5 / np.sqrt(12 * count))


@pytest.mark.parametrize("augment", [random_erasing, selfmix])
def test_erasing_and_selfmix_come_after_flip_and_crop_and_are_seeded(augment: object) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    assert callable(augment)
    first = augment(images, np.random.default_rng(4))
    assert np.array_equal(augment(images, np.random.default_rng(4)), first)
    assert not np.array_equal(augment(images, np.random.default_rng(5)), first)
    assert np.array_equal(augment(images, np.random.default_rng(4), strength=0.0), flip_crop(images, np.random.default_rng(4)))
