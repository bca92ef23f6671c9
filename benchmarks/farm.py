"""A farm without training: trials are replayed through the real Ray Tune and Optuna, to measure what the driver costs and how busy it
keeps its workers.

A trial replays the curve of a recorded trial (studies/recorded, or --curves TABLE.parquet) and sleeps in place of training. Two figures:

    driver_ms_per_trial   processor time of the driver (all its threads) for a trial: proposal, limits, Optuna storage, messages, early
                          stopping, the table of trials, Ray Tune's own loop. Trials do not sleep here, and losers are stopped early.
    efficiency            share of the workers' time in which they sleep, from the moment when the last of them has begun its first
                          trial. Each is a real Ray actor in a process of its own. All replay the same curve, so none is stopped
                          early, and a trial lasts --trial-seconds.

Actors are cheap to keep (about 0.2 GB each) but slow to start (some 2 s of processor time), so starting 64 of them on a few cores takes
a while. That is not counted, because a search pays it only once.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import signal
import tempfile
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from autodistill.events import Event, SearchStarted
from autodistill.facts import DatasetFacts, TeacherRef
from autodistill.limits import Feasibility, Limits
from autodistill.recipe import Recipe
from autodistill.records import Point, read_records
from autodistill.settings import SearchSettings
from autodistill.space import Space
from autodistill.study import Study
from autodistill.train.assignment import Assignment, Report, TrialResult
from autodistill.tuning.ray_backend import ray_running
from autodistill.tuning.run import SearchInterrupted, run_search

RECORDED = Path(__file__).parent.parent / "studies" / "recorded"
EPOCHS = 8
Curve = tuple[float, ...]


@dataclass(frozen=True)
class Replay:
    """A runner that replays the curve of a recipe's id. It writes when it slept: a line for each epoch, a file for each process."""

    curves: tuple[Curve, ...]
    epoch_seconds: float
    log: str | None

    def __call__(self, assignment: Assignment, report: Report) -> TrialResult:
        curve = self.curves[int(assignment.recipe.id, 16) % len(self.curves)]
        epochs = min(assignment.recipe.training.epochs, assignment.max_epochs)
        with (Path(self.log) / str(os.getpid()) if self.log else Path(os.devnull)).open("a") as log:
            for epoch in range(1, epochs + 1):
                began = time.time()
                if self.epoch_seconds:
                    time.sleep(self.epoch_seconds)
                log.write(f"{began} {time.time()}\n")
                log.flush()
                score = curve[min(epoch, len(curve)) - 1]
                report(Point(epoch=epoch, score=score, train_loss=1 / epoch, seconds=epoch * self.epoch_seconds, losses={"kl": 1 / epoch}))
        best = max(curve[:epochs])
        return TrialResult(best, 1 + curve.index(best), {"accuracy": best}, 1_000_000, 1e6, {"training": epochs * self.epoch_seconds})


@dataclass(frozen=True)
class Sizes:
    """Stands in for the check of the limits, for students that are never built: by their width, a tenth of them are too large."""

    limits: Limits

    def __call__(self, recipe: Recipe) -> Feasibility:
        return self.limits.check(int(recipe.id[:3], 16) * 1000, 1.0)


def recorded_curves(table: Path | None) -> tuple[Curve, ...]:
    """The curves of complete trials in recorded studies."""
    tables = [table] if table else sorted(RECORDED.glob("*/trials.parquet"))
    records = [record for path in tables for record in read_records(path) if record.state == "complete"]
    return tuple(tuple(point.score for point in record.curve) for record in records if record.curve)


def saturating_curves() -> tuple[Curve, ...]:
    """Curves that rise to different heights, if nothing has been recorded."""
    return tuple(tuple((0.5 + 0.004 * height) * (1 - 0.5**epoch) for epoch in range(1, EPOCHS + 1)) for height in range(100))


def farm(folder: Path, runner: Replay, trials: int, workers: int) -> tuple[Study, float, float]:
    """Run a search over replayed trials. Returns the study, and the driver's processor and wall seconds from the first proposal."""
    space = Space.load("text", "text-classification").fixed("training.epochs", EPOCHS)
    limits = Limits(max_params=3_686_000)  # nine in ten of what `Sizes` says
    settings = SearchSettings(
        dataset="replayed",
        study="farm",
        trials=trials,
        max_epochs=EPOCHS,
        max_params=limits.max_params,
        workers=workers,
        gpus_per_trial=0,
        studies_dir=str(folder),
    )
    clocks: list[tuple[float, float]] = []

    def listen(event: Event) -> None:
        if isinstance(event, SearchStarted):
            clocks.append((time.process_time(), time.perf_counter()))

    try:
        study = run_search(
            settings,
            space=space,
            dataset=DatasetFacts("replayed", "0" * 16, "text-classification", "accuracy", 1000),
            teachers={part: TeacherRef("nowhere", 0.95) for part in space.teachers()},
            runner=runner,
            feasible=Sizes(limits),
            baselines=space.baselines(),
            listen=listen,
        )
    except SearchInterrupted as stopped:
        study = stopped.study
    processor, wall = clocks[0]
    return study, time.process_time() - processor, time.perf_counter() - wall


