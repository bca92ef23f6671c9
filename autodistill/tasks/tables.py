"""Tables as they were read: the values of a column, and the place of each row, so that a message can point at it."""

from __future__ import annotations

import bisect
import csv
import functools
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from autodistill.errors import DataError, not_allowed
from autodistill.storage import digest
from autodistill.tasks.text_files import COMPRESSIONS, kind_of, read_text

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".json")
"""The kinds of files that are read; those of text may be compressed (`text_files.COMPRESSIONS`)."""
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar")


class Table:
    """Rows in memory.

    name: the file, for messages. lines: the first line of each row, in files made of lines. typed: False if every value is text
    because the format has no other types. stamp: changes when the contents do. folder: relative image paths start here.
    """

    is_file_each = False
    """Whether each row is a text file of its own."""

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

    def is_big(self, column: str) -> bool:
        """Whether a column's values may be big, and are only read when asked for."""
        return False

    def class_names(self, column: str) -> tuple[str, ...] | None:
        """The names of a label column's classes by index, if the file holds them (parquet written by `datasets`)."""
        return None

    def place(self, row: int) -> str:
        """The place of a row: its 1-based number and, if the file has lines, its line."""
        return f"row {row + 1}" + (f" (line {self._lines[row]})" if self._lines is not None else "")


_OF_PANDAS = ("pandas.period", "pandas.interval")
"""Types of columns that parquet holds as numbers, which are not what they mean."""


class ParquetTable(Table):
    """A parquet file. It reads only the columns that are asked for and, of big columns, only the row groups that are needed."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._file = pq.ParquetFile(path, memory_map=True)
        except (pa.ArrowException, OSError) as cause:
            raise DataError(f"{path} is not a parquet file that can be read: {cause}") from None
        names = tuple(self._file.schema_arrow.names)
        _check_names(str(path), names)
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

    def is_big(self, column: str) -> bool:
        import pyarrow as pa

        kind = self._file.schema_arrow.field(column).type
        return not (pa.types.is_string(kind) or pa.types.is_large_string(kind))

    def _some(self, column: str, group: int, rows: np.ndarray) -> Any:
        return self._file.read_row_group(group, columns=[column]).column(0).take(rows)

    def class_names(self, column: str) -> tuple[str, ...] | None:
        stored = (self._file.schema_arrow.metadata or {}).get(b"huggingface")
        try:
            feature = json.loads(stored or b"{}")["info"]["features"][column]
            feature = feature.get("feature", feature)  # of a list, its items'
            names = feature["names"] if feature["_type"] == "ClassLabel" else None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # others write there too, and it may be incomplete
            return None
        return tuple(names) if are_names(names) else None

    def _checked(self, column: str, read: Callable[[], Any]) -> list[Any]:
        import pyarrow as pa

        field = self._file.schema_arrow.field(column)
        of_pandas = getattr(field.type, "extension_name", None) or (field.metadata or {}).get(b"ARROW:extension:name", b"").decode()
        if of_pandas in _OF_PANDAS:
            raise DataError(
                f"{self.name}, column {column!r} has the type {of_pandas}, which is neither a text nor a number; "
                f"write it as text: frame[{column!r}].astype(str)"
            )
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
                        "write the file again with UTF-8 text"
                    ) from None
            raise


class Subset(Table):
    """Some rows (ascending) of another table."""

    def __init__(self, table: Table, rows: np.ndarray) -> None:
        super().__init__(table.name, {}, typed=table.typed, stamp=digest(table.stamp, rows.astype(np.int64).tobytes()), folder=table.folder)
        self.names = table.names
        self.rows = len(rows)
        self._table, self._at = table, rows

    def values(self, column: str) -> list[Any]:
        return self._table.take(column, self._at)

    def take(self, column: str, rows: np.ndarray) -> list[Any]:
        return self._table.take(column, self._at[rows])

    def is_big(self, column: str) -> bool:
        return self._table.is_big(column)

    def class_names(self, column: str) -> tuple[str, ...] | None:
        return self._table.class_names(column)

    def place(self, row: int) -> str:
        return self._table.place(int(self._at[row]))


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

    def is_big(self, column: str) -> bool:
        return self._tables[0].is_big(column)

    def class_names(self, column: str) -> tuple[str, ...] | None:
        return self._tables[0].class_names(column)

    def place(self, row: int) -> str:
        shard = bisect.bisect_right(self._starts, row) - 1
        return f"{Path(self._tables[shard].name).name} {self._tables[shard].place(row - self._starts[shard])}"


def read_table(path: Path) -> Table:
    """Read a file by its suffix.

    Raises:
        DataError: there is no such file, its suffix is unknown, or its contents are wrong; the message says where.
    """
    suffix = kind_of(path)
    if suffix not in SUFFIXES or (suffix == ".parquet" and suffix != path.suffix.lower()):
        way_out = f"Save the data as one of these; files of text may be compressed ({', '.join(COMPRESSIONS)})."
        if suffix in _ARCHIVES:
            way_out = "Unpack it, and give the folder."
        shown = suffix if suffix not in ("", *SUFFIXES) else path.suffix.lower() or "none"
        raise DataError(not_allowed(f"the type of file {path}", shown, SUFFIXES, way_out))
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes)")
    table = ParquetTable(path) if suffix == ".parquet" else _READERS[suffix](path, read_text(path))
    if table.rows == 0:
        raise DataError(f"{path} has no rows" + (f", only the columns {', '.join(table.names)}" if table.names else ""))
    return table


def file_stamp(paths: Sequence[Path]) -> str:
    """A stamp that changes when one of the files does. It is made of their places, sizes and times."""
    parts = []
    for path in paths:
        stat = path.stat() if path.is_file() else None
        parts.append(f"{path.absolute()} {stat.st_size} {stat.st_mtime_ns}" if stat else f"{path} missing")
    return digest(*parts)


def are_names(value: Any) -> TypeGuard[list[str]]:
    """Whether a value from a file is a list of different names."""
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and not has_half_character(item) for item in value):
        return False
    return len(set(value)) == len(value)


def _check_names(name: str, columns: Sequence[str]) -> None:
    twice = sorted({column for column in columns if list(columns).count(column) > 1})
    if twice:
        raise DataError(f"{name} has more than one column named {', '.join(map(repr, twice))}; rename or remove all but one")
    halves = [column for column in columns if has_half_character(column)]
    if halves:
        raise DataError(f"{name}: the name of a column, {halves[0]!r}, has half of a surrogate pair, which is no character; rename it")


def has_half_character(text: str) -> bool:
    """Whether a text cannot be written as UTF-8, because JSON may escape half of a surrogate pair."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _read_csv(path: Path, text: str, **form: Any) -> Table:
    stream = io.StringIO(text, newline="")
    reader = csv.reader(stream, strict=True, **form)
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
    _check_names(str(path), header)
    columns = {name: [row[index] for row in rows] for index, name in enumerate(header)}
    return Table(str(path), columns, lines=lines, typed=False, stamp=file_stamp([path]), folder=path.parent)


