"""Measures the recommender: it leaves out one group of datasets, recommends recipes for each of them, and looks up their recorded scores.

python benchmarks/recommender.py [--json]                                the shipped studies of datasets with labels
python benchmarks/recommender.py --embedding [--json]                    those of sentence embeddings
python benchmarks/recommender.py --table FILE --mapping FILE [--json]    a table of other runs (docs/recommender.md)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table as Grid
from usual_recipes import default_recipes

from autodistill.errors import AutodistillError, StudyError, UsageError
from autodistill.recipe import Recipe
from autodistill.recommender.candidates import comparable
from autodistill.recommender.evaluate import DEPTHS, Evaluation, evaluate
from autodistill.recommender.foreign import read_foreign
from autodistill.recommender.library import RecordedStudy, shipped
from autodistill.recommender.methods import SHIPPED
from autodistill.recommender.table import Table, from_studies, recipe_frame
from autodistill.space import Space


def from_library(studies: Sequence[RecordedStudy]) -> tuple[Table, dict[str, pd.DataFrame]]:
    """The shipped studies' table, and the default recipes for each of them: with the study's own student and training."""
    if not studies:
        raise StudyError("no studies are shipped here (studies/recorded is empty); record some, or give --table and --mapping")
    defaults = {}
    for study in studies:
        base = next((record.recipe for record in study.records if record.role == "plain_kd"), study.records[0].recipe)
        defaults[study.name] = recipe_frame(recipe.model_dump() for recipe in default_recipes(Recipe.parse(base)).values())
    return from_studies(studies), defaults


def own_best_again(studies: Sequence[RecordedStudy]) -> float | None:
    """The mean percentile that datasets' own best five recipes reach with other seeds: what knowing a dataset's first scores is worth.

    A recommendation that never saw the dataset can hardly do better. None where no recipe has a second seed.
    """
    places = []
    for study in studies:
        scores: dict[str, dict[int, float]] = {}
        for record in study.records:
            if record.state == "complete" and record.score is not None:
                scores.setdefault(record.recipe_id, {})[record.seed] = record.score
        first_seed = min(record.seed for record in study.records)
        first = {recipe: by_seed[first_seed] for recipe, by_seed in scores.items() if first_seed in by_seed}
        table = np.array(list(first.values()))
        best = sorted(first, key=lambda recipe: -first[recipe])[:5]
        again = [score for recipe in best for seed, score in scores[recipe].items() if seed != first_seed]
        if again:
            places.append(statistics.fmean(100.0 * float(np.mean(table <= score)) for score in again))
    return statistics.fmean(places) if places else None


def report(table: Table, evaluation: Evaluation, again: float | None, seconds: float, notes: list[str]) -> dict:
    """The object that --json prints."""
    means = {name: evaluation.mean(name) for name in evaluation.methods}
    best, judged = means[SHIPPED], dict.fromkeys(item.dataset for item in evaluation.outcomes)

    def regret(name: str) -> dict:
        return {str(k): means[name]["regret"][str(k)] if name in means else None for k in DEPTHS}

    return {
        "method": SHIPPED,
        "winner": evaluation.winner(),
        "datasets": len(table.names),
        "groups": len(table.groups),
        "recipes": len(table),
        "top1_percentile": best["top1_percentile"],
        "own_best_again_percentile": again,
        "regret": best["regret"],
        "retention_regret": best["retention_regret"],
        "random_regret": regret("random"),
        "default_regret": regret("defaults"),
        "portfolio_regret": regret("portfolio"),
        "coverage_80": best["coverage_80"],
        "spearman": best["spearman"],
        "methods": means,
        "by_dataset": {name: {item.method: vars(item) for item in evaluation.outcomes if item.dataset == name} for name in judged},
        "seconds": round(seconds, 1),
        "notes": notes,
    }


def show(summary: dict, evaluation: Evaluation) -> None:
    """The tables for people: all methods, then the shipped one by dataset."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    grid = Grid(
        "method", "regret@1", "@3", "@5", "in retention@1", "top-1 percentile", "worst", "Spearman", "80% interval holds", "its width"
    )
    for name, mean in summary["methods"].items():
        regrets = [number(mean["regret"][str(k)]) for k in DEPTHS]
        places = [number(mean["top1_percentile"][key], 1) for key in ("mean", "worst")]
        rest = [number(mean["spearman"], 3), number(mean["coverage_80"], 3), number(mean["interval_width"], 3)]
        grid.add_row(name + (" *" if name == SHIPPED else ""), *regrets, number(mean["retention_regret"]["1"]), *places, *rest)
    console.print(
        f"{summary['recipes']} recipes on {summary['datasets']} datasets in {summary['groups']} groups, one group held out at a time"
    )
    console.print(grid)
    grid = Grid("dataset", "regret@1", "@5", "percentile", "80% interval holds", "defaults' regret@1", "random's")
    for name, by_method in summary["by_dataset"].items():
        own = by_method[SHIPPED]
        others = [number(by_method[item]["regret"][1]) if item in by_method else "–" for item in ("defaults", "random")]
        grid.add_row(
            name, number(own["regret"][1]), number(own["regret"][5]), number(own["percentile"], 1), number(own["covered"], 3), *others
        )
    console.print(grid)
    if summary["own_best_again_percentile"] is not None:
        console.print(f"a dataset's own best five recipes, with other seeds: percentile {summary['own_best_again_percentile']:.1f}")
    for note in summary["notes"]:
        console.print(note)
    if summary["winner"] == SHIPPED:
        console.print(f"* ships, and has the smallest regret@1 of those that learn. {summary['seconds']} s")
    else:
        console.print(f"* ships, but {summary['winner']} has the smallest regret@1 here. {summary['seconds']} s")


def number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _usual_teachers() -> set[str]:
    """The default teachers of the shipped spaces: who has another one gets recommendations from other studies."""
    spaces = {"text": "text-classification", "image": "image-classification", "embedding": "text-embedding"}
    return {Space.load(name, task).defaults().teacher.model for name, task in spaces.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--embedding", action="store_true", help="the shipped studies of sentence embeddings, which are learned from apart")
    parser.add_argument("--table", metavar="FILE", help="a table of other runs: csv, tsv, parquet or jsonl")
    parser.add_argument("--mapping", metavar="FILE", help="a description of its columns (YAML)")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes at once (default: 2)")
    args = parser.parse_args()
    began = time.monotonic()
    try:
        if (args.table is None) != (args.mapping is None):
            raise UsageError("--table and --mapping go together: the mapping says what the table's columns are (docs/recommender.md)")
        notes: list[str] = []
        again: float | None = None
        if args.table is None:
            usual = _usual_teachers()
            studies = comparable(
                [study for study in shipped() if study.teachers <= usual], "text-embedding" if args.embedding else "text-classification"
            )
            table, by_dataset = from_library(studies)
            again = own_best_again(studies)
            evaluation = evaluate(table, by_dataset.__getitem__, jobs=args.jobs)
        else:
            foreign = read_foreign(args.table, args.mapping)
            table, notes, defaults = foreign.table, foreign.notes, foreign.defaults
            evaluation = evaluate(table, None if defaults is None else lambda name: defaults, jobs=args.jobs)
    except AutodistillError as error:
        print(f"recommender: {error}", file=sys.stderr)
        return error.exit_code
    summary = report(table, evaluation, again, time.monotonic() - began, notes)
    if args.json:
        print(json.dumps(summary, indent=2, allow_nan=False))
    else:
        show(summary, evaluation)
    return 0


if __name__ == "__main__":
    sys.exit(main())
