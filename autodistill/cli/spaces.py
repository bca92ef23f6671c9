"""`autodistill spaces`: the search spaces that come with autodistill."""

from __future__ import annotations

import argparse
import json

from autodistill.cli.tables import listing, open_console
from autodistill.space import Domain, Space, shipped_spaces, space_tasks


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser("spaces", help="list the search spaces", description=__doc__)
    command.add_argument("name", nargs="?", help="show this space's parameters (a name or a path)")
    command.add_argument("--task", help="show it for this task type (default: the space's first)")
    command.add_argument("--json", action="store_true", help="one JSON value on stdout")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the spaces, or show one."""
    listed = {name: space_tasks(text) for name, text in shipped_spaces().items()}
    if args.name is None:
        if args.json:
            print(json.dumps([{"name": name, "about": about, "tasks": tasks} for name, about, tasks in listed.values()], indent=2))
            return 0
        lines = ((name, ", ".join(tasks), about) for name, about, tasks in listed.values())
        open_console().print(listing(("name", "tasks", "what"), lines))
        return 0
    task = args.task or (listed[args.name][2][0] if args.name in listed else "text-classification")
    space = Space.load(args.name, task)
    if args.json:
        print(json.dumps(space.to_dict(), indent=2))
        return 0
    rows = [
        (path, domain.describe(), "" if domain.kind == "value" else f"{domain.default}", _when(domain))
        for path, domains in space.parameters.items()
        for domain in domains
    ]
    open_console().print(listing(("parameter", "values", "default", "when"), rows))
    return 0


def _when(domain: Domain) -> str:
    return "; ".join(f"{key} is {' or '.join(map(str, values))}" for key, values in domain.when)
