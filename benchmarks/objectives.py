"""Trains one fixed student with each objective alone, to measure what the objective adds to the hard labels.

    AUTODISTILL_DATA=DIR python benchmarks/objectives.py                   run what is missing, then print the table
    python benchmarks/objectives.py --render                               write docs/objectives_table.md from the recorded trials

An arm is the hard labels at weight 1 and one objective, at the weight around which its docstring says to search. Nothing else changes.
The controls: hard labels alone (no KD), label smoothing, and kl with a teacher of random weights. Students start from random weights, so
that the objective is all that they get from the teacher. Text: a cnn; objectives on attention need a transformer, so they have a bert
and its own controls. Every finished trial is appended to OUT/trials.jsonl. Trials that are in this file are not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from autodistill.components import specs
from autodistill.errors import AutodistillError, RunError, UsageError
from autodistill.families import fitting_families
from autodistill.recipe import SLOTS, Recipe, Teacher
from autodistill.space import Space
from autodistill.task_types import IMAGE, target_of
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.train.assignment import Assignment

HERE = Path(__file__).resolve().parent.parent
DATASETS = ("sst2", "trec", "rte", "cifar10")

STUDENTS: dict[str, tuple[dict[str, Any], float]] = {
    "cnn": ({"family": "cnn", "embedding_size": 64, "channels": 64, "init": "random", "vocabulary": "trimmed"}, 2e-3),
    "bert": ({"family": "bert", "layers": 2, "hidden_size": 96, "heads": 12, "init": "random", "vocabulary": "trimmed"}, 3e-4),
    "timm": ({"family": "timm:lcnet_050"}, 2e-3),
}
"""Student and learning rate."""

WEIGHTS: dict[tuple[str, str], float] = {
    ("prediction", "dkd"): 0.125,
    ("intermediate", "mi"): 0.1,
    ("contrastive", "wcord"): 10.0,
    ("attention", "mse"): 10.0,
    ("attention", "kl"): 10.0,
    ("attention", "minilm"): 10.0,
    ("attention", "minilmv2"): 5.0,
    ("relation", "rkd"): 25.0,
    ("relation", "sp"): 100.0,
    ("relation", "cc"): 100.0,
}
"""The weights around which docstrings say to search, if not 1."""

VARIANTS: dict[tuple[str, str], tuple[dict[str, Any], ...]] = {
    ("intermediate", "mi"): ({"mi_alpha": 0.1}, {"mi_alpha": 0.5}, {"mi_alpha": 0.9}),
    ("contrastive", "crd"): ({"negatives": "bank"}, {"negatives": "batch", "weight": 0.05}),
    ("attention", "minilmv2"): ({"relation_heads": 12},),
}
NO_KD, SMOOTHING, RANDOM_TEACHER = "no KD", "label smoothing 0.1", "random teacher"


@dataclass(frozen=True)
class Arm:
    """One row of the table: a student of STUDENTS, and what it learns from."""

    name: str
    student: str
    slot: str
    objective: dict[str, Any]
    random_teacher: bool = False


def arms(task: str) -> list[Arm]:
    """The arms of a task type: controls, then every objective that fits it."""
    student = "timm" if task in IMAGE else "cnn"
    listed = controls(task, student)
    for slot in SLOTS:
        families = {kind: fitting_families(spec, task) or (student,) for kind, spec in specs(f"objective.{slot}", task).items()}
        if "bert" in {family for allowed in families.values() for family in allowed}:
            listed += [*controls(task, "bert"), Arm(soft(task)["prediction"]["kind"], "bert", "prediction", soft(task))]
        for kind, allowed in sorted(families.items()):
            listed += [Arm(name, allowed[0], slot, objective) for name, objective in variants(slot, kind)]
    return listed


def soft(task: str) -> dict[str, Any]:
    """Plain distillation: kl for classes, mse for scores."""
    return {"prediction": {"kind": target_of(task).soft_loss["kind"]}}


def controls(task: str, student: str) -> list[Arm]:
    """No KD, label smoothing, and plain distillation from a random teacher."""
    listed = [Arm(NO_KD, student, "controls", {})]
    if target_of(task).has_label_smoothing:
        listed.append(Arm(SMOOTHING, student, "controls", {"label_smoothing": 0.1}))
    kind = soft(task)["prediction"]["kind"]
    return [*listed, Arm(f"{kind}, {RANDOM_TEACHER}", student, "controls", soft(task), random_teacher=True)]


def variants(slot: str, kind: str) -> Iterable[tuple[str, dict[str, Any]]]:
    """The variants in which an objective is run: name, and the recipe's `objective`."""
    weight = WEIGHTS.get((slot, kind), 1.0)
    for changes in VARIANTS.get((slot, kind), ({},)):
        part = {"kind": kind, "weight": weight, **changes}
        if slot == "intermediate":
            part |= {"tokens": "mean"}  # the layer map is skip: at the same share of the depth
        name = " ".join(
            [kind, *(f"{value}" if isinstance(value, str) else f"{key} {value:g}" for key, value in changes.items() if key != "weight")]
        )
        yield name, {slot: part}


