"""Files of text: unpacked if they are compressed, and decoded by their byte order mark."""

from __future__ import annotations

import codecs
from pathlib import Path

from autodistill.errors import DataError

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}
"""Suffixes of compressed files that we read, with pyarrow's names; it lacks xz, which Python reads itself."""
SAME = {".ndjson": ".jsonl"}
"""Other suffixes of a kind."""
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # it begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 4000  # bytes, of which more than a tenth are zero in UTF-16


def kind_of(path: Path) -> str:
    """The suffix that says how a file is read, in lower case, without that of a compression: `.csv` for A.CSV.gz, `.jsonl` for A.ndjson."""
    suffix = Path(_unpacked_name(path)).suffix.lower()
    return SAME.get(suffix, suffix)


def stem_of(path: Path) -> str:
    """A file's name without its suffixes: A for A.CSV.gz."""
    return Path(_unpacked_name(path)).stem


def _unpacked_name(path: Path) -> str:
    return path.stem if path.suffix.lower() in COMPRESSIONS else path.name


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark. A compressed file is unpacked.

    Raises:
        DataError: it cannot be read, unpacked or decoded. The message says where, and the way out.
    """
    data = _bytes(path)
    marked = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    if marked is None and (unmarked := _unmarked(data)):
        raise DataError(
            f"{path} holds zero bytes between its letters, as {unmarked.upper()} without a byte order mark does; "
            f"save it with the encoding UTF-8 (iconv -f {unmarked} -t utf-8)"
        )
    try:
        return data.decode(marked or "utf-8-sig")
    except UnicodeDecodeError as cause:
        if marked:
            raise DataError(
                f"{path} begins as {marked.upper()} and is damaged at byte {cause.start}; save it again with the encoding UTF-8"
            ) from None
        line = data.count(b"\n", 0, cause.start) + 1
        raise DataError(
            f"{path} is not UTF-8 text: byte {data[cause.start]:#04x} at offset {cause.start}, line {line}; "
            "save it with the encoding UTF-8 (if it is in Latin-1: iconv -f latin1 -t utf-8)"
        ) from None


def _unmarked(data: bytes) -> str | None:
    """The encoding of a text in UTF-16 or UTF-32 without a byte order mark, by the places of its zero bytes; None for other bytes."""
    beginning = data[:_LOOKED_AT]
    even, odd = beginning[::2].count(0), beginning[1::2].count(0)
    if even + odd <= len(beginning) / 10:
        return None
    return ("utf-32" if even + odd > len(beginning) / 2 else "utf-16") + ("le" if odd > even else "be")


def _bytes(path: Path) -> bytes:
    import lzma

    import pyarrow as pa

    compression = COMPRESSIONS.get(path.suffix.lower())
    try:
        if compression is None:
            return path.read_bytes()
        if compression == "xz":
            return lzma.decompress(path.read_bytes())
        with pa.input_stream(str(path), compression=compression) as stream:
            return bytes(stream.read())
    except (OSError, pa.ArrowException, lzma.LZMAError) as cause:
        what = "cannot be read" if compression is None else f"cannot be unpacked ({compression})"
        raise DataError(f"{path} {what}: {getattr(cause, 'strerror', None) or cause}") from None
