"""The progress of a job that is started from Python: on a terminal as the command shows it, in a notebook and in a file in lines."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console

from autodistill.errors import UsageError
from autodistill.events import Event, Listen
from autodistill.terminal.live import open_view
from autodistill.terminal.progress import Progress
from autodistill.terminal.stages import shown


@contextlib.contextmanager
def search_shown(listen: Listen | None, verbose: int | None, dataset: str) -> Iterator[Listen]:
    """A listener that shows a search; or the caller's own.

    Raises:
        UsageError: verbose is not 0, 1 or 2.
    """
    if (level := _level(listen, verbose)) is None:
        yield listen or _nothing
        return
    with open_view(_stream(), dataset, Progress(), level) as view:
        yield view.listen if listen is None else _both(listen, view.listen)


@contextlib.contextmanager
def job_shown(listen: Listen | None, verbose: int | None) -> Iterator[Listen]:
    """A listener that shows a job made of stages; or the caller's own.

    Raises:
        UsageError: verbose is not 0, 1 or 2.
    """
    if (level := _level(listen, verbose)) is None:
        yield listen or _nothing
        return
    with shown(_stream(), level) as hear:
        yield hear if listen is None else _both(listen, hear)


def _level(listen: Listen | None, verbose: int | None) -> int | None:
    """How much is shown; None if a listener shows it instead."""
    if verbose is None:
        return 1 if listen is None else None
    if verbose not in (0, 1, 2):
        raise UsageError(f"verbose is {verbose!r}; it should be 0 (warnings alone), 1 (progress) or 2 (every step and epoch)")
    return int(verbose)


def _stream() -> TextIO:
    """Stderr, so that a script's stdout stays its own. A notebook shows stderr in red, so there it is stdout."""
    return sys.stdout if Console().is_jupyter else sys.stderr


def _both(one: Listen, other: Listen) -> Listen:
    def listen(event: Event) -> None:
        one(event)
        other(event)

    return listen


def _nothing(event: Event) -> None:
    """Listen to nothing."""
