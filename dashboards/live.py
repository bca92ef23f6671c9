"""optuna-dashboard on our studies while they run, with our figures on their pages."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from autodistill.errors import StudyError, UsageError
from autodistill.limits import Limits
from autodistill.records import read_records
from autodistill.study_folder import default_storage, has_default_storage, read_about, study_names

from . import FIGURES, style
from .storage import ShownStudies

SHOWN = ("pareto", "latency", "curves", "importance", "loss_mix", "seeds", "time")
"""The figures that a card has room for; optuna-dashboard has parallel coordinates of its own."""
HEIGHT = 430
"""Of a card, in pixels."""
EVERY = 3.0
"""Seconds between two looks at whether a study has news."""


class Shown(Protocol):
    """What is to be known of a study: a `Study` is one."""

    @property
    def folder(self) -> Path:
        """Its folder."""

    @property
    def name(self) -> str:
        """Its name in its storage."""

    @property
    def storage(self) -> str:
        """A journal's path or a database's URL."""

    @property
    def limits(self) -> Limits:
        """The limits on students."""


class Live:
    """Studies on show, and their figures, drawn again where a trial has ended since.

    Whether there is news is seen from the time of trials.parquet, which a search writes at most every few seconds: looking
    costs nothing, and the search is asked nothing.
    """

    def __init__(self, studies: Sequence[Shown], say: Callable[[str], None] = lambda text: None) -> None:
        self.storage = ShownStudies()
        self.say = say
        self._drawn: dict[int, int] = {}
        self._studies: dict[int, Shown] = {}
        self._folders: set[Path] = set()
        for study in studies:
            self.add(study)

    def add(self, study: Shown) -> None:
        """Show one more study; where its storage cannot be read, that is said."""
        self._folders.add(study.folder)
        try:
            self._studies[self.storage.add(study.folder, study.name, study.storage)] = study
        except StudyError as cause:
            self.say(f"{study.name} is not shown: {cause}")

    @property
    def names(self) -> list[str]:
        """The names of the studies that are shown."""
        return [study.name for study in self._studies.values()]

    def look_for_more(self, studies_dir: Path) -> None:
        """Show the studies that have been started since."""
        for folder in ((studies_dir / name).resolve() for name in study_names(studies_dir)):
            if folder not in self._folders and has_default_storage(folder):
                self.add(_InFolder(folder))

    def refresh(self) -> int:
        """Draw the figures of the studies that have news. Returns how many there were."""
        news = 0
        for study_id, study in list(self._studies.items()):
            path = study.folder / "trials.parquet"
            stamp = path.stat().st_mtime_ns if path.exists() else 0
            if self._drawn.get(study_id) == stamp:
                continue
            records, limits = read_records(path) if path.exists() else [], study.limits
            drawn = {f"autodistill_{name}": FIGURES[name](records, limits) for name in SHOWN}
            figures = {name: figure for name, figure in drawn.items() if figure.data}
            for figure in figures.values():  # cards are half as wide as a report: room for a legend of three lines
                figure.update_layout(height=HEIGHT, margin_t=(figure.layout.margin.t or style.TOP) + 40)
                if any(trace.name and trace.showlegend is not False for trace in figure.data):
                    figure.update_layout(title={"y": 0.97, "yanchor": "top"})
            self.storage.show(study_id, figures)
            self._drawn[study_id] = stamp
            news += 1
        return news


class _InFolder:
    """A study that has its storage in its folder, from its study.json."""

    def __init__(self, folder: Path) -> None:
        about = read_about(folder)
        if about is None:
            raise StudyError(f"{folder} has no study.json any more")
        self.folder, self.name, self.storage = folder, str(about["study"]), default_storage(folder)
        self.limits = Limits(about["settings"]["max_params"], about["settings"]["max_latency_ms"])


class Server:
    """The dashboard on an address; `start` it, `close` it. port 0 takes any that is free."""

    def __init__(self, live: Live, host: str = "127.0.0.1", port: int = 8080, studies_dir: Path | None = None) -> None:
        """Bind the address.

        Args:
            live: what is shown.
            host: 127.0.0.1 for this machine alone.
            port: where.
            studies_dir: where studies that are started later are looked for; None for no others.

        Raises:
            UsageError: the address cannot be had.
        """
        from optuna_dashboard import wsgi

        self.live, self.studies_dir = live, studies_dir
        try:
            self._server = make_server(host, port, wsgi(live.storage), server_class=_Threaded, handler_class=_Quiet)
        except OSError as cause:
            raise UsageError(f"{host}:{port} cannot be served ({cause.strerror or cause}); give another --port or --host") from None
        except OverflowError:
            raise UsageError(f"--port is {port}; give a number up to 65535") from None
        self.url = f"http://{host}:{self._server.server_port}/"
        self._ended = threading.Event()

    def serve(self) -> None:
        """Answer until `close`, or Ctrl-C."""
        threading.Thread(target=self._keep_up, daemon=True).start()
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Stop answering."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def _keep_up(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                if self.studies_dir is not None:
                    self.live.look_for_more(self.studies_dir)
                self.live.refresh()
            except Exception as cause:  # a table that is just being replaced, a folder that was deleted: the page goes on
                self.live.say(f"the figures could not be drawn ({type(cause).__name__}: {cause}); trying again")
            # A search may be at work on this machine: no more than a tenth of one core goes into drawing.
            self._ended.wait(max(EVERY, 10 * (time.monotonic() - began)))


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away in the middle of an answer is no error of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """A line for every request of a page that asks every few seconds would bury the address."""
