"""Trains recommended recipes: the first ones for a dataset of which the recommender has seen nothing.

python benchmarks/recommended.py [--sets trec …] [--regime few|labelled] [--top 3] [--seeds 3] [--trials 24] --kept FILE [--json]

`benchmarks/recommender.py` ranks recorded recipes. A recommendation is the best of some 2,000 candidates, most of which were never
trained, so a method that overestimates is exposed only here. For each dataset the studies of its group are left out, and each method of
--methods recommends --top recipes. They are trained, and so are the regime's plain KD (with unlabelled rows: on all rows), the space's
defaults, the student without a teacher, and, with --trials, the best recipe of a search that starts without recommendations. Every recipe
is trained with every seed. Figures are on the test split; the best of a method's recipes is chosen on the validation split.

Regimes: `few`, as benchmarks/transfer.py; `labelled`, with at most 6,000 rows, all of them labelled.
FILE keeps every training (jsonl): a run that was stopped goes on, and the figures of all datasets in it are shown together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kept_rows import KeptRows
from rich.console import Console
from rich.table import Table as Grid
from scipy import stats
from threadpoolctl import threadpool_limits
from transfer import SETS, UNLABELLED, Bench

from autodistill.errors import AutodistillError
from autodistill.features import dataset_features
from autodistill.recipe import Recipe
from autodistill.recommender.candidates import comparable
from autodistill.recommender.library import shipped
from autodistill.recommender.methods import METHODS, SHIPPED
from autodistill.recommender.recommender import Recommender, new_dataset
from autodistill.tasks.base import DatasetRef
from autodistill.tasks.catalog import dataset_group

REGIMES: dict[str, Callable[[str], DatasetRef]] = {
    "few": lambda name: DatasetRef(name, SETS[name], unlabelled=("rest",), limit_unlabelled=UNLABELLED),
    "labelled": lambda name: DatasetRef(name, UNLABELLED),
}
REFERENCES = ("no_kd", "plain_kd", "plain_kd_all", "defaults")
SEARCHED = "search"
Lists = dict[str, list[str]]
"""The ids of the recipes of each method, and of each reference one."""


@dataclass(frozen=True)
class Training:
    """One training of a recipe; both scores are in the dataset's metric."""

    dataset: str
    regime: str
    recipe_id: str
    seed: int
    test: float
    validation: float
    recipe: dict[str, Any]


