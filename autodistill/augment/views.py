"""Views: a split as changed by an augmentation. There is a fixed number of seeded views, so the teacher's outputs for them can be stored.

An epoch of training reads one view: the original first, then each of the recipe's copies in turn.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autodistill.cache import ensure, new_cached_folder
from autodistill.models.image import EncodedImages
from autodistill.models.reread import decoded
from autodistill.models.text import EncodedText, encode_split
from autodistill.recipe.parts import Component, Viewed
from autodistill.storage import cache_folder, digest
from autodistill.tasks.base import Split

ORIGINAL = "original"
_BY_TOKEN = ("keep", "replace")
"""The levels of augmentations that change a text's tokens."""


@dataclass(frozen=True)
class Reader:
    """What the augmentations of a text split may ask for.

    tokenizer, max_length: how the texts are encoded. teacher: the fine-tuned teacher's folder. teacher_model: the model that it was
    fine-tuned from. device: where an augmentation's own model runs.
    """

    tokenizer: Any
    max_length: int
    teacher: Path
    teacher_model: str
    device: str = "auto"


def view_count(augmentation: Component) -> int:
    """How many views a recipe has; its epochs read them in turn."""
    return 1 + augmentation.copies if isinstance(augmentation, Viewed) else 1


def view_key(augmentation: Component, copy: int, seed: int) -> str:
    """The name of a view. Views with equal rows have equal names. `copy` 0 is the original."""
    if copy == 0 or augmentation.name == "none":
        return ORIGINAL
    own = json.dumps(augmentation.own, sort_keys=True)
    return f"{augmentation.name}-{digest(own, str(seed), str(copy))}"


def text_view(split: Split, original: EncodedText, reader: Reader, augmentation: Component, copy: int, seed: int) -> EncodedText:
    """A view of a text split. Equal arguments give equal rows.

    An augmentation receives what its positional parameters name: `words` or `texts`; of the encoded split `ids`, `offsets` and
    `special` (True at special tokens); `rng`; and the fields of the reader.

    Raises:
        DataError, ModelError: something that the augmentation needs is missing.
    """
    if view_key(augmentation, copy, seed) == ORIGINAL:
        return original
    level, call = augmentation.spec.options["level"], _caller(reader, augmentation, copy, seed)
    if level in _BY_TOKEN:
        special = np.isin(original.ids.numpy(), reader.tokenizer.all_special_ids)
        changed = torch.from_numpy(call(ids=original.ids.numpy(), offsets=original.offsets.numpy(), special=special))
        return _kept(original, changed) if level == "keep" else _named(changed, original.segments, original.offsets, original.pad_id)
    return encode_split(*_changed(split, level, call), reader.tokenizer, reader.max_length)


def reread_text_view(
    split: Split, view: EncodedText, reader: Reader, tokenizer: Any, augmentation: Component, copy: int, seed: int
) -> EncodedText:
    """A view as a student with another tokenizer reads it.

    view: what `text_view` gives, as the teacher reads it. If the augmentation has changed the tokens and not the texts, the student reads
    the texts that the changed tokens stand for. tokenizer: the student's.

    Raises:
        DataError, ModelError: something that the augmentation needs is missing.
    """
    level = augmentation.spec.options["level"]
    if level not in _BY_TOKEN:
        return encode_split(*_changed(split, level, _caller(reader, augmentation, copy, seed)), tokenizer, reader.max_length)
    texts, pairs = decoded(view, reader.tokenizer, 1 if split.text_pairs is None else 2)
    return encode_split(texts, pairs, tokenizer, reader.max_length)


def _caller(reader: Reader, augmentation: Component, copy: int, seed: int) -> Callable[..., Any]:
    """The augmentation as a function of rows, its other parameters filled in by name. Equal arguments give functions with equal results."""
    spec, function = augmentation.spec, augmentation.spec.load()
    available: dict[str, Any] = vars(reader) | {"rng": np.random.default_rng([seed, copy])}
    return lambda **rows: function(**{name: {**available, **rows}[name] for name in spec.inputs}, **augmentation.own)


def _changed(split: Split, level: str, call: Callable[..., Any]) -> tuple[list[str], list[str] | None]:
    """The changed texts, and their pairs."""
    assert split.texts is not None
    before = split.texts + (split.text_pairs or [])
    after = [" ".join(call(words=text.split())) for text in before] if level == "words" else call(texts=before)
    after = [new or old for new, old in zip(after, before, strict=True)]
    rows = len(split.texts)
    return after[:rows], None if split.text_pairs is None else after[rows:]


def _kept(original: EncodedText, keep: torch.Tensor) -> EncodedText:
    """The split with only the tokens that are kept. keep: (total,) bool."""
    kept_before = torch.cat([torch.zeros(1, dtype=torch.int64), keep.cumsum(0)])
    return _named(original.ids[keep], original.segments[keep], kept_before[original.offsets], original.pad_id)


def _named(ids: torch.Tensor, segments: torch.Tensor, offsets: torch.Tensor, pad_id: int) -> EncodedText:
    """The split with a fingerprint of its tokens: an augmentation may depend on more than its fields (a teacher, a file)."""
    parts = (ids, segments, offsets)
    return EncodedText(*parts, pad_id, digest("view-1", str(pad_id), *(part.numpy().tobytes() for part in parts)))


def image_view(original: EncodedImages, augmentation: Component, copy: int, seed: int) -> EncodedImages:
    """A view of an image split, made once and cached."""
    key = view_key(augmentation, copy, seed)
    if key == ORIGINAL:
        return original
    path = cache_folder() / "views" / original.fingerprint / key / "images.npy"

    def write() -> None:
        images = augmentation.spec.load()(original.images, np.random.default_rng([seed, copy]), **augmentation.own)
        with new_cached_folder(path.parent) as folder:
            np.save(folder / path.name, images)

    ensure(path.parent, write)
    return EncodedImages(np.load(path, mmap_mode="r"), original.mean, original.std)
