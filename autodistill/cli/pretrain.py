"""`autodistill pretrain`: a student that learns a teacher's vectors of any texts, for recipes to start from."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Annotated

from autodistill.cli import options
from autodistill.cli.options import JSON_AT_THE_END
from autodistill.cli.streams import text_output
from autodistill.option import KEPT, QUESTION, setting
from autodistill.report.leaderboard import finite, short_path
from autodistill.settings import PretrainSettings
from autodistill.terminal.stages import shown
from autodistill.values import FLAG

EPILOG = """examples:
  autodistill pretrain --text corpus.txt --student studies/sst2 --out pretrained/cnn
  autodistill pretrain --text mails.csv --text notes/ --student recipe.yaml --teacher all-MiniLM-L6-v2 --steps 20000
"""


class PretrainCommand(PretrainSettings):
    """The command's settings, and the form of its output."""

    as_json: Annotated[bool, FLAG] = setting(False, JSON_AT_THE_END, None, KEPT, "--json")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "pretrain",
        help="pretrain a student on any texts, for recipes to start from",
        description="Train a recipe's student to give a teacher's vectors of any texts, without a task or labels, and write it into a "
        "folder. Recipes and spaces start from it with `student.init: DIR` (docs/pretraining.md).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_options(command, PretrainCommand)
    options.add_verbosity(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Pretrain, and print the folder."""
    asked = options.read_options(args, PretrainCommand)
    with text_output(asked.as_json) as out:
        with shown(out, options.verbosity(args)) as listen, _saying_that_the_command_continues():
            asked.check()
            from autodistill.pretraining import pretrain  # torch: seconds

            done = pretrain(**asked.part(PretrainSettings), command=asked.command_line(QUESTION), listen=listen)
        folder = short_path(done.folder)
        folder = folder if "/" in folder else f"./{folder}"
        facts = done.facts
        out.write(
            f"\n{facts['metric']} {facts['score']:.4f} after {facts['steps']:,} steps on {facts['texts']['train']:,} texts\n"
            f"student {folder}   start from it: in a recipe or a space, student.init: {folder}\n"
        )
    if asked.as_json:
        print(json.dumps(finite({"folder": str(done.folder), **done.facts}), indent=2, ensure_ascii=False, allow_nan=False))
    return 0


@contextlib.contextmanager
def _saying_that_the_command_continues() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from the last evaluation.", file=sys.stderr)
        raise