def _read_jsonl(path: Path, text: str) -> Table:
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
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
    return _of_objects(path, objects, lines)


def _read_json(path: Path, text: str) -> Table:
    """Read an array of objects, also if it is the only one in an object; or columns by name, as pandas writes them; or, in files with the
    same suffix, one object on each line.
    """
    try:
        data = json.loads(text, object_pairs_hook=_pairs)
    except (ValueError, RecursionError) as cause:
        if text.lstrip().startswith("{"):
            return _read_jsonl(path, text)
        raise DataError(f"{path} is not valid JSON: {cause}") from None
    arrays = {name: value for name, value in data.items() if _are_objects(value)} if isinstance(data, dict) else {}
    if len(arrays) > 1:
        raise DataError(f"{path} holds several arrays of objects ({', '.join(arrays)}); save each as a file of its own in a folder")
    if arrays and not any(isinstance(value, list | dict) for name, value in data.items() if name not in arrays):
        (data,) = arrays.values()
    if isinstance(data, list):
        other = next((number for number, item in enumerate(data, start=1) if not isinstance(item, dict)), None)
        if other is not None:
            kind = type(data[other - 1]).__name__
            raise DataError(f"{path}, row {other} holds a JSON {kind}; each row should be an object with the columns as keys")
        return _of_objects(path, data)
    columns = data if isinstance(data, dict) else {}
    keys = [tuple(column) if isinstance(column, dict) else len(column) for column in columns.values() if isinstance(column, list | dict)]
    if not keys or len(keys) < len(columns) or len(set(keys)) > 1:
        raise DataError(f"{path} holds a JSON {type(data).__name__} that is no table; it should hold an array of objects, one for each row")
    values = {name: list(column.values()) if isinstance(column, dict) else column for name, column in columns.items()}
    _check_names(str(path), list(values))
    return Table(str(path), values, stamp=file_stamp([path]), folder=path.parent)


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _of_objects(path: Path, objects: Sequence[dict[str, Any]], lines: Sequence[int] | None = None) -> Table:
    names = list(dict.fromkeys(name for item in objects for name in item))
    _check_names(str(path), names)
    columns = {name: [item.get(name) for item in objects] for name in names}
    return Table(str(path), columns, lines=lines, stamp=file_stamp([path]), folder=path.parent)


_TABS: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}  # tab-separated values have no quoting
_READERS: dict[str, Callable[[Path, str], Table]] = {
    ".csv": _read_csv,
    ".tsv": functools.partial(_read_csv, **_TABS),
    ".jsonl": _read_jsonl,
    ".json": _read_json,
}


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"a key occurs twice among {', '.join(names)}")
    return dict(pairs)