def recipe_of(arm: Arm, task: str, teacher: Teacher, epochs: int) -> Recipe:
    """The arm as a recipe."""
    student, learning_rate = STUDENTS[arm.student]
    kept = teacher.model_dump() | ({"init": "random"} if arm.random_teacher else {})
    training = {"epochs": epochs, "batch_size": 32, "learning_rate": learning_rate}
    return Recipe.parse({"task": task, "teacher": kept, "student": student, "objective": arm.objective, "training": training})


def run_one(recipe: dict[str, Any], ref: DatasetRef, seed: int, teacher: str, threads: int) -> dict[str, Any]:
    """Train one student, in a process of the pool (to which a recipe goes as plain data)."""
    from autodistill.train.trial import run_trial

    parsed = Recipe.parse(recipe)
    result = run_trial(Assignment(parsed, ref, seed, parsed.training.epochs, teacher, threads), lambda point: None)
    return {"score": result.score, "params": result.params, "seconds": round(sum(result.seconds_by_stage.values()), 2)}


def recorded(path: Path) -> list[dict[str, Any]]:
    """The trials of a file; a last line that was cut off when its writer was killed is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    records = [json.loads(line) for line in lines[:-1]]
    if lines[-1]:
        path.write_text("".join(f"{line}\n" for line in lines[:-1]), encoding="utf-8")
    return records


def run_dataset(name: str, args: argparse.Namespace, path: Path) -> list[str]:
    """Run the missing trials of one dataset. Returns those that failed."""
    from autodistill.teacher.finetune import finetune_teacher

    ref = DatasetRef(name, args.limit_train)
    dataset = load_dataset(ref)
    (teacher,) = Space.load(dataset.modality.name, dataset.task).teachers()
    if args.teacher is not None:
        teacher = teacher.model_copy(update={"model": args.teacher})
    before = [row for row in recorded(path) if row["dataset"] == dataset.name]
    for row in before:
        if (row["fingerprint"], row["epochs"], row["recipe"]["teacher"]["model"]) != (dataset.fingerprint, args.epochs, teacher.model):
            raise UsageError(f"{path} has trials of {dataset.name} with other rows, epochs or another teacher; give another --out")
    done = {(row["recipe_id"], row["seed"]) for row in before}
    wanted = []
    for arm in arms(dataset.task):
        recipe = recipe_of(arm, dataset.task, teacher, args.epochs)
        if args.arms is None or arm.name in args.arms:
            wanted += [(arm, recipe, seed) for seed in range(args.seeds) if (recipe.id, seed) not in done]
    if not wanted:
        return []
    folders, scores = {}, {}
    for part in {recipe.teacher for _, recipe, _ in wanted}:
        say(f"{dataset.name}: teacher {part.model} ({part.init})")
        trained = finetune_teacher(dataset, part, seed=0, threads=args.threads)
        folders[part], scores[part] = str(trained.folder), trained.score
    failed = []
    with ProcessPoolExecutor(args.workers, multiprocessing.get_context("spawn")) as pool:
        jobs = {}
        for arm, recipe, seed in wanted:
            job = pool.submit(run_one, recipe.model_dump(), ref, seed, folders[recipe.teacher], args.threads)
            jobs[job] = arm, recipe, seed
        for number, job in enumerate(as_completed(jobs), 1):
            arm, recipe, seed = jobs[job]
            label = f"{dataset.name}: {arm.student}, {arm.name}, seed {seed}"
            try:
                result = job.result()
            except Exception as error:  # one arm's failure is told at the end, and the others go on
                failed.append(f"{label}: {type(error).__name__}: {error}")
                continue
            row = row_of(dataset, arm, recipe, seed, args, scores[recipe.teacher]) | result
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, sort_keys=True) + "\n")
            say(f"{number}/{len(jobs)} {label}: {row['score']:.4f} in {row['seconds']} s")
    return failed


def row_of(dataset: Dataset, arm: Arm, recipe: Recipe, seed: int, args: argparse.Namespace, teacher_score: float) -> dict[str, Any]:
    """The facts that are recorded of a trial beside its result."""
    facts = {"dataset": dataset.name, "fingerprint": dataset.fingerprint, "task": dataset.task, "metric": dataset.metric}
    sizes = {"train_rows": len(dataset.train), "validation_rows": len(dataset.validation), "epochs": args.epochs, "seed": seed}
    what = {"arm": arm.name, "student": arm.student, "slot": arm.slot, "teacher_score": teacher_score}
    return facts | sizes | what | {"recipe_id": recipe.id, "recipe": recipe.model_dump()}


@dataclass(frozen=True)
class Cell:
    """An arm on a dataset. sd: of the seeds' scores, None for one seed. gain: the mean less that of the same student's no KD, and in
    standard errors of that difference (None where no spread is known, or there is none).
    """

    mean: float
    sd: float | None
    seeds: int
    gain: float | None
    gain_in_errors: float | None


Key = tuple[str, str, str]
"""Student, slot and arm."""


def cells(rows: Sequence[dict[str, Any]]) -> dict[Key, dict[str, Cell]]:
    """By arm and dataset, arms in the order in which they are run."""
    scores: dict[Key, dict[str, list[float]]] = {}
    for row in rows:
        scores.setdefault((row["student"], row["slot"], row["arm"]), {}).setdefault(row["dataset"], []).append(row["score"])
    order = {
        (arm.student, arm.slot, arm.name): number for task in sorted({row["task"] for row in rows}) for number, arm in enumerate(arms(task))
    }
    table: dict[Key, dict[str, Cell]] = {}
    for key in sorted(scores, key=lambda key: (key[0] == "bert", *(order.get(key, math.inf),), key)):
        bare = scores.get((key[0], "controls", NO_KD), {})
        table[key] = {dataset: cell(mine, bare.get(dataset)) for dataset, mine in scores[key].items()}
    return table


def cell(mine: list[float], bare: list[float] | None) -> Cell:
    """The statistics of one arm's scores against those without a teacher; the difference's error is √(s²/n + s₀²/n₀)."""
    sd = statistics.stdev(mine) if len(mine) > 1 else None
    mean = statistics.fmean(mine)
    if bare is None or bare is mine:
        return Cell(mean, sd, len(mine), None, None)
    gain = mean - statistics.fmean(bare)
    error = 0.0
    if len(mine) > 1 and len(bare) > 1:
        error = math.sqrt(statistics.variance(mine) / len(mine) + statistics.variance(bare) / len(bare))
    return Cell(mean, sd, len(mine), gain, gain / error if error else None)


def text_of(one: Cell | None) -> str:
    """`0.8120 ± 0.0060 (+2.1)`."""
    if one is None:
        return "–"
    spread = "" if one.sd is None else f" ± {one.sd:.4f}"
    return f"{one.mean:.4f}{spread}" + ("" if one.gain_in_errors is None else f" ({one.gain_in_errors:+.1f})")


def chance(seeds: int) -> float:
    """How often chance alone gives more than two standard errors, in either direction: Student's t with 2n − 2 degrees of freedom."""
    return float(2 * stats.t.sf(2.0, 2 * seeds - 2))


