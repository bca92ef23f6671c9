"""A table of other people's runs, read with a small mapping file (docs/recommender.md), so that the recommender can be tried on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from autodistill.errors import DataError, not_allowed
from autodistill.recommender.table import KEYS, Table, make_table
from autodistill.yamlfile import YamlFile, load_yaml

VERSION = 1
REST = "rest"
_KEYS = (
    "version", "dataset", "score", "higher_is_better", "task", "group", "teacher_score", "recipe", "ignore", "features", "defaults",
)  # fmt: skip
_READERS = {
    ".csv": pd.read_csv,
    ".tsv": lambda path: pd.read_csv(path, sep="\t"),
    ".parquet": pd.read_parquet,
    ".jsonl": lambda path: pd.read_json(path, lines=True),
}


@dataclass(frozen=True)
class ForeignTable:
    """The table, the default recipes that its mapping names (a row each, or None), and notes on what was left out or averaged."""

    table: Table
    defaults: pd.DataFrame | None
    notes: list[str]


def read_foreign(path: str | Path, mapping: str | Path) -> ForeignTable:
    """Read a table of runs: csv, tsv, parquet or jsonl, with a row for each run.

    Raises:
        DataError: a file cannot be read, or the mapping does not fit the table; the message names the key, the value and what is allowed.
    """
    file = load_yaml(Path(mapping), DataError)
    frame = _read(Path(path))
    columns = [str(name) for name in frame.columns]
    data = file.data
    if not isinstance(data, Mapping):
        raise DataError(f"{file.source} should be a mapping with the keys dataset, score, recipe, …; it is {type(data).__name__}")
    for key in data:
        if key not in _KEYS:
            raise DataError(f"{file.where((str(key),))}: {not_allowed('a key', key, _KEYS)}")
    if data.get("version", VERSION) != VERSION:
        raise DataError(f"{file.where(('version',))}: version is {data['version']!r}; this autodistill reads version {VERSION}")
    for key in ("dataset", "score"):
        if key not in data:
            raise DataError(f"{file.source}: the key {key!r} is missing; it names a column: {', '.join(columns)}")
    higher = data.get("higher_is_better", True)
    if not isinstance(higher, bool):
        raise DataError(f"{file.where(('higher_is_better',))}: higher_is_better is {higher!r}; allowed: true, false")

    notes: list[str] = []
    rows = pd.DataFrame({"dataset": frame[_one(file, "dataset", columns)].astype(str)})
    rows["score"] = pd.to_numeric(frame[_one(file, "score", columns)], errors="coerce")
    used = {data["dataset"], data["score"]}
    for key in ("task", "group", "teacher_score"):
        if key not in data:
            continue
        if isinstance(data[key], Mapping):
            rows[key] = _by_dataset(file, key, rows["dataset"])
        else:
            rows[key] = frame[_one(file, key, columns)]
            used.add(data[key])
        if key == "teacher_score":
            rows[key] = pd.to_numeric(rows[key], errors="coerce")
    ignored, features = (_several(file, key, columns) for key in ("ignore", "features"))
    free = [name for name in columns if name not in used | set(ignored) | set(features)]
    fields = free if data.get("recipe", REST) == REST else _several(file, "recipe", columns)
    taken = [name for name in fields if name not in free]
    if taken:
        raise DataError(f"{file.where(('recipe',))}: the column {taken[0]!r} is already named as something else")
    if not fields:
        raise DataError(f"{file.source}: no column is left for the recipe's fields; name them with recipe: [column, …]")
    for name in fields:
        texts = frame[name].dropna()
        if not pd.api.types.is_numeric_dtype(texts) and len(texts) > 20 and texts.astype(str).nunique() > 0.9 * len(texts):
            raise DataError(f"{path}: the column {name!r} differs in nearly every row, as names do; put it under ignore")

    keep = rows["score"].map(math.isfinite)
    if not keep.any():
        raise DataError(f"{path}: the score column {data['score']!r} holds no number")
    if not keep.all():
        notes.append(f"{int((~keep).sum())} rows without a score are left out")
    if not higher:
        if "teacher_score" in rows:
            raise DataError(f"{file.source}: there is no retention if lower is better; remove teacher_score")
        rows["score"] = -rows["score"]
    fields = [name for name in fields if frame.loc[keep, name].notna().any()]
    recipes = frame[fields].rename(columns={name: _field(name) for name in fields})
    dataset_features = _features(frame[keep], rows.loc[keep, "dataset"], features, file)
    table = make_table(pd.concat([rows, recipes], axis=1)[keep], list(recipes.columns), dataset_features)
    if len(table) < keep.sum():
        notes.append(f"{int(keep.sum()) - len(table)} repeated runs are averaged into {len(table)} recipes")
    if len(table.groups) < 2:
        raise DataError(f"{path}: all rows are of one group ({table.groups[0]!r}); to hold one out, two or more datasets are needed")
    return ForeignTable(table, _defaults(file, fields), notes)


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: {not_allowed('the file type', path.suffix, _READERS)}")
    try:
        frame: pd.DataFrame = reader(path)  # type: ignore[operator]
    except Exception as cause:  # each format raises its own errors
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {cause}") from None
    if frame.empty:
        raise DataError(f"{path} has no rows")
    return frame.rename(columns=str)


def _one(file: YamlFile, key: str, columns: list[str]) -> str:
    name = file.data[key]
    if not isinstance(name, str) or name not in columns:
        raise DataError(f"{file.where((key,))}: {not_allowed(f'the column of {key}', name, columns)}")
    return name


def _several(file: YamlFile, key: str, columns: list[str]) -> list[str]:
    names = file.data.get(key, [])
    if not isinstance(names, list):
        allowed = f"a list of columns{', or the word rest' if key == 'recipe' else ''}"
        raise DataError(f"{file.where((key,))}: {key} is {names!r}; it should be {allowed}")
    for place, name in enumerate(names):
        if name not in columns:
            raise DataError(f"{file.where((key, place))}: {not_allowed(f'a column of {key}', name, columns)}")
    return [str(name) for name in dict.fromkeys(names)]


def _by_dataset(file: YamlFile, key: str, datasets: pd.Series) -> pd.Series:
    by_name = {str(name): value for name, value in file.data[key].items()}
    names = sorted(set(datasets))
    for name in by_name:
        if name not in names:
            raise DataError(f"{file.where((key, name))}: {not_allowed('a dataset', name, names)}")
    missing = [name for name in names if name not in by_name]
    if missing:
        raise DataError(f"{file.where((key,))}: {key} has no value for the dataset {', '.join(map(repr, missing))}")
    return datasets.map(by_name)


def _field(column: str) -> str:
    """The name of a recipe field, which must not be that of one of the table's own columns."""
    return f"recipe.{column}" if column in KEYS else column


