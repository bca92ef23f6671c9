"""What a setting's value may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autodistill import values
from autodistill.values import Kind


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (values.COUNT, "5M", 5_000_000),
        (values.COUNT, "250k", 250_000),
        (values.COUNT, "120000", 120_000),
        (values.COUNT, "2.3M", 2_300_000),
        (values.COUNT, "1e6", 1_000_000),
        (values.COUNT, "0.5k", 500),
        (values.COUNT, "1b", 10**9),
        (values.SECONDS, "30m", 1800.0),
        (values.SECONDS, "2h", 7200.0),
        (values.SECONDS, "90", 90.0),
        (values.SECONDS, "1.5 min", 90.0),
        (values.SECONDS, "1d", 86400.0),
        (values.MILLISECONDS, "2ms", 2.0),
        (values.MILLISECONDS, "500us", 0.5),
        (values.MILLISECONDS, "0.002s", 2.0),
        (values.MILLISECONDS, ".25", 0.25),
        (values.COUNT_OR_SHARE, "5M", 5_000_000),
        (values.COUNT_OR_SHARE, "1/7.5", "1/7.5"),
        (values.MILLISECONDS_OR_SHARE, " 1 / 9.40 ", "1/9.4"),
        (values.whole(0), "0", 0),
        (values.whole(1), "12", 12),
        (values.GPUS, "0.25", 0.25),
        (values.GPUS, "0", 0.0),
        (values.GPUS, "4", 4.0),
        (values.ADDRESS, "auto", "auto"),
        (values.ADDRESS, "10.0.0.7:6379", "10.0.0.7:6379"),
        (values.ADDRESS, "[::1]:80", "[::1]:80"),
    ],
)
def test_numbers_are_read_with_their_units(kind: Kind, text: str, value: object) -> None:
    assert kind.read(text) == value
    assert type(kind.read(text)) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (values.COUNT, "5X"),
        (values.COUNT, "0"),
        (values.COUNT, "-5M"),
        (values.COUNT, "0.5"),
        (values.COUNT, "1e999"),
        (values.COUNT, ""),
        (values.COUNT, "five"),
        (values.COUNT, "nan"),
        (values.COUNT, "５M"),
        (values.SECONDS, "30 parsecs"),
        (values.SECONDS, "inf"),
        (values.SECONDS, "1h30m"),
        (values.MILLISECONDS, "2h"),
        (values.COUNT_OR_SHARE, "2/7.5"),
        (values.COUNT_OR_SHARE, "1/0.5"),
        (values.COUNT_OR_SHARE, "1/x"),
        (values.COUNT_OR_SHARE, "5X"),
        (values.whole(1), "0"),
        (values.whole(1), "1.5"),
        (values.whole(0), "-1"),
        (values.whole(0), "²"),
        (values.GPUS, "1.5"),
        (values.GPUS, "-1"),
        (values.GPUS, "nan"),
        (values.GPUS, "inf"),
        (values.GPUS, "all"),
        (values.ADDRESS, "head"),
        (values.ADDRESS, "host:99999"),
        (values.ADDRESS, "host:"),
        (values.ADDRESS, "a b:1"),
    ],
)
def test_what_cannot_be_meant_is_named(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError, match=" is not ") as error:
        kind.read(text)
    assert repr(text) in str(error.value)
    assert kind.allowed in str(error.value)


@pytest.mark.parametrize(
    ("kind", "value", "meant"),
    [
        (values.COUNT, 5_000_000, 5_000_000),
        (values.COUNT, 5e6, 5_000_000),
        (values.COUNT, np.int64(12), 12),
        (values.SECONDS, 90, 90.0),
        (values.MILLISECONDS, 0.5, 0.5),
        (values.COUNT_OR_SHARE, 1000, 1000),
        (values.GPUS, 1, 1.0),
        (values.whole(1), np.int64(3), 3),
        (values.TEXT, Path("a/b.csv"), "a/b.csv"),
        (values.FLAG, True, True),
        (values.many(values.TEXT), "one", ("one",)),
        (values.many(values.TEXT), ["one", Path("two")], ("one", "two")),
    ],
)
def test_values_of_python_are_taken(kind: Kind, value: object, meant: object) -> None:
    assert kind.read(value) == meant
    assert type(kind.read(value)) is type(meant)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (values.COUNT, True),
        (values.COUNT, 1.5),
        (values.COUNT, 0),
        (values.COUNT, float("inf")),
        (values.COUNT, None),
        (values.SECONDS, float("nan")),
        (values.SECONDS, -1.0),
        (values.MILLISECONDS, False),
        (values.GPUS, True),
        (values.GPUS, [1]),
        (values.ADDRESS, 6379),
        (values.whole(1), 2.0),
        (values.whole(1), True),
        (values.TEXT, 3),
        (values.TEXT, " "),
        (values.FLAG, "yes"),
        (values.FLAG, 1),
        (values.many(values.TEXT), ["one", 2]),
        (values.RECIPE, {"task": "text-classification"}),
        (values.one_of("a", "b"), "c"),
    ],
)
def test_values_of_python_that_cannot_be_meant_are_named(kind: Kind, value: Any) -> None:
    with pytest.raises(ValueError, match=" is not "):
        kind.read(value)


@pytest.mark.parametrize("text", ["5M", "1/7.5", "2.3M", "1/12.25"])
def test_what_is_shown_is_read_back(text: str) -> None:
    for kind in (values.COUNT_OR_SHARE, values.MILLISECONDS_OR_SHARE) if "/" in text else (values.COUNT_OR_SHARE,):
        assert kind.read(kind.show(kind.read(text))) == kind.read(text)
    assert values.MILLISECONDS.show(0.5) == "0.5ms"


def test_a_password_is_not_shown() -> None:
    assert values.URL.show("postgresql://me:secret@host:5432/db") == "postgresql://me:***@host:5432/db"
    assert values.without_password("sqlite:////a/b@c.db") == "sqlite:////a/b@c.db"
