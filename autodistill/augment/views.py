"""Views: a split as an augmentation shows it. Seeded and finite, so that what the teacher says of a view can be stored.

An epoch of training reads one view: the original, then each of the recipe's copies in turn.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autodistill.models.image import EncodedImages
from autodistill.models.text import EncodedText, encode_split
from autodistill.parts import Component, Viewed
from autodistill.storage import cache_folder, digest, lock, new_folder
from autodistill.tasks.base import Split

ORIGINAL = "original"


@dataclass(frozen=True)
class Reader:
    """Who reads a text split, as its augmentations may ask.

    tokenizer, max_length: how it is read. teacher: the fine-tuned teacher's folder. teacher_model: what it was fine-tuned from.
    device: where an augmentation's own model runs.
    """

    tokenizer: Any
    max_length: int
    teacher: Path
    teacher_model: str
    device: str = "auto"


def view_count(augmentation: Component) -> int:
    """How many views the epochs of a recipe take turns with."""
    return 1 + augmentation.copies if isinstance(augmentation, Viewed) else 1


def view_key(augmentation: Component, copy: int, seed: int) -> str:
    """The name of a view: equal for equal rows. `copy` 0 is the original."""
    if copy == 0 or augmentation.name == "none":
        return ORIGINAL
    own = json.dumps(augmentation.own, sort_keys=True)
    return f"{augmentation.name}-{digest(own, str(seed), str(copy))}"


def text_view(split: Split, original: EncodedText, reader: Reader, augmentation: Component, copy: int, seed: int) -> EncodedText:
    """A view of a text split. Equal arguments give equal rows.

    An augmentation is given what its positional parameters name: `words` or `texts`, `ids`, `offsets` and `special` (whether a token
    is one) of the encoded split, `rng`, and the fields of the reader.

    Raises:
        DataError, ModelError: what the augmentation needs is not at hand.
    """
    if view_key(augmentation, copy, seed) == ORIGINAL:
        return original
    spec, level = augmentation.spec, augmentation.spec.options["level"]
    function = spec.load()
    given: dict[str, Any] = vars(reader) | {"rng": np.random.default_rng([seed, copy])}

    def call(**more: Any) -> Any:
        return function(**{name: {**given, **more}[name] for name in spec.inputs}, **augmentation.own)

    if level in ("keep", "replace"):
        special = np.isin(original.ids.numpy(), reader.tokenizer.all_special_ids)
        changed = torch.from_numpy(call(ids=original.ids.numpy(), offsets=original.offsets.numpy(), special=special))
        return _kept(original, changed) if level == "keep" else _named(changed, original.segments, original.offsets, original.pad_id)
    assert split.texts is not None
    before = split.texts + (split.text_pairs or [])
    after = [" ".join(call(words=text.split())) for text in before] if level == "words" else call(texts=before)
    after = [new or old for new, old in zip(after, before, strict=True)]
    rows = len(split.texts)
    return encode_split(after[:rows], None if split.text_pairs is None else after[rows:], reader.tokenizer, reader.max_length)


def _kept(original: EncodedText, keep: torch.Tensor) -> EncodedText:
    """The tokens that are kept, each in its row. keep: (total,) bool."""
    kept_before = torch.cat([torch.zeros(1, dtype=torch.int64), keep.cumsum(0)])
    return _named(original.ids[keep], original.segments[keep], kept_before[original.offsets], original.pad_id)


def _named(ids: torch.Tensor, segments: torch.Tensor, offsets: torch.Tensor, pad_id: int) -> EncodedText:
    """Named by its tokens: what an augmentation says may depend on more than its fields (a teacher, a file)."""
    parts = (ids, segments, offsets)
    return EncodedText(*parts, pad_id, digest("view-1", str(pad_id), *(part.numpy().tobytes() for part in parts)))


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
