"""Every error that autodistill raises on purpose.

AutodistillError
├── UserError            a setting or an input cannot work: exit code 2
│   ├── UsageError       an option or argument
│   ├── DataError        a dataset: missing, unreachable or with bad rows
│   ├── RecipeError      a recipe
│   ├── SpaceError       a search space
│   ├── ModelError       a teacher or student that cannot be fetched or built
│   ├── StudyError       a study folder or its storage
│   └── ComponentError   an installed package whose components cannot be used
└── RunError             the run itself failed: exit code 1
    ├── DiskError        a file cannot be written: the disk is full, or its folder is read-only
    ├── DivergedError    a loss or score that is not a finite number
    └── ExhaustedError   a search whose proposals are all refused, so that resuming it would end in the same way

A message names the value, what is allowed, and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager


class AutodistillError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class UserError(AutodistillError):
    """A setting or an input cannot work."""

    exit_code = 2


class UsageError(UserError):
    """An option or argument."""


class DataError(UserError):
    """A dataset that is missing, unreachable or has bad rows."""


class RecipeError(UserError):
    """A recipe that does not validate or does not fit its task."""


class SpaceError(UserError):
    """A search space that does not validate or does not fit its task."""


class ModelError(UserError):
    """A teacher or student that cannot be fetched or built."""


class StudyError(UserError):
    """A study folder or its storage."""


class ComponentError(UserError):
    """An installed package whose components cannot be used."""


class RunError(AutodistillError):
    """The run itself failed."""


class DiskError(RunError):
    """A file cannot be written: the disk is full, or its folder is read-only."""


class DivergedError(RunError):
    """A loss or a score is not a finite number."""


class ExhaustedError(RunError):
    """A search's proposals are all refused: they repeat trials, break the limits, or do not validate. A resumed one would end alike."""


def not_allowed(what: str, value: object, allowed: Iterable[object], way_out: str = "") -> str:
    """The error text for a value that is not allowed. It lists the allowed values and the nearest one."""
    names = [str(item) for item in allowed]
    near = difflib.get_close_matches(str(value), names, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    listing = ", ".join(names) if names else "none"
    return f"{what} is {value!r}; allowed: {listing}.{guess}{' ' + way_out if way_out else ''}"


def listed(items: Sequence[str], shown: int = 5) -> str:
    """The first items as a text, and how many more there are: `a, b and 3 more`."""
    return ", ".join(items[:shown]) + (f" and {len(items) - shown} more" if len(items) > shown else "")


@contextmanager
def explained(error: Callable[[str], AutodistillError]) -> Iterator[None]:
    """Turn any exception of a library that reads a file into an error of ours.

    For damaged files, libraries in Rust and C++ (safetensors, tokenizers, onnxruntime) raise exceptions of their own, of which no list is
    complete. error: makes ours from the exception's kind and text in one line.
    """
    try:
        yield
    except (AutodistillError, MemoryError):
        raise
    except Exception as cause:
        text = " ".join(str(cause).split())
        raise error(f"{type(cause).__name__}: {text[:300]}{'…' if len(text) > 300 else ''}") from cause
