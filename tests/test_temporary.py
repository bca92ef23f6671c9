"""Temporary folders: those of the living stay, those of the dead go."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from autodistill.errors import DiskError
from autodistill.temporary import LOCK, YOUNG, sweep, temporary_folder


def aged(folder: Path) -> Path:
    """A folder that was locked a while ago."""
    folder.mkdir(exist_ok=True)
    (folder / LOCK).touch()
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "file").write_text("x")
    os.utime(folder / LOCK, (time.time() - 2 * YOUNG,) * 2)
    return folder


def test_a_folder_goes_with_its_block_and_takes_the_dead_ones_along(tmp_path: Path) -> None:
    dead, used, young, unknown, other = (tmp_path / name for name in ("adr-dead", "adr-used", "adr-young", "adr-unknown", "other-dead"))
    for folder in (dead, used, other):
        aged(folder)
    for folder in (young, unknown):
        folder.mkdir()
    (young / LOCK).touch()
    (unknown / "file").write_text("of somebody")
    with FileLock(used / LOCK), temporary_folder("adr-", str(tmp_path)) as own:
        os.utime(used / LOCK, (time.time() - 2 * YOUNG,) * 2)
        os.utime(own / LOCK, (time.time() - 2 * YOUNG,) * 2)
        sweep(tmp_path, "adr-")
        assert {item.name for item in tmp_path.iterdir()} == {own.name, "adr-used", "adr-young", "adr-unknown", "other-dead"}
        assert (used / "deep" / "file").exists()
    assert not own.exists()


def test_a_killed_process_leaves_what_the_next_one_removes(tmp_path: Path) -> None:
    code = (
        "import os, sys; from autodistill.temporary import temporary_folder\n"
        "with temporary_folder('adr-', sys.argv[1]) as folder: (folder / 'file').touch(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    (left,) = tmp_path.iterdir()
    sweep(tmp_path, "adr-")
    assert left.exists()  # too young
    os.utime(left / LOCK, (time.time() - 2 * YOUNG,) * 2)
    sweep(tmp_path, "adr-")
    assert not left.exists()


def test_no_place_for_temporary_files_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot be written: .*TMPDIR"), temporary_folder("adr-", str(tmp_path / "nowhere")):
        pass
