"""`autodistill search`: search the distillation pipeline for a dataset; needs a dataset and nothing else."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import shlex
import sys
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from autodistill.cli import options
from autodistill.cli.live import open_view
from autodistill.cli.progress import Progress
from autodistill.cli.stages import all_to_stderr
from autodistill.components import TASKS
from autodistill.errors import RunError, UsageError
from autodistill.events import Listen, Stage
from autodistill.recipe import Recipe
from autodistill.records import TrialRecord, read_records
from autodistill.report.importance import component_importance, sentence
from autodistill.report.leaderboard import data_reading, failures, rows, short_path, table, verdict
from autodistill.report.track import TRACKERS, check_tracker, tracked
from autodistill.space import Space, shipped_spaces
from autodistill.study import Study
from autodistill.study_report import summary, write_report
from autodistill.tasks.base import DatasetRef
from autodistill.tuning.settings import SearchSettings, check_existence, default_name, without_password

STAGES: tuple[Stage, ...] = ("teacher", "outputs", "trials")

EPILOG = """examples:
  autodistill search --dataset movie-reviews --trials 8
  autodistill search --dataset my/reviews.csv --text-column body --label-column stars --time-budget 1h
  autodistill search --dataset sst2 --max-params 1/7.5 --max-latency 1/9.4
  autodistill search --dataset cifar10 --max-params 1M --gpus-per-trial 0.25
  autodistill search --dataset sst2 --study monday --resume --trials 60
