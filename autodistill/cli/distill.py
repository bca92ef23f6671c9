"""`autodistill distill`: train a recipe in full, test it once, write the student."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from autodistill.cli import options
from autodistill.cli.options import JSON_AT_THE_END
from autodistill.cli.streams import text_output
from autodistill.option import KEPT, QUESTION, setting
from autodistill.report import texts
from autodistill.report.leaderboard import finite, short_path
from autodistill.settings import DistillSettings
from autodistill.terminal.stages import shown
from autodistill.values import FLAG

EPILOG = """examples:
  autodistill distill studies/sst2 --out sst2-student
  autodistill distill studies/sst2 --dataset imdb --out imdb-student --seeds 5 --workers 2
  autodistill distill recipe.yaml --dataset my/reviews.csv --text-column body --label-column stars --out student --no-control
  autodistill distill recipe.yaml --dataset trec --limit-train 500 --teacher-scores scores.parquet --out trec-student
"""


class DistillCommand(DistillSettings):
    """The command's settings, and the form of its output."""

    as_json: Annotated[bool, FLAG] = setting(False, JSON_AT_THE_END, None, KEPT, "--json")


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
    options.add_options(command, DistillCommand)
    options.add_verbosity(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Distil, and print the result."""
    asked = options.read_options(args, DistillCommand)
    with text_output(asked.as_json) as out:
        with shown(out, options.verbosity(args)) as listen, _saying_that_finished_seeds_are_kept():
            from autodistill.export.distill import check_target, distill  # torch: seconds

            asked.check()
            check_target(Path(asked.out), asked.overwrite)
            command = asked.command_line(QUESTION, always=("out",))
            done = distill(**asked.part(DistillSettings), command=command, listen=listen)
        out.write("\n" + report(done.facts, short_path(done.folder)) + "\n")
    if asked.as_json:
        print(json.dumps(finite({"folder": str(done.folder), **done.facts}), indent=2, ensure_ascii=False, allow_nan=False))
    return 0


@contextlib.contextmanager
def _saying_that_finished_seeds_are_kept() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print("\nStopped. The same command continues: a teacher and seeds that are finished are kept.", file=sys.stderr)
        raise


def report(facts: dict[str, Any], folder: str) -> str:
    """The result in a few lines."""
    teacher, student, test = facts["teacher"], facts["student"], facts["test"]
    lines = [f"test {facts['dataset']['metric']} {texts.score(student['test'])} (seed {student['seed']}, chosen by validation)"]
    if test["sd"] is not None:
        lines[0] += f"; {test['mean']:.4f} ± {test['sd']:.4f} over {len(facts['seeds'])} seeds"
    lines += _beside_teacher(facts)
    size, speed = f"{texts.params(student['params'])} parameters", texts.latency(student["latency_ms"])
    if teacher["params"] is not None:
        size += f", {teacher['params'] / student['params']:.1f}× fewer"
        speed += f", {teacher['latency_ms'] / student['latency_ms']:.1f}× faster"
    lines.append(f"{size}; {speed} ({facts['latency_of']})")
    lines.append(
        f"student {folder}   try it: autodistill predict {shlex.quote(folder)} …   export: autodistill export {shlex.quote(folder)}"
    )
    return "\n".join(lines)


def _beside_teacher(facts: dict[str, Any]) -> list[str]:
    """The student compared with its teacher, and with the same student without one."""
    teacher, test = facts["teacher"], facts["test"]
    beside = test["beside_teacher"]
    if beside is None:
        covered = teacher["scores"]["coverage"]["test"]
        lines = [f"teacher: no test score, because its file has scores for only {covered:.1%} of the test rows; so no retention"]
        if test["no_kd_mean"] is not None:
            lines.append(f"no KD {texts.score(test['no_kd_mean'])}: distillation gains {test['mean'] - test['no_kd_mean']:+.4f}")
        return lines
    part = "" if beside["rows"] == facts["dataset"]["rows"]["test"] else f" on the {beside['rows']:,} test rows with scores in its file"
    lines = [f"teacher {texts.score(teacher['test'])}{part}: retention {texts.percent(facts['student']['retention'])}"]
    if test["no_kd_mean"] is not None:
        ratio = test["distillation_ratio"]
        shown = "distillation ratio not defined: it is no worse than the teacher" if ratio is None else f"distillation ratio {ratio:.2f}"
        lines.append(f"no KD {texts.score(beside['no_kd_mean'])}: {shown}")
    return lines
