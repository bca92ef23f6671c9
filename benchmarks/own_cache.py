"""A cache of a benchmark's own, so that it finds nothing that earlier runs have stored."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE_VARIABLE = "AUTODISTILL_CACHE"


@contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """Use a folder as the cache, in this process and those that it starts."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(CACHE_VARIABLE)
        if before is not None:
            os.environ[CACHE_VARIABLE] = before
