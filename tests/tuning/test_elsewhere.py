"""Trials on a machine that sees none of the search's files: what its desk gives and keeps, and a real search on two nodes."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tiny_teacher import save_bert, save_rows, texts

from autodistill import cache, fetched
from autodistill.cache import ensure, new_cached_folder
from autodistill.errors import DataError, RunError, UsageError
from autodistill.models.saved import load_saved_student
from autodistill.storage import cache_folder
from autodistill.study import Study
from autodistill.tasks.base import DatasetRef
from autodistill.tasks.load import load_dataset, open_as
from autodistill.tuning import elsewhere
from autodistill.tuning.elsewhere import Desk, Elsewhere

SPACE = """\
version: 1
name: small
about: a test
tasks: [text-classification]
parameters:
  teacher.model: {{value: {teacher}}}
  teacher.max_steps: {{value: 0}}
  teacher.head_init: {{value: probe}}
  teacher.max_length: {{value: 32}}
  student.family: {{value: cnn}}
  student.embedding_size: {{value: 16}}
  student.init: {{value: teacher}}
  student.channels: {{choice: [8, 16]}}
  training.learning_rate: {{float: [1.0e-3, 1.0e-2], log: true, default: 3.0e-3}}
  objective.prediction.kind: {{value: kl}}
  objective.intermediate.kind: {{value: mi}}
  training.epochs: {{value: 1}}
  training.steps: {{value: 4}}
