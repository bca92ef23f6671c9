"""Labels as they stand in the tables, and what reading them brings up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autodistill.target import Target
from autodistill.tasks.problems import Problems
from autodistill.tasks.source import Info
from autodistill.tasks.tables import Table


@dataclass(frozen=True)
class RawLabels:
    """The label columns of all tables, not read yet.

    tables: by split. columns: one, or for several labels per row a column for each. info: what the dataset declares. own: the user's own
    files. There a class that train lacks is an error; in a published dataset with declared classes it is a note. separator: the separator
    of several labels in a text; None if it has to be found. problems: reading adds errors here. notes, warnings: reading adds them.
    """

    tables: dict[str, Table]
    columns: Sequence[str]
    info: Info
    problems: Problems
    own: bool = True
    separator: str | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def column(self) -> str:
        """The column, if there is one."""
        (column,) = self.columns
        return column

    @property
    def base(self) -> str:
        """The split whose labels the others' must be among: `train`, or `all` if a single table has to be split."""
        return "all" if "all" in self.tables else "train"

    @property
    def declared(self) -> tuple[str, ...] | None:
        """The names of the classes, by index, if the dataset or the column's type declares them."""
        return self.info.classes or self.tables[self.base].class_names(self.column)

    def report(self, rows: Mapping[str, Sequence[int]], what: str, way_out: str, column: str | None = None, values: bool = True) -> None:
        """Add a problem of rows, by split. column: if there are several. The others: see `Problems.rows`."""
        for split, table in self.tables.items():
            self.problems.rows(table, column or self.column, rows.get(split, ()), what, way_out, values)


@dataclass(frozen=True)
class Encoded:
    """The labels of each table in the target's form, (rows,) or (rows, L). They have no meaning if there were problems."""

    target: Target
    arrays: dict[str, np.ndarray]
