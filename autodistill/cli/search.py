"""`autodistill search`: search the distillation pipeline for a dataset; it needs only a dataset."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, TextIO

from rich.console import Console
from rich.text import Text

from autodistill.cli import options
from autodistill.cli.options import JSON_AT_THE_END
from autodistill.cli.streams import text_output
from autodistill.errors import ExhaustedError, RunError, StudyError
from autodistill.events import StageName
from autodistill.option import KEPT, setting
from autodistill.ranking import searched
from autodistill.records import TrialRecord, read_records
from autodistill.report.choices import distill_command
from autodistill.report.frontier import advice, note
from autodistill.report.frontier import table as frontier_table
from autodistill.report.importance import component_importance, sentence
from autodistill.report.leaderboard import above_best, data_reading, failures, rows, short_path, table
from autodistill.report.track import TRACKERS, check_tracker, tracked
from autodistill.settings import SearchSettings
from autodistill.study import Study
from autodistill.study_report import summary, write_report
from autodistill.terminal.live import open_view
from autodistill.terminal.progress import Progress
from autodistill.values import FLAG, one_of

STAGES: tuple[StageName, ...] = ("teacher", "outputs", "trials")

EPILOG = """examples:
  autodistill search --dataset movie-reviews --trials 8
  autodistill search --dataset my/reviews.csv --text-column body --label-column stars --time-budget 1h
  autodistill search --dataset sst2 --max-params 1/7.5 --max-latency 1/9.4
  autodistill search --dataset cifar10 --max-params 1M --gpus-per-trial 0.25
  autodistill search --dataset sst2 --study monday --resume --trials 60
