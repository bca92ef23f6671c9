"""`autodistill completion`: a script with which a shell completes commands, options and files."""

from __future__ import annotations

import argparse

SHELLS = ("bash", "zsh")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser("completion", help="print a completion script for a shell", description=__doc__)
    command.add_argument("shell", choices=SHELLS)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    print(shtab.complete(args.parser, args.shell))
    return 0
