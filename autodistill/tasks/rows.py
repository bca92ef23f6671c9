"""Reads the rows of a dataset's splits, and gives the bytes for its fingerprint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodistill.tasks.base import Split
from autodistill.tasks.columns import Columns
from autodistill.tasks.images import Images, add_bad_images, change_notes, decoded
from autodistill.tasks.problems import Problems
from autodistill.tasks.splits import Part
from autodistill.tasks.tables import Table

_FINGERPRINTED = ("train", "validation")


@dataclass(frozen=True)
class Rows:
    """The rows that were read. splits: without labels. contents: of train and validation, as bytes for the fingerprint.

    keys: of the rows of each split that was read; equal rows have equal keys. image_size: height and width of all images. notes: changes
    that were made to the images.
    """

    splits: dict[str, Split]
    contents: list[bytes]
    keys: dict[str, list[Any]]
    image_size: int | None = None
    notes: tuple[str, ...] = ()


def read_texts(tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part], wanted: Sequence[str]) -> Rows:
    """Read texts, or pairs of texts. For splits that are not wanted, only the keys are returned."""
    texts = {split: [tables[part.table].take(column, part.rows) for column in columns.texts] for split, part in parts.items()}
    splits = {split: Split(_NO_LABELS, texts[split][0], texts[split][1] if len(texts[split]) == 2 else None) for split in wanted}
    # The fingerprint always has a part for a second column, which is empty if there is none.
    contents = [_joined(column) for split in _FINGERPRINTED for column in (texts[split] + [None])[:2]]
    keys = {split: list(zip(*columns_of_split, strict=True)) for split, columns_of_split in texts.items()}
    return Rows(splits, contents, keys)


def read_images(tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part], name: str) -> Rows:
    """Read images, all of one size.

    Raises:
        DataError: an image cannot be read.
    """
    assert columns.image is not None
    problems = Problems()
    by_split: dict[str, Images] = {}
    size: int | None = None
    for split, part in parts.items():
        by_split[split] = decoded(tables[part.table], columns.image, part.rows, size)
        add_bad_images(by_split[split], tables[part.table], columns.image, part.rows, problems)
        size = size or by_split[split].pixels.shape[1]
    problems.check(name)
    splits = {split: Split(_NO_LABELS, images=by_split[split].pixels) for split in parts}
    contents = [by_split[split].digests.tobytes() for split in _FINGERPRINTED]
    keys = {split: images.digests.tolist() for split, images in by_split.items()}
    return Rows(splits, contents, keys, size, tuple(change_notes(by_split.values())))


_NO_LABELS = np.empty(0)


def _joined(column: list[str] | None) -> bytes:
    """Texts as bytes, with their lengths, so that the same letters cut in two ways differ."""
    if column is None:
        return b""
    return np.array([len(text) for text in column], dtype=np.int64).tobytes() + "".join(column).encode()
