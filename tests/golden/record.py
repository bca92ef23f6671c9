"""Record the golden files anew: python -m tests.golden.record [NAME ...], from the repository's root.

NAME: recipe_ids, curves, teachers, search, reports, help; all of them without one. See golden_files.py first: what changes is behaviour.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
os.environ["OMP_NUM_THREADS"] = "1"  # as tests/conftest.py does; before torch is imported
os.environ["AUTODISTILL_PRECISION"] = "float32"  # as test_golden.py does

import golden_files
import golden_runs


def main(names: list[str]) -> None:
    """Record them."""
    unknown = [name for name in names if name not in RECORDINGS]
    if unknown:
        sys.exit(f"{', '.join(unknown)}: no such golden file; there are {', '.join(RECORDINGS)}")
    for name in names or RECORDINGS:
        RECORDINGS[name]()
        print(f"{name} recorded", file=sys.stderr)


def _recipe_ids() -> None:
    ids = {}
    for study in golden_runs.recorded_studies():
        changed, ids[study] = golden_runs.recipe_ids(study)
        if changed:
            sys.exit("recipes have other ids than they were recorded with; recorded studies would lose them:\n" + "\n".join(changed))
    golden_files.write("recipe_ids", ids, measured=False)


def _curves() -> None:
    golden_files.write("curves", _each(golden_runs.curve, golden_runs.CURVES), measured=True)


def _teachers() -> None:
    golden_files.write("teachers", _each(golden_runs.teacher, golden_runs.TEACHERS), measured=True)


def _search() -> None:
    golden_files.write("search", _each(_one_search, golden_runs.SEARCHES), measured=True)


def _one_search(folder: Path, name: str) -> dict[str, Any]:
    with tempfile.TemporaryFile("w+") as stdout:
        kept = os.dup(1)  # the command writes its JSON to the real stdout
        os.dup2(stdout.fileno(), 1)
        try:
            return golden_runs.search_json(folder, name, lambda: _all_of(stdout))
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def _all_of(stdout: Any) -> str:
    sys.stdout.flush()
    stdout.seek(0)
    return str(stdout.read())


def _reports() -> None:
    for study in golden_runs.REPORTS:
        (golden_files.FOLDER / f"report-{study}.txt").write_text(golden_runs.report_text(study), encoding="utf-8")


def _help() -> None:
    texts = {}
    for command in golden_runs.commands():
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            texts[command] = golden_runs.help_text(command, out.getvalue)
    (golden_files.FOLDER / "help.txt").write_text(golden_files.join_help(texts), encoding="utf-8")


def _each(run: Callable[[Path, str], dict[str, Any]], names: Any) -> dict[str, Any]:
    values = {}
    for name in names:
        with _folder() as folder:
            values[name] = run(folder, name)
    return values


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """An empty folder with an empty cache, and no mirrors of datasets."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["AUTODISTILL_CACHE"] = str(Path(name, "cache"))
        os.environ.pop("AUTODISTILL_DATA", None)
        yield Path(name).resolve()


RECORDINGS = {"recipe_ids": _recipe_ids, "curves": _curves, "teachers": _teachers, "search": _search, "reports": _reports, "help": _help}

if __name__ == "__main__":
    main(sys.argv[1:])
