from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests' tensors are small: more threads only wait for each other


@pytest.fixture(autouse=True)
def isolated_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a cache folder of its own, and sees no local mirrors that it did not make."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("AUTODISTILL_CACHE", str(cache))
    monkeypatch.delenv("AUTODISTILL_DATA", raising=False)
    return cache
