"""`autodistill datasets`: lists the datasets that can be used by name."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict

from autodistill.cli.tables import listing, open_console
from autodistill.tasks import catalog


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser("datasets", help="list the datasets that can be used by name", description=__doc__)
    command.add_argument("--json", action="store_true", help="one JSON list on stdout")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the datasets."""
    entries = catalog()
    if args.json:
        print(json.dumps([asdict(entry) | {"group": entry.group} for entry in entries], indent=2))
        return 0
    console = open_console()
    shared = Counter(entry.group for entry in entries)
    rows = (
        (entry.name, entry.task, entry.metric, entry.source, entry.group if shared[entry.group] > 1 else "", entry.about)
        for entry in entries
    )
    console.print(listing(("name", "task", "metric", "from", "group", "what"), rows))
    console.print(
        "\nAny Hugging Face id and any path (csv, tsv, jsonl, parquet, folder of images) works too: see docs/data.md.", style="dim"
    )
    return 0