def driver_cost(curves: tuple[Curve, ...], trials: int, workers: int) -> dict[str, float]:
    """Processor time of the driver for each trial, including infeasible proposals and the end of the search."""
    with tempfile.TemporaryDirectory() as folder:
        study, processor, wall = farm(Path(folder), Replay(curves, 0.0, None), trials, workers)
        counts = study.counts
    ended = counts["complete"] + counts["pruned"] + counts["fail"]
    costs = {"driver_ms_per_trial": 1e3 * processor / ended, "wall_ms_per_trial": 1e3 * wall / ended}
    return costs | {"trials": ended, "stopped_early": counts["pruned"], "infeasible": counts["infeasible"]}


def efficiency(curves: tuple[Curve, ...], workers: int, trial_seconds: float, window: float) -> dict[str, float]:
    """How busy the workers are in a window of some seconds, which opens when the last of them has begun."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        log.mkdir()
        over = threading.Event()

        def stop_in_time() -> None:
            while len(list(log.iterdir())) < workers:
                if over.wait(0.5):
                    return
            if not over.wait(window):
                os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does: the search ends in good order

        watch = threading.Thread(target=stop_in_time, daemon=True)
        watch.start()
        try:
            _, processor, wall = farm(Path(folder), Replay((max(curves, key=len),), trial_seconds / EPOCHS, str(log)), 1_000_000, workers)
        finally:
            over.set()
            watch.join()
        slept = [[tuple(map(float, line.split())) for line in path.read_text().splitlines()] for path in log.iterdir()]
    opens = max(spans[0][0] for spans in slept)
    closes = opens + window
    busy = sum(max(0.0, min(end, closes) - max(start, opens)) for spans in slept for start, end in spans)
    return {"efficiency": busy / (workers * window), "driver_share_of_a_core": processor / wall}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter trials: about two minutes on two free cores")
    parser.add_argument("--trials", type=int, help="trials of the driver's cost (2,000; quick 200)")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 8, 64], help="simulated workers of the efficiency")
    parser.add_argument("--trial-seconds", type=float, help="of an efficiency's trial (30; quick 8)")
    parser.add_argument("--window", type=float, help="seconds over which efficiency is measured (90; quick 12)")
    parser.add_argument("--curves", type=Path, help="a table of trials to replay (studies/recorded)")
    parser.add_argument("--profile", type=Path, help="write a cProfile of the driver's cost here")
    asked = parser.parse_args()
    trials = asked.trials or (200 if asked.quick else 2000)
    seconds = asked.trial_seconds or (8.0 if asked.quick else 30.0)
    window = asked.window or (12.0 if asked.quick else 90.0)
    curves = recorded_curves(asked.curves) or saturating_curves()

    def ray(workers: int) -> AbstractContextManager[object]:
        return ray_running(SearchSettings(dataset="replayed", study="farm", workers=workers, gpus_per_trial=0))

    profile = cProfile.Profile() if asked.profile else None
    with ray(2):  # a Ray of its own, and no larger than a search would start it: free processors start worker processes that are not used
        if profile:
            profile.enable()
        driver = driver_cost(curves, trials, workers=2)
        if profile:
            profile.disable()
            profile.dump_stats(asked.profile)
    with ray(max([8, *asked.workers])) if asked.workers else nullcontext():
        shares = {str(workers): efficiency(curves, workers, seconds, window) for workers in asked.workers}
    answer = {
        "driver_ms_per_trial": round(driver["driver_ms_per_trial"], 1),
        "efficiency": {workers: round(share["efficiency"], 4) for workers, share in shares.items()},
        "details": {"driver": driver, "workers": shares, "trial_seconds": seconds, "window_s": window, "curves": len(curves)},
    }
    if asked.json:
        print(json.dumps(answer))
        return
    print(f"driver, {driver['trials']} trials: {driver['driver_ms_per_trial']:.1f} ms of processor time a trial (goal: at most 50)")
    for workers, share in shares.items():
        busy = share["driver_share_of_a_core"]
        print(
            f"{workers:>3} workers, trials of {seconds:g} s: {share['efficiency']:.1%} busy (goal at 64: 95%); driver {busy:.1%} of a core"
        )


if __name__ == "__main__":
    main()