def page(rows: Sequence[dict[str, Any]]) -> str:
    """docs/objectives_table.md."""
    table = cells(rows)
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    facts = {row["dataset"]: row for row in rows if not row["arm"].endswith(RANDOM_TEACHER)}
    seeds = sorted({one.seeds for by_dataset in table.values() for one in by_dataset.values()})
    parts = [HEAD]
    for name, row in facts.items():
        sizes = f"{row['train_rows']:,} training and {row['validation_rows']:,} validation rows, {row['epochs']} epochs"
        parts.append(f"- **{name}**: {row['metric']}, {sizes}, teacher {row['teacher_score']:.4f}")
    compared = [one for by_dataset in table.values() for one in by_dataset.values() if one.gain_in_errors is not None]
    if compared and seeds[0] > 1:
        better, worse = (sum(sign * (one.gain_in_errors or 0) > 2 for one in compared) for sign in (1, -1))
        parts.append(
            f"\nOf {len(compared)} comparisons with no KD, {better} are better and {worse} worse by more than two standard errors; with "
            f"{seeds[0]} seeds, {chance(seeds[0]):.0%} would be beyond them, one way or the other, if nothing made any difference."
        )
    for student in dict.fromkeys(key[0] for key in table):
        parts.append(f"\n## {STUDENTS[student][0]['family']}\n")
        shown = [name for name in datasets if any(key[0] == student and name in cells_of for key, cells_of in table.items())]
        parts += [f"| slot | objective | {' | '.join(shown)} |", "|---|---|" + "---|" * len(shown)]
        for key, cells_of in table.items():
            if key[0] == student:
                parts.append(f"| {key[1]} | {key[2]} | {' | '.join(text_of(cells_of.get(name)) for name in shown)} |")
    return "\n".join(parts) + "\n"


