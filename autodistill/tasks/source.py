"""A source of data: its tables by split, and the facts that come with them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autodistill.errors import DataError, not_allowed
from autodistill.target import TARGETS, Classes
from autodistill.tasks.tables import Table, are_names
from autodistill.tasks.text_files import read_text

TASK_KINDS = tuple(kind.kind for kind in TARGETS)


@dataclass(frozen=True)
class Info:
    """The facts that come with a dataset beside its rows: a folder's dataset.json, or an entry of the catalog.

    kind: of the target; classes: names by index. If they are None, they are found from the rows.
    """

    name: str
    kind: str | None = None
    metric: str | None = None
    classes: tuple[str, ...] | None = None
    text_columns: tuple[str, ...] | None = None
    label_column: str | None = None
    about: str = ""


@dataclass(frozen=True)
class Source:
    """Tables by split name (train, validation, test; only "all" if a single table has to be split).

    own: the user's own files, whose errors the user can correct. A published dataset (its dataset.json names its source) is used
    as it is: rows without text are left out, and other splits may have classes that train lacks, both with a note.
    place: a name by which other processes find the dataset too, whatever their working folder; None if the user's name does.
    unlabelled: files and folders of rows without labels beside the tables.
    """

    info: Info
    tables: dict[str, Table]
    own: bool = True
    notes: tuple[str, ...] = field(default=())
    place: str | None = None
    unlabelled: tuple[str, ...] = ()


def read_info(path: Path, name: str) -> Info:
    """Read a dataset.json. Fields that it does not have stay None.

    Raises:
        DataError: it is not JSON, or a key has a value that is not allowed.
    """
    try:
        data: Any = json.loads(read_text(path))
    except (ValueError, RecursionError) as cause:
        raise DataError(f"{path} is not valid JSON: {cause}") from None
    if not isinstance(data, dict):
        raise DataError(f"{path} should hold an object with the keys task, metric, classes; it holds a {type(data).__name__}")
    kind, metric, classes = data.get("task"), data.get("metric"), data.get("classes")
    if kind is not None and kind not in TASK_KINDS:
        raise DataError(f"{path}: " + not_allowed("task", kind, TASK_KINDS))
    metrics = [name for target in TARGETS if kind in (None, target.kind) for name in target.metrics]
    if metric is not None and metric not in metrics:
        raise DataError(f"{path}: " + not_allowed("metric", metric, metrics))
    if data.get("classes") is not None:
        if not are_names(classes):
            raise DataError(f"{path}: classes should be a list of different names, by index; it is {str(classes)[:80]}")
        if not any(target.has_classes for target in TARGETS if kind in (None, target.kind)):
            raise DataError(f"{path}: a {kind} has no classes; remove them, or set task to {Classes.kind}")
        kind = kind or Classes.kind
    return Info(name, kind, metric, tuple(classes) if classes else None, about=str(data.get("source", "")))


def renamed(source: Source, name: str) -> Source:
    """The same source under another name."""
    return replace(source, info=replace(source.info, name=name))
