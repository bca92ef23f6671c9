from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_teacher import image_dataset, save_bert, text_dataset

from autodistill.augment.image import flip_crop, randaugment
from autodistill.augment.text import random_words, token_dropout
from autodistill.augment.views import ORIGINAL, image_view, text_view, view_count, view_key
from autodistill.models.image import EncodedImages
from autodistill.models.text import encode_split, load_tokenizer
from autodistill.recipe import Recipe
from autodistill.teacher.load import load_teacher
from autodistill.teacher.outputs import Taps, ensure_outputs

DATASET = text_dataset(40)


def _augmentation(task: str = "text-classification", **fields: Any) -> Any:
    family = {"family": "timm:resnet10t"} if task.startswith("image") else {"family": "cnn"}
    return Recipe.parse({"task": task, "teacher": {"model": "m"}, "student": family, "augmentation": fields}).augmentation


def test_random_words_change_about_the_share_asked_for() -> None:
    words = [f"w{number}" for number in range(200)]
    rng = np.random.default_rng(0)
    assert random_words(words, rng, strength=0.0) == words
    kept = [len(set(random_words(words, rng, strength=0.3))) / 200 for _ in range(50)]
    assert np.mean(kept) == pytest.approx(1 - 0.3 / 3, abs=0.02)  # a third of the operations delete
    assert random_words(["one"], rng, strength=1.0)
    assert all(random_words(["one", "two"], rng, strength=1.0) for _ in range(100))


def test_token_dropout_keeps_special_tokens_and_drops_the_share_asked_for() -> None:
    special = np.zeros(10_000, dtype=bool)
    special[::10] = True
    keep = token_dropout(special, np.random.default_rng(0), strength=0.25)
    assert keep[special].all()
    assert keep[~special].mean() == pytest.approx(0.75, abs=0.02)


def test_flip_crop_gives_windows_of_the_reflected_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    out = flip_crop(images, np.random.default_rng(1))
    assert out.shape == images.shape
    for image, found in zip(images, out, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
        windows = [padded[top : top + 16, left : left + 16] for top in range(5) for left in range(5)]
        assert any(np.array_equal(found, window) or np.array_equal(found, window[:, ::-1]) for window in windows)


def test_randaugment_is_seeded_and_leaves_the_processs_generators_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    before = np.random.get_state()[1].copy()
    first = randaugment(images, np.random.default_rng(5), strength=0.5)
    assert np.array_equal(np.random.get_state()[1], before)
    np.random.seed(99)
    assert np.array_equal(randaugment(images, np.random.default_rng(5), strength=0.5), first)
    assert not np.array_equal(randaugment(images, np.random.default_rng(6), strength=0.5), first)
    assert first.shape == images.shape


def test_a_views_key_names_all_that_it_depends_on() -> None:
    part = _augmentation(kind="random", strength=0.1, copies=3)
    assert view_count(part) == 4
    assert view_key(part, 0, 0) == ORIGINAL
    keys = {view_key(part, copy, seed) for copy in (1, 2, 3) for seed in (0, 1)}
    keys |= {view_key(_augmentation(kind=kind, strength=0.2), 1, 0) for kind in ("random", "token_dropout")}
    assert len(keys) == 8
    assert view_key(part, 1, 0) == view_key(_augmentation(kind="random", strength=0.1, copies=1, mixup=0.3), 1, 0)  # not of the row's view
    assert view_count(_augmentation(kind="none")) == 1


@pytest.mark.parametrize("kind", ["random", "token_dropout"])
def test_a_stored_view_equals_the_live_one(tmp_path: Path, kind: str) -> None:
    folder = save_bert(tmp_path / "bert")
    tokenizer = load_tokenizer(folder)
    part = _augmentation(kind=kind, strength=0.4)
    assert DATASET.train.texts is not None
    original = encode_split(DATASET.train.texts, None, tokenizer, 32)
    view = text_view(DATASET.train, original, tokenizer, 32, part, 1, 7)
    again = text_view(DATASET.train, original, tokenizer, 32, part, 1, 7)
    assert torch.equal(view.ids, again.ids)
    assert not torch.equal(view.ids, original.ids)
    assert len(view) == len(original)
    outputs = ensure_outputs(DATASET, "train", view, folder, view=view_key(part, 1, 7), taps=Taps(pooled=frozenset({"cls"})), device="cpu")
    rows = torch.tensor([3, 30, 11])
    model, _ = load_teacher(folder)
    with torch.no_grad():
        live = model(again.batch(rows), taps=frozenset({"states"}))
    stored = outputs.batch(rows)
    torch.testing.assert_close(stored.logits, live.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(stored.sentences[-1], live.sentences[-1], atol=2e-3, rtol=2e-3)


def test_token_views_keep_rows_apart(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(save_bert(tmp_path / "bert"))
    assert DATASET.train.texts is not None
    original = encode_split(DATASET.train.texts, None, tokenizer, 32)
    view = text_view(DATASET.train, original, tokenizer, 32, _augmentation(kind="token_dropout", strength=0.5), 1, 0)
    for row in range(len(view)):
        ids = view.ids[view.offsets[row] : view.offsets[row + 1]].tolist()
        full = original.ids[original.offsets[row] : original.offsets[row + 1]].tolist()
        left = iter(full)
        assert all(token in left for token in ids)  # in order, nothing added
        assert (ids[0], ids[-1]) == (full[0], full[-1])


def test_image_views_are_made_once_and_read_from_the_disk(isolated_cache: Path) -> None:
    images = image_dataset(20).train.images
    assert images is not None
    part = _augmentation("image-classification", kind="flip_crop")
    view = image_view(EncodedImages(images), part, 1, 0)
    assert isinstance(view.images, np.memmap)
    files = list(isolated_cache.rglob("images.npy"))
    assert len(files) == 1
    changed = files[0].stat().st_mtime_ns
    assert np.array_equal(image_view(EncodedImages(images), part, 1, 0).images, view.images)
    assert files[0].stat().st_mtime_ns == changed
    assert not np.array_equal(image_view(EncodedImages(images), part, 2, 0).images, view.images)
