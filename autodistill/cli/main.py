"""The `autodistill` command: a thin file for each subcommand. Exit codes: 0 done, 1 the run failed, 2 usage, 130 Ctrl-C, 143 SIGTERM."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

import autodistill
from autodistill.cli import (
    completion,
    dashboard,
    datasets,
    distill,
    export,
    predict,
    pretrain,
    push,
    recommend,
    report,
    schema,
    search,
    spaces,
    studies,
)
from autodistill.errors import AutodistillError

COMMANDS = (
    search, recommend, distill, pretrain, export, push, predict, dashboard, report, datasets, spaces, studies, schema, completion,
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = argparse.ArgumentParser(prog="autodistill", description="Search the whole knowledge-distillation pipeline for a small student.")
    top.add_argument("--version", action="version", version=f"autodistill {autodistill.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    top.set_defaults(parser=top)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # characters that the terminal's encoding lacks are escaped, and cause no error
            stream.reconfigure(errors="backslashreplace")
    args = _parse(argv)
    with terminated_as_interrupted() as terminated:
        code = _run(args)
    return 128 + signal.SIGTERM if code == 130 and terminated.is_set() else code


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The parsed command line. For a dataset without its option, as in `search reviews.csv`, the error says how to name it."""
    top = parser()
    args, rest = top.parse_known_args(argv)
    if rest:
        is_dataset = args.command in ("search", "recommend") and "dataset" not in args and not rest[0].startswith("-")
        hint = f"; name the dataset with --dataset {shlex.quote(rest[0])}" if is_dataset else ""
        top.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
    return args


def _run(args: argparse.Namespace) -> int:
    try:
        return int(args.run(args))
    except AutodistillError as error:
        print(f"autodistill: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("autodistill: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has ended, as in `autodistill datasets | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python reports it again when it flushes at the end
        return 0


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[threading.Event]:
    """Treat SIGTERM, which schedulers and `docker stop` send, like Ctrl-C. The event is set when it arrives."""
    terminated = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield terminated
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        terminated.set()
        on_interrupt = signal.getsignal(signal.SIGINT)
        if not callable(on_interrupt):  # background jobs of a shell ignore Ctrl-C, but should not ignore SIGTERM
            raise KeyboardInterrupt
        on_interrupt(signal.SIGINT, frame)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield terminated
    finally:
        if before is not None:  # a handler that is not Python's cannot be restored
            signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
