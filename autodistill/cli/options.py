"""How the command line reads numbers with units. Each raises argparse's error, which names the value and shows one that works."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

from autodistill.errors import UsageError
from autodistill.limits import ratio

_COUNT = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_MILLISECONDS = {"": Decimal(1), "us": Decimal("0.001"), "ms": Decimal(1), "s": Decimal(1000)}


def _number(text: str, units: Mapping[str, int | Decimal], what: str, example: str) -> Decimal:
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]{1,2})?)\s*([a-zA-Z]*)\s*", text, re.ASCII)
    unit = str(match.group(2)).lower() if match else ""
    if not match or unit not in units or Decimal(match.group(1)) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}; give a number above 0, like {example}")
    return Decimal(match.group(1)) * units[unit]  # decimal, so that 2.3M is 2,300,000


def count(text: str) -> int:
    """`5M`, `250k` or `120000`: a whole number above 0."""
    value = _number(text, _COUNT, "a count", "5M, 250k or 120000")
    if value != int(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number; give one like 5M, 250k or 120000")
    return int(value)


def or_share(read: Callable[[str], float], example: str) -> Callable[[str], float | str]:
    """What `read` reads, or a share of the teacher's own cost, `1/7.5`, which stays a text."""

    def either(text: str) -> float | str:
        if "/" not in text:
            return read(text)
        try:
            ratio(text, "the share")
        except UsageError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a share of the teacher's; give one like 1/7.5, or {example}") from None
        return text.strip()

    return either


def seconds(text: str) -> float:
    """`30m`, `2h` or `90`: a duration in seconds."""
    return float(_number(text, _SECONDS, "a duration", "30m, 2h or 90s"))


def milliseconds(text: str) -> float:
    """`2ms`, `500us` or `2`: a latency in milliseconds."""
    return float(_number(text, _MILLISECONDS, "a latency", "2ms or 500us"))


def whole(lowest: int) -> Callable[[str], int]:
    """A whole number from the lowest one on."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\s*[0-9]{1,18}\s*", text, re.ASCII) or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest}")
        return int(text)

    return read


def gpus(text: str) -> float:
    """`0.25`, `1` or `0`: a fraction of a GPU, or a whole number of them."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 <= value <= 1 or (value > 1 and value.is_integer())):
        raise argparse.ArgumentTypeError(f"{text!r} is not a share of GPUs; give a fraction from 0 to 1, like 0.25, or a whole number")
    return value


def address(text: str) -> str:
    """`auto` or `HOST:PORT`: where a Ray cluster is."""
    match = re.fullmatch(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", text, re.ASCII)
    if text != "auto" and not (match and 0 < int(match.group(1)) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not the address of a Ray cluster; give auto, or HOST:PORT like 10.0.0.7:6379")
    return text


Options = argparse.ArgumentParser | argparse._ArgumentGroup


def add_dataset(place: Options) -> None:
    """The options that say which rows."""
    place.add_argument(
        "--dataset", metavar="NAME|PATH", required=True, help="a name (see `autodistill datasets`), a hub id, a file or folder"
    )
    place.add_argument("--limit-train", metavar="N", type=count, help="train on N rows of it: a seeded, stratified subset")
    place.add_argument(
        "--unlabelled", metavar="PATH", action="append", default=[],
        help="rows without labels: csv, tsv, jsonl, parquet, txt (a text a line), a folder of images; several times; "
        "`rest` for the training rows beyond --limit-train",
    )  # fmt: skip
    place.add_argument("--limit-unlabelled", metavar="N", type=count, help="use N of them: a seeded subset")
    place.add_argument("--text-column", metavar="NAME", action="append", help="the column of texts; twice for pairs of texts")
    place.add_argument("--label-column", metavar="NAME", help="the column of labels")


def add_limits(place: Options) -> None:
    """The options that limit the student."""
    place.add_argument(
        "--max-params",
        metavar="5M|1/7.5",
        type=or_share(count, "a count like 5M"),
        help="students have at most so many parameters, or that share of the teacher's",
    )
    place.add_argument(
        "--max-latency",
        metavar="2ms|1/9.4",
        type=or_share(milliseconds, "a latency like 2ms"),
        help="students answer one row within this time on this machine, or that share of the teacher's",
    )
