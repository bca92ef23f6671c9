"""Bad rows, collected until everything is checked, so that one message names them all."""

from __future__ import annotations

from collections.abc import Sequence

from autodistill.errors import DataError
from autodistill.tasks.tables import Table

SHOWN = 5
"""How many bad rows of one kind a message shows; the others are only counted."""


class Problems:
    """The lines of a future error message."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        """Add a problem that is not about single rows."""
        self.lines.append(line)

    def rows(self, table: Table, column: str, rows: Sequence[int], what: str, way_out: str, values: bool = False) -> None:
        """Add rows with the same problem, if there are any. what: continues "3 rows …", as in "without a label". values: show them too."""
        if not rows:
            return
        every = table.values(column) if values else []
        shown = [table.place(row) + (f": {str(every[row])[:40]!r}" if values else "") for row in rows[:SHOWN]]
        more = ", …" if len(rows) > SHOWN else ""
        count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
        self.add(f"{table.name}, column {column!r}: {count} {what}: {', '.join(shown)}{more}. {way_out}")

    def check(self, name: str) -> None:
        """Raise an error with all lines.

        Raises:
            DataError: there were problems.
        """
        if self.lines:
            raise DataError(f"dataset {name!r} cannot be used:\n" + "\n".join(f"- {line}" for line in self.lines))
