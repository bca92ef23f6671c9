"""Every family of students on the same few labels and unlabelled rows: score, retention, size, latency, time of training.

python benchmarks/students.py [--sets sst2 clinc150 trec rte] [--seeds 1] --kept FILE [--page FILE] [--json]

Each dataset has 2,000 of its training labels, and the rest of its training rows (at most 6,000) without theirs. Every family is trained as
the space proposes it by default, distilled on all rows, and without a teacher on the labelled ones. `encoder` is the teacher's own encoder,
pretrained and cut to three of its six layers. Scores are on the test split. Latencies are those of a search's end (export/frontier.py): one
CPU thread, from texts to logits, all models of a dataset in turns. FILE keeps every training (jsonl): a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from kept_rows import KeptRows
from rich.console import Console
from rich.table import Table as Grid
from transfer import UNLABELLED, Bench, linear_rival

from autodistill.errors import AutodistillError
from autodistill.export.frontier import measure_frontier
from autodistill.facts import TeacherRef
from autodistill.models.pretrained import MINILM
from autodistill.recipe import Recipe
from autodistill.records import TrialRecord
from autodistill.tasks.base import DatasetRef
from autodistill.teachers import Teachers

SETS = ("sst2", "clinc150", "trec", "rte")
LABELLED = 2000
FAMILIES = ("static", "cnn", "bilstm", "bert", "encoder")
ENCODER = {"family": "encoder", "model": MINILM, "layers": 3}
ENCODER_RATE = 3e-4
WITH, WITHOUT = "defaults", "no_kd"


def recipes_of(bench: Bench, family: str) -> dict[str, Recipe]:
    """The recipes of a family: distilled as the space proposes it, and without a teacher."""
    if family != "encoder":
        baselines = bench.space.fixed("student.family", family).baselines()
        return {WITH: baselines["defaults"], WITHOUT: baselines["no_kd"]}
    baselines = bench.space.fixed("student.family", "bert").baselines()
    changed = {}
    for arm, recipe in ((WITH, baselines["defaults"]), (WITHOUT, baselines["no_kd"])):
        data = recipe.model_dump()
        objective = data["objective"] | {"intermediate": {"kind": "none"}}  # its layers are the teacher's own
        training = data["training"] | {"learning_rate": ENCODER_RATE}
        changed[arm] = Recipe.parse(data | {"student": ENCODER, "objective": objective, "training": training})
    return changed


def run(name: str, seeds: int, rows: KeptRows) -> None:
    """Train what is not kept yet, then measure the latencies of the dataset's models, if those are not kept."""
    own: list[dict[str, Any]] = []
    bench = Bench(name, None, own.append, DatasetRef(name, LABELLED, unlabelled=("rest",), limit_unlabelled=UNLABELLED))
    done = {(row["arm"], row.get("family"), row["seed"]) for row in rows if row["dataset"] == name}
    facts = {"labelled": len(bench.data.train), "unlabelled": bench.data.unlabelled_rows}
    if ("tf-idf", None, 0) not in done:
        rows.keep(bench.row("tf-idf", 0, linear_rival(bench.data), 0.0) | facts)
    bench.teach()
    if ("teacher", None, 0) not in done:
        rows.keep(own[-1] | facts)
    records: list[TrialRecord] = []
    for family in FAMILIES:
        recipes = recipes_of(bench, family)
        for arm, recipe in recipes.items():
            for seed in range(seeds):
                if (arm, family, seed) not in done:
                    bench.train(arm, recipe, seed)
                    rows.keep(own[-1] | {"family": family})
        records.append(_record(bench, recipes[WITH], len(records)))
    if ("latency", None, 0) in done:
        return
    assert bench.opened is not None
    teachers = Teachers({bench.part: TeacherRef(str(bench.teacher.folder), None, linear_score=0.0)})
    with tempfile.TemporaryDirectory() as nothing:
        kept = measure_frontier(bench.data, {bench.part: bench.opened}, teachers, records, Path(nothing))
    students = {family: kept["students"][record.recipe_id] for family, record in zip(FAMILIES, records, strict=True)}
    by_model = students | {"teacher": kept["teachers"][0], "tf-idf": kept["linear"]}
    rows.keep(bench.row("latency", 0, 0.0, 0.0, latency_ms=by_model, core_share=kept["core_share"]))


