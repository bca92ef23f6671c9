"""`autodistill push`: a student on the Hugging Face hub."""

from __future__ import annotations

import argparse
import sys

from autodistill.cli.options import add_verbosity, verbosity
from autodistill.terminal.stages import shown


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "push",
        help="upload a student to the Hugging Face hub",
        description="Upload what `autodistill distill` wrote, with its model card and all that `export` wrote into it, to a repository of "
        "the Hugging Face hub. Log in with `hf auth login` first, or set HF_TOKEN.",
        allow_abbrev=False,
    )
    command.add_argument("folder", metavar="DIR", help="what `autodistill distill` wrote")
    command.add_argument("repo_id", metavar="OWNER/NAME", help="the repository; it is made where there is none")
    command.add_argument("--private", action="store_true", help="make a new repository readable to its owner alone")
    add_verbosity(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Upload, and print the address."""
    from autodistill.export.push import push_to_hub

    with shown(sys.stdout, verbosity(args)) as listen:
        address = push_to_hub(args.folder, args.repo_id, private=args.private, listen=listen)
    print(address)
    return 0
