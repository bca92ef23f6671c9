"""The rows of a dataset's splits: read, and named for its fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodistill.tasks.base import Split
from autodistill.tasks.columns import Columns
from autodistill.tasks.images import Images, decoded
from autodistill.tasks.problems import Problems
from autodistill.tasks.splits import Part
from autodistill.tasks.tables import Table

_FINGERPRINTED = ("train", "validation")


@dataclass(frozen=True)
class Rows:
    """What was read. splits: without labels. contents: of train and validation, as bytes for the fingerprint.

    keys: of the rows of train and validation; equal rows have equal ones. image_size: height and width of all images.
    """

    splits: dict[str, Split]
    contents: list[bytes]
    keys: dict[str, list[Any]]
    image_size: int | None = None


def read_texts(tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part]) -> Rows:
    """Texts, or pairs of texts."""
    texts = {split: [tables[part.table].take(column, part.rows) for column in columns.texts] for split, part in parts.items()}
    splits = {split: Split(_NO_LABELS, read[0], read[1] if len(read) == 2 else None) for split, read in texts.items()}
    # A second column counts in the fingerprint where there is none, too: as nothing.
    contents = [_joined(column) for split in _FINGERPRINTED for column in (texts[split] + [None])[:2]]
    keys = {split: list(zip(*texts[split], strict=True)) for split in _FINGERPRINTED}
    return Rows(splits, contents, keys)


def read_images(tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part], name: str) -> Rows:
    """Images, all of one size.

    Raises:
        DataError: an image cannot be read.
    """
    assert columns.image is not None
    problems = Problems()
    by_split: dict[str, Images] = {}
    size: int | None = None
    for split, part in parts.items():
        read = decoded(tables[part.table], columns.image, part.rows, size, problems)
        if read is not None:
            by_split[split] = read
            size = size or read.pixels.shape[1]
    problems.check(name)
    splits = {split: Split(_NO_LABELS, images=by_split[split].pixels) for split in parts}
    contents = [by_split[split].digests.tobytes() for split in _FINGERPRINTED]
    return Rows(splits, contents, {split: by_split[split].digests.tolist() for split in _FINGERPRINTED}, size)


_NO_LABELS = np.empty(0)


def _joined(column: list[str] | None) -> bytes:
    """Texts as bytes, with their lengths, so that two ways to cut the same letters differ."""
    if column is None:
        return b""
    return np.array([len(text) for text in column], dtype=np.int64).tobytes() + "".join(column).encode()
