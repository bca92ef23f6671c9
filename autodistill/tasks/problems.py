"""Bad rows, gathered until everything has been looked at, so that one message names them all."""

from __future__ import annotations

from collections.abc import Sequence

from autodistill.errors import DataError
from autodistill.tasks.tables import Table

SHOWN = 5
"""Bad rows of one kind that a message shows; the others are counted."""


class Problems:
    """Lines of the message to come."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        """A problem that is not of single rows."""
        self.lines.append(line)

    def rows(self, table: Table, column: str, rows: Sequence[int], what: str, way_out: str, values: bool = False) -> None:
        """Rows with the same problem, if there are any. what: `{n} rows have no label`, say. values: show them too."""
        if not rows:
            return
        every = table.values(column) if values else []
        shown = [table.place(row) + (f": {str(every[row])[:40]!r}" if values else "") for row in rows[:SHOWN]]
        more = ", …" if len(rows) > SHOWN else ""
        count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
        self.add(f"{table.name}, column {column!r}: {count} {what}: {', '.join(shown)}{more}. {way_out}")

    def check(self, name: str) -> None:
        """Raise what was gathered.

        Raises:
            DataError: there were problems.
        """
        if self.lines:
            raise DataError(f"dataset {name!r} cannot be used:\n" + "\n".join(f"- {line}" for line in self.lines))
