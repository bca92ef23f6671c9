"""optuna-dashboard on our studies while they run, with our figures on the studies' pages; and the studies' reports, as they are now."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Protocol
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from autodistill.errors import AutodistillError, StudyError, UsageError
from autodistill.limits import Limits
from autodistill.records import read_records
from autodistill.report.leaderboard import verdict
from autodistill.study_folder import default_storage, has_default_storage, read_about, study_names

from . import draw_figure, style
from .storage import READ_ONLY, ShownStudies

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
"""As WSGI has it (PEP 3333)."""
Page = Callable[[Path, str], str]
"""From a study's folder, and the path of its page in optuna-dashboard, to its report as HTML."""
SHOWN = ("frontier", "pareto", "latency", "curves", "importance", "loss_mix", "seeds", "time")
"""The figures that fit on a card; optuna-dashboard has parallel coordinates of its own."""
HEIGHT = 430
"""The height of a card, in pixels."""
EVERY = 3.0
"""Seconds between two checks for new trials."""


class Shown(Protocol):
    """What the dashboard needs of a study; a `Study` has it."""

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
    """The studies that are shown, and their figures, which are drawn again after a trial has ended.

    The modification time of trials.parquet, which a search writes at most every few seconds, shows whether there are new trials:
    the check costs nothing and does not disturb the search.
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
        """Show another study. Where its storage cannot be read, `say` gets a message."""
        self._folders.add(study.folder)
        try:
            self._studies[self.storage.add(study.folder, study.name, study.storage)] = study
        except StudyError as cause:
            self.say(f"{study.name} is not shown: {cause}")

    @property
    def names(self) -> list[str]:
        """The names of the studies that are shown."""
        return [study.name for study in self._studies.values()]

    @property
    def folders(self) -> dict[int, Path]:
        """The folders of the studies that are shown, by their ids in `storage`."""
        return {study_id: study.folder for study_id, study in self._studies.items()}

    def look_for_more(self, studies_dir: Path) -> None:
        """Show the studies in the folder that were started since the last call."""
        for folder in ((studies_dir / name).resolve() for name in study_names(studies_dir)):
            if folder not in self._folders and has_default_storage(folder):
                self.add(_InFolder(folder))

    def refresh(self) -> int:
        """Draw the figures of the studies that changed. Returns how many changed."""
        changed = 0
        for study_id, study in list(self._studies.items()):
            path, stamp = study.folder / "trials.parquet", written_at(study.folder)
            if self._drawn.get(study_id) == stamp:
                continue
            records, limits = read_records(path) if path.exists() else [], study.limits
            about = read_about(study.folder) or {}
            drawn = {f"autodistill_{name}": draw_figure(name, records, limits, about) for name in SHOWN}
            figures = {name: figure for name, figure in drawn.items() if figure.data}
            for name, figure in figures.items():  # a card is half as wide as a report, so the legend may take three lines
                height = figure.layout.height + 40 if name == "autodistill_frontier" else HEIGHT  # it has several panels
                figure.update_layout(height=height, margin_t=(figure.layout.margin.t or style.TOP) + 40)
                if any(trace.name and trace.showlegend is not False for trace in figure.data):
                    figure.update_layout(title={"y": 0.97, "yanchor": "top"})
            data = about.get("dataset", {})
            note = verdict(records, limits, data.get("validation_rows"), data.get("constant_score"))
            self.storage.show(study_id, figures, str(data.get("metric", "score")), note)
            self._drawn[study_id] = stamp
            changed += 1
        return changed


def written_at(folder: Path) -> int:
    """When a study's trials or description were last written, in nanoseconds; 0 if there are none."""
    return max((file.stat().st_mtime_ns for file in (folder / "trials.parquet", folder / "study.json") if file.exists()), default=0)


class _InFolder:
    """A study with its storage in its folder, described by its study.json."""

    def __init__(self, folder: Path) -> None:
        about = read_about(folder)
        if about is None:
            raise StudyError(f"{folder} no longer has a study.json")
        self.folder, self.name, self.storage = folder, str(about["study"]), default_storage(folder)
        self.limits = Limits(about["settings"]["max_params"], about["settings"]["max_latency_ms"])


