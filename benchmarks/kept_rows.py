"""What a benchmark has measured, kept in a file (jsonl, a line for each measurement), so that a run that was stopped goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class KeptRows(list[dict[str, Any]]):
    """The rows of a file, which `keep` adds to. message: what is printed to stderr for a row that is kept."""

    def __init__(self, path: Path, message: Callable[[dict[str, Any]], str]) -> None:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        super().__init__(map(json.loads, lines))
        self.path, self.message = path, message

    def keep(self, row: dict[str, Any]) -> None:
        """Add a row to the list and to the file."""
        self.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(self.message(row), file=sys.stderr, flush=True)
