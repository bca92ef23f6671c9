"""`autodistill dashboard`: look at a study in the browser, also while its search runs."""

from __future__ import annotations

import argparse
import atexit
import importlib.util
import sys
import tempfile
from pathlib import Path

from autodistill.cli import options
from autodistill.errors import StudyError, UsageError
from autodistill.report import texts
from autodistill.study import Study
from autodistill.study_folder import is_entry, study_names
from autodistill.study_report import render
from autodistill.values import whole


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser("dashboard", help="look at a study in the browser, also while it runs", description=__doc__)
    command.add_argument("study", metavar="STUDY", nargs="?", help="name of a study in --studies-dir, or its folder (default: the latest)")
    command.add_argument("--port", type=options.reader(whole(0)), default=8080, help="(default: 8080)")
    command.add_argument("--host", default="127.0.0.1", help="(default: 127.0.0.1, only this machine)")
    command.add_argument("--studies-dir", metavar="DIR", default="studies", help="the folder of studies (default: studies)")
    command.add_argument("--all", action="store_true", help="show every study of the folder, and those started later")
    command.add_argument("--storage", metavar="URL", help="the study's storage, if its URL has a password")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    if args.all and args.study is not None:
        raise UsageError("give one study, or --all")
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise UsageError("the dashboard needs optuna-dashboard; install it: pip install 'autodistill-kd[dashboard]'")
    home = Path(args.studies_dir).expanduser()
    chosen = _all(home) if args.all else [Study.find(args.study or _latest(home), home, args.storage)]
    import optuna

    from autodistill.dashboards.live import Live, Server  # Plotly and Optuna: seconds

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    studies = [_shown(study) for study in chosen]
    live = Live(studies, lambda text: print(f"autodistill: {texts.clean(text)}", file=sys.stderr, flush=True))
    if not live.names:
        raise StudyError("no study could be opened")
    own = {shown.folder: study.folder for shown, study in zip(studies, chosen, strict=True)}

    def page(folder: Path, optunas: str) -> str:
        return render(Study.open(own.get(folder, folder)), optunas)

    server = Server(live, args.host, args.port, home if args.all else None, page)
    print(f"{', '.join(map(texts.clean, live.names))}: {server.url}   (Ctrl-C ends it; a search continues without it)", flush=True)
    try:
        server.serve()
    except KeyboardInterrupt:
        print()
    return 0


def _shown(study: Study) -> Study:
    """The study. An entry of the library has no Optuna study, so a temporary copy with one is shown instead."""
    if not is_entry(study.folder):
        return study
    from autodistill.recommender.library import load
    from autodistill.restoring import restore

    folder = tempfile.TemporaryDirectory(prefix="autodistill-entry-")
    atexit.register(folder.cleanup)
    return restore(load(study.folder), Path(folder.name))


def _all(home: Path) -> list[Study]:
    return [Study.open(home / name) for name in _names(home)]


def _latest(home: Path) -> str:
    """The name of the study that was written to last."""
    return max(_names(home), key=lambda name: max(item.stat().st_mtime for item in (home / name).glob("*.*")))


def _names(home: Path) -> list[str]:
    names = study_names(home)
    if not names:
        raise StudyError(f"there are no studies in {home.absolute()}; --studies-dir names another folder, `autodistill search` makes one")
    return names
