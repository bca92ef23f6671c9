"""Measures how many trials, and how much training, a search needs to reach the best of 64 random recipes. It replays recorded studies and
trains nothing.

Each recorded study with enough recipes (studies/recorded and studies/brief) becomes an objective (autodistill/recommender/replay.py), and
each seed draws 64 random recipes of its space. Their best score is the target. Then each way to search runs until a trial's score after its
last epoch reaches it:

random      recipes drawn from the space, trained in full
tpe         Optuna's TPE as `search` uses it, trained in full
tpe_asha    the same, with the early stopping that `search` uses (one trial at a time)
tpe_pasha   the same, with PASHA in its place (benchmarks/pruners.py)
tpe_promise the same, with stopping by expected improvement in its place
warm        the same, but it begins with recommended recipes, as `search` does; the recommender has not seen the study's group
warm_prior  the same, but each later proposal is the best of a few from TPE, by the recommender's surrogate

A search that does not reach the target within LONGEST trials counts as LONGEST. Figures are medians over datasets and seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from joblib import Parallel, delayed
from pruners import Pasha, Promise
from rich.console import Console
from rich.table import Table as Grid

from autodistill.errors import AutodistillError, StudyError, UsageError
from autodistill.recipe import Recipe
from autodistill.recommender.candidates import comparable
from autodistill.recommender.library import RecordedStudy, entries, find, shipped
from autodistill.recommender.recommender import Recommender
from autodistill.recommender.replay import Blackbox
from autodistill.recommender.table import NewDataset, recipe_frame
from autodistill.records import Point
from autodistill.space import Space
from autodistill.task_types import modality_of, target_of
from autodistill.tuning.sampler import Halving, chooser, enter_rung, make_sampler, rungs

WAYS = ("random", "tpe", "tpe_asha", "tpe_pasha", "tpe_promise", "warm", "warm_prior")
PRUNERS = {"tpe_pasha": Pasha, "tpe_promise": Promise}
BRIEF = Path(__file__).resolve().parents[1] / "studies" / "brief"
ENOUGH = 40
"""A study with fewer recipes than this is not replayed unless it is named."""
RANDOM = 64
LONGEST = 192
WARM = 8
PRIOR_OF = 4
"""The number of proposals from which the surrogate picks one, in `warm_prior`."""


@dataclass(frozen=True)
class Reached:
    """When a way to search reached the target: trials, and seconds of training in all of them."""

    study: str
    seed: int
    way: str
    trials: int
    seconds: float
    success: bool


class Replay:
    """One recorded study, ready to be searched again."""

    def __init__(self, study: RecordedStudy, others: list[RecordedStudy]) -> None:
        self.study, self.blackbox = study, Blackbox(study)
        recorded = study.records[0].recipe
        self.space = Space.load(target_of(study.task).space or modality_of(study.task).name, study.task)
        for name, value in recorded["teacher"].items():  # the study's own teacher: nothing hangs on it within a study
            if f"teacher.{name}" in self.space.parameters:
                self.space = self.space.fixed(f"teacher.{name}", value)
        self.space = self.space.fixed("training.epochs", recorded["training"]["epochs"])
        self.rungs = rungs(self.blackbox.epochs)
        of_others = [other for other in others if other.group != study.group]
        self.recommender = Recommender(comparable(of_others, study.task, study.teachers))
        self.target = NewDataset(study.task, pd.Series(study.features, dtype=float), study.unlabelled)

    def search(self, way: str, seed: int, goal: float, first: list[Recipe]) -> Reached:
        if way == "random":
            return self._at_random(seed, goal)
        seconds = 0.0
        for trials, (recipe, trial, study) in enumerate(self._proposals(way, seed, first), start=1):
            curves, pace = self.blackbox.run([recipe])
            score, stopped = -np.inf, False
            for epoch, value in enumerate(curves[0], start=1):
                score, seconds = max(score, float(value)), seconds + float(pace[0])
                if way != "tpe":
                    trial.report(float(value), epoch)
                    if epoch in self.rungs:
                        enter_rung(trial, Point(epoch=epoch, score=float(value), train_loss=0.0, seconds=seconds))
                        if trial.should_prune():
                            stopped = True
                            break
            if stopped:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, score)
            if (score >= goal and not stopped) or trials == LONGEST:
                return Reached(self.study.name, seed, way, trials, seconds, score >= goal)
        raise AssertionError("proposals do not end")

    def _at_random(self, seed: int, goal: float) -> Reached:
        """All at once, which is faster: no recipe depends on what came of another."""
        rng = random.Random(f"{self.study.name} {seed} random")
        curves, pace = self.blackbox.run([self.space.sample(rng) for _ in range(LONGEST)])
        there = np.flatnonzero(curves.max(axis=1) >= goal)
        trials = int(there[0]) + 1 if len(there) else LONGEST
        return Reached(self.study.name, seed, "random", trials, float(pace[:trials].sum() * curves.shape[1]), len(there) > 0)

    def _proposals(self, way: str, seed: int, first: list[Recipe]) -> Iterator[tuple[Recipe, optuna.Trial, optuna.Study]]:
        pruner = PRUNERS[way](self.blackbox.epochs) if way in PRUNERS else Halving()
        study = optuna.create_study(direction="maximize", sampler=make_sampler(seed, 0), pruner=pruner)
        for recipe in first:
            study.enqueue_trial(self.space.encode(recipe))
        for number in range(LONGEST):
            if way == "warm_prior" and number >= len(first):
                asked = [study.ask() for _ in range(PRIOR_OF)]
                recipes = [self.space.suggest(chooser(trial)) for trial in asked]
                merit = self.recommender.predictor.method.merit(recipe_frame(recipe.model_dump() for recipe in recipes), self.target)
                best = int(np.argmax(merit))
                for place, trial in enumerate(asked):
                    if place != best:
                        study.tell(trial, state=optuna.trial.TrialState.FAIL)
                yield recipes[best], asked[best], study
            else:
                trial = study.ask()
                yield self.space.suggest(chooser(trial)), trial, study


def replay(study: RecordedStudy, studies: list[RecordedStudy], seeds: int, ways: Sequence[str] = WAYS) -> tuple[list[Reached], float]:
    """Search a study again in every way with every seed. The result also has the fidelity of its objective."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    again = Replay(study, studies)
    first, searches = again.recommender.first_recipes(again.target, again.space, WARM), []
    for seed in range(seeds):
        rng = random.Random(f"{study.name} {seed} goal")
        curves, _ = again.blackbox.run([again.space.sample(rng) for _ in range(RANDOM)])
        for way in ways:
            searches.append(again.search(way, seed, float(curves.max()), first if way.startswith("warm") else []))
    return searches, again.blackbox.fidelity