class Server:
    """The dashboard at an address: `serve` answers requests until `close`. Port 0 takes any free port."""

    def __init__(
        self, live: Live, host: str = "127.0.0.1", port: int = 8080, studies_dir: Path | None = None, page: Page | None = None
    ) -> None:
        """Bind the address.

        Args:
            live: the studies to show.
            host: 127.0.0.1 to be reachable from this machine only.
            port: the port.
            studies_dir: the folder where studies that start later are looked for; None to show no others.
            page: makes the reports, under /report/ID; a single study's is the first page. None for optuna-dashboard alone.

        Raises:
            UsageError: the address cannot be used.
        """
        from optuna_dashboard import wsgi

        self.live, self.studies_dir = live, studies_dir
        try:
            application = _known_hosts_only(_notes_only(_with_reports(wsgi(live.storage), live, page), live), host)
            self._server = make_server(host, port, application, server_class=_Threaded, handler_class=_Quiet)
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
            except Exception as cause:  # a table may be replaced at this moment, or a folder deleted; the next try may succeed
                self.live.say(f"the figures could not be drawn ({type(cause).__name__}: {cause}); trying again")
            # A search may be running on this machine, so drawing takes at most a tenth of one core.
            self._ended.wait(max(EVERY, 10 * (time.monotonic() - began)))


def _with_reports(application: Application, live: Live, page: Page | None) -> Application:
    """optuna-dashboard, with the reports beside it. The first page is that of the study, where there is only one."""
    made: dict[int, tuple[int, bytes]] = {}

    def answered(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path, folders = environ.get("PATH_INFO", ""), live.folders
        if path in ("", "/") and len(folders) == 1:
            (only,) = folders
            start_response("302 Found", [("Location", f"{_OPTUNAS if page is None else _REPORTS}{only}")])
            return [b""]
        number = path.removeprefix(_REPORTS)
        if page is None or number == path or not number.isdecimal() or int(number) not in folders:
            return application(environ, start_response)
        study_id = int(number)
        stamp = written_at(folders[study_id])
        if made.get(study_id, (None, b""))[0] != stamp:
            try:
                made[study_id] = stamp, page(folders[study_id], f"{_OPTUNAS}{study_id}").encode()
            except AutodistillError as cause:  # a folder may be deleted while it is shown
                start_response("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
                return [f"{cause}\n".encode()]
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-cache")])
        return [made[study_id][1]]

    return answered


_NOTE = re.compile(r"/api/studies/(\d+)(?:/(\d+))?/note")


def _notes_only(application: Application, live: Live) -> Application:
    """Refuse requests that would change something, except those that write a note on a study or a trial. optuna-dashboard would answer
    them with 500 and print a traceback.
    """

    def checked(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def refused(status: str, reason: str) -> Iterable[bytes]:
            start_response(status, [("Content-Type", "application/json")])
            return [json.dumps({"reason": reason}).encode()]

        method = environ["REQUEST_METHOD"]
        if method in ("GET", "HEAD", "OPTIONS"):
            return application(environ, start_response)
        note = _NOTE.fullmatch(environ.get("PATH_INFO", ""))
        if note is None or method != "PUT":
            return refused("403 Forbidden", READ_ONLY)
        study, trial = int(note[1]), note[2]
        if study not in live.folders or (trial is not None and not live.storage.has_trial(study, int(trial))):
            return refused("404 Not Found", f"there is no {environ['PATH_INFO'].removesuffix('/note')} here")
        try:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            asked = json.loads(body)
            whole = isinstance(asked["body"], str) and isinstance(asked["version"], int) and "json" in environ.get("CONTENT_TYPE", "")
        except (ValueError, TypeError, KeyError):
            whole = False
        if not whole:
            return refused("400 Bad Request", 'a note is JSON: {"body": text, "version": number}')
        return application(environ | {"wsgi.input": io.BytesIO(body)}, start_response)

    return checked


_REPORTS, _OPTUNAS = "/report/", "/dashboard/studies/"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = ("", "0.0.0.0", "::")


def _known_hosts_only(application: Application, host: str) -> Application:
    """Refuse requests that name another host than loopback or the one that is served; where all addresses are served, any name does.

    A page of another site can have its own name resolve to 127.0.0.1, and read what is served there (DNS rebinding). The browser then
    sends that name.
    """
    if host in _EVERYWHERE:
        return application

    def checked(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            asked = urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname or ""
        except ValueError:  # half an IPv6 address
            asked = ""
        if asked in (*LOOPBACK, host.lower()):
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"This dashboard answers to {host} and localhost only; serve it with --host for another name.\n".encode()]

    return checked


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore browsers that close the connection during a response."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a page sends requests every few seconds, and their lines would push the address out of sight."""
