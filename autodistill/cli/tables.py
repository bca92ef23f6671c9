"""Tables for commands that list something."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autodistill.report import texts


def open_console() -> Console:
    """A console on stdout. A file or a pipe gets lines long enough that no cell is broken, for the sake of `grep`."""
    console = Console()
    return console if console.is_terminal else Console(width=240)


def listing(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose first column is never cut, and whose cells are shown as they are (no markup, no control characters)."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for number, head in enumerate(heads):
        table.add_column(Text(head), no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(texts.clean(cell)) for cell in row))
    return table
