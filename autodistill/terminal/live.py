"""The views of a running search: a live table for a terminal, plain lines for everything else, and one that shows only warnings."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autodistill.events import (
    Event,
    SearchFinished,
    SearchMessage,
    SearchStarted,
    StageFinished,
    StageName,
    StageProgress,
    StageStarted,
    TrialFinished,
    TrialReported,
    TrialStarted,
)
from autodistill.records import TrialRecord
from autodistill.report import texts
from autodistill.terminal.progress import Progress, StageState, TrialState, best_line, count_line, failure, state_word, time_line
from autodistill.terminal.stages import QUIET, only_warnings

STYLES = {"running": "cyan", "complete": "green", "pruned": "yellow", "failed": "red", "interrupted": "magenta"}
STAGES: tuple[StageName, ...] = ("data", "teacher", "outputs", "warm")
"""The stages that have a line; the trials have the table."""


class View(Protocol):
    """Shows a search; a context manager, so that the terminal is restored at the end."""

    progress: Progress

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def listen(self, event: Event) -> None:
        """Handle an event, and show it."""


def open_view(stream: TextIO, dataset: str, progress: Progress, verbose: int = 1) -> View:
    """The live view if the stream is a terminal with a movable cursor, else plain lines.

    verbose: 0 for warnings alone, 1, or 2 for a plain line for each step and epoch, also on a terminal.
    """
    if verbose == 0:
        return QuietView(progress)
    console = Console(file=stream)
    # isatty is checked too, because FORCE_COLOR makes rich take a log file for a terminal
    if verbose == 1 and stream.isatty() and console.is_terminal and not console.is_dumb_terminal:
        return LiveView(console, dataset, progress)
    return PlainView(stream, dataset, progress, verbose)


class QuietView:
    """Shows only warnings, on stderr."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def listen(self, event: Event) -> None:
        """Handle an event; a warning is written."""
        self.progress.hear(event)
        only_warnings(event)


class PlainView:
    """Writes a line, with the time, when a stage or a trial begins or ends. verbose: 2 for every step and epoch too."""

    def __init__(self, stream: TextIO, dataset: str, progress: Progress, verbose: int = 1) -> None:
        self.stream = stream
        self.dataset = dataset
        self.progress = progress
        self.detailed = verbose > 1
        self._last_line: dict[StageName, float] = {}

    def __enter__(self) -> Self:
        self.say(f"search on {self.dataset}: starting")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def say(self, text: str) -> None:
        """Write one line."""
        self.stream.write(f"{time.strftime('%H:%M:%S')} {texts.clean(text)}\n")
        self.stream.flush()

    def listen(self, event: Event) -> None:
        """Handle an event, and write its line."""
        before = self.progress.best
        self.progress.hear(event)
        match event:
            case StageStarted("trials") | StageFinished("trials"):
                pass  # the search's own events say more
            case StageStarted(stage, text):
                self._last_line[stage] = self.progress.clock()
                self.say(f"{stage}: {text}")
            case StageProgress(stage, done, total, text):
                now = self.progress.clock()
                if now - self._last_line.get(stage, now) >= (0 if self.detailed else QUIET):
                    self._last_line[stage] = now
                    self.say(f"{stage}: {done}/{total} {text}")
            case StageFinished(stage, seconds, text):
                self.say(f"{stage} done in {texts.duration(seconds)}: {text}")
            case SearchStarted():
                self.say(_opening(event))
            case TrialStarted():
                size = "" if event.params is None else f", {texts.params(event.params)} parameters"
                most = texts.plural(event.epochs, "epoch")
                self.say(f"trial {event.trial} ({texts.ROLES[event.role]}) started: {event.student}{size}, at most {most}")
            case TrialReported(trial, point, _) if self.detailed:
                loss = texts.ABSENT if point.validation_loss is None else f"{point.validation_loss:.4f}"
                self.say(f"trial {trial} epoch {point.epoch}: {texts.score(point.score)}, validation loss {loss}")
            case TrialFinished(record) if record.state != "infeasible":
                self.say(self._end(record, before))
            case TrialFinished(record) if self.detailed:
                self.say(f"trial {record.trial} ({texts.ROLES[record.role]}) not trained, over the limits: {texts.student(record.recipe)}")
            case SearchMessage(text, level):
                self.say(f"warning: {text}" if level == "warning" else text)
            case SearchFinished():
                why = "" if event.why is None else f" ({event.why})"
                self.say(f"trials ended after {texts.duration(event.seconds)}{why}: {count_line(self.progress)}")

    def _end(self, record: TrialRecord, before: TrialRecord | None) -> str:
        parts = [f"trial {record.trial} ({texts.ROLES[record.role]})"]
        if record.state == "fail":
            parts[0] += f" {failure(record)}"
        else:
            agreement = "" if record.agreement is None else f" (agreement {texts.score(record.agreement)})"
            parts[0] += f" {state_word(record)}: {texts.score(record.score)}{agreement} after {texts.plural(len(record.curve), 'epoch')}"
            parts.append(f"{texts.student(record.recipe)}, {texts.objective(record.recipe)}")
        if record.seconds is not None:
            parts.append(texts.duration(record.seconds))
        best = self.progress.best
        if best is not None and best.trial == record.trial and (before is None or before.trial != record.trial):
            parts.append("the best so far")
        return ", ".join(parts)


