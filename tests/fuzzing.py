"""What tests of damaged files have in common: the day's seed, and what may come of reading a file."""

from __future__ import annotations

import datetime
import os
import traceback
from collections.abc import Callable
from pathlib import Path

from autodistill.errors import AutodistillError

SEED = int(os.environ.get("FUZZ_SEED", f"{datetime.date.today():%Y%m%d}"))


def surprise(read: Callable[[], object]) -> str | None:
    """What reading raised, if that is none of our own errors."""
    try:
        read()
    except AutodistillError as error:
        str(error).encode()  # it can be printed
    except Exception as cause:
        place = traceback.extract_tb(cause.__traceback__)[-1]
        return f"{type(cause).__name__}: {str(cause)[:200]} ({Path(place.filename).name}, line {place.lineno})"
    return None


def check(surprises: dict[int, str | None], kind: str) -> None:
    """Fail with the surprises. They are by the number of the file."""
    failures = [f"file {number}: {text}" for number, text in surprises.items() if text is not None]
    assert not failures, f"FUZZ_SEED={SEED}, {kind}: {len(failures)} of {len(surprises)} files:\n" + "\n".join(failures[:10])
