"""Where a command's text goes: with `--json`, stdout has only the JSON."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO


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
