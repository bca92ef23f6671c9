"""`autodistill studies`: list the recorded studies that recommendations come from, and add your own."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from autodistill.cli.tables import listing, open_console
from autodistill.limits import Limits
from autodistill.ranking import rank
from autodistill.recommender import library
from autodistill.recommender.library import RecordedStudy
from autodistill.report import texts


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser("studies", help="list the recorded studies that recommendations come from", description=__doc__)
    command.add_argument("--json", action="store_true", help="one JSON value on stdout")
    command.set_defaults(run=_list)
    actions = command.add_subparsers(dest="action", metavar="show|add")

    show = actions.add_parser("show", help="describe one")
    show.add_argument("name")
    show.add_argument("--json", action="store_true", help="one JSON value on stdout")
    show.set_defaults(run=_show)

    add = actions.add_parser("add", help="add a study of your own, so that recommendations learn from it")
    add.add_argument("folder", metavar="FOLDER", type=Path, help="a study's folder, made by `autodistill search`")
    add.add_argument("--name", help="the entry's name (default: the study's)")
    add.add_argument("--group", help="the group of datasets that share their source (default: the dataset's)")
    add.add_argument(
        "--library", metavar="DIR", type=Path, help="the library's folder (default: AUTODISTILL_LIBRARY, or ~/.autodistill/studies)"
    )
    add.set_defaults(run=_add)


def _list(args: argparse.Namespace) -> int:
    studies = library.library()
    if args.json:
        print(json.dumps([_summary(study) for study in studies], indent=2))
        return 0
    lines = []
    for study in studies:
        summary = _summary(study)
        best = "" if summary["best_retention"] is None else f"{summary['best_retention']:.1%}"
        size = f"{study.train_rows:,}"
        counts = str(summary["recipes"]), str(summary["trials"])
        lines.append((study.name, study.task, size, texts.score(study.teacher_score), best, *counts))
    open_console().print(listing(("name", "task", "rows", "teacher", "retention", "recipes", "trials"), lines))
    return 0


def _show(args: argparse.Namespace) -> int:
    study = library.find(args.name)
    facts = _summary(study)
    if args.json:
        print(json.dumps({**facts, "about": study.about}, indent=2, default=str))
        return 0
    top = rank(study.records, Limits())[:5]
    lines = []
    for record in top:
        costs = str(record.trial), texts.score(record.score), texts.params(record.params)
        lines.append((*costs, texts.student(record.recipe), texts.objective(record.recipe)))
    console = open_console()
    console.print(listing(("fact", "value"), ((name, str(value)) for name, value in facts.items())))
    console.print()
    console.print(listing(("trial", study.metric, "params", "student", "objective"), lines))
    console.print()
    console.print(listing(("dataset feature", "value"), ((name, f"{value:.4g}") for name, value in study.features.items())))
    return 0


def _add(args: argparse.Namespace) -> int:
    from autodistill.recording import add_study  # torch

    place = add_study(args.folder, name=args.name, group=args.group, library=args.library)
    study = library.load(place)
    learned = args.library is None or args.library.expanduser().resolve() == library.own_library().resolve()
    use = "learn from them from now on" if learned else f"learn from them with AUTODISTILL_LIBRARY={args.library}"
    print(f"{study.name}: {len(study.records)} trials on {study.dataset} are in {place}; recommendations {use}")
    return 0


def _summary(study: RecordedStudy) -> dict[str, object]:
    complete = rank(study.records, Limits())
    states = Counter(record.state for record in study.records)
    best = complete[0] if complete else None
    return {
        "name": study.name,
        "dataset": study.dataset,
        "group": study.group,
        "task": study.task,
        "metric": study.metric,
        "train_rows": study.train_rows,
        "teacher_score": study.teacher_score,
        "recipes": len({record.recipe_id for record in complete}),
        "trials": len(study.records),
        "states": dict(states),
        "repeated": len({record.recipe_id for record in study.records if record.role == "repeat" and record.state == "complete"}),
        "best_score": None if best is None else best.score,
        "best_retention": None if best is None else best.retention,
        "seconds": round(sum(record.seconds or 0.0 for record in study.records)),
    }