"""
OPEN = {"RAY_AUTH_MODE": "disabled"}
"""Whether this machine has a token for Ray clusters does not matter here."""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk over the driver's files. Afterwards this process has the cache of another machine, and asks the desk without Ray."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTODISTILL_CACHE", str(tmp_path / "driver"))
    (tmp_path / "driver").mkdir()
    made = Desk(str(tmp_path), str(tmp_path / "studies" / "s"), {})
    monkeypatch.setenv("AUTODISTILL_CACHE", str(tmp_path / "node"))
    monkeypatch.setattr(elsewhere, "_ask", lambda method, *values: method(*values))
    yield made
    cache._FETCH.clear()


def write(folder: Path, **texts: str) -> None:
    with new_cached_folder(folder) as aside:
        for name, text in texts.items():
            (aside / name).write_text(text, encoding="utf-8")


def test_what_a_cache_lacks_comes_from_the_drivers(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "PIECE", 3)
    write(tmp_path / "driver" / "teachers" / "a", weights="0123456789", config="")
    (tmp_path / "driver" / "one.json").write_text("[1]", encoding="utf-8")
    there = Elsewhere(lambda assignment, report: None, desk, "mark", str(tmp_path / "driver"))  # type: ignore[arg-type,return-value]
    cache.fetch_from(there.fetch)
    made: list[str] = []
    assert there.teacher(str(tmp_path / "driver" / "teachers" / "a")) == cache_folder() / "teachers" / "a"
    assert (cache_folder() / "teachers" / "a" / "weights").read_text(encoding="utf-8") == "0123456789"
    assert cache.is_whole(cache_folder() / "teachers" / "a")
    ensure(cache_folder() / "one.json", lambda: made.append("one"))
    assert (cache_folder() / "one.json").read_text(encoding="utf-8") == "[1]"
    ensure(cache_folder() / "two.json", lambda: made.append("two"))
    assert made == ["two"]
    with pytest.raises(RunError, match="teachers/b cannot be fetched"):
        there.teacher(str(tmp_path / "driver" / "teachers" / "b"))


def test_damaged_files_are_not_sent_nor_kept(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "driver" / "a", weights="0123456789")
    (tmp_path / "driver" / "a" / "weights").write_text("012", encoding="utf-8")
    assert desk.files("a") is None
    write(tmp_path / "driver" / "b", weights="0123456789")
    monkeypatch.setattr(
        desk, "read", lambda path, start: b"x" * 10 if path.endswith("weights") else (tmp_path / "driver" / path).read_bytes()
    )
    cache.fetch_from(Elsewhere(None, desk, "mark", str(tmp_path / "driver")).fetch)  # type: ignore[arg-type]
    ensure(cache_folder() / "b", lambda: write(cache_folder() / "b", weights="made here"))
    assert (cache_folder() / "b" / "weights").read_text(encoding="utf-8") == "made here"


def test_the_longest_unused_of_what_was_fetched_makes_room(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcd":
        write(tmp_path / "driver" / "teachers" / name, weights=name * 1000)
    there = Elsewhere(lambda assignment, report: None, desk, "mark", str(tmp_path / "driver"))  # type: ignore[arg-type,return-value]
    cache.fetch_from(there.fetch)

    def fetch(*names: str) -> set[str]:
        for name in names:
            there.teacher(str(tmp_path / "driver" / "teachers" / name))
        return {path.name for path in (cache_folder() / "teachers").iterdir() if path.is_dir()}

    write(cache_folder() / "teachers" / "own", weights="o" * 5000)
    monkeypatch.setenv(fetched.LIMIT_VARIABLE, "lots")
    with pytest.raises(UsageError, match="AUTODISTILL_FETCHED_BYTES is 'lots'; allowed: a number of bytes"):
        fetch("a")
    one = sum(path.stat().st_size for path in (tmp_path / "driver" / "teachers" / "a").iterdir())
    monkeypatch.setenv(fetched.LIMIT_VARIABLE, str(2 * one))
    assert fetch("a", "b", "c") == {"a", "b", "c", "own"}  # this process uses all three
    fetched._HELD.clear()  # as if it had ended
    for age, name in enumerate("bac"):
        os.utime(cache_folder() / "teachers" / f"{name}.fetched", (age + 1, age + 1))
    with (cache_folder() / "teachers" / "a.fetched").open("rb") as held:  # as another process holds it
        fcntl.flock(held, fcntl.LOCK_SH)
        assert fetch("d") == {"a", "d", "own"}  # b and c go; own was made here
    assert (cache_folder() / "teachers" / "own" / "weights").stat().st_size == 5000
    fetched._HELD.clear()
    os.utime(cache_folder() / "teachers" / "d.fetched", (1, 1))
    assert fetch("b") == {"a", "b", "own"}
    assert (cache_folder() / "teachers" / "b" / "weights").read_text(encoding="utf-8") == "b" * 1000  # fetched again
    assert not [path for path in (cache_folder() / "teachers").iterdir() if ".part-" in path.name]


def test_a_desk_stays_in_its_folders(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s", encoding="utf-8")
    for name in ("../secret", str(tmp_path / "secret")):
        with pytest.raises(RunError, match="is not in"):
            desk.read(name, 0)
        with pytest.raises(RunError, match="is not in"):
            desk.keep(name, {"a": b""})
    inside = str(tmp_path / "studies" / "s" / "students" / "3")
    with pytest.raises(RunError, match="is not in"):
        desk.keep(inside, {"../../../x": b""})
    desk.keep(inside, {"sub/a": b"1"})
    assert (Path(inside) / "sub" / "a").read_bytes() == b"1"


def test_a_dataset_can_be_opened_in_another_way() -> None:
    digits = load_dataset(DatasetRef("digits", 50))
    gone = DatasetRef("/no/such/file.csv")
    with open_as(gone, lambda ref: digits):
        assert load_dataset(gone) is digits
    with pytest.raises(DataError, match="there is no file"):
        load_dataset(gone)


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


class Cluster:
    """A Ray head without processors, and nodes of one processor each with caches of their own, which see an empty folder as `driver`.

    Each node has namespaces of its own for mounts and processes: killing it takes all its processes at once, as the end of a machine does.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.driver = folder, folder / "driver"
        self.driver.mkdir()
        mount = f'mount -t tmpfs -o size=1m tmpfs "{self.driver}" && exec "$@"'
        self.apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", mount, "sh"]
        if shutil.which("unshare") is None or subprocess.run([*self.apart, "true"], capture_output=True, check=False).returncode:
            pytest.skip("no mount namespace can be made here")
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def ray(self, name: str, *options: str, apart: Sequence[str] = ()) -> None:
        """Start Ray. On a busy machine its daemons may take longer than it waits for them; so up to three times."""
        command = [*apart, str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats", *options]
        command += ["--object-store-memory", str(100 * 2**20)]
        variables = OPEN | {"AUTODISTILL_CACHE": str(self.cache(name)), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
        for _ in range(3):
            log = self.folder / f"{name}-{time.monotonic_ns()}.log"
            with log.open("w") as out:
                process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | variables, start_new_session=True)
            self.processes[name] = process
            wait_until(lambda process=process, log=log: process.poll() is not None or "runtime started" in log.read_text(), 90)
            if process.poll() is None:
                return
        raise AssertionError(log.read_text(encoding="utf-8"))

    def cache(self, name: str) -> Path:
        return self.folder / f"cache-of-{name}"

    def start_head(self) -> None:
        self.ray("head", "--head", "--node-ip-address=127.0.0.1", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false")

    def start(self, name: str) -> None:
        self.ray(name, f"--address={self.address}", "--num-cpus=1", apart=self.apart)

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes.pop(name).wait(timeout=60)

    def stop(self) -> None:
        for name in list(self.processes)[::-1]:
            if name != "head":
                self.kill(name)
        for process in self.processes.values():
            process.terminate()
            process.wait(timeout=60)

    def search(self, words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """A search on the cluster; what it prints is in the log."""
        asked = ["search", "--cold", "--no-frontier", "--json", "--address", self.address, "--gpus-per-trial", "0", *words]
        with log.open("w") as out, log.with_suffix(".err").open("w") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "autodistill.cli.main", *asked],
                cwd=self.driver,
                env=os.environ | OPEN | {"AUTODISTILL_CACHE": str(self.driver / "cache")},
                stdout=out,
                stderr=err,
            )


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "this took too long"
        time.sleep(0.2)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        made.start_head()
        yield made
    finally:
        made.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_nodes_that_share_nothing_are_killed_and_restarted(cluster: Cluster, tmp_path: Path) -> None:
    driver = cluster.driver
    rows = save_rows(driver / "rows.parquet")
    space = SPACE.format(teacher=save_bert(driver / "bert")).replace("training.steps: {value: 4}", "training.steps: {value: 400}")
    (driver / "small.yaml").write_text(space, encoding="utf-8")
    for name in ("a", "b"):
        cluster.start(name)
    words = ["--dataset", rows, "--space", "small.yaml", "--study", "s", "--trials", "4", "--workers", "2"]
    search = cluster.search(words, tmp_path / "out")
    folder = driver / "studies" / "s"

    def ended(trials: int) -> bool:
        assert search.poll() is None, (tmp_path / "out.err").read_text(encoding="utf-8")
        return (folder / "study.json").exists() and len(Study.open(folder).trial_records) >= trials

    def waiting() -> set[tuple[str, int]]:
        """What was cut off, and has not been trained again yet."""
        by_state: dict[str, set[tuple[str, int]]] = {"complete": set(), "fail": set()}
        for record in Study.open(folder).trial_records:
            by_state[record.state].add((record.recipe_id, record.seed))
        return by_state["fail"] - by_state["complete"]

    wait_until(lambda: ended(1), 240)
    cluster.kill("a")
    cluster.kill("b")
    cluster.start("b")
    cluster.start("a")
    lost = len(Study.open(folder).trial_records)
    wait_until(lambda: ended(lost + 2) and not waiting(), 240)
    cluster.kill("a")  # one alone, again: what ran there goes on elsewhere
    cluster.start("a")
    assert search.wait(timeout=300) == 0, (tmp_path / "out.err").read_text(encoding="utf-8")
    study = Study.open(folder)
    done = [record for record in study.trial_records if record.state == "complete"]
    cut = [record for record in study.trial_records if record.state != "complete"]
    assert {(record.state, record.reason) for record in cut} == {("fail", "interrupted: its worker process was killed")}
    trained = [(record.recipe_id, record.seed) for record in done]
    assert len(trained) == len(set(trained))  # nothing twice
    assert {(record.recipe_id, record.seed) for record in cut} <= set(trained)  # nothing lost
    assert len({record.environment["node"] for record in done}) >= 3  # a node that comes back is another one to Ray
    for name in ("a", "b"):
        assert list(cluster.cache(name).rglob("teachers/*/*.safetensors"))
    assert study.best_folder is not None
    assert load_saved_student(study.best_folder).recipe == study.recommended
    assert not list(folder.glob(".*.here"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_on_a_node_that_sees_none_of_its_files(cluster: Cluster, tmp_path: Path) -> None:
    driver = cluster.driver
    rows = save_rows(driver / "rows.parquet")
    (driver / "small.yaml").write_text(SPACE.format(teacher=save_bert(driver / "bert")), encoding="utf-8")
    more = driver / "more.txt"
    more.write_text("\n".join(f"{text} {row}" for row, text in enumerate(texts(400, seed=7)[0])), encoding="utf-8")
    cluster.start("a")
    words = ["--dataset", rows, "--unlabelled", str(more), "--space", "small.yaml", "--study", "s", "--trials", "1", "--workers", "1"]
    assert cluster.search(words, tmp_path / "out").wait(timeout=500) == 0, (tmp_path / "out.err").read_text(encoding="utf-8")
    study = Study.open(driver / json.loads((tmp_path / "out").read_text(encoding="utf-8"))["folder"])
    assert [record.state for record in study.trial_records] == ["complete"] * 4
    assert all(record.agreement is not None for record in study.trial_records)  # the teacher is at hand for those that do not learn from it
    assert {record.environment["host"] for record in study.trial_records} == {socket.gethostname()}
    assert len({record.environment["node"] for record in study.trial_records}) == 1
    assert "does not see the driver's files" in (study.folder / "search.log").read_text(encoding="utf-8")
    assert study.best_folder is not None
    assert load_saved_student(study.best_folder).recipe == study.recommended  # it came back
    assert not list(study.folder.glob(".*.here"))
    sent = {path.relative_to(cluster.cache("a")).parts[0] for path in cluster.cache("a").rglob("*") if path.is_file()}
    assert {"teachers", "outputs"} <= sent
