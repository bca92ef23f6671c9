"""How a job made of stages is shown: bars on a terminal, else a line when a stage begins or ends."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from autodistill.events import Event, Listen, SearchMessage, StageFinished, StageProgress, StageStarted
from autodistill.report import texts

QUIET = 60.0
"""Seconds between two plain lines of a stage's progress."""


@contextlib.contextmanager
def shown(stream: TextIO) -> Iterator[Listen]:
    """Show the stages of the events that the listener receives."""
    console = Console(file=stream)
    if stream.isatty() and console.is_terminal and not console.is_dumb_terminal:
        columns = (
            TextColumn("[bold]{task.fields[stage]:<9}"),
            BarColumn(24),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        with Progress(*columns, console=console) as bars:
            yield _Bars(bars).hear
    else:
        yield _Lines(stream).hear


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def hear(self, event: Event) -> None:
        match event:
            case StageStarted(stage, text):
                self.tasks[stage] = self.bars.add_task(texts.clean(text), total=None, stage=stage)
            case StageProgress(stage, done, total, text):
                self.bars.update(self.tasks[stage], completed=done, total=total, description=texts.clean(text))
            case StageFinished(stage, _, text):
                self.bars.update(self.tasks[stage], completed=1, total=1, description=texts.clean(text))
            case SearchMessage(text):
                self.bars.console.print(texts.clean(text), style="dim", markup=False)


class _Lines:
    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.shown_at: dict[str, float] = {}

    def hear(self, event: Event) -> None:
        match event:
            case StageStarted(stage, text):
                self.shown_at[stage] = time.monotonic()
                self.say(f"{stage}: {text}")
            case StageProgress(stage, done, total, text) if time.monotonic() - self.shown_at.get(stage, 0.0) >= QUIET:
                self.shown_at[stage] = time.monotonic()
                self.say(f"{stage}: {done}/{total} {text}")
            case StageFinished(stage, seconds, text):
                self.say(f"{stage} done in {texts.duration(seconds)}: {text}")
            case SearchMessage(text):
                self.say(text)

    def say(self, text: str) -> None:
        self.stream.write(f"{time.strftime('%H:%M:%S')} {texts.clean(text)}\n")
        self.stream.flush()


@contextlib.contextmanager
def text_output(as_json: bool) -> Iterator[TextIO]:
    """The stream of what a command writes for people: stdout, or with `--json` stderr, so that stdout has only the JSON."""
    with all_to_stderr() if as_json else contextlib.nullcontext(sys.stdout) as out:
        yield out


@contextlib.contextmanager
def all_to_stderr() -> Iterator[TextIO]:
    """Redirect stdout to stderr, also for C libraries and child processes, so that stdout has only the JSON."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield sys.stderr
    finally:
        os.dup2(kept, 1)
        os.close(kept)
