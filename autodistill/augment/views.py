"""Views: a split as an augmentation shows it. Seeded and finite, so that what the teacher says of a view can be stored.

An epoch of training reads one view: the original, then each of the recipe's copies in turn.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

from autodistill.models.image import EncodedImages
from autodistill.models.text import EncodedText, encode_split
from autodistill.recipe import Component
from autodistill.storage import lock, new_folder
from autodistill.tasks.base import Split, cache_folder, digest

ORIGINAL = "original"


def view_count(augmentation: Component) -> int:
    """How many views the epochs of a recipe take turns with."""
    return 1 if augmentation.name == "none" else 1 + int(getattr(augmentation, "copies", 1))


def view_key(augmentation: Component, copy: int, seed: int) -> str:
    """The name of a view: equal for equal rows. `copy` 0 is the original."""
    if copy == 0 or augmentation.name == "none":
        return ORIGINAL
    own = json.dumps(augmentation.own, sort_keys=True)
    return f"{augmentation.name}-{digest(own, str(seed), str(copy))}"


def text_view(
    split: Split, original: EncodedText, tokenizer: Any, max_length: int, augmentation: Component, copy: int, seed: int
) -> EncodedText:
    """A view of a text split. Equal arguments give equal rows, on every machine."""
    if view_key(augmentation, copy, seed) == ORIGINAL:
        return original
    function = augmentation.spec.load()
    rng = np.random.default_rng([seed, copy])
    if augmentation.spec.options["level"] == "tokens":
        special = np.isin(original.ids.numpy(), tokenizer.all_special_ids)
        keep = torch.from_numpy(function(special, rng, **augmentation.own))
        kept_before = torch.cat([torch.zeros(1, dtype=torch.int64), keep.cumsum(0)])
        offsets = kept_before[original.offsets]
        name = digest(original.fingerprint, view_key(augmentation, copy, seed))
        return EncodedText(original.ids[keep], original.segments[keep], offsets, original.pad_id, name)

    def changed(texts: list[str]) -> list[str]:
        return [" ".join(function(text.split(), rng, **augmentation.own)) or text for text in texts]

    assert split.texts is not None
    pairs = None if split.text_pairs is None else changed(split.text_pairs)
    return encode_split(changed(split.texts), pairs, tokenizer, max_length)


def image_view(original: EncodedImages, augmentation: Component, copy: int, seed: int) -> EncodedImages:
    """A view of an image split, made once and kept in the cache folder."""
    key = view_key(augmentation, copy, seed)
    if key == ORIGINAL:
        return original
    path = cache_folder() / "views" / original.fingerprint / key / "images.npy"
    if not path.exists():
        with lock(path.parent):
            if not path.exists():
                images = augmentation.spec.load()(original.images, np.random.default_rng([seed, copy]), **augmentation.own)
                with new_folder(path.parent) as folder:
                    np.save(folder / path.name, images)
    return EncodedImages(np.load(path, mmap_mode="r"), original.mean, original.std)
