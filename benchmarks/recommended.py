"""What recommendations are worth once they are trained: each method's first recipes for a dataset of which it has seen nothing.

python benchmarks/recommended.py DATASET [DATASET ...] --kept FILE [--json]

`benchmarks/recommender.py` puts recorded recipes in order; a recommendation is the best of some 2,000 candidates, most of which nobody
has ever trained, so that a method that errs upwards is found out here alone. For each dataset the studies of its group are left out,
each method recommends, and all that any of them recommends is trained with one seed, as the recorded studies were: ROWS rows, epochs and
parameters as there. So are the default recipes and the student without a teacher. Scores are on the validation split.

FILE keeps each training (jsonl): a run that was stopped goes on, and the figures of all datasets in it are shown together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from threadpoolctl import threadpool_limits

from autodistill.errors import AutodistillError
from autodistill.events import Event, StageFinished
from autodistill.features import dataset_features
from autodistill.limits import Limits
from autodistill.recipe import Recipe
from autodistill.recommender.defaults import default_recipes
from autodistill.recommender.library import shipped
from autodistill.recommender.methods import METHODS, SHIPPED
from autodistill.recommender.recommender import Recommender, new_dataset
from autodistill.space import Space
from autodistill.stages import store_outputs, train_teacher
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.tasks.catalog import dataset_group
from autodistill.train.assignment import Assignment
from autodistill.train.data import Opened, open_inputs
from autodistill.train.feasible import Feasibilities
from autodistill.train.taps import space_taps
from autodistill.train.trial import run_trial

ROWS, PARAMS = 1500, 6_000_000
EPOCHS = {"text": 3, "image": 8}
"""As studies/record.py records."""
DEPTHS = (1, 3, 5)
CONTROL = "no_kd"
Lists = dict[str, list[Recipe]]
"""Recipes by who says them: a method, `defaults`, or CONTROL."""


def listed(data: Dataset, space: Space, opened: Opened, top: int) -> Lists:
    """What each method recommends, and what it is compared with."""
    group = dataset_group(data.name)
    studies = [study for study in shipped() if study.group != group]
    target = new_dataset(space, dataset_features(data))
    feasible = Feasibilities(Limits(PARAMS, None), {space.defaults().teacher: opened})
    lists: Lists = {}
    with threadpool_limits(1, user_api="openmp"):
        for method in METHODS:
            chosen = Recommender(studies, method=method).choose(target, space, top=top, feasible=feasible)
            lists[method] = [recipe for recipe, _ in chosen]
    base = space.defaults()
    lists["defaults"] = list(default_recipes(base).values())
    lists[CONTROL] = [space.baselines()["no_kd"]]
    return lists


def train(dataset: str, top: int, kept: dict[str, dict[str, float]], keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Train all that is listed for a dataset and has not been trained yet; returns each list's scores, and the teacher's."""
    data = load_dataset(DatasetRef(dataset, ROWS))
    epochs = EPOCHS[data.modality.name]
    space = Space.load(data.modality.name, data.task).fixed("training.epochs", epochs)
    if "teacher.min_steps" in space.parameters:
        space = space.fixed("teacher.min_steps", 0)  # as the teachers of most recorded studies
    part = space.defaults().teacher
    teacher = train_teacher(data, part, 0, tell)
    opened = open_inputs(data, part, teacher.folder)
    lists = listed(data, space, opened, top)
    store_outputs(opened, part, space_taps(space), tell)
    scores = kept.setdefault(dataset, {})
    for recipe in {recipe.id: recipe for recipes in lists.values() for recipe in recipes}.values():
        if recipe.id in scores:
            continue
        try:
            result = run_trial(Assignment(recipe, data.ref, 0, epochs, teacher.folder, 1), lambda point: None)
            scores[recipe.id] = result.score
        except AutodistillError as error:  # it diverged: as bad as nothing learnt
            print(f"{dataset}: {recipe.id} failed: {error}", file=sys.stderr, flush=True)
            scores[recipe.id] = 0.0
        print(f"{dataset}: {recipe.id} {scores[recipe.id]:.4f}", file=sys.stderr, flush=True)
        keep({"dataset": dataset, "recipe_id": recipe.id, "score": scores[recipe.id], "recipe": recipe.model_dump()})
    by_list = {name: [scores[recipe.id] for recipe in recipes] for name, recipes in lists.items()}
    summary = {"dataset": dataset, "task": data.task, "metric": data.metric, "teacher": teacher.score, "scores": by_list}
    keep(summary)
    return summary


def tell(event: Event) -> None:
    """Say how a stage ended, on stderr."""
    if isinstance(event, StageFinished):
        print(f"{event.stage} done in {event.seconds:.1f}s: {event.text}", file=sys.stderr, flush=True)


def report(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """What --json prints: per list and depth the mean over datasets of the best score so far, as a share of the best of all lists."""
    means: dict[str, dict[str, float]] = {}
    for name in summaries[0]["scores"]:
        means[name] = {}
        for k in DEPTHS:
            shares = []
            for item in summaries:
                best = max(max(scores) for scores in item["scores"].values())
                first = item["scores"][name]
                # nobody says which of the defaults to take first: the mean of them is what one costs, the best what all cost
                got = statistics.fmean(first) if name == "defaults" and k == 1 else max(first[:k])
                shares.append(got / best)
            means[name][str(k)] = statistics.fmean(shares)
    return {"method": SHIPPED, "datasets": len(summaries), "share_of_best": means, "by_dataset": summaries}


def show(summary: dict[str, Any]) -> None:
    """The tables for people."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    grid = Grid("recommends", *(f"best of the first {k}" for k in DEPTHS), title="as a share of the best that anybody recommended")
    for name, by_depth in summary["share_of_best"].items():
        grid.add_row(name + (" *" if name == SHIPPED else ""), *(f"{by_depth[str(k)]:.3f}" for k in DEPTHS))
    console.print(grid)
    names = list(summary["share_of_best"])
    grid = Grid("dataset", "teacher", *names, title="score of the first recipe; in brackets the best of all it recommends")
    for item in summary["by_dataset"]:
        scores = [item["scores"][name] for name in names]
        grid.add_row(item["dataset"], f"{item['teacher']:.3f}", *(f"{each[0]:.3f} ({max(each):.3f})" for each in scores))
    console.print(grid)


def main() -> int:
    """Train, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help="none: show what is kept")
    parser.add_argument("--kept", type=Path, required=True, metavar="FILE", help="jsonl: where trainings are kept, and found again")
    parser.add_argument("--top", type=int, default=max(DEPTHS), help="recipes of each method (default: 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    kept: dict[str, dict[str, float]] = {}
    summaries: dict[str, dict[str, Any]] = {}
    for line in args.kept.read_text(encoding="utf-8").splitlines() if args.kept.exists() else []:
        row = json.loads(line)
        if "scores" in row:
            summaries[row["dataset"]] = row
        else:
            kept.setdefault(row["dataset"], {})[row["recipe_id"]] = row["score"]

    def keep(row: dict[str, Any]) -> None:
        with args.kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    try:
        for dataset in args.datasets:
            summaries[dataset] = train(dataset, args.top, kept, keep)
    except AutodistillError as error:
        print(f"recommended: {error}", file=sys.stderr)
        return error.exit_code
    if not summaries:
        parser.error(f"nothing is kept in {args.kept}; name datasets")
    summary = report(list(summaries.values()))
    if args.json:
        print(json.dumps(summary, indent=2, allow_nan=False))
    else:
        show(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
