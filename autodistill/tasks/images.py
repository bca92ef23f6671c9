"""Images: decoded once to uint8 arrays of one square size, kept in the cache folder and memory-mapped from there."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autodistill.storage import cache_folder, digest
from autodistill.tasks.problems import Problems
from autodistill.tasks.tables import Table, file_stamp

SIZES = (32, 64, 128, 224)
"""The square sizes, one for a dataset: the smallest that its median image does not exceed."""
_SAMPLE = 1000
_VERSION = "2"  # of what a row's pixels are made of; a change makes old caches unreadable
_ROW_DIGEST = 16


@dataclass(frozen=True)
class Images:
    """pixels: (N, H, W, 3) uint8, memory-mapped. digests: (N,) 16 bytes that name each row's pixels."""

    pixels: np.ndarray
    digests: np.ndarray


def decoded(table: Table, column: str, rows: np.ndarray, size: int | None, problems: Problems) -> Images | None:
    """The images at some rows, from the cache or decoded into it.

    size: side of the square, None to find it from these rows. Images of another shape are resized (bicubic), not cropped.
    None where some cannot be decoded; `problems` then names them.
    """
    values = None if table.lazy else table.take(column, rows)
    stamp = table.stamp if values is None else file_stamp([(table.folder or Path()) / str(value) for value in values])
    folder = cache_folder() / "images" / digest(_VERSION, stamp, column, rows.astype(np.int64).tobytes(), str(size))
    cached = _cached(folder)
    if cached is None:
        values = table.take(column, rows) if values is None else values
        images, bad = decode(values, table.folder, size or _size(values, table.folder))
        if bad:
            positions = [position for position, _ in bad]
            reasons = "; ".join(dict.fromkeys(reason for _, reason in bad[:3]))
            problems.rows(table, column, [int(rows[position]) for position in positions], f"whose image cannot be decoded ({reasons})",
                          "Replace or remove them")  # fmt: skip
            return None
        _keep(folder, images)
        cached = _cached(folder) or images
    return cached


def _cached(folder: Path) -> Images | None:
    try:
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        return Images(pixels, np.load(folder / "digests.npy"))
    except FileNotFoundError:
        return None


def _keep(folder: Path, images: Images) -> None:
    """Write aside, then put in place; where another process was first, its folder stands."""
    aside = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    np.save(aside / "digests.npy", images.digests)
    np.save(aside / "pixels.npy", images.pixels)
    with contextlib.suppress(OSError):
        aside.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)


def _open(value: Any, folder: Path | None) -> Any:
    """A PIL image of what a cell holds: encoded bytes, a dict with them, or the path of a file."""
    from PIL import Image

    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return Image.open(io.BytesIO(value))
    if isinstance(value, str) and value:
        return Image.open((folder or Path()) / value)
    raise ValueError("no image" if value is None or value == "" else f"a {type(value).__name__}, not encoded bytes or a path")


def _size(values: list[Any], folder: Path | None) -> int:
    sides = []
    for position in np.unique(np.linspace(0, len(values) - 1, min(len(values), _SAMPLE)).astype(int)):
        with contextlib.suppress(Exception), _open(values[position], folder) as image:  # bad ones are reported when decoded
            sides.append(max(image.size))
    median = float(np.median(sides)) if sides else 0.0
    return next((size for size in SIZES if size >= median), SIZES[-1])


def decode(values: list[Any], folder: Path | None, size: int) -> tuple[Images, list[tuple[int, str]]]:
    """Decode images (encoded bytes, or paths in a folder) to squares of one size; the bad ones by position, with the reason."""
    from PIL import Image

    pixels = np.empty((len(values), size, size, 3), dtype=np.uint8)
    digests = np.empty(len(values), dtype=f"V{_ROW_DIGEST}")
    bad: list[tuple[int, str]] = []
    for row, value in enumerate(values):
        try:
            with warnings.catch_warnings(), _open(value, folder) as image:
                warnings.simplefilter("ignore")  # PIL warns of odd metadata; what matters is whether it decodes
                image = image.convert("RGB")
                if image.size != (size, size):
                    image = image.resize((size, size), Image.Resampling.BICUBIC)
                pixels[row] = np.asarray(image)
        except Exception as cause:  # PIL's readers raise nearly everything on damaged bytes
            bad.append((row, "not an image" if "BytesIO" in str(cause) else str(cause) or type(cause).__name__))
            continue
        digests[row] = np.void(hashlib.blake2b(pixels[row].tobytes(), digest_size=_ROW_DIGEST).digest())
    return Images(pixels, digests), bad
