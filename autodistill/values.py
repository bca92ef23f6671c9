"""The allowed values of settings, the same for the command line, a configuration file and Python: `5M`, `30m`, `1/7.5`, a name.

A field's annotation has a `Kind`, as in `max_params: Annotated[int | str | None, COUNT_OR_SHARE]`. Only the kind knows about the values.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from autodistill.errors import UsageError
from autodistill.limits import ratio
from autodistill.recipe import Recipe

_COUNT = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_MILLISECONDS = {"": Decimal(1), "us": Decimal("0.001"), "ms": Decimal(1), "s": Decimal(1000)}


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    allowed: completes "it should be". accepts: its type in Python, as in a signature. convert: makes the value from a number
    or a text, and raises ValueError or TypeError if that is invalid. show: the text that `convert` reads back. many: the setting has
    several values; `convert` and `show` are for one of them. list_is_one: a list is one value, and only a tuple holds several.
    """

    allowed: str
    accepts: str
    convert: Callable[[Any], Any]
    show: Callable[[Any], str] = str
    many: bool = False
    list_is_one: bool = False

    def read(self, value: Any) -> Any:
        """The value, from Python or from text.

        Raises:
            ValueError: it is invalid. The message says what is allowed.
        """
        if not self.many:
            return self.read_one(value)
        several = isinstance(value, tuple) or (isinstance(value, list) and not self.list_is_one)
        return tuple(self.read_one(item) for item in (value if several else [value]))

    def read_one(self, value: Any) -> Any:
        """The value, or an item of a list."""
        try:
            return self.convert(value)
        except (ValueError, TypeError, ArithmeticError):
            raise ValueError(f"{value!r} is not {self.allowed}") from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))


def many(kind: Kind) -> Kind:
    """A list of values of a kind; one value alone is a list of one. On the command line the option may be given several times."""
    return dataclasses.replace(kind, accepts=f"{kind.accepts} | Sequence[{kind.accepts}]", many=True)


def whole(lowest: int) -> Kind:
    """A whole number, not below the lowest one."""

    def convert(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,18}\s*", value, re.ASCII):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < lowest:
            raise ValueError
        return int(value)

    return Kind(f"a whole number from {lowest}", "int", convert)


def one_of(*names: str) -> Kind:
    """One of a few words."""

    def convert(value: Any) -> str:
        if value not in names:
            raise ValueError
        return str(value)

    return Kind(f"one of {', '.join(names)}", "str", convert)


def text(allowed: str, pattern: str = r"(?s).*\S.*", show: Callable[[Any], str] = str) -> Kind:
    """A text or a path, which is not empty."""

    def convert(value: Any) -> str:
        if not isinstance(value, str | Path) or not re.fullmatch(pattern, str(value)):
            raise ValueError
        return str(value)

    return Kind(allowed, "str", convert, show)


def _amount(value: Any, units: Mapping[str, int | Decimal]) -> Decimal:
    """A number above 0, from a number or a text with a unit. It is a Decimal, so that 2.3M is exactly 2,300,000."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]{1,2})?)\s*([a-zA-Z]*)\s*", value, re.ASCII)
        if match is None or match.group(2).lower() not in units:
            raise ValueError
        number = Decimal(match.group(1)) * units[match.group(2).lower()]
    elif isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise TypeError
    else:
        number = Decimal(float(value)) if not isinstance(value, numbers.Integral) else Decimal(int(value))
    if number <= 0:
        raise ValueError
    return number


def _count(value: Any) -> int:
    number = _amount(value, _COUNT)
    if number != int(number):
        raise ValueError
    return int(number)


def _gpus(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    share = float(value)
    if not (0 <= share <= 1 or (share > 1 and share.is_integer())):
        raise ValueError
    return share


def _address(value: Any) -> str:
    match = re.fullmatch(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", value, re.ASCII)
    if value != "auto" and not (match and 0 < int(match.group(1)) < 65536):
        raise ValueError
    return str(value)


def or_share(kind: Kind) -> Kind:
    """A value of another kind, or a share of the teacher's cost, `1/7.5`, which stays a text."""

    def convert(value: Any) -> Any:
        if not isinstance(value, str) or "/" not in value:
            return kind.convert(value)
        try:
            return f"1/{ratio(value, 'the share'):.10g}"
        except UsageError:
            raise ValueError from None

    def show(value: Any) -> str:
        return value if isinstance(value, str) else kind.show(value)

    return Kind(f"{kind.allowed}; or a share of the teacher's, like 1/7.5", kind.accepts, convert, show)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _recipe(value: Any) -> str | Recipe:
    return value if isinstance(value, Recipe) else str(TEXT.convert(value))


def _show_recipe(value: Any) -> str:
    return f"{value.id}.yaml" if isinstance(value, Recipe) else str(value)


def _folder_name(value: Any) -> str:
    if not isinstance(value, str | Path) or not re.fullmatch(r"\w[\w.+@ -]*", str(value)) or len(str(value).encode()) > LONGEST_NAME:
        raise ValueError
    return str(value)


def _dataset(value: Any) -> str:
    from autodistill.tasks.in_memory import keep_dataset

    return keep_dataset(TEXT.convert(value) if isinstance(value, str | Path) else value)


def _unlabelled(value: Any) -> str:
    from autodistill.tasks.unlabelled import keep_rows

    return keep_rows(value)


def _scores(value: Any) -> str:
    from autodistill.tasks.in_memory import keep_scores

    return keep_scores(TEXT.convert(value) if isinstance(value, str | Path) else value)


def without_password(url: str) -> str:
    """A URL with `***` for its password."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", url)


LONGEST_NAME = 100
"""Bytes of a folder's name in UTF-8. File systems allow 255, and files in the folder are named after it."""
TEXT = text("a text that is not empty")
FLAG = Kind("true or false", "bool", _flag)
COUNT = Kind("a whole number above 0, like 5M, 250k or 120000", "int | str", _count)
SECONDS = Kind("a duration above 0, like 30m, 2h or 90s", "float | str", lambda value: float(_amount(value, _SECONDS)), "{:.10g}".format)
MILLISECONDS = Kind(
    "a latency above 0, like 2ms or 500us", "float | str", lambda value: float(_amount(value, _MILLISECONDS)), "{:.10g}ms".format
)
COUNT_OR_SHARE, MILLISECONDS_OR_SHARE = or_share(COUNT), or_share(MILLISECONDS)
GPUS = Kind("a share of GPUs: a fraction from 0 to 1, like 0.25, or a whole number", "float", _gpus, "{:.10g}".format)
ADDRESS = Kind("the address of a Ray cluster: auto, or HOST:PORT like 10.0.0.7:6379", "str", _address)
FOLDER_NAME = Kind(
    "a folder's name: at most 100 letters, digits and . _ + @ - and spaces, the first a letter or digit (fewer letters beyond ASCII)",
    "str",
    _folder_name,
)
URL = text("a storage's URL", show=without_password)
RECIPE = Kind("a recipe: a file, or a study's folder", "str | Path | Recipe", _recipe, _show_recipe)
DATASET = Kind(
    "a name (see `autodistill datasets`), a hub id or a path; from Python also rows: a DataFrame, a datasets.Dataset, a list",
    "DatasetLike",
    _dataset,
)
SCORES = Kind("a file of a teacher's scores; from Python also a table of them: a DataFrame, a dictionary of columns", "ScoresLike", _scores)
UNLABELLED = Kind(
    "rows without labels: a path, a list of texts or of pairs of texts, or a DataFrame",
    "Unlabelled",
    _unlabelled,
    many=True,
    list_is_one=True,
)