def report(searches: list[Reached], fidelity: dict[str, float], seconds: float) -> dict:
    def median(way: str, what: str, study: str | None = None) -> float:
        return statistics.median(getattr(item, what) for item in searches if item.way == way and study in (None, item.study))

    ways = [way for way in WAYS if way in {item.way for item in searches}]
    return {
        "trials_to_best_of_64_random": {way: median(way, "trials") for way in ways},
        "training_seconds_to_best_of_64_random": {way: median(way, "seconds") for way in ways},
        "reached": {way: statistics.fmean(item.success for item in searches if item.way == way) for way in ways},
        "by_dataset": {name: {way: median(way, "trials", name) for way in ways} for name in fidelity},
        "objective_fidelity": fidelity,
        "datasets": len(fidelity),
        "seeds": len({item.seed for item in searches}),
        "longest": LONGEST,
        "seconds": round(seconds, 1),
    }


def show(summary: dict) -> None:
    console = Console(width=None if sys.stdout.isatty() else 140)
    grid = Grid("way", "trials", "seconds of training", "reached it")
    trials, seconds = summary["trials_to_best_of_64_random"], summary["training_seconds_to_best_of_64_random"]
    for way in trials:
        grid.add_row(way, f"{trials[way]:g}", f"{seconds[way]:.0f}", f"{summary['reached'][way]:.0%}")
    console.print(f"To the best of {RANDOM} random recipes: medians over {summary['datasets']} datasets × {summary['seeds']} seeds")
    console.print(grid)
    grid = Grid("dataset", *trials, "objective's fidelity")
    for name, by_way in summary["by_dataset"].items():
        grid.add_row(name, *(f"{number:g}" for number in by_way.values()), f"{summary['objective_fidelity'][name]:.2f}")
    console.print(grid)
    console.print(f"{summary['seconds']} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--seeds", type=int, default=20, help="of each dataset (default: 20)")
    parser.add_argument(
        "--study", action="append", help="replay only this recorded study (default: all with labels and enough recipes); may be given again"
    )
    parser.add_argument("--way", action="append", choices=WAYS, help="search only in this way (default: all); may be given again")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes at once (default: 2)")
    args = parser.parse_args()
    began = time.monotonic()
    try:
        if args.seeds < 1:
            raise UsageError(f"--seeds is {args.seeds}; it should be 1 or more")
        studies = [*shipped(), *entries(BRIEF)]
        if len({study.group for study in studies}) < 2:
            raise StudyError("fewer than two groups of studies are recorded (studies/recorded), so none can be held out; record some")
        large = [study for study in studies if len({record.recipe_id for record in study.records}) >= ENOUGH]
        chosen = [find(name, studies) for name in args.study] if args.study else comparable(large, "text-classification")
        done = Parallel(n_jobs=args.jobs)(delayed(replay)(study, studies, args.seeds, args.way or WAYS) for study in chosen)
    except AutodistillError as error:
        print(f"search_efficiency: {error}", file=sys.stderr)
        return error.exit_code
    searches = [item for reached, _ in done for item in reached]
    fidelity = {study.name: value for study, (_, value) in zip(chosen, done, strict=True)}
    summary = report(searches, fidelity, time.monotonic() - began)
    if args.json:
        print(json.dumps(summary, indent=2, allow_nan=False))
    else:
        show(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
