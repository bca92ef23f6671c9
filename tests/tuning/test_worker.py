"""What a worker does between trials."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from autodistill.environment import KEEP_MEMORY

SCATTERED = """
from autodistill.tuning.worker import _free_memory

def anonymous():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Anonymous"))

held = [(b"1" * 2**20, b"1" * 2**10) for _ in range(300)]
kept = [small for large, small in held]  # between the large ones, so that the heap's top stays where it is
before = anonymous()
del held
after = anonymous()
_free_memory()
print(before, after, anonymous())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps and trims memory")
def test_what_a_trial_has_freed_goes_back_between_trials() -> None:
    run = [sys.executable, "-c", SCATTERED]
    done = subprocess.run(run, env=os.environ | KEEP_MEMORY, capture_output=True, text=True, check=True, timeout=60)
    before, after, trimmed = map(float, done.stdout.split())
    assert after > before - 30  # kept, for the next step
    assert trimmed < before - 250
