"""What cannot work is refused before a search reads its dataset, and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes import make_settings
from test_ledger import Bench
from test_study import Reached, ask

from autodistill.errors import AutodistillError, DiskError, StudyError, UsageError
from autodistill.optuna_storage.open import open_to_search
from autodistill.settings import SearchSettings, default_name
from autodistill.study_folder import lock_study, write_about
from autodistill.tuning import ray_backend
from autodistill.tuning.checks import check_search


def refusal(studies: Path, **asked: object) -> str:
    """The sentence with which a search is refused."""
    before = sorted(studies.rglob("*"))
    with pytest.raises(AutodistillError) as caught:
        check_search(make_settings(studies, **asked))
    assert sorted(studies.rglob("*")) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "url", ["sqlite:///:memory:", "sqlite://", "sqlite:///file::memory:?uri=true", "sqlite:///file:x?mode=memory&uri=true"]
)
def test_a_database_in_memory_keeps_no_study(tmp_path: Path, url: str) -> None:
    assert "is a database in memory, which ends with this process" in refusal(tmp_path, storage=url)
    with pytest.raises(StudyError, match="in memory"):
        open_to_search(url, "s")


def test_storages_that_cannot_be_opened(tmp_path: Path) -> None:
    for url in ("nonsense", "sqlite//x.db", "nosuchdb://host/x", f"sqlite:///{tmp_path}/no/folder.db", f"sqlite:///{tmp_path}"):
        assert "cannot be opened" in refusal(tmp_path, storage=url)


def test_a_storage_is_opened_without_making_its_file_and_may_not_hold_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    check_search(make_settings(tmp_path, storage=url))
    assert not list(tmp_path.iterdir())
    with pytest.raises(Reached):
        ask(tmp_path, monkeypatch, storage=url)
    (tmp_path / "others").mkdir()
    assert "the storage already holds a study 's'" in refusal(tmp_path / "others", storage=url)
    assert (tmp_path / "trials.db").exists()
    with pytest.raises(StudyError, match="already holds a study"):
        ask(tmp_path / "others", monkeypatch, storage=url)
    assert not (tmp_path / "others" / "s").exists()  # the search's own check comes too late to be polite, but leaves nothing either


def test_folders_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written: Not a directory; name another folder" in refusal(tmp_path, studies_dir=str(tmp_path / "file"))
    assert "cannot be written: it is a file" in refusal(tmp_path, study="file")
    assert "File name too long" in refusal(tmp_path, studies_dir=str(tmp_path / ("n" * 300)))
    (tmp_path / "locked" / ".lock").mkdir(parents=True)
    assert "locked cannot be locked" in refusal(tmp_path, study="locked")
    with pytest.raises(StudyError, match=r"cannot be locked: .*/locked/\.lock is a folder, and a file belongs there; remove the folder$"):
        lock_study(tmp_path / "locked")
    (tmp_path / "journal" / "study.json").mkdir(parents=True)
    with pytest.raises(DiskError, match=r"journal/study\.json is a folder, and a file belongs there; remove the folder$"):
        write_about(tmp_path / "journal", {})

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(Path, "mkdir", read_only)
    assert "cannot be written: Read-only file system" in refusal(tmp_path)


def test_names_fit_into_file_systems() -> None:
    for name in ("n" * 300, "n" * 101, "ü" * 60):
        with pytest.raises(UsageError, match=r"it should be a folder's name: at most 100 letters"):
            SearchSettings(dataset="d", study=name)
    assert SearchSettings(dataset="d", study="ü" * 50).study == "ü" * 50
    assert default_name("/data/" + "ü" * 120 + ".csv") == "ü" * 50


@pytest.mark.parametrize(
    ("share", "there", "fits"), [(1, 0, False), (0.25, 0, False), (2, 1, False), (4, 3, False), (0.25, 1, True), (2, 2, True)]
)
def test_gpus_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, there: int, fits: bool) -> None:
    monkeypatch.setattr(ray_backend, "gpu_names", lambda: ["a GPU"] * there)
    if fits:
        check_search(make_settings(tmp_path, gpus_per_trial=share))
    else:
        assert f"gpus_per_trial is {share:g}" in refusal(tmp_path, gpus_per_trial=share)


def test_a_damaged_journal_is_named_when_its_study_is_resumed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.train(bench.propose())
    bench.ledger.write(force=True)
    journal = bench.folder / "optuna.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:3], lines[3][: len(lines[3]) // 2] + b"\n", *lines[4:]]))
    with pytest.raises(StudyError, match=r"optuna\.journal cannot be read .*can still be read from trials\.parquet"):
        bench.again()
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:10])  # a crash of the machine: half a line at the end is cut off
    bench.again()
