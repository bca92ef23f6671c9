from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import pytest

from autodistill.cli import options


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (options.count, "5M", 5_000_000),
        (options.count, "250k", 250_000),
        (options.count, "120000", 120_000),
        (options.count, "2.3M", 2_300_000),
        (options.count, "1e6", 1_000_000),
        (options.count, "0.5k", 500),
        (options.count, "1b", 10**9),
        (options.seconds, "30m", 1800.0),
        (options.seconds, "2h", 7200.0),
        (options.seconds, "90", 90.0),
        (options.seconds, "1.5 min", 90.0),
        (options.seconds, "1d", 86400.0),
        (options.milliseconds, "2ms", 2.0),
        (options.milliseconds, "500us", 0.5),
        (options.milliseconds, "0.002s", 2.0),
        (options.milliseconds, ".25", 0.25),
        (options.or_share(options.count, "5M"), "5M", 5_000_000),
        (options.or_share(options.count, "5M"), "1/7.5", "1/7.5"),
        (options.or_share(options.milliseconds, "2ms"), " 1 / 9.4 ", "1 / 9.4"),
        (options.whole(0), "0", 0),
        (options.whole(1), "12", 12),
        (options.gpus, "0.25", 0.25),
        (options.gpus, "0", 0.0),
        (options.gpus, "4", 4.0),
        (options.address, "auto", "auto"),
        (options.address, "10.0.0.7:6379", "10.0.0.7:6379"),
        (options.address, "[::1]:80", "[::1]:80"),
    ],
)
def test_numbers_are_read_with_their_units(read: Callable[[str], Any], text: str, value: object) -> None:
    assert read(text) == value
    assert type(read(text)) is type(value)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (options.count, "5X"),
        (options.count, "0"),
        (options.count, "-5M"),
        (options.count, "0.5"),
        (options.count, "1e999"),
        (options.count, ""),
        (options.count, "five"),
        (options.count, "nan"),
        (options.count, "５M"),
        (options.seconds, "30 parsecs"),
        (options.seconds, "inf"),
        (options.seconds, "1h30m"),
        (options.milliseconds, "2h"),
        (options.or_share(options.count, "5M"), "2/7.5"),
        (options.or_share(options.count, "5M"), "1/0.5"),
        (options.or_share(options.count, "5M"), "1/x"),
        (options.or_share(options.count, "5M"), "5X"),
        (options.whole(1), "0"),
        (options.whole(1), "1.5"),
        (options.whole(0), "-1"),
        (options.whole(0), "²"),
        (options.gpus, "1.5"),
        (options.gpus, "-1"),
        (options.gpus, "nan"),
        (options.gpus, "inf"),
        (options.gpus, "all"),
        (options.address, "head"),
        (options.address, "host:99999"),
        (options.address, "host:"),
        (options.address, "a b:1"),
    ],
)
def test_what_cannot_be_meant_is_named(read: Callable[[str], Any], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as error:
        read(text)
    assert repr(text) in str(error.value)