HEAD = """# Every objective alone

What each objective adds to the hard labels, for one fixed student. `benchmarks/objectives.py` measures it, says how, and writes this page
from the trials in `studies/objectives/`. A cell has the mean ± standard deviation over seeds on the validation split, at the best epoch. In
brackets is the difference to the same student without KD, in standard errors of that difference. No trial is left out. Each weight is the
one around which the objective's docstring says to search. None was tuned, so a row shows what an objective gives untuned, not what it can
give. kl is plain distillation. The rows of wcord were measured before it was debiased, when it could end in a collapse, and have not been
measured again.
"""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=DATASETS, metavar="NAME|PATH", help=f"default: {' '.join(DATASETS)}")
    parser.add_argument("--limit-train", type=int, default=8000, metavar="N", help="training rows at most (default: 8000)")
    parser.add_argument("--epochs", type=int, default=6, help="default: 6")
    parser.add_argument("--seeds", type=int, default=3, help="default: 3")
    parser.add_argument("--arms", nargs="+", metavar="NAME", help="only the arms of these names")
    parser.add_argument("--teacher", metavar="MODEL", help="instead of the space's")
    parser.add_argument("--workers", type=int, default=1, help="number of trials at a time (default: 1)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each (default: 1)")
    parser.add_argument("--out", type=Path, default=HERE / "studies" / "objectives", metavar="DIR", help="default: studies/objectives")
    parser.add_argument("--render", action="store_true", help="run nothing, write docs/objectives_table.md")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args(words)
    path = args.out / "trials.jsonl"
    try:
        failed = [] if args.render else run(args, path)
        for line in failed:
            say(f"failed: {line}")
        rows = recorded(path)
        if not rows:
            raise UsageError(f"{path} has no trials to show; run this without --render first")
    except AutodistillError as error:
        say(f"objectives: {error}")
        return error.exit_code
    if args.render:
        (HERE / "docs" / "objectives_table.md").write_text(page(rows), encoding="utf-8")
    if args.json:
        listed = [
            {"student": key[0], "slot": key[1], "arm": key[2], "dataset": dataset, **vars(one)}
            for key, by_dataset in cells(rows).items()
            for dataset, one in by_dataset.items()
        ]
        print(json.dumps({"cells": listed, "failed": failed}, indent=2, allow_nan=False))
    elif not args.render:
        print(page(rows))
    return RunError.exit_code if failed else 0


def run(args: argparse.Namespace, path: Path) -> list[str]:
    """Run the missing trials of every dataset. Returns those that failed."""
    args.out.mkdir(parents=True, exist_ok=True)
    return [line for name in args.datasets for line in run_dataset(name, args, path)]


if __name__ == "__main__":
    sys.exit(main())
