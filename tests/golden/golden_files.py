"""Golden files: what the product did on the day they were recorded, and how today is compared with it.

**A change of a golden file is a change of behaviour.** Whoever makes one on purpose records it anew with

    python -m tests.golden.record

(from the repository's root; with names of files behind it, those alone), reads the difference, and says in the commit message what
changed and why. A refactoring changes none of them. A call that has another name by now is changed in golden_runs.py, the one place
that calls the product.

Numbers of a training are equal to the last digit only on the same kind of machine with the same libraries, so these are kept beside the
numbers: where they are the same, everything is compared exactly, else floats to one part in a thousand. The rest is always exact.
"""

from __future__ import annotations

import functools
import json
import math
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
REL = 1e-3
"""How far a float may be off on another kind of machine."""
LIBRARIES = ("torch", "numpy", "optuna", "scikit-learn", "scipy", "timm", "transformers")
"""They draw the first weights, do the sums and propose the recipes."""


@functools.cache
def machine() -> dict[str, str]:
    """What the last digits depend on."""
    import torch

    versions = {name: metadata.version(name) for name in LIBRARIES}
    return versions | {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(), "processor": _processor()}


def _processor() -> str:
    """The vendor and family of the processor: matrix products are not the same code for all that have the same instructions."""
    facts = Path("/proc/cpuinfo")
    if not facts.exists():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in facts.read_text(encoding="utf-8").partition("\n\n")[0].splitlines())
    fields = {name.strip(): value.strip() for name, _, value in lines}
    return " ".join(fields[name] for name in ("vendor_id", "cpu family", "model") if name in fields) or platform.machine()


def write(name: str, values: Mapping[str, Any], measured: bool) -> None:
    """Write a golden file of JSON. measured: its numbers depend on the machine, which is kept beside them."""
    header = {"machine": machine()} if measured else {}
    (FOLDER / f"{name}.json").write_text(json.dumps({**header, "values": values}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@functools.cache
def read(name: str) -> dict[str, Any]:
    """A golden file: its `values` and, where they were measured, the `machine`."""
    recorded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return recorded


def check(name: str, key: str, today: Any) -> None:
    """Compare an entry of a golden file with today's.

    Raises:
        AssertionError: they differ; names each value that does, and what is another machine or library, if anything is.
    """
    golden = read(name)
    now = machine() if "machine" in golden else {}
    other = [f"{part} {was}, here {now.get(part)}" for part, was in golden.get("machine", {}).items() if now.get(part) != was]
    lines = list(differences(golden["values"][key], json.loads(json.dumps(today)), exact=not other))
    if lines and other:
        lines.append(f"(recorded with another {'; '.join(other)}: floats may be off by {REL:g} of themselves)")
    assert not lines, f"{name}.json, {key}:\n  " + "\n  ".join(lines)


def differences(golden: Any, today: Any, *, exact: bool, path: str = "") -> Iterator[str]:
    """A line for each value that is not the same: its path, what it was, what it is."""
    if isinstance(golden, dict) and isinstance(today, dict):
        for name in [*golden, *(name for name in today if name not in golden)]:
            yield from differences(golden.get(name, "(nothing)"), today.get(name, "(nothing)"), exact=exact, path=f"{path}.{name}")
    elif isinstance(golden, list) and isinstance(today, list) and len(golden) == len(today):
        for number, (was, now) in enumerate(zip(golden, today, strict=True)):
            yield from differences(was, now, exact=exact, path=f"{path}[{number}]")
    elif type(golden) is not type(today) or not _equal(golden, today, exact):
        yield f"{path.lstrip('.') or 'value'}: was {golden!r}, is {today!r}"


def _equal(golden: Any, today: Any, exact: bool) -> bool:
    if isinstance(golden, float) and not exact:
        return math.isclose(golden, today, rel_tol=REL)
    return bool(golden == today)


def read_text(name: str) -> str:
    """A golden file of text."""
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


RULE = "=" * 40
PYTHON = "Python " + ".".join(platform.python_version_tuple()[:2])


def join_help(texts: Mapping[str, str]) -> str:
    """All commands' help in one text, under the Python that laid it out, each under a line with its name."""
    return f"{PYTHON}\n" + "\n".join(f"{RULE} autodistill {name}".rstrip() + f"\n{text}" for name, text in texts.items())


def split_help(text: str) -> dict[str, str]:
    """What `join_help` joined."""
    parts = (part.partition("\n") for part in text.split(f"\n{RULE} autodistill")[1:])
    return {name.strip(): shown for name, _, shown in parts}


def check_help(command: str, today: str) -> None:
    """Compare a command's help with the golden file's: line by line, or word by word where another Python wraps its lines.

    Raises:
        AssertionError: they differ.
    """
    text = read_text("help")
    golden = split_help(text)[command]
    if text.startswith(f"{PYTHON}\n"):
        assert today.splitlines() == golden.rstrip("\n").splitlines()
    else:
        assert today.split() == golden.split()
