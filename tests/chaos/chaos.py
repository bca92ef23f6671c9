"""Bad days, drawn by a seed: damaged files of students, studies and caches, mutated inputs, and kills of a search.

Each function tries a number of them and returns a Tally. Whatever happens must end in an answer or in one of our own errors.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from damage import FAMILIES, distilled_student, searched_student

from autodistill.errors import AutodistillError, RecipeError, SpaceError

Damage = Callable[[Path, random.Random], None]


@dataclass
class Tally:
    """What became of the tries. lost: what should have come back and did not. stuck: what did not end. tracebacks: other exceptions."""

    tries: int = 0
    answers: int = 0
    errors: int = 0
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def bad(self) -> list[str]:
        return [*self.lost, *self.stuck, *self.tracebacks]

    def attempt(self, what: str, action: Callable[[], bool]) -> None:
        """Try something. action: gives whether its answer is right."""
        self.tries += 1
        try:
            right = action()
        except AutodistillError as error:
            self.errors += 1
            if "\n" in str(error) and not isinstance(error, RecipeError | SpaceError):  # these quote YAML's place
                self.tracebacks.append(f"{what}: {len(str(error).splitlines())} lines: {error}")
        except BaseException as cause:  # also the panics of libraries in Rust
            if isinstance(cause, KeyboardInterrupt | SystemExit):
                raise
            places = [f"{Path(item.filename).name}:{item.lineno}" for item in traceback.extract_tb(cause.__traceback__)[-3:]]
            self.tracebacks.append(f"{what}: {type(cause).__name__}: {str(cause)[:200]} ({', '.join(places)})")
        else:
            self.answers += 1
            if not right:
                self.lost.append(f"{what}: another answer than before")

    def summary(self) -> dict[str, Any]:
        counts = {"tries": self.tries, "answers": self.answers, "errors": self.errors, "kinds": dict(sorted(self.kinds.items()))}
        return counts | {name: len(getattr(self, name)) for name in ("lost", "stuck", "tracebacks")}


def cut(file: Path, rng: random.Random) -> None:
    os.truncate(file, rng.randrange(max(file.stat().st_size, 1)))


def zero(file: Path, rng: random.Random) -> None:
    """A block that was never written, as after a crash of the machine."""
    data = bytearray(file.read_bytes())
    start = rng.randrange(max(len(data), 1))
    data[start : start + rng.randint(1, 4096)] = bytes(len(data[start : start + 4096]))
    file.write_bytes(data)


def alter(file: Path, rng: random.Random) -> None:
    data = bytearray(file.read_bytes())
    for _ in range(rng.choice([1, 1, 8])):
        if data:
            data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
    file.write_bytes(data)


def remove(file: Path, rng: random.Random) -> None:
    file.unlink()


def garble(file: Path, rng: random.Random) -> None:
    file.write_bytes(rng.randbytes(rng.choice([0, 1, 100])))


DAMAGE: dict[str, Damage] = {"cut": cut, "zeros": zero, "altered": alter, "removed": remove, "other contents": garble}


def damaged(folder: Path, rng: random.Random, names: list[str], kinds: list[str], tally: Tally) -> str:
    """Damage one file of a folder. Returns what was done."""
    name, kind = rng.choice(names), rng.choice(kinds)
    file = folder / name
    before = file.stat().st_mtime_ns
    DAMAGE[kind](file, rng)
    if file.exists():
        os.utime(file, ns=(before, before + rng.randrange(10**6, 10**9)))  # the clock of files is coarser than the tries
    tally.kinds[kind] += 1
    return f"{name} {kind}"


def students(place: Path, rng: random.Random, tries: int) -> Tally:
    """Open a student, one of whose files is damaged, and let it predict."""
    from autodistill.export.student import load_student

    tally = Tally()
    folders = {family: distilled_student(place / family, family) for family in FAMILIES}
    folders["best"] = searched_student(place / "best")
    for number in range(tries):
        family = rng.choice(sorted(folders))
        copy = Path(shutil.copytree(folders[family], place / f"copy-{number}"))
        names = sorted(str(file.relative_to(copy)) for file in copy.rglob("*") if file.is_file() and file.suffix != ".py")
        what = damaged(copy, rng, names, list(DAMAGE), tally)
        tally.attempt(f"student {number}, {family}, {what}", lambda copy=copy: len(load_student(copy).predict(["a good film", "bad"])) == 2)
        shutil.rmtree(copy)
    return tally


@contextmanager
def no_ray() -> Any:
    """Searches that run their trials in this process."""
    import pytest
    from test_full_disk import in_this_process

    from autodistill.tuning import run as run_module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "run_round", in_this_process)
        patch.setattr(run_module, "ray_running", lambda settings: nullcontext(run_module.RunningRay(1, True)))
        yield


def studies(place: Path, rng: random.Random, tries: int, trials: int = 3) -> Tally:
    """Read a study, one of whose files is damaged, and resume it. What follows from the journal must be written again."""
    from fakes import FakeRunner, assert_sound
    from test_full_disk import search

    from autodistill.study import Study

    tally = Tally()
    with no_ray():
        whole = search(place / "whole", FakeRunner(pause=0.0), trials=trials)[0]
        scores = {record.trial: record.score for record in whole.trial_records}
        for number in range(tries):
            home = place / str(number)
            copy = Path(shutil.copytree(whole.folder, home / "s"))
            name = rng.choice(["trials.parquet", "trials.parquet", "recommended.yaml", "study.json", "optuna.journal"])
            kinds = ["cut", "other contents"] if name in ("study.json", "optuna.journal") else list(DAMAGE)
            what = damaged(copy, rng, [name], kinds, tally)

            def read(copy: Path = copy) -> bool:
                study = Study.open(copy)
                return study.best is not None and len(study.leaderboard()) > 0 and bool(study.verdict) and study.recommended is not None

            def resume(home: Path = home) -> bool:
                study = search(home, FakeRunner(pause=0.0), trials=trials, resume=True)[0]
                assert_sound(home / "s", trials)
                return {record.trial: record.score for record in study.trial_records} == scores and study.recommended is not None

            if name == "optuna.journal":
                tally.attempt(f"study {number}, {what}, read", lambda copy=copy: len(Study.open(copy).trial_records) == len(scores))
                tally.attempt(f"study {number}, {what}, resumed", lambda home=home: bool(search(home, FakeRunner(0.0), resume=True)))
            else:
                tally.attempt(f"study {number}, {what}, read", read)
                tally.attempt(f"study {number}, {what}, resumed", resume)
            shutil.rmtree(home)
    return tally


def caches(place: Path, rng: random.Random, tries: int) -> Tally:
    """Damage a file in the cache; what is read out of it stays what it was."""
    import numpy as np
    import torch
    from tiny_teacher import save_bert, text_dataset

    from autodistill.augment.neighbours import nearest_words
    from autodistill.cache import new_cached_folder
    from autodistill.models.piece_vectors import encoder_pieces
    from autodistill.models.teacher_weights import reduced_words
    from autodistill.models.text import encode_split, load_tokenizer
    from autodistill.models.vocabulary import keep_pieces
    from autodistill.storage import cache_folder
    from autodistill.tasks.kept import kept
    from autodistill.teacher.finetune import kept_or_made
    from autodistill.teacher.outputs import ensure_outputs
    from autodistill.teacher.plan import Taps

    teacher, data, tally = save_bert(place / "teacher", layers=1), text_dataset(24), Tally()
    tokenizer = load_tokenizer(teacher)
    trained = cache_folder() / "teachers" / "one"

    def train() -> dict[str, Any]:
        facts = {"score": 0.75, "metrics": {"accuracy": 0.75}, "seconds": 1.0}
        with new_cached_folder(trained) as aside:
            shutil.copytree(teacher, aside, dirs_exist_ok=True)
            (aside / "teacher.json").write_text('{"score": 0.75, "metrics": {"accuracy": 0.75}, "seconds": 1.0}', encoding="utf-8")
        return facts

    def write_rows(folder: Path) -> None:
        (folder / "rows.csv").write_text("text,label\na,1\n", encoding="utf-8")

    def read() -> list[np.ndarray]:
        folder = kept_or_made(trained, train).folder
        inputs = encode_split(data.train.texts or [], None, tokenizer, 16)
        outputs = ensure_outputs(data, "train", inputs, folder, taps=Taps(pooled=frozenset({"cls"})))
        pieces = keep_pieces(inputs, tokenizer)[0]
        words = nearest_words(folder, tokenizer, np.array([6, 7]), 2)
        tensors = [inputs.ids, inputs.offsets, outputs.column("logits"), reduced_words(folder, len(tokenizer), 8, 0.1)]
        tensors += [encoder_pieces(folder, len(tokenizer), 8, 0.1), torch.tensor(pieces), *outputs.batch(torch.arange(3)).sentences]
        # Copies, because tensors are mapped from the files that are damaged next.
        return [*(tensor.numpy().copy() for tensor in tensors), words.copy(), np.array((kept("rows", write_rows) / "rows.csv").read_text())]

    before = read()
    for number in range(tries):
        files = sorted(file for file in cache_folder().rglob("*") if file.is_file() and file.suffix != ".lock")
        what = damaged(cache_folder(), rng, [str(file.relative_to(cache_folder())) for file in files], list(DAMAGE), tally)
        tally.attempt(f"cache {number}, {what}", lambda: all(np.array_equal(one, two) for one, two in zip(before, read(), strict=True)))
    tally.lost += [f"cache: {tally.errors} errors, where it should have been made again"] if tally.errors else []
    return tally


def inputs(place: Path, rng: random.Random, tries: int) -> Tally:
    """Read spaces and recipes with mutations."""
    from test_yaml_fuzz import READERS, mutated

    tally = Tally()
    path = place / "file.yaml"
    for number in range(tries):
        kind = rng.choice(sorted(READERS))
        text, reader = READERS[kind]
        path.write_bytes(mutated(text, rng).encode("utf-8", "surrogatepass"))
        began = time.monotonic()
        try:
            reader(path)
            tally.answers += 1
        except AutodistillError:
            tally.errors += 1
        except Exception as cause:
            tally.tracebacks.append(f"{kind} {number}: {type(cause).__name__}: {str(cause)[:200]}")
        tally.tries += 1
        tally.kinds[kind] += 1
        if time.monotonic() - began > 10:
            tally.stuck.append(f"{kind} {number} took {time.monotonic() - began:.0f} s")
    return tally


KILLS = ("search", "worker", "raylet", "gcs_server", "SIGTERM", "SIGINT")


def kills(place: Path, rng: random.Random, tries: int, trials: int = 8) -> Tally:
    """Kill a small search on Ray, or a process of it, at a moment drawn by the seed, and resume it until it is done; then the next one."""
    from fakes import assert_sound, look
    from test_stopped_searches import Driver, family

    from autodistill.study import Study

    tally = Tally()
    study = 0
    while tally.tries < tries:
        home = place / f"killed-{study}"
        home.mkdir(parents=True)
        study, begun = study + 1, False
        scores: dict[int, float | None] = {}
        for _ in range(40):
            driver = Driver(home, pause=0.1, trials=trials, resume=begun)
            kind = rng.choice(KILLS) if tally.tries < tries else "none"
            _wait(driver, rng.uniform(0.0, 4.0) if kind != "none" else 300.0)
            begun = begun or (home / "s" / "study.json").exists()
            if driver.process.poll() is None and kind != "none":
                tally.tries += 1
                tally.kinds[kind] += 1
                _kill(driver, kind, family(driver.process.pid), rng)
            try:
                output, _ = driver.process.communicate(timeout=180)
            except Exception:
                tally.stuck.append(f"study {study}, {kind}: the search does not end")
                os.killpg(driver.process.pid, signal.SIGKILL)
                output, _ = driver.process.communicate()
            if "Traceback" in output:
                tally.tracebacks.append(f"study {study}, {kind}: {output[-400:]}")
            if driver.process.returncode == 0:
                break
        else:
            tally.stuck.append(f"study {study} is not done after 40 starts")
            continue
        try:
            records = assert_sound(home / "s", trials)
            look(home / "s")
            scores = {record.trial: record.score for record in records}
            tally.answers += len(scores) == len(Study.open(home / "s").trial_records)
        except AssertionError as cause:
            tally.lost.append(f"study {study}: {str(cause)[:300]}")
    return tally


def _wait(driver: Any, seconds: float) -> None:
    """Until its trials have begun, and some time more, or until it ends."""
    until = time.monotonic() + 120
    while driver.process.poll() is None and time.monotonic() < until and not driver.started():
        time.sleep(0.05)
    until = time.monotonic() + seconds
    while driver.process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)


def _kill(driver: Any, kind: str, pids: set[int], rng: random.Random) -> None:
    if kind in ("SIGTERM", "SIGINT"):
        driver.process.send_signal(getattr(signal, kind))
        return
    if kind == "search":
        driver.process.kill()
        return
    found = []
    for pid in sorted(pids - {driver.process.pid}):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
        except OSError:
            continue
        if Path(command.split(" ")[0]).name == kind or (kind == "worker" and command.startswith("ray::")):
            found.append(pid)
    if found:
        os.kill(rng.choice(found), signal.SIGKILL)
