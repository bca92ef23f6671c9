"""`autodistill distill`: train a recipe in full, test it once, write the student."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autodistill.cli import options
from autodistill.cli.stages import all_to_stderr, shown
from autodistill.errors import UsageError
from autodistill.recipe import Recipe
from autodistill.report import texts
from autodistill.report.leaderboard import finite, short_path

EPILOG = """examples:
  autodistill distill studies/sst2/recommended.yaml --dataset sst2 --out sst2-student
  autodistill distill studies/sst2 --dataset sst2 --out sst2-student --seeds 5 --workers 2
  autodistill distill recipe.yaml --dataset my/reviews.csv --text-column body --label-column stars --out student --no-control
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "distill",
        help="train a recipe in full, test it once, write the student",
        description="Train a recipe's student in full with several seeds, keep the best by validation, open the test split once, "
        "and write a folder that transformers, timm or torch opens, with a model card.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("recipe", metavar="RECIPE", help="a recipe's file, or a study's folder (its recommended.yaml)")
    options.add_dataset(command)
    command.add_argument("--out", metavar="DIR", required=True, help="the folder to write")
    command.add_argument("--seeds", metavar="N", type=options.whole(1), default=3, help="students to train (default: 3)")
    command.add_argument("--seed", metavar="S", type=options.whole(0), default=0, help="the first one; also of the splits and the teacher")
    command.add_argument("--no-control", action="store_true", help="train no student without a teacher beside; no distillation ratio then")
    command.add_argument(
        "--workers", metavar="N", type=options.whole(1), default=1, help="trainings at a time (default: 1, with all cores)"
    )
    command.add_argument("--overwrite", action="store_true", help="replace DIR, if it holds a student")
    command.add_argument("--json", action="store_true", help="one JSON object on stdout at the end; all else goes to stderr")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Distil, and say what came of it."""
    if not args.dataset.strip():
        raise UsageError("--dataset is empty; give a name (see `autodistill datasets`), a hub id or a path")
    with all_to_stderr() if args.json else contextlib.nullcontext(sys.stdout) as out:
        with shown(out) as listen, _told_that_finished_seeds_are_kept():
            from autodistill.export.distill import check_target, distill  # torch: seconds

            recipe = Recipe.load(args.recipe)
            check_target(Path(args.out), args.overwrite)
            done = distill(
                recipe,
                args.dataset,
                args.out,
                seeds=args.seeds,
                seed=args.seed,
                limit_train=args.limit_train,
                unlabelled=tuple(args.unlabelled),
                limit_unlabelled=args.limit_unlabelled,
                text_columns=None if args.text_column is None else tuple(args.text_column),
                label_column=args.label_column,
                control=not args.no_control,
                workers=args.workers,
                overwrite=args.overwrite,
                command=command_line(args),
                listen=listen,
            )
        out.write("\n" + report(done.facts, short_path(done.folder)) + "\n")
    if args.json:
        print(json.dumps(finite({"folder": str(done.folder), **done.facts}), indent=2, ensure_ascii=False, allow_nan=False))
    return 0


@contextlib.contextmanager
def _told_that_finished_seeds_are_kept() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on: a teacher and seeds that were finished are kept.", file=sys.stderr)
        raise


def command_line(args: argparse.Namespace) -> str:
    """The command, as it can be pasted into a shell."""
    words = ["autodistill", "distill", args.recipe, "--dataset", args.dataset, "--out", args.out, "--seeds", str(args.seeds)]
    for name in ("seed", "limit_train", "limit_unlabelled", "label_column"):
        value = getattr(args, name)
        words += [f"--{name.replace('_', '-')}", str(value)] if value else []
    for place in args.unlabelled:
        words += ["--unlabelled", place]
    for column in args.text_column or []:
        words += ["--text-column", column]
    return shlex.join([*words, *(["--no-control"] if args.no_control else [])])


def report(facts: dict[str, Any], folder: str) -> str:
    """What came of it, in a few lines."""
    teacher, student, test = facts["teacher"], facts["student"], facts["test"]
    lines = [f"test {facts['dataset']['metric']} {texts.score(student['test'])} (seed {student['seed']}, chosen by validation)"]
    if test["sd"] is not None:
        lines[0] += f"; {test['mean']:.4f} ± {test['sd']:.4f} over {len(facts['seeds'])} seeds"
    lines.append(f"teacher {texts.score(teacher['test'])}: retention {texts.percent(student['retention'])}")
    if test["no_kd_mean"] is not None:
        ratio = test["distillation_ratio"]
        told = "distillation ratio not defined, it is no worse than the teacher" if ratio is None else f"distillation ratio {ratio:.2f}"
        lines.append(f"no KD {texts.score(test['no_kd_mean'])}: {told}")
    lines.append(
        f"{texts.params(student['params'])} parameters, {teacher['params'] / student['params']:.1f}× fewer; "
        f"{texts.latency(student['latency_ms'])}, {teacher['latency_ms'] / student['latency_ms']:.1f}× faster ({facts['latency_of']})"
    )
    lines.append(
        f"student {folder}   try it: autodistill predict {shlex.quote(folder)} …   export: autodistill export {shlex.quote(folder)}"
    )
    return "\n".join(lines)