class Kept(KeptRows):
    """The rows of a file: trainings, and the lists of recipes of each dataset in each regime."""

    def of(self, dataset: str, regime: str) -> dict[str, dict[int, Training]]:
        """Trainings by recipe and seed."""
        trained: dict[str, dict[int, Training]] = {}
        for row in self:
            if "lists" not in row and (row["dataset"], row["regime"]) == (dataset, regime):
                trained.setdefault(row["recipe_id"], {})[row["seed"]] = Training(**row)
        return trained

    @property
    def lists(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The latest lists, by dataset and regime."""
        return {(row["dataset"], row["regime"]): row for row in self if "lists" in row}


def message(row: dict[str, Any]) -> str:
    """What is printed of a row."""
    what = "done" if "lists" in row else f"{row['recipe_id']}, seed {row['seed']}: {row['test']:.4f}"
    return f"{row['dataset']}, {row['regime']}: {what}"


def recommended(bench: Bench, methods: Sequence[str], top: int) -> dict[str, list[Recipe]]:
    """The first recipes of each method, from the studies of other groups."""
    group = dataset_group(bench.name)
    studies = comparable([study for study in shipped() if study.group != group], bench.data.task, {bench.part.model})
    target = new_dataset(bench.space, dataset_features(bench.data))
    lists = {}
    with threadpool_limits(1, user_api="openmp"):
        for method in methods:
            chosen = Recommender(studies, method=method).choose(target, bench.space, top=top)
            lists[method] = [recipe for recipe, _ in chosen]
    return lists


def run(name: str, regime: str, methods: Sequence[str], top: int, seeds: int, trials: int, kept: Kept) -> None:
    """Train what is not kept yet."""
    rows: list[dict[str, Any]] = []
    bench = Bench(name, None, rows.append, REGIMES[regime](name))
    bench.teach()
    teacher = rows[-1]["test"]
    recipes = recommended(bench, methods, top)
    for role, recipe in bench.space.baselines().items():
        if role in REFERENCES:
            recipes[str(role)] = [recipe]
    if trials:
        recipes[SEARCHED] = [bench.search(trials, kept.path.parent / f"{kept.path.stem}-{regime}", cold=True)]
    done = kept.of(name, regime)
    for seed in range(seeds):
        for recipe in {recipe.id: recipe for listed in recipes.values() for recipe in listed}.values():
            if seed in done.get(recipe.id, {}):
                continue
            bench.train("student", recipe, seed)
            training = Training(name, regime, recipe.id, seed, rows[-1]["test"], rows[-1]["validation"], recipe.model_dump())
            kept.keep(asdict(training))
    lists: Lists = {who: [recipe.id for recipe in listed] for who, listed in recipes.items()}
    kept.keep({"dataset": name, "regime": regime, "metric": bench.data.metric, "teacher": teacher, "lists": lists})


def line_of(row: dict[str, Any], trained: dict[str, dict[int, Training]]) -> dict[str, Any]:
    """The figures of one dataset in one regime: mean test scores over the seeds."""

    def mean(recipe_id: str, split: str) -> float:
        return statistics.fmean(getattr(training, split) for training in trained[recipe_id].values())

    line: dict[str, Any] = {name: row[name] for name in ("dataset", "regime", "metric", "teacher")}
    for who, listed in row["lists"].items():
        if who in METHODS:
            best = max(listed, key=lambda recipe_id: mean(recipe_id, "validation"))
            line[who] = {
                "first": mean(listed[0], "test"),
                "best": mean(best, "test"),
                "family": trained[listed[0]][0].recipe["student"]["family"],
            }
        else:
            line[who] = mean(listed[0], "test")
    line["regular"] = line.get("plain_kd_all", line["plain_kd"])
    return line


def _score(method: str, which: str) -> Callable[[dict[str, Any]], float]:
    """What reads a method's score from a line."""
    return lambda line: float(line[method][which])


def gain(lines: Sequence[dict[str, Any]], ours: Callable[[dict[str, Any]], float], theirs: str) -> dict[str, Any] | None:
    """The mean over datasets of a difference in test scores, its 95% interval (Student's t; None for one dataset), and the share of
    datasets without a loss of half a point.
    """
    differences = np.array([ours(line) - line[theirs] for line in lines if theirs in line])
    if not len(differences):
        return None
    mean, low, high = float(differences.mean()), None, None
    if len(differences) > 1:
        reach = float(stats.sem(differences) * stats.t.ppf(0.975, len(differences) - 1))
        low, high = mean - reach, mean + reach
    return {"mean": mean, "low": low, "high": high, "level": float(np.mean(differences > -0.005)), "datasets": len(differences)}


def report(kept: Kept) -> dict[str, Any]:
    """What --json prints."""
    lines = [line_of(row, kept.of(*key)) for key, row in kept.lists.items()]
    gains: dict[str, Any] = {}
    for regime in REGIMES:
        own = [line for line in lines if line["regime"] == regime]
        for method in METHODS:
            judged = [line for line in own if method in line]
            if judged:
                gains[f"{regime}, {method}"] = {
                    f"{which} against {name}": gain(judged, _score(method, which), theirs)
                    for which in ("first", "best")
                    for name, theirs in (("plain KD", "regular"), ("defaults", "defaults"), ("no KD", "no_kd"), ("search", SEARCHED))
                }
    return {"method": SHIPPED, "sets": lines, "gains": gains}


def show(summary: dict[str, Any]) -> None:
    """The tables for people."""
    console = Console(width=None if sys.stdout.isatty() else 170)
    heads = ("no KD", "plain KD", "defaults", SHIPPED, "best of the first", SEARCHED)
    grid = Grid("dataset", "regime", "teacher", *heads, "first student", title="test split, means over seeds")
    for line in summary["sets"]:
        own = line.get(SHIPPED, {})
        values = (line["no_kd"], line["regular"], line["defaults"], own.get("first"), own.get("best"), line.get(SEARCHED))
        texts = ("" if value is None else f"{value:.3f}" for value in values)
        grid.add_row(line["dataset"], line["regime"], f"{line['teacher']:.3f}", *texts, own.get("family", ""))
    console.print(grid)
    grid = Grid("regime, method", "recipe", "mean difference", "95% interval", "level or better", title="test split, over datasets")
    for who, by_name in summary["gains"].items():
        for name, one in by_name.items():
            if one is not None:
                interval = "" if one["low"] is None else f"{one['low']:+.3f} to {one['high']:+.3f}"
                grid.add_row(who, name, f"{one['mean']:+.4f}", interval, f"{one['level']:.0%} of {one['datasets']}")
    console.print(grid)


def main() -> int:
    """Train, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=[], choices=list(SETS), metavar="NAME", help="none: show what is kept")
    parser.add_argument("--regime", default="few", choices=list(REGIMES))
    parser.add_argument("--methods", nargs="*", default=[SHIPPED], choices=list(METHODS), metavar="NAME", help=f"default: {SHIPPED}")
    parser.add_argument("--top", type=int, default=3, help="recipes of each method")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=24, help="of the search; 0 for none")
    parser.add_argument("--kept", type=Path, required=True, metavar="FILE", help="jsonl: where trainings are kept, and found again")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    kept = Kept(args.kept, message)
    try:
        for name in args.sets:
            run(name, args.regime, args.methods, args.top, args.seeds, args.trials, kept)
    except AutodistillError as error:
        print(f"recommended: {error}", file=sys.stderr)
        return error.exit_code
    if not kept.lists:
        parser.error(f"nothing is kept in {args.kept}; name --sets")
    summary = report(kept)
    if args.json:
        print(json.dumps(summary, indent=2, allow_nan=False))
    else:
        show(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
