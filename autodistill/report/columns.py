"""Tables for terminals of any width: no number or heading is cut. Texts are shortened; if that is not enough, columns are left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from autodistill.report import texts

LEAST = 14
"""The columns of the terminal to which a text may be shortened."""


@dataclass(frozen=True)
class Column:
    """A column. text: its cells may be shortened. rank: columns with the highest are left out first; 0 for those that never are."""

    name: str
    text: bool = False
    rank: int = 0


def fitted(columns: Sequence[Column], rows: Iterable[tuple[Sequence[str], str]], width: int) -> Table:
    """A table that fits a width. rows: the cells of each row, and its style."""
    lines = [([texts.clean(cell) for cell in cells], style) for cells, style in rows]
    gap = 2 if width >= 80 else 1
    full, least = [], []
    for place, column in enumerate(columns):
        head = cell_len(column.name)
        longest = max([head, *(cell_len(cells[place]) for cells, _ in lines)])
        full.append(longest)
        least.append(max(head, min(longest, LEAST)) if column.text else longest)
    shown = list(range(len(columns)))
    while sum(least[place] + gap for place in shown) - gap > width and any(columns[place].rank for place in shown):
        shown.remove(max(shown, key=lambda place: columns[place].rank))
    room = width - sum(least[place] + gap for place in shown) + gap
    table = Table(box=None, padding=(0, gap, 0, 0), header_style="dim", pad_edge=False)
    for place in shown:
        column, more = columns[place], max(0, min(room, full[place] - least[place]))
        room -= more
        table.add_column(
            Text(texts.clean(column.name)),
            justify="left" if column.text else "right",
            no_wrap=True,
            overflow="ellipsis",
            width=least[place] + more,
        )
    for cells, style in lines:
        table.add_row(*(Text(cells[place]) for place in shown), style=style)
    return table
