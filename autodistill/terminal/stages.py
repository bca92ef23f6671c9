"""How a job made of stages is shown: bars on a terminal, else a line when a stage begins or ends; or every step; or only warnings."""

from __future__ import annotations

import contextlib
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
def shown(stream: TextIO, verbose: int = 1) -> Iterator[Listen]:
    """Show the stages of the events that the listener receives. verbose: 0 for warnings alone, 1, or 2 for a line for each step."""
    console = Console(file=stream)
    if verbose == 0:
        yield only_warnings
    elif verbose == 1 and stream.isatty() and console.is_terminal and not console.is_dumb_terminal:
        columns = (
            TextColumn("[bold]{task.fields[stage]:<9}"),
            BarColumn(24),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        with Progress(*columns, console=console) as bars:
            yield _Bars(bars).hear
    else:
        yield _Lines(stream, QUIET if verbose == 1 else 0.0).hear


def only_warnings(event: Event) -> None:
    """Write warnings to stderr, and nothing else: stdout is for the result."""
    if isinstance(event, SearchMessage) and event.level == "warning":
        print(f"autodistill: warning: {texts.clean(event.text)}", file=sys.stderr, flush=True)


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
            case SearchMessage(text, level):
                self.bars.console.print(texts.clean(text), style="yellow" if level == "warning" else "dim", markup=False)


class _Lines:
    def __init__(self, stream: TextIO, quiet: float) -> None:
        self.stream = stream
        self.quiet = quiet
        self.shown_at: dict[str, float] = {}

    def hear(self, event: Event) -> None:
        match event:
            case StageStarted(stage, text):
                self.shown_at[stage] = time.monotonic()
                self.say(f"{stage}: {text}")
            case StageProgress(stage, done, total, text) if time.monotonic() - self.shown_at.get(stage, 0.0) >= self.quiet:
                self.shown_at[stage] = time.monotonic()
                self.say(f"{stage}: {done}/{total} {text}")
            case StageFinished(stage, seconds, text):
                self.say(f"{stage} done in {texts.duration(seconds)}: {text}")
            case SearchMessage(text, level):
                self.say(f"warning: {text}" if level == "warning" else text)

    def say(self, text: str) -> None:
        self.stream.write(f"{time.strftime('%H:%M:%S')} {texts.clean(text)}\n")
        self.stream.flush()
