"""Choosing between students where few rows have labels: by their score there, by their agreement with the teacher elsewhere, or by both.

python benchmarks/agreement.py --kept FOLDER [--sets trec sst2 …] [--rows 15 60 200 400 800] [--draws 1000] [--json]

For each of --sets, in the regime of benchmarks/transfer.py, students of a dozen recipes are trained (the baselines, the defaults of every
family, half of the teacher, and drawn recipes), and the logits of teacher and students for all validation and test rows are kept in
FOLDER/NAME.npz; a run that was stopped goes on. Then for each of --rows: so many rows are drawn as a validation split, up to 1,000 others
as rows without labels, and every rule chooses a student. Its loss is the accuracy of the best student on all other rows minus that of its
choice; shown are means over --draws. `score`: the accuracy on the drawn rows; `likelihood`: of their labels; `agreement`: with the
teacher's decisions on the rows without labels; `both`: the rule of a search (autodistill/train/agreement.py).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as Grid
from scipy.special import log_softmax
from transfer import SETS, Bench

from autodistill.errors import AutodistillError
from autodistill.models.base import StudentModule
from autodistill.recipe import Recipe
from autodistill.space import Space
from autodistill.train.agreement import ENOUGH

FAMILIES = ("bert", "bilstm", "static")
DRAWN = 3
RULES = ("score", "likelihood", "agreement", "both")
TEACHER, LABELS = "teacher", "labels"
JUDGED_ON = 200
"""Fewer rows than these are not enough to score a choice on."""


class Asked(Bench):
    """A bench that remembers what the model that it tests last said of every validation and test row."""

    answers: np.ndarray

    def tested(self, model: StudentModule, recipe: Recipe | None = None) -> float:
        """As of `Bench`."""
        on_validation, on_test = (self.asked(model, split, recipe) for split in (self.data.validation, self.test))
        self.answers = np.concatenate([on_validation, on_test])
        return self.data.target.evaluate(self.data.metric, on_test, self.test.labels)[self.data.metric]


def recipes_of(space: Space) -> dict[str, Recipe]:
    """The recipes to train, by name."""
    half = space.fixed("student.family", "bert").fixed("student.hidden_size", 384)
    recipes = {str(role): recipe for role, recipe in space.baselines().items()}
    recipes |= {family: space.fixed("student.family", family).defaults() for family in FAMILIES} | {"half of the teacher": half.defaults()}
    rng, drawn = random.Random(3), list[Recipe]()
    while len(drawn) < DRAWN:
        recipe = space.sample(rng)
        drawn += [recipe] if recipe.student.name != "bert" else []  # which takes minutes
    return recipes | {f"drawn {number}": recipe for number, recipe in enumerate(drawn)}


def train(name: str, folder: Path) -> None:
    """Train what is not kept yet."""
    file = folder / f"{name}.npz"
    bench = Asked(name, None, lambda row: None)
    bench.teach()
    labels = np.concatenate([bench.data.validation.labels, bench.test.labels])
    kept = {**(dict(np.load(file)) if file.exists() else {}), TEACHER: bench.answers, LABELS: labels}
    for arm, recipe in recipes_of(bench.space).items():
        if arm not in kept:
            bench.train(arm, recipe, 0)
            kept[arm] = bench.answers
            np.savez(file, **kept)
            print(f"{name}, {arm}: {(bench.answers.argmax(axis=1) == labels).mean():.4f}", flush=True)


def losses(kept: dict[str, np.ndarray], rows: int, draws: int, seed: int = 0) -> dict[str, float]:
    """For each rule the mean loss of accuracy of its choices with so many labelled rows. kept: logits (N, C) by model, and labels (N,).

    Raises:
        ValueError: there are too few rows.
    """
    labels, teacher = kept[LABELS], kept[TEACHER].argmax(axis=1)
    students = [logits for name, logits in kept.items() if name not in (TEACHER, LABELS)]
    right = np.stack([logits.argmax(axis=1) == labels for logits in students])
    agrees = np.stack([logits.argmax(axis=1) == teacher for logits in students])
    likelihood = np.stack([log_softmax(logits, axis=1)[np.arange(len(labels)), labels] for logits in students])
    others = min(ENOUGH, len(labels) - rows - JUDGED_ON)
    if others < 1:
        raise ValueError(f"{rows} of {len(labels)} rows leave too few for the rest")
    rng, lost = np.random.default_rng(seed), dict.fromkeys(RULES, 0.0)
    for _ in range(draws):
        drawn, elsewhere, rest = np.split(rng.permutation(len(labels)), [rows, rows + others])
        score, added = right[:, drawn].sum(axis=1), min(max(ENOUGH - rows, 0), others)
        merits = {
            "score": score,
            "likelihood": likelihood[:, drawn].sum(axis=1),
            "agreement": agrees[:, elsewhere].sum(axis=1),
            "both": score + agrees[:, elsewhere[:added]].sum(axis=1),
        }
        truth = right[:, rest].mean(axis=1)
        for rule, merit in merits.items():
            ties = np.flatnonzero(merit == merit.max())  # by lot
            lost[rule] += (truth.max() - truth[rng.choice(ties)]) / draws
    return lost


def show(lines: Sequence[dict[str, Any]]) -> None:
    """The table for people."""
    grid = Grid("dataset", "labelled rows", *RULES, title="accuracy lost against the best student")
    for line in lines:
        grid.add_row(line["dataset"], str(line["rows"]), *(f"{line[rule]:.4f}" for rule in RULES))
    for rows in dict.fromkeys(line["rows"] for line in lines):
        same = [line for line in lines if line["rows"] == rows]
        grid.add_row("mean", str(rows), *(f"{np.mean([line[rule] for line in same]):.4f}" for rule in RULES))
    Console(width=None if sys.stdout.isatty() else 120).print(grid)


def main() -> int:
    """Train, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=[], choices=list(SETS), metavar="NAME", help="none: show what is kept")
    parser.add_argument("--kept", type=Path, required=True, metavar="FOLDER", help="where answers are kept, and found again")
    parser.add_argument("--rows", nargs="*", type=int, default=[15, 60, 200, 400, 800])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    args.kept.mkdir(parents=True, exist_ok=True)
    try:
        for name in args.sets:
            train(name, args.kept)
    except AutodistillError as error:
        print(f"agreement: {error}", file=sys.stderr)
        return error.exit_code
    kept = {file.stem: dict(np.load(file)) for file in sorted(args.kept.glob("*.npz"))}
    if not kept:
        parser.error(f"nothing is kept in {args.kept}; name --sets")
    try:
        lines = [
            {"dataset": name, "rows": rows} | losses(answers, rows, args.draws) for rows in args.rows for name, answers in kept.items()
        ]
    except ValueError as error:
        parser.error(f"--rows: {error}")
    if args.json:
        print(json.dumps({"losses": lines}, indent=2))
    else:
        show(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