def _opening(event: SearchStarted) -> str:
    earlier = f", {event.done} of them done in earlier sessions" if event.done else ""
    budget = "" if event.time_budget is None else f", within {texts.duration(event.time_budget)}"
    return f"study {event.study} in {event.folder}: {texts.plural(event.trials, 'trial')}{earlier}, {event.workers} at a time{budget}"


class LiveView:
    """A table that is kept up to date, no higher than the terminal."""

    def __init__(self, console: Console, dataset: str, progress: Progress, auto_refresh: bool = True) -> None:
        self.console = console
        self.dataset = dataset
        self.progress = progress
        self._lock = threading.RLock()  # rich draws in its own thread, so that the clock keeps running
        self._closed = False
        self._live = Live(
            console=console, get_renderable=self.render, auto_refresh=auto_refresh, refresh_per_second=4, vertical_overflow="crop"
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closed = True
        self._live.stop()

    def listen(self, event: Event) -> None:
        """Handle an event. Messages and failures are written above the table and stay there."""
        with self._lock:
            self.progress.hear(event)
        match event:
            case SearchMessage(text, level):
                self.console.print(Text(texts.clean(text), style="yellow" if level == "warning" else "dim"))
            case TrialFinished(record) if record.state == "fail":
                style = STYLES[state_word(record)]
                self.console.print(Text(texts.clean(f"trial {record.trial} {failure(record)}"), style=style))
            case SearchStarted() | StageStarted() | StageFinished() | SearchFinished():
                self._live.refresh()

    def render(self) -> RenderableType:
        """The view as it is now."""
        with self._lock:
            return Group(*self._lines())

    def _lines(self) -> list[RenderableType]:
        progress, height = self.progress, self.console.size.height
        roomy = height >= 16
        lines: list[RenderableType] = [self._header()]
        stages = [(name, progress.stages[name]) for name in STAGES if name in progress.stages]
        stages = [item for item in stages if item[1].seconds is None or (roomy and item[0] != "data")]  # the header describes the data
        lines += [self._stage(name, state) for name, state in stages]
        if not progress.stages:
            lines.append(_line(("starting", "bold"), " (loading PyTorch and Ray takes some seconds)"))
        bottom: list[Text] = []
        best = best_line(progress)
        if best is not None:
            bottom.append(_line(("best    ", "bold"), (texts.clean(best), "bold green")))
        if progress.search is not None or progress.finished:
            bottom.append(_line(("trials  ", "bold"), count_line(progress)))
        bottom.append(_line(("time    ", "bold"), (time_line(progress), "dim")))
        if not self._closed and (progress.running or progress.shown):
            gap: list[RenderableType] = [Text("")] if roomy else []
            room = height - 1 - len(lines) - len(bottom) - 2 * len(gap) - 1  # 1 for the cursor's line, 1 for the table's head
            lines += [*gap, self._table(max(1, room)), *gap]
        return [*lines, *bottom]

    def _header(self) -> Text:
        data = self.progress.stages.get("data")
        parts = [] if data is None or data.seconds is None else [texts.clean(data.text)]
        if self.progress.search is not None:
            parts.append(f"study {self.progress.search.study}")
        name = texts.clean(self.dataset)
        if parts and parts[0].startswith(f"{name}: "):
            parts[0] = parts[0].removeprefix(f"{name}: ")
        return _line((name, "bold"), texts.clean("".join(f" · {part}" for part in parts)))

    def _stage(self, name: StageName, state: StageState) -> RenderableType:
        took = texts.duration(round(self.progress.clock() - state.began) if state.seconds is None else state.seconds)
        if state.seconds is not None:
            return _line((f"{name:<8}", "bold"), ("done ", "green"), f"in {took}  ", texts.clean(state.text))
        if not state.total:
            return _line((f"{name:<8}", "bold"), f"{texts.clean(state.text)}  {took}")
        grid = Table.grid(padding=(0, 1))
        for width in (7, max(8, min(30, self.console.width - 45)), None):
            grid.add_column(width=width, no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(total=state.total, completed=min(state.done, state.total))
        share = f"{100 * min(state.done, state.total) // state.total:>3}%"
        grid.add_row(Text(name, style="bold"), bar, Text(f"{share}  {took}  {texts.clean(state.text)}"))
        return grid

    def _table(self, room: int) -> Table:
        """Running trials first, then the best and the latest; `room` rows at most."""
        width = self.console.width
        columns = [("#", True), ("trial", True), ("state", True), ("epoch", True), ("score", True)]
        columns += [("student", width >= 72), ("params", width >= 58), ("time", width >= 50)]
        table = Table(box=None, padding=(0, 2 if width >= 80 else 1, 0, 0), header_style="dim", pad_edge=False)
        for name, shown in columns:
            if shown:
                right = name in ("#", "epoch", "score", "params", "time")
                table.add_column(name, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")

        def add(*cells: str, style: str = "", state_style: str = "") -> None:
            pairs = zip(columns, cells, strict=True)
            row = [Text(texts.clean(cell), style=state_style if name == "state" else "") for (name, shown), cell in pairs if shown]
            table.add_row(*row, style=style)

        running = sorted(self.progress.running.values(), key=lambda trial: trial.trial)
        finished, hidden = _choose(self.progress, room - len(running))
        if len(running) > room:
            running, hidden = running[: max(0, room - 1)], len(running) - max(0, room - 1) + hidden
        for trial in running:
            add(*self._running(trial), state_style=STYLES["running"])
        best = self.progress.best
        for record in finished:
            is_best = best is not None and record.trial == best.trial
            style = "bold" if is_best else "" if record.state == "complete" else "dim"
            add(*self._finished(record), style=style, state_style=STYLES[state_word(record)])
        if hidden:
            add("", f"… {hidden} more", *[""] * (len(columns) - 2), style="dim")
        return table

    def _running(self, trial: TrialState) -> list[str]:
        took = texts.duration(round(self.progress.clock() - trial.began))
        epoch = f"{trial.epoch}/{trial.epochs}"
        cells = [str(trial.trial), texts.ROLES[trial.role], "running", epoch]
        return [*cells, texts.score(trial.score), trial.student, texts.params(trial.params), took]

    def _finished(self, record: TrialRecord) -> list[str]:
        epochs = record.recipe.get("training", {}).get("epochs", record.max_epochs)
        reached = record.curve[-1].epoch if record.curve else 0
        took = texts.ABSENT if record.seconds is None else texts.duration(round(record.seconds))
        cells = [str(record.trial), texts.ROLES[record.role], state_word(record), f"{reached}/{min(epochs, record.max_epochs)}"]
        return [*cells, texts.score(record.score), texts.student(record.recipe), texts.params(record.params), took]


def _choose(progress: Progress, room: int) -> tuple[list[TrialRecord], int]:
    """The finished trials to show in `room` lines, and how many are left out.

    All of them if they fit. Else the best in half of the lines, the latest in the other half, and a line with the number left out.
    """
    shown = progress.shown
    if room <= 0:
        return [], 0
    best, latest = progress.ranked(), list(reversed(shown))
    if len(shown) > room:
        room -= 1
        best = best[: (room + 1) // 2]
    numbers = {record.trial for record in best}
    chosen = best + [record for record in latest if record.trial not in numbers][: room - len(best)]
    return chosen, len(shown) - len(chosen)


def _line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
