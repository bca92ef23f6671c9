"""How the command line reads numbers with units. Each raises argparse's error, which names the value and shows one that works."""

from __future__ import annotations

import argparse
import re

_COUNT = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_MILLISECONDS = {"": 1.0, "ms": 1.0, "us": 1e-3, "s": 1e3}


def _number(text: str, units: dict[str, float] | dict[str, int], what: str, example: str) -> float:
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([a-zA-Z]*)\s*", text)
    unit = match.group(2).lower() if match else None
    if not match or unit not in units or float(match.group(1)) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}; give a number above 0, like {example}")
    return float(match.group(1)) * units[unit]


def count(text: str) -> int:
    """`5M`, `250k` or `120000`: a whole number above 0."""
    value = _number(text, _COUNT, "a count", "5M, 250k or 120000")
    if value != int(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(value)


def seconds(text: str) -> float:
    """`30m`, `2h` or `90`: a duration in seconds."""
    return _number(text, _SECONDS, "a duration", "30m, 2h or 90s")


def milliseconds(text: str) -> float:
    """`2ms`, `500us` or `2`: a latency in milliseconds."""
    return _number(text, _MILLISECONDS, "a latency", "2ms or 500us")


def positive(text: str) -> float:
    """A number above 0."""
    return _number(text, {"": 1}, "a number", "1 or 0.25")
