from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_teacher import image_dataset, save_bert, save_masked_lm, text_dataset

from autodistill.augment.views import ORIGINAL, Reader, image_view, text_view, view_count, view_key
from autodistill.components import specs
from autodistill.models.image import EncodedImages
from autodistill.models.text import EncodedText, encode_split, load_tokenizer
from autodistill.recipe import Recipe, Teacher
from autodistill.space import Space
from autodistill.tasks.base import Split
from autodistill.teacher.finetune import finetune_teacher
from autodistill.teacher.load import load_teacher
from autodistill.teacher.outputs import Taps, ensure_outputs

DATASET = text_dataset(40)
TEXT_KINDS = ["random", "token_dropout", "span_cutoff", "synonyms", "contextual", "paraphrase"]
IMAGE_KINDS = ["flip_crop", "randaugment", "random_erasing", "selfmix"]


def _augmentation(task: str = "text-classification", **fields: Any) -> Any:
    family = {"family": "timm:resnet10t"} if task.startswith("image") else {"family": "cnn"}
    return Recipe.parse({"task": task, "teacher": {"model": "m"}, "student": family, "augmentation": fields}).augmentation


def test_a_views_key_names_all_that_it_depends_on() -> None:
    part = _augmentation(kind="random", strength=0.1, copies=3)
    assert view_count(part) == 4
    assert view_key(part, 0, 0) == ORIGINAL
    keys = {view_key(part, copy, seed) for copy in (1, 2, 3) for seed in (0, 1)}
    keys |= {view_key(_augmentation(kind=kind, strength=0.2), 1, 0) for kind in ("random", "token_dropout")}
    assert len(keys) == 8
    assert view_key(part, 1, 0) == view_key(_augmentation(kind="random", strength=0.1, copies=1, mixup=0.3), 1, 0)  # not of the row's view
    assert view_count(_augmentation(kind="none")) == 1


def _live_view(original: EncodedText, reader: Reader, part: Any) -> EncodedText:
    return text_view(DATASET.train, original, reader, part, 1, 7)


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_a_stored_view_equals_the_live_one(tmp_path: Path, kind: str) -> None:
    folder = save_bert(tmp_path / "bert")
    reader = Reader(load_tokenizer(folder), 32, folder, str(folder), "cpu")
    fields: dict[str, Any] = {"kind": kind, "strength": 0.4}
    assert DATASET.train.texts is not None
    if kind == "contextual":
        fields |= {"masked_lm": str(save_masked_lm(tmp_path / "lm")), "guesses": 3}
    if kind == "paraphrase":
        fields = {"kind": kind, "path": str(tmp_path / "said.parquet")}
        paraphrases = [" ".join(reversed(text.split())) for text in DATASET.train.texts]
        pd.DataFrame({"text": DATASET.train.texts, "paraphrase": paraphrases}).to_parquet(fields["path"])
    part = _augmentation(**fields)
    original = encode_split(DATASET.train.texts, None, reader.tokenizer, 32)
    view, again = _live_view(original, reader, part), _live_view(original, reader, part)
    assert torch.equal(view.ids, again.ids)
    assert view.fingerprint == again.fingerprint != original.fingerprint
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


def test_the_kinds_that_are_compared_are_all_there_are() -> None:
    assert set(TEXT_KINDS) == set(specs("augmentation", "text-classification"))
    assert set(IMAGE_KINDS) == set(specs("augmentation", "image-classification"))


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_what_is_stored_of_an_image_view_equals_what_the_teacher_says_of_it_live(tmp_path: Path, kind: str) -> None:
    dataset = image_dataset(24)
    folder = finetune_teacher(dataset, Teacher(model="timm:resnet10t", init="scratch", epochs=0), 0, device="cpu").folder
    assert dataset.train.images is not None
    part, original = _augmentation("image-classification", kind=kind), EncodedImages(dataset.train.images)
    view = image_view(original, part, 1, 7)
    live = part.spec.load()(original.images, np.random.default_rng([7, 1]), **part.own)
    assert np.array_equal(view.images, live)
    assert live.shape == original.images.shape
    assert live.dtype == np.uint8
    assert not np.array_equal(live, original.images)
    outputs = ensure_outputs(dataset, "train", view, folder, view=view_key(part, 1, 7), taps=Taps(), device="cpu")
    rows = torch.tensor([3, 20, 11])
    model, _ = load_teacher(folder)
    with torch.no_grad():
        logits = model(EncodedImages(live).batch(rows)).logits
    torch.testing.assert_close(outputs.batch(rows).logits, logits, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["token_dropout", "span_cutoff"])
def test_views_of_fewer_tokens_keep_rows_apart(tmp_path: Path, kind: str) -> None:
    folder = save_bert(tmp_path / "bert")
    reader = Reader(load_tokenizer(folder), 32, folder, str(folder))
    assert DATASET.train.texts is not None
    original = encode_split(DATASET.train.texts, None, reader.tokenizer, 32)
    view = text_view(DATASET.train, original, reader, _augmentation(kind=kind, strength=0.5), 1, 0)
    for row in range(len(view)):
        ids = view.ids[view.offsets[row] : view.offsets[row + 1]].tolist()
        full = original.ids[original.offsets[row] : original.offsets[row + 1]].tolist()
        left = iter(full)
        assert all(token in left for token in ids)  # in order, nothing added
        assert (ids[0], ids[-1]) == (full[0], full[-1])


@pytest.mark.parametrize("kind", ["random", "synonyms"])
def test_both_texts_of_a_pair_are_changed_and_stay_a_pair(tmp_path: Path, kind: str) -> None:
    folder = save_bert(tmp_path / "bert")
    reader = Reader(load_tokenizer(folder), 64, folder, str(folder))
    texts = ["film plot actor scene music end"] * 20
    split = Split(np.zeros(20, dtype=np.int64), texts=texts, text_pairs=texts)
    original = encode_split(texts, texts, reader.tokenizer, 64)
    view = text_view(split, original, reader, _augmentation("text-pair-classification", kind=kind, strength=0.5), 1, 0)
    whole = original.batch(torch.arange(20)).ids[0].tolist()
    first, second = whole[: whole.index(3) + 1], whole[whole.index(3) + 1 :]  # 3 is [SEP]
    changed = [0, 0]
    for row in range(20):
        ids = view.ids[view.offsets[row] : view.offsets[row + 1]].tolist()
        assert ids.count(3) == 2
        middle = ids.index(3) + 1
        changed[0] += ids[:middle] != first
        changed[1] += ids[middle:] != second
    assert min(changed) > 10


def test_every_augmentation_of_the_shipped_image_space_makes_a_view() -> None:
    images = image_dataset(6).train.images
    assert images is not None
    space, rng = Space.load("image", "image-classification"), random.Random(0)
    parts = {view_key(part, 1, 0): part for part in (space.sample(rng).augmentation for _ in range(200))}
    assert {part.kind for part in parts.values()} == {"none", *IMAGE_KINDS}
    for part in parts.values():
        if part.kind != "none":
            assert image_view(EncodedImages(images), part, 1, 0).images.shape == images.shape


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