def _features(frame: pd.DataFrame, datasets: pd.Series, names: list[str], file: YamlFile) -> pd.DataFrame | None:
    if not names:
        return None
    values = frame[names].apply(pd.to_numeric, errors="coerce")
    by_dataset = values.groupby(datasets)
    for name in names:
        varied = by_dataset[name].nunique()
        if (varied > 1).any():
            raise DataError(
                f"{file.where(('features',))}: the column {name!r} differs within the dataset {varied.index[varied > 1][0]!r}; "
                "a dataset feature has one value for each dataset"
            )
        if values[name].isna().all():
            raise DataError(f"{file.where(('features',))}: the column {name!r} holds no number")
    return by_dataset.first()


def _defaults(file: YamlFile, fields: list[str]) -> pd.DataFrame | None:
    defaults: Any = file.data.get("defaults")
    if defaults is None:
        return None
    if not isinstance(defaults, list) or not defaults or not all(isinstance(item, Mapping) for item in defaults):
        raise DataError(f"{file.where(('defaults',))}: defaults should be a list of recipes, each a mapping of columns to values")
    for place, item in enumerate(defaults):
        for name in item:
            if name not in fields:
                raise DataError(f"{file.where(('defaults', place))}: {not_allowed('a recipe field', name, fields)}")
    return pd.DataFrame([{_field(str(name)): value for name, value in item.items()} for item in defaults])
