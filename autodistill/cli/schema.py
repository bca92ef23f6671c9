"""`autodistill schema`: the JSON Schema of recipe files or space files, for editors."""

from __future__ import annotations

import argparse
from pathlib import Path

from autodistill.errors import UsageError
from autodistill.schema import SCHEMAS, as_text


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser("schema", help="print the JSON Schema of recipe or space files, for editors", description=__doc__)
    command.add_argument("what", choices=[*SCHEMAS], help="which files")
    command.add_argument("--out", metavar="FILE", type=Path, help="write it there (default: print it)")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or write the schema."""
    text = as_text(SCHEMAS[args.what]())
    if args.out is None:
        print(text, end="")
        return 0
    try:
        args.out.write_text(text, encoding="utf-8")
    except OSError as cause:
        raise UsageError(f"--out is {str(args.out)!r}, which cannot be written: {cause}") from None
    return 0
