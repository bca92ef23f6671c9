"""A bounded selection of bad days for each run of the tests, drawn by the day; `make chaos` is the long one.

A failure names its seed: `FUZZ_SEED=20260101 pytest tests/chaos` repeats it.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from fuzzing import SEED

sys.path.append(str(Path(__file__).parents[1] / "tuning"))

import chaos

TRIES = {"students": 40, "studies": 3, "caches": 40}


@pytest.mark.parametrize("name", TRIES)
def test_nothing_is_lost_and_nothing_but_our_errors_comes_of_damaged_files(name: str, tmp_path: Path) -> None:
    tally = getattr(chaos, name)(tmp_path, random.Random(f"{SEED} {name}"), TRIES[name])
    print(f"FUZZ_SEED={SEED}, {name}: {tally.summary()}")
    assert tally.tries >= TRIES[name]
    assert not tally.bad, f"FUZZ_SEED={SEED}, {name}: {len(tally.bad)} of {tally.tries}:\n" + "\n".join(tally.bad[:10])
