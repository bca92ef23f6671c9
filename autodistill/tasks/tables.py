"""Tables as they were read: the values of a column, and where each row stands, so that a message can point at it."""

from __future__ import annotations

import bisect
import csv
import functools
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autodistill.errors import DataError, not_allowed
from autodistill.storage import digest

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")
"""The kinds of files that are read."""


class Table:
    """Rows in memory.

    name: the file, for messages. lines: the line of each row's beginning, in files made of lines. typed: False where
    every value is text because the format knows nothing else. stamp: changes when the contents do. folder: where
    relative image paths begin. lazy: values are big and only read when asked for.
    """

    lazy = False

    def __init__(
        self,
        name: str,
        columns: dict[str, list[Any]],
        *,
        lines: Sequence[int] | None = None,
        typed: bool = True,
        stamp: str = "",
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.names: tuple[str, ...] = tuple(columns)
        self.rows = len(next(iter(columns.values()), []))
        self.typed = typed
        self.stamp = stamp
        self.folder = folder
        self._columns = columns
        self._lines = lines

    def values(self, column: str) -> list[Any]:
        """All values of a column."""
        return self._columns[column]

    def take(self, column: str, rows: np.ndarray) -> list[Any]:
        """The values of a column at some rows (ascending)."""
        values = self._columns[column]
        return [values[row] for row in rows]

    def class_names(self, column: str) -> tuple[str, ...] | None:
        """The names of a label column's classes by index, where the file holds them (parquet written by `datasets`)."""
        return None

    def place(self, row: int) -> str:
        """Where a row stands: its 1-based number, and its line where the file has lines."""
        return f"row {row + 1}" + (f" (line {self._lines[row]})" if self._lines is not None else "")


class ParquetTable(Table):
    """A parquet file, of which only the asked columns are read, and of big columns only the row groups asked for."""

    lazy = True

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._file = pq.ParquetFile(path, memory_map=True)
        except (pa.ArrowException, OSError) as cause:
            raise DataError(f"{path} is not a parquet file that can be read: {cause}") from None
        names = tuple(self._file.schema_arrow.names)
        _no_duplicates(str(path), names)
        super().__init__(str(path), {}, stamp=file_stamp([path]), folder=path.parent)
        self.names = names
        self.rows = self._file.metadata.num_rows
        self._read: dict[str, list[Any]] = {}

    def values(self, column: str) -> list[Any]:
        if column not in self._read:
            self._read[column] = self._checked(column, lambda: self._file.read(columns=[column]).column(0))
        return self._read[column]

    def take(self, column: str, rows: np.ndarray) -> list[Any]:
        if column in self._read:
            return [self._read[column][row] for row in rows]
        values: list[Any] = []
        start = 0
        for group in range(self._file.num_row_groups):
            size = self._file.metadata.row_group(group).num_rows
            inside = rows[(rows >= start) & (rows < start + size)] - start
            if len(inside):
                values += self._checked(column, functools.partial(self._some, column, group, inside))
            start += size
        return values

    def _some(self, column: str, group: int, rows: np.ndarray) -> Any:
        return self._file.read_row_group(group, columns=[column]).column(0).take(rows)

    def class_names(self, column: str) -> tuple[str, ...] | None:
        stored = (self._file.schema_arrow.metadata or {}).get(b"huggingface")
        if stored is None:
            return None
        feature = json.loads(stored).get("info", {}).get("features", {}).get(column, {})
        return tuple(feature["names"]) if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None

    def _checked(self, column: str, read: Callable[[], Any]) -> list[Any]:
        import pyarrow as pa

        try:
            array = read()
        except (pa.ArrowException, OSError) as cause:
            raise DataError(f"{self.name}, column {column!r} cannot be read, the file is damaged: {cause}") from None
        try:
            return array.to_pylist()
        except UnicodeDecodeError:
            for row, value in enumerate(array):
                try:
                    value.as_py()
                except UnicodeDecodeError as cause:
                    raise DataError(
                        f"{self.name}, column {column!r}, row {row + 1}: the text is not UTF-8 (byte {cause.start} of the value); "
                        "write the file anew with UTF-8 text"
                    ) from None
            raise


class Shards(Table):
    """Several tables with the same columns, one after the other."""

    def __init__(self, tables: Sequence[Table]) -> None:
        first = tables[0]
        for table in tables[1:]:
            if set(table.names) != set(first.names):
                raise DataError(
                    f"{table.name} has the columns {', '.join(table.names)}, but {first.name}, a part of the same split, has "
                    f"{', '.join(first.names)}; give both the same ones"
                )
        super().__init__(first.name, {}, typed=first.typed, stamp=digest(*(table.stamp for table in tables)), folder=first.folder)
        self.names = first.names
        self.lazy = first.lazy
        self._tables = list(tables)
        self._starts = [0, *np.cumsum([table.rows for table in tables]).tolist()]
        self.rows = self._starts[-1]

    def values(self, column: str) -> list[Any]:
        return [value for table in self._tables for value in table.values(column)]

    def take(self, column: str, rows: np.ndarray) -> list[Any]:
        values: list[Any] = []
        for table, start in zip(self._tables, self._starts, strict=False):
            values += table.take(column, rows[(rows >= start) & (rows < start + table.rows)] - start)
        return values

    def class_names(self, column: str) -> tuple[str, ...] | None:
        return self._tables[0].class_names(column)

    def place(self, row: int) -> str:
        shard = bisect.bisect_right(self._starts, row) - 1
        return f"{Path(self._tables[shard].name).name} {self._tables[shard].place(row - self._starts[shard])}"


def read_table(path: Path) -> Table:
    """Read a file by its suffix.

    Raises:
        DataError: no file, an unknown suffix, or what is wrong in it and where.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(not_allowed(f"the type of file {path}", suffix or "none", SUFFIXES, "Save the data as one of these."))
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes)")
    table = ParquetTable(path) if suffix == ".parquet" else _read_jsonl(path) if suffix == ".jsonl" else _read_csv(path, suffix)
    if table.rows == 0:
        raise DataError(f"{path} has no rows" + (f", only the columns {', '.join(table.names)}" if table.names else ""))
    return table


def file_stamp(paths: Sequence[Path]) -> str:
    """Changes when one of the files does: of their places, sizes and times."""
    parts = []
    for path in paths:
        stat = path.stat() if path.is_file() else None
        parts.append(f"{path.absolute()} {stat.st_size} {stat.st_mtime_ns}" if stat else f"{path} missing")
    return digest(*parts)


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = data.count(b"\n", 0, cause.start) + 1
        raise DataError(
            f"{path} is not UTF-8 text: byte {data[cause.start]:#04x} at offset {cause.start}, line {line}; "
            "save it with the encoding UTF-8 (from Latin-1: iconv -f latin1 -t utf-8)"
        ) from None


def _no_duplicates(name: str, columns: Sequence[str]) -> None:
    twice = sorted({column for column in columns if list(columns).count(column) > 1})
    if twice:
        raise DataError(f"{name} has more than one column named {', '.join(map(repr, twice))}; rename or remove all but one")


def _read_csv(path: Path, suffix: str) -> Table:
    text = _text(path)
    stream = io.StringIO(text, newline="")
    tabs = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}  # tab-separated values know no quoting
    reader = csv.reader(stream, strict=True, **(tabs if suffix == ".tsv" else {}))  # type: ignore[arg-type]
    rows: list[list[str]] = []
    lines: list[int] = []
    ragged: list[str] = []
    header: list[str] = []
    limit = csv.field_size_limit(max(len(text), csv.field_size_limit()))  # a text may be longer than the default of 128 KiB
    try:
        line = 1
        for cells in reader:
            if not cells:
                pass  # a blank line
            elif not header:
                header = [cell.strip() for cell in cells]
            elif len(cells) != len(header):
                ragged.append(f"row {len(rows) + len(ragged) + 1} (line {line}) has {len(cells)}")
            else:
                rows.append(cells)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as cause:
        raise DataError(f"{path}, line {line}: {cause}; look for a quotation mark that is not closed or not doubled") from None
    finally:
        csv.field_size_limit(limit)
    if ragged:
        shown = "; ".join(ragged[:3]) + ("; …" if len(ragged) > 3 else "")
        raise DataError(
            f"{path}: {len(ragged)} rows do not have the {len(header)} fields of the header: {shown}. "
            "Put texts that hold the separator between quotation marks"
        )
    if not header:
        raise DataError(f"{path} is empty: it has no header line that names the columns")
    _no_duplicates(str(path), header)
    columns = {name: [row[index] for row in rows] for index, name in enumerate(header)}
    return Table(str(path), columns, lines=lines, typed=False, stamp=file_stamp([path]), folder=path.parent)


def _read_jsonl(path: Path) -> Table:
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line, object_pairs_hook=_pairs)
        except (ValueError, RecursionError) as cause:
            raise DataError(f"{path}, line {number} is not valid JSON: {cause}") from None
        if not isinstance(item, dict):
            raise DataError(
                f"{path}, line {number} holds a JSON {type(item).__name__}; each line should be an object with the columns as keys"
            )
        objects.append(item)
        lines.append(number)
    names = list(dict.fromkeys(name for item in objects for name in item))
    columns = {name: [item.get(name) for item in objects] for name in names}
    return Table(str(path), columns, lines=lines, stamp=file_stamp([path]), folder=path.parent)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"a key stands twice among {', '.join(names)}")
    return dict(pairs)
