"""`autodistill spaces`: the search spaces that are shipped."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.table import Table

from autodistill.space import Space, shipped_spaces, space_tasks


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser("spaces", help="list the search spaces", description=__doc__)
    command.add_argument("name", nargs="?", help="show this space's parameters (a name or a path)")
    command.add_argument("--task", help="for this task type (default: the space's first)")
    command.add_argument("--json", action="store_true", help="one JSON value on stdout")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List them, or show one."""
    console = Console()
    listed = {name: space_tasks(text) for name, text in shipped_spaces().items()}
    if args.name is None:
        if args.json:
            print(json.dumps([{"name": name, "about": about, "tasks": tasks} for name, about, tasks in listed.values()], indent=2))
            return 0
        table = Table("name", "tasks", "what", box=None, header_style="bold")
        for name, about, tasks in listed.values():
            table.add_row(name, ", ".join(tasks), about)
        console.print(table)
        return 0
    task = args.task or (listed[args.name][2][0] if args.name in listed else "text-classification")
    space = Space.load(args.name, task)
    if args.json:
        print(json.dumps(space.to_dict(), indent=2))
        return 0
    table = Table("parameter", "values", "default", "when", box=None, header_style="bold")
    for path, domains in space.parameters.items():
        for domain in domains:
            when = "; ".join(f"{key} is {' or '.join(map(str, values))}" for key, values in domain.when)
            table.add_row(path, domain.describe(), f"{domain.default}", when)
    console.print(table)
    return 0