"""


class SearchCommand(SearchSettings):
    """The command's settings, and the form of its output."""

    track: Annotated[str | None, one_of(*TRACKERS)] = setting(None, f"also log each trial to one of {', '.join(TRACKERS)}", "WHERE", KEPT)
    as_json: Annotated[bool, FLAG] = setting(False, JSON_AT_THE_END, None, KEPT, "--json")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "search",
        help="search the distillation pipeline for a dataset",
        description="Fine-tune a teacher on a dataset, try recipes that distil it into small students, and recommend the best one.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_options(command, SearchCommand)
    options.add_verbosity(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Search, show the progress, and print the result."""
    asked = options.read_options(args, SearchCommand)
    if asked.track is not None:
        check_tracker(asked.track)
    asked.check()
    progress = Progress(_earlier)
    study: Study | None = None
    failure: RunError | None = None
    with text_output(asked.as_json) as out:
        try:
            with (
                open_view(out, asked.dataset, progress, options.verbosity(args)) as view,
                tracked(asked.track, asked.folder, view.listen) as listen,
            ):
                from autodistill.api import search  # torch and Ray: seconds

                study = search(**asked.part(SearchSettings), listen=listen)
        except KeyboardInterrupt:
            print(f"\n{interrupted(asked, progress)}", file=sys.stderr)
            return 130
        except RunError as cause:
            failure = cause
            study = Study.open(asked.folder, asked.storage) if _has_begun(asked, progress) else None
            if study is not None:
                with contextlib.suppress(StudyError):  # the disk may be full
                    write_report(study)  # the report of a failed search shows its failures
        more = None if study is None else way_on(asked, study, progress, failure)
        if study is not None and study.best is not None:
            _show(asked, study, progress, out, more)
    if study is not None and asked.as_json:
        seconds = {stage: progress.seconds(stage) for stage in STAGES} | {"total": progress.elapsed}
        print(json.dumps(summary(study, seconds), indent=2, allow_nan=False))
    if failure is not None:
        reasons = [] if study is None else failures(study.trial_records)
        raise RunError("\n  ".join([str(failure), *reasons, *([] if more is None else [f"continue with: {more}"])])) from failure
    return 0


def _earlier(folder: str) -> list[TrialRecord]:
    """The trials of earlier sessions; none if their table is damaged, because the search then writes it again."""
    path = Path(folder) / "trials.parquet"
    try:
        return read_records(path) if path.exists() else []
    except StudyError:
        return []


def _has_begun(asked: SearchSettings, progress: Progress) -> bool:
    """Whether the study already exists."""
    return progress.search is not None or (asked.folder / "study.json").exists()


def go_on(asked: SearchSettings, **changes: object) -> str:
    """The command that continues the study, ready to paste into a shell; a storage's password is left out."""
    return asked.model_copy(update={"resume": True, **changes}).command_line(always=("study",))


def way_on(asked: SearchCommand, study: Study, progress: Progress, failure: RunError | None) -> str | None:
    """The command that continues a study, with more trials where all have ended. None where it would end as this search did."""
    if isinstance(failure, ExhaustedError):
        return None
    early = progress.ended is not None and progress.ended.why == "time budget"
    if study.best is None and early and asked.time_budget is not None:  # within the same time, again no trial would complete
        return go_on(asked, time_budget=2 * asked.time_budget)
    if not early and (failure is None or searched(study.trial_records) >= asked.trials):
        return go_on(asked, trials=max(2 * asked.trials, 10))
    return go_on(asked)


def interrupted(asked: SearchSettings, progress: Progress) -> str:
    """The message after Ctrl-C."""
    if not _has_begun(asked, progress):
        return "Stopped before the first trial. The same command starts again; a finished teacher is kept."
    counts = progress.counts
    ended = counts["complete"] + counts["pruned"] + counts["fail"]
    return f"Stopped. The study is kept with its {ended} finished trials and can be resumed:\n  {go_on(asked)}"


def _show(asked: SearchSettings, study: Study, progress: Progress, out: TextIO, more: str | None) -> None:
    """The leaderboard, the verdict and the next commands. more: the one that continues the study."""
    console = Console(file=out) if out.isatty() else Console(file=out, width=120)
    records = study.trial_records
    teacher = progress.stages.get("teacher")
    trained = teacher.seconds if teacher is not None and teacher.total else None  # without progress the teacher was already in the cache
    data = study.about["dataset"]
    shown = rows(records, study.limits, study.teachers, trained, data.get("constant_score"))
    console.print()
    console.print(table(shown, records[0].metric, console.width))
    if above := above_best(shown, records, study.limits):
        console.print(Text(above, style="dim"))
    console.print()
    models = study.frontier_models
    console.print(Text("To choose from: the best student of each family", style="bold"))
    console.print(frontier_table(models, records[0].metric, console.width))
    for sentence_of in (advice(records, study.limits, asked.prefer), note(study.about)):
        if sentence_of:
            console.print(Text(sentence_of, style="dim"))
    console.print()
    console.print(Text(study.verdict, style="bold"))
    reading = data_reading(records, data.get("unlabelled_rows", 0))
    if reading:
        console.print(Text(reading))
    console.print(Text(sentence(component_importance(records))))
    if progress.ended is not None and progress.ended.why is not None:
        console.print(Text(f"The search ended early ({progress.ended.why}) with {progress.searched} of {asked.trials} trials."))
    elif progress.search is None:
        console.print(Text(f"Nothing was left to run: the study has its {asked.trials} trials."))
    where = [] if asked.studies_dir == "studies" else ["--studies-dir", asked.studies_dir]
    dashboard = shlex.join(["autodistill", "dashboard", study.name, *where])
    if importlib.util.find_spec("optuna_dashboard") is None:
        dashboard += "   (after: pip install 'autodistill-kd[dashboard]')"
    ways = {"study": short_path(study.folder), "recipe": short_path(study.folder / "recommended.yaml")}
    if (study.folder / "report.html").exists():
        ways["report"] = short_path(study.folder / "report.html")
    if study.best_folder is not None:
        ways["student"] = short_path(study.best_folder)
    console.print()
    place = short_path(study.folder)
    ways |= {"train": f"{distill_command(place, study.name)}   (in full, with three seeds, tested once)"}
    if study.best_folder is not None:
        ways["predict"] = shlex.join(["autodistill", "predict", short_path(study.best_folder)]) + " …"
    if more is not None:
        ways["go on"] = more
    for name, value in {**ways, "look": dashboard}.items():
        console.print(Text.assemble((f"{name:<8} ", "dim"), value), soft_wrap=True)
