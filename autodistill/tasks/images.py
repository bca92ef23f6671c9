"""Images: decoded once to uint8 arrays of one square size, cached, and memory-mapped from the cache."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autodistill.cache import ensure, is_whole, new_cached_folder
from autodistill.storage import cache_folder, digest
from autodistill.tasks.problems import Problems
from autodistill.tasks.tables import Table, file_stamp

SIZES = (32, 64, 128, 224)
"""The possible sizes of the square. A dataset gets the smallest size that its median image does not exceed."""
_SAMPLE = 1000
_VERSION = "3"  # of the way in which pixels are made; a change makes old caches unreadable
_ROW_DIGEST = 16
_BAD = "bad.json"


@dataclass(frozen=True)
class Images:
    """pixels: (N, H, W, 3) uint8, memory-mapped. digests: (N,) 16 bytes that identify each row's pixels.

    changed: for each of `CHANGES`, how many images were changed in this way, beside resizing.
    bad: the positions of images that cannot be decoded, each with the reason. Their pixels are 0.
    lasting: whether these are bad by their content. A file that may not be opened can be good another time.
    """

    pixels: np.ndarray
    digests: np.ndarray
    changed: dict[str, int]
    bad: list[tuple[int, str]]
    lasting: bool = True


CHANGES = {
    "scaled": "have more than 8 bits a pixel, and each was scaled by its own range to 0 … 255",
    "composed": "have transparent parts, and were composed on white",
}
"""Changes that make an image 8-bit RGB, with the text of the note about each."""


def change_notes(images: Iterable[Images], what: str = "images") -> list[str]:
    """A note for each kind of change that was made to some of the images. what: the images' name in the note."""
    counts = Counter[str]()
    for item in images:
        counts.update(item.changed)
    return [f"{what}: {counts[change]:,} {text}" for change, text in CHANGES.items() if counts[change]]


def decoded(table: Table, column: str, rows: np.ndarray, size: int | None, keep_bad: bool = False) -> Images:
    """The images at some rows, from the cache or decoded into it.

    size: side of the square, None to choose it by these rows. Images of another shape are resized (bicubic), not cropped.
    keep_bad: also cache rows of which some cannot be decoded, until another version of Pillow may read them.
    """
    import PIL

    values = None if table.is_big(column) else table.take(column, rows)
    stamp = table.stamp if values is None else file_stamp([(table.folder or Path()) / str(value) for value in values])
    key = (_VERSION, stamp, column, rows.astype(np.int64).tobytes(), str(size))
    whole, with_bad = (cache_folder() / "images" / digest(*key, *reader) for reader in ((), (PIL.__version__,)))
    folder = next((folder for folder in ((whole, with_bad) if keep_bad else (whole,)) if is_whole(folder)), None)
    if folder is None:
        values = table.take(column, rows) if values is None else values
        images = decode(values, table.folder, size or _size(values, table.folder))
        if images.bad and not (keep_bad and images.lasting):
            return images
        folder = with_bad if images.bad else whole
        ensure(folder, lambda: _write(folder, images))
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    changed = json.loads((folder / "changed.json").read_text(encoding="utf-8"))
    bad = json.loads((folder / _BAD).read_text(encoding="utf-8")) if folder == with_bad else []
    return Images(pixels, np.load(folder / "digests.npy"), changed, [(row, reason) for row, reason in bad])


def _write(folder: Path, images: Images) -> None:
    with new_cached_folder(folder) as aside:
        (aside / "changed.json").write_text(json.dumps(images.changed), encoding="utf-8")
        (aside / _BAD).write_text(json.dumps(images.bad), encoding="utf-8")
        np.save(aside / "digests.npy", images.digests)
        np.save(aside / "pixels.npy", images.pixels)


def add_bad_images(images: Images, table: Table, column: str, rows: np.ndarray, problems: Problems) -> None:
    """Add the images at some rows of a table that cannot be decoded to the problems."""
    reasons = "; ".join(dict.fromkeys(reason for _, reason in images.bad[:3]))
    what = f"whose image cannot be decoded ({reasons})"
    problems.rows(table, column, [int(rows[position]) for position, _ in images.bad], what, "Replace or remove them")


def _open(value: Any, folder: Path | None) -> Any:
    """A PIL image from the value of a cell: encoded bytes, a dict with them, or the path of a file."""
    from PIL import Image

    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return Image.open(io.BytesIO(value))
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        raise ValueError("an address, which is not fetched: save the images first, and give their paths")
    if isinstance(value, str) and value:
        return Image.open((folder or Path()) / value)
    raise ValueError("no image" if value is None or value == "" else f"a {type(value).__name__}, not encoded bytes or a path")


@contextlib.contextmanager
def _opened(value: Any, folder: Path | None) -> Iterator[Any]:
    """`_open` without PIL's warnings about broken metadata and large images: only the pixels matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _open(value, folder) as image:
            yield image


def _size(values: list[Any], folder: Path | None) -> int:
    sides = []
    for position in np.unique(np.linspace(0, len(values) - 1, min(len(values), _SAMPLE)).astype(int)):
        with contextlib.suppress(Exception), _opened(values[position], folder) as image:  # bad ones are reported when decoded
            sides.append(max(image.size))
    median = float(np.median(sides)) if sides else 0.0
    return next((size for size in SIZES if size >= median), SIZES[-1])


def _as_rgb(image: Any, changed: Counter[str]) -> Any:
    """A PIL image as people see it, in 8-bit RGB: turned by its EXIF orientation, and composed on white if it is transparent.

    More than 8 bits a pixel are scaled by the image's own range, which is also available when a single image is predicted.

    Raises:
        ValueError: all of it is transparent, or a pixel is not a finite number.
    """
    from PIL import Image, ImageOps

    with contextlib.suppress(Exception):  # broken metadata are ignored, because only the pixels matter
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.float64)
        low, high = values.min(), values.max()
        if not np.isfinite(high - low):
            raise ValueError("a pixel is NaN or infinite")
        changed["scaled"] += 1
        return Image.fromarray(np.round((values - low) * (255 / max(high - low, np.finfo(float).tiny))).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        least, most = image.getchannel("A").getextrema()
        if most == 0:
            raise ValueError("all of it is transparent")
        if least < 255:
            changed["composed"] += 1
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def decode(values: list[Any], folder: Path | None, size: int) -> Images:
    """Decode images (encoded bytes, or paths in a folder) to squares of one size."""
    from PIL import Image

    pixels = np.empty((len(values), size, size, 3), dtype=np.uint8)
    digests = np.empty(len(values), dtype=f"V{_ROW_DIGEST}")
    bad: list[tuple[int, str]] = []
    changed = Counter[str]()
    lasting = True
    for row, value in enumerate(values):
        try:
            with _opened(value, folder) as image:
                image = _as_rgb(image, changed)
                if image.size != (size, size):
                    image = image.resize((size, size), Image.Resampling.BICUBIC)
                pixels[row] = np.asarray(image)
        except Exception as cause:  # PIL's readers raise nearly any exception on damaged bytes
            bad.append((row, "not an image" if "BytesIO" in str(cause) else str(cause) or type(cause).__name__))
            lasting &= not isinstance(cause, MemoryError) and getattr(cause, "errno", None) is None
            pixels[row] = 0
        digests[row] = np.void(pixel_digest(pixels[row]))
    return Images(pixels, digests, dict(changed), bad, lasting)


def pixel_digest(pixels: np.ndarray) -> bytes:
    """Identifies an image by its pixels."""
    return hashlib.blake2b(pixels.tobytes(), digest_size=_ROW_DIGEST).digest()
