"""`autodistill report`: a study, or all of them, in one HTML file to send."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from autodistill.errors import StudyError, UsageError
from autodistill.report.leaderboard import short_path
from autodistill.study import Study
from autodistill.terminal.stages import shown


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser("report", help="write a study's report, one HTML file to send", description=__doc__)
    command.add_argument("study", metavar="STUDY", nargs="?", help="name of a study in --studies-dir, or its folder")
    command.add_argument("--out", metavar="FILE", type=Path, help="where to write it (default: report.html in the study's folder)")
    command.add_argument("--studies-dir", metavar="DIR", default="studies", help="the folder of studies (default: studies)")
    command.add_argument("--all", action="store_true", help="across all recorded studies: which pipelines win on which datasets")
    command.add_argument(
        "--evaluate", action="store_true", help="with --all: also judge the recommender on these studies, which takes minutes"
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the report, and print its path."""
    if args.all == (args.study is not None):
        raise UsageError("give one study, or --all for a report across the recorded studies")
    if args.evaluate and not args.all:
        raise UsageError("--evaluate judges the recommender on all recorded studies; give it with --all")
    if args.out is not None and args.out.is_dir():
        raise UsageError(f"--out is {str(args.out)!r}, a folder; give a file, {args.out / 'report.html'}")
    if args.out is not None and not args.out.absolute().parent.is_dir():
        raise StudyError(f"--out is {str(args.out)!r}, and there is no folder {args.out.absolute().parent}; make it, or give another file")
    if args.all:
        from autodistill.study_report import write_report_of_all

        with shown(sys.stderr) as listen:
            place = write_report_of_all(args.out or Path("report.html"), args.evaluate, listen)
    else:
        from autodistill.study_report import write_report

        place = write_report(Study.find(args.study, args.studies_dir), args.out)
    print(short_path(place.absolute()))
    return 0