"""


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
    add_options(command)
    command.set_defaults(run=run)


def add_options(command: argparse.ArgumentParser) -> None:
    """The options, in groups."""
    data = command.add_argument_group("the dataset")
    options.add_dataset(data)

    what = command.add_argument_group("what is searched")
    what.add_argument(
        "--space", metavar="NAME|PATH", help="the search space (default: the one shipped for the task; see `autodistill spaces`)"
    )
    what.add_argument(
        "--teacher",
        metavar="MODEL",
        help="a transformers model (hub id or folder), timm:NAME for images, or `random`: a control, not trained",
    )
    what.add_argument(
        "--teacher-scores", metavar="FILE", help="a file of a teacher's scores of texts, in place of a network: see docs/data.md"
    )
    options.add_limits(what)

    much = command.add_argument_group("how much")
    much.add_argument("--trials", metavar="N", type=options.whole(0), default=20, help="trials beside the three baselines (default: 20)")
    much.add_argument(
        "--time-budget", metavar="30m", type=options.seconds, help="end after this time of trials; what runs then can be resumed"
    )
    much.add_argument("--max-epochs", metavar="E", type=options.whole(1), help="epochs of a trial at most (default: the space's)")
    much.add_argument("--repeats", metavar="N", type=options.whole(1), default=1, help="seeds of baselines and best five (default: 1)")
    much.add_argument(
        "--data-curve", action="store_true", help="then train the best recipe on parts of the unlabelled rows: would more help?"
    )
    much.add_argument(
        "--recipe",
        metavar="FILE",
        action="append",
        default=[],
        help="a recipe of yours to stand beside the baselines; several times for more",
    )
    much.add_argument("--cold", action="store_true", help="do not begin with the recipes that recorded studies recommend")
    much.add_argument("--explore", action="store_true", help="spread the trials evenly over the whole space, and stop none early")
    much.add_argument("--seed", metavar="S", type=options.whole(0), default=0, help="of everything that is random (default: 0)")

    where = command.add_argument_group("where it runs")
    where.add_argument("--workers", metavar="N", type=options.whole(1), help="trials at a time (default: as many as fit)")
    where.add_argument("--cpus-per-trial", metavar="C", type=options.whole(1), default=1, help="CPU cores of a trial (default: 1)")
    where.add_argument(
        "--gpus-per-trial", metavar="0.25", type=options.gpus, help="GPUs of a trial, may be a fraction (default: 1 if there are any)"
    )
    where.add_argument(
        "--address", metavar="auto|HOST:PORT", type=options.address, help="of a running Ray cluster (default: only this machine)"
    )

    kept = command.add_argument_group("what is kept")
    kept.add_argument("--study", metavar="NAME", help="name of the study, and of its folder (default: the dataset's name)")
    kept.add_argument("--studies-dir", metavar="DIR", default="studies", help="where studies lie (default: studies)")
    kept.add_argument("--resume", action="store_true", help="go on with the study of that name")
    kept.add_argument("--storage", metavar="URL", help="URL of a database for the Optuna study (default: a journal in the study's folder)")
    kept.add_argument("--track", metavar="WHERE", choices=list(TRACKERS), help=f"tell each trial to {', '.join(TRACKERS)} as well")
    kept.add_argument("--json", action="store_true", help="one JSON object on stdout at the end; all else goes to stderr")


def run(args: argparse.Namespace) -> int:
    """Search, show how it goes, and say what it came to."""
    _check(args)
    progress = Progress(_earlier)
    study: Study | None = None
    failure: RunError | None = None
    with all_to_stderr() if args.json else contextlib.nullcontext(sys.stdout) as out:
        try:
            folder = Path(args.studies_dir, args.study).expanduser().resolve()
            with open_view(out, args.dataset, progress) as view, tracked(args.track, folder, view.listen) as listen:
                study = _search(args, listen)
        except KeyboardInterrupt as stop:
            name = getattr(stop, "study", None)
            print(f"\n{interrupted(args, name.name if name else _begun(args, progress), progress)}", file=sys.stderr)
            return 130
        except RunError as cause:
            failure = cause
            name = _begun(args, progress)
            study = None if name is None else Study.open(Path(args.studies_dir, name), args.storage)
            if study is not None:
                write_report(study)  # a search that came to nothing has its failures to show
        if study is not None and study.best is not None:
            _show(args, study, progress, out)
    if study is not None and args.json:
        seconds = {stage: progress.seconds(stage) for stage in STAGES} | {"total": progress.elapsed}
        print(json.dumps(summary(study, seconds), indent=2, allow_nan=False))
    if failure is not None:
        reasons = [] if study is None else failures(study.trial_records)
        more = [] if study is None else [f"go on with: {command(args, study.name)}"]
        raise RunError("\n  ".join([str(failure), *reasons, *more])) from failure
    return 0


def _search(args: argparse.Namespace, listen: Listen) -> Study:
    from autodistill.api import search  # torch and Ray: seconds

    return search(
        args.dataset,
        space=args.space,
        teacher=args.teacher,
        trials=args.trials,
        time_budget=args.time_budget,
        max_epochs=args.max_epochs,
        max_params=args.max_params,
        max_latency_ms=args.max_latency,
        limit_train=args.limit_train,
        unlabelled=tuple(args.unlabelled),
        teacher_scores=args.teacher_scores,
        limit_unlabelled=args.limit_unlabelled,
        workers=args.workers,
        cpus_per_trial=args.cpus_per_trial,
        gpus_per_trial=args.gpus_per_trial,
        address=args.address,
        study=args.study,
        studies_dir=args.studies_dir,
        resume=args.resume,
        seed=args.seed,
        explore=args.explore,
        repeats=args.repeats,
        data_curve=args.data_curve,
        recipes=args.recipe,
        cold=args.cold,
        storage=args.storage,
        text_columns=None if args.text_column is None else tuple(args.text_column),
        label_column=args.label_column,
        listen=listen,
    )


def _check(args: argparse.Namespace) -> None:
    """What can be told to be wrong before anything heavy is imported.

    Raises:
        UsageError: a value that cannot be meant.
        SpaceError: there is no such space.
        RecipeError: a recipe of one's own cannot be read.
        StudyError: the study exists (without `--resume`), or does not (with it).
    """
    if not args.dataset.strip():
        raise UsageError("--dataset is empty; give a name (see `autodistill datasets`), a hub id or a path")
    args.study = args.study or default_name(args.dataset)
    settings = SearchSettings(
        dataset=DatasetRef(args.dataset),
        study=args.study,
        trials=args.trials,
        time_budget=args.time_budget,
        gpus_per_trial=args.gpus_per_trial,
        studies_dir=args.studies_dir,
        resume=args.resume,
    )
    if args.track is not None:
        check_tracker(args.track)
    if args.space is not None and args.space not in shipped_spaces() and not Path(args.space).exists():
        Space.load(args.space, TASKS[0])  # says what there is
    for recipe in args.recipe:
        Recipe.load(recipe)
    check_existence(settings)


def _earlier(folder: str) -> list[TrialRecord]:
    path = Path(folder) / "trials.parquet"
    return read_records(path) if path.exists() else []


def _begun(args: argparse.Namespace, progress: Progress) -> str | None:
    """The name of the study, if it has come to exist."""
    if progress.search is not None:
        return progress.search.study
    return args.study if Path(args.studies_dir, args.study, "study.json").expanduser().exists() else None


def command(args: argparse.Namespace, study: str, **changes: object) -> str:
    """The command that goes on with a study, as it can be pasted into a shell; a storage's password is left out."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    wanted = {**vars(args), "study": study, "resume": True, **changes}
    words = ["autodistill", "search"]
    for name, default in vars(parser.parse_args(["--dataset", ""])).items():
        value = wanted[name]
        if value == default:
            continue
        flag = f"--{name.replace('_', '-')}"
        for item in value if isinstance(value, list) else [value]:
            text = without_password(str(item)) if name == "storage" else f"{item:.10g}" if isinstance(item, float) else str(item)
            words += [flag] if item is True else [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return shlex.join(words)


def interrupted(args: argparse.Namespace, study: str | None, progress: Progress) -> str:
    """What to say after Ctrl-C."""
    if study is None:
        return "Stopped before the first trial. The same command starts again; a teacher that was finished is kept."
    counts = progress.counts
    ended = counts["complete"] + counts["pruned"] + counts["fail"]
    return f"Stopped. The study is kept with its {ended} finished trials and can be resumed:\n  {command(args, study)}"


def _show(args: argparse.Namespace, study: Study, progress: Progress, out: TextIO) -> None:
    """The leaderboard, the verdict and the way on."""
    console = Console(file=out) if out.isatty() else Console(file=out, width=120)
    records = study.trial_records
    teacher = progress.stages.get("teacher")
    trained = teacher.seconds if teacher is not None and teacher.total else None  # without progress it was there already
    found = rows(records, study.limits, study.teacher, trained)
    console.print()
    console.print(table(found, records[0].metric, console.width))
    console.print()
    console.print(Text(verdict(records, study.limits), style="bold"))
    reading = data_reading(records, study.about["dataset"].get("unlabelled_rows", 0))
    if reading:
        console.print(Text(reading))
    console.print(Text(sentence(component_importance(records))))
    more = command(args, study.name, trials=max(2 * args.trials, 10))
    if progress.ended is not None and progress.ended.why is not None:
        console.print(Text(f"The search ended early ({progress.ended.why}) with {progress.searched} of {args.trials} trials."))
        more = command(args, study.name)
    elif progress.search is None:
        console.print(Text(f"Nothing was left to run: the study has its {args.trials} trials."))
    where = [] if args.studies_dir == "studies" else ["--studies-dir", args.studies_dir]
    dashboard = shlex.join(["autodistill", "dashboard", study.name, *where])
    if importlib.util.find_spec("optuna_dashboard") is None:
        dashboard += "   (after: pip install 'autodistill-kd[dashboard]')"
    ways = {"study": short_path(study.folder), "recipe": short_path(study.folder / "recommended.yaml")}
    if (study.folder / "report.html").exists():
        ways["report"] = short_path(study.folder / "report.html")
    if study.best_folder is not None:
        ways["student"] = short_path(study.best_folder)
    console.print()
    for name, value in {**ways, "go on": more, "look": dashboard}.items():
        console.print(Text.assemble((f"{name:<8} ", "dim"), value), soft_wrap=True)
