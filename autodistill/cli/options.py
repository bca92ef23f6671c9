"""The options of a command, made from its settings; and the settings from a command line and its `--config` file."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeVar

import shtab

from autodistill.option import GROUPS, Option, Settings, opposite
from autodistill.values import FLAG, Kind

Read = TypeVar("Read", bound=Settings)
JSON_AT_THE_END = "one JSON object on stdout at the end; all else goes to stderr"


def reader(kind: Kind) -> Callable[[str], Any]:
    """How argparse reads a value of a kind; its error names the value and what is allowed."""

    def read(text: str) -> Any:
        try:
            return kind.read_one(text)
        except ValueError as cause:
            raise argparse.ArgumentTypeError(str(cause)) from None

    return read


def add_options(command: argparse.ArgumentParser, model: type[Settings]) -> None:
    """Add the options of the settings, in their groups, and `--config`."""
    config = command.add_argument(
        "--config",
        metavar="FILE",
        help="a YAML file of settings, named as in Python (docs/settings.md); an option on the command line wins",
    )
    completes_files(config)
    places = {group: command.add_argument_group(group) for group in GROUPS}
    for option in model.options().values():
        _add(command if option.positional else places[option.group], option)


def _add(place: argparse._ActionsContainer, option: Option) -> None:
    """Add an option. It has no default here, because the file, or else the model, supplies what is left out."""
    name, text = option.name, option.help.replace("%", "%%")
    if option.kind is FLAG:
        value = not option.default
        place.add_argument(option.flag, dest=name, action="store_const", const=value, default=argparse.SUPPRESS, help=text)
        back = opposite(option.flag)
        place.add_argument(back, dest=name, action="store_const", const=not value, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    elif option.positional:
        added = place.add_argument(name, metavar=option.metavar, nargs="?", type=reader(option.kind), default=argparse.SUPPRESS, help=text)
        completes_files(added)
    else:
        added = place.add_argument(
            option.flag,
            dest=name,
            metavar=option.metavar,
            type=reader(option.kind),
            action="append" if option.kind.many else "store",
            default=argparse.SUPPRESS,
            help=text,
        )
        completes_files(added)


def completes_files(action: argparse.Action) -> None:
    """Let shells complete the value as a file or folder, if its placeholder says that it is one."""
    words = set(str(action.metavar).split("|"))
    if words & {"FILE", "PATH", "DIR", "FOLDER"}:
        action.complete = shtab.DIRECTORY if words <= {"DIR", "FOLDER"} else shtab.FILE  # type: ignore[attr-defined]


def add_verbosity(command: argparse.ArgumentParser) -> None:
    """Add `-v` and `-q`, which are about the terminal alone and are no settings."""
    either = command.add_mutually_exclusive_group()
    either.add_argument("-v", "--verbose", action="store_true", help="a line for every step and epoch, instead of bars and a table")
    either.add_argument("-q", "--quiet", action="store_true", help="only the result; warnings and errors go to stderr")


def verbosity(args: argparse.Namespace) -> int:
    """How much a command shows, as `verbose` in Python: 0, 1 or 2."""
    return 2 if args.verbose else 0 if args.quiet else 1


def read_options(args: argparse.Namespace, model: type[Read]) -> Read:
    """The settings of a parsed command line, which override those of its `--config` file.

    Raises:
        UsageError: something is missing, or the file holds an invalid value.
    """
    asked = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(args).items() if name in model.model_fields}
    return model.read(asked, args.config)