def _record(bench: Bench, recipe: Recipe, number: int) -> TrialRecord:
    """What the measurement of latencies needs of a trial."""
    data = bench.data
    return TrialRecord(
        study=bench.name, trial=number, role="given", state="complete", recipe_id=recipe.id, recipe_version=recipe.version,
        recipe=recipe.model_dump(), dataset=data.name, dataset_fingerprint=data.fingerprint, task=data.task, metric=data.metric,
        train_rows=len(data.train), seed=0, max_epochs=recipe.training.epochs,
    )  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each model of each dataset: mean scores over seeds; latencies in milliseconds for 1 and for 32 rows."""
    lines = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        own = [row for row in rows if row["dataset"] == dataset]
        latency: dict[str, Any] = next((row["latency_ms"] for row in own if row["arm"] == "latency"), {})
        teacher = next((row["test"] for row in own if row["arm"] == "teacher"), None)
        for model in ("tf-idf", "teacher", *FAMILIES):
            trained = [row for row in own if (row.get("family") or row["arm"]) == model and row["arm"] != WITHOUT]
            control = [row["test"] for row in own if row.get("family") == model and row["arm"] == WITHOUT]
            if not trained:
                continue
            score = statistics.fmean(row["test"] for row in trained)
            line = {"dataset": dataset, "metric": trained[0]["metric"], "model": model, "test": score, "seeds": len(trained)}
            line["no_kd"] = statistics.fmean(control) if control else None
            line["retention"] = score / teacher if teacher and model in FAMILIES else None
            line["params"] = trained[0].get("params")
            line["latency_ms"] = latency.get(model)
            line["seconds"] = statistics.fmean(row["seconds"] for row in trained) if model != "tf-idf" else None
            lines.append(line)
    return lines


HEADS = ("dataset", "model", "test", "no KD", "of the teacher", "parameters", "ms, 1 row", "ms, 32 rows", "s of training")


def cells(line: dict[str, Any]) -> list[str]:
    """A line of the table."""
    latency = line["latency_ms"] or (None, None)
    return [
        line["dataset"],
        line["model"],
        f"{line['test']:.3f}",
        "" if line["no_kd"] is None else f"{line['no_kd']:.3f}",
        "" if line["retention"] is None else f"{line['retention']:.1%}",
        "" if line["params"] is None else f"{line['params'] / 1e6:.2f} M",
        *("" if value is None else f"{value:.2f}" for value in latency),
        "" if line["seconds"] is None else f"{line['seconds']:.0f}",
    ]


PAGE = """# Families of students

`benchmarks/students.py` trains these, and writes this page from `studies/students.jsonl`. Each dataset has 2,000 labelled rows (or all it
has), and the rest of its training rows (at most 6,000) without labels. Every family is distilled on all rows as the space proposes it by
default, for 1,000 steps, {seeds}; `no KD` is the same student on the labelled rows without a teacher. `encoder` is the encoder of the
teacher, cut to three of its six layers. Scores are on the test split. Latencies are on one CPU thread, from text to logits, tokenizer
included. Seconds are of one core; a teacher's are 0 where it was in the cache. The cnn was measured before it had residual convolutions
(`student.blocks`; [what these gain](../studies/transfer/findings.md)), and students without a teacher when they still started from the
teacher's weights ([transfer.md](transfer.md)). The teacher of rte is hardly better than chance ([why](teachers.md)), so there is nothing to
distil, and what its students have of it says nothing.

{table}
"""


def page(lines: list[dict[str, Any]]) -> str:
    """The table as a page in Markdown."""
    seeds = min(line["seeds"] for line in lines if line["model"] in FAMILIES)
    rows = [HEADS, ("---", "---", *["---:"] * (len(HEADS) - 2)), *map(cells, lines)]
    return PAGE.format(seeds="one seed" if seeds == 1 else f"{seeds} seeds", table="\n".join(f"| {' | '.join(row)} |" for row in rows))


def main() -> int:
    """Train, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=[], choices=SETS, metavar="NAME", help="none: show what is kept")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--kept", type=Path, required=True, metavar="FILE", help="jsonl: where trainings are kept, and found again")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table as a page in Markdown, too")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    rows = KeptRows(args.kept, lambda row: f"{row['dataset']}: {row.get('family', '')} {row['arm']}: {row['test']:.4f}, {row['seconds']} s")
    try:
        for name in args.sets:
            run(name, args.seeds, rows)
    except AutodistillError as error:
        print(f"students: {error}", file=sys.stderr)
        return error.exit_code
    if not rows:
        parser.error(f"nothing is kept in {args.kept}; name --sets")
    lines = summary(rows)
    if args.page is not None:
        args.page.write_text(page(lines), encoding="utf-8")
    if args.json:
        print(json.dumps({"models": lines}, indent=2, allow_nan=False))
    else:
        grid = Grid(*HEADS, title="test split")
        for line in lines:
            grid.add_row(*cells(line))
        Console(width=None if sys.stdout.isatty() else 140).print(grid)
    return 0


if __name__ == "__main__":
    sys.exit(main())
