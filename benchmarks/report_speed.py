"""Measures the time and the size of a large study's report, and what an open dashboard costs the search.

    python benchmarks/report_speed.py [--trials 2000] [--watched 300] [--json]

The report is of generated trials (real recipes from the shipped space, scores by a formula: tests/generated.py). For the dashboard, trials
of eight epochs are reported to a SQLite study as fast as it accepts them: first alone, then with `autodistill dashboard` open and a request
every two seconds, as a browser sends it. The result is the time of a trial in the driver, the median of three rounds in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import optuna

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from generated import generate, generated_study
from made import make_study

from autodistill.optuna_storage.open import close_storage, open_storage
from autodistill.records import TrialRecord, write_records
from autodistill.study import Study
from autodistill.study_report import write_report

EPOCHS = 8
ROUNDS = 3


def report(trials: int) -> dict[str, float]:
    """Seconds and bytes of the page, from a study's folder to the file; the second of two, so that imports are not counted."""
    with tempfile.TemporaryDirectory() as folder:
        study = generated_study(Path(folder), trials)
        cold = time.perf_counter()
        write_report(study)
        warm = time.perf_counter()
        size = write_report(study).stat().st_size
        return {"trials": trials, "seconds": time.perf_counter() - warm, "seconds_with_imports": warm - cold, "megabytes": size / 1e6}


def tell(study: Study, records: list[TrialRecord], number: int) -> float:
    """Write trials to the study's storage and its table as a search does. Returns milliseconds per trial."""
    storage = open_storage(study.storage)
    held = optuna.load_study(study_name=study.name, storage=storage)
    began = time.perf_counter()
    written = 0.0
    for done in range(number):
        trial = held.ask()
        trial.set_user_attr("proposal", {"role": "search", "recipe": records[0].recipe})
        for epoch in range(1, EPOCHS + 1):
            trial.report(0.5, epoch)
        held.tell(trial, 0.5)
        if time.perf_counter() - written > 2:
            write_records(records[: done + 1], study.folder / "trials.parquet")
            written = time.perf_counter()
    seconds = time.perf_counter() - began
    close_storage(storage)
    return 1000 * seconds / number


def load(number: int) -> dict[str, float]:
    """Milliseconds per trial without a dashboard and with one open."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    alone: list[float] = []
    watched: list[float] = []
    records = generate(number)
    for turn in range(ROUNDS):
        for name, times in (("alone", alone), ("watched", watched)):
            with tempfile.TemporaryDirectory() as folder:
                study = make_study(Path(folder), records[:1], f"{name}-{turn}")
                optuna.create_study(study_name=study.name, storage=open_storage(study.storage), direction="maximize")
                if name == "alone":
                    times.append(tell(study, records, number))
                    continue
                with _dashboard(study):
                    times.append(tell(study, records, number))
    return {
        "told": number,
        "ms_per_trial_alone": statistics.median(alone),
        "ms_per_trial_watched": statistics.median(watched),
        "spread_alone": max(alone) - min(alone),
    }


class _dashboard:
    """The command on a free port, and a process that requests its page."""

    def __init__(self, study: Study) -> None:
        words = [sys.executable, "-m", "autodistill.cli.main", "dashboard", str(study.folder), "--port", "0"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = next(word for word in self.process.stdout.readline().split() if word.startswith("http"))
        self.ended = threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self.ended.wait(2.0):
            with suppress(OSError):
                urllib.request.urlopen(f"{self.url}api/studies/1", timeout=30).read()

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.process.terminate()
        self.process.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--watched", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    measured = {"report": report(args.trials), "dashboard": load(args.watched)}
    if args.json:
        print(json.dumps(measured, indent=2))
        return
    page, driver = measured["report"], measured["dashboard"]
    print(f"report of {args.trials} trials: {page['seconds']:.1f} s, {page['megabytes']:.1f} MB (limits: 10 s, 8 MB)")
    print(
        f"driver's time a trial: {driver['ms_per_trial_alone']:.1f} ms alone, "
        f"{driver['ms_per_trial_watched']:.1f} ms with a dashboard open "
        f"(three rounds alone differ by {driver['spread_alone']:.1f} ms)"
    )


if __name__ == "__main__":
    main()
