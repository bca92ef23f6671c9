"""A search in a process of its own, for tests that kill it: python driver.py FOLDER SETTINGS_AS_JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fakes import FACTS, FakeFeasible, FakeRunner, make_settings, make_space, make_teachers

from autodistill.cli.main import terminated_as_interrupted
from autodistill.errors import RunError
from autodistill.tuning.run import SearchInterrupted, run_search


def main(folder: Path, asked: dict[str, object]) -> int:
    space = make_space(folder)
    pause = float(asked.pop("pause", 0.05))  # type: ignore[arg-type]
    try:
        run_search(
            make_settings(folder, **asked),
            space=space,
            dataset=FACTS,
            teachers=make_teachers(space),
            runner=FakeRunner(pause, str(folder)),
            feasible=FakeFeasible(),
            baselines=space.baselines(),
        )
    except SearchInterrupted:
        return 130
    except RunError as error:  # as the command prints it
        print(f"autodistill: {error}")
        return 1
    return 0


if __name__ == "__main__":
    with terminated_as_interrupted() as terminated:
        code = main(Path(sys.argv[1]), json.loads(sys.argv[2]))
    sys.exit(143 if terminated.is_set() and code == 130 else code)
