"""The setting of a file with a teacher's scores: its place for workers, and the error if it does not exist."""

from __future__ import annotations

import dataclasses

from autodistill.errors import DataError
from autodistill.storage import user_path
from autodistill.tasks.base import DatasetRef


def with_scores_file(ref: DatasetRef, path: str | None) -> DatasetRef:
    """The reference with the absolute path of a file of a teacher's scores, because workers run in other folders."""
    return dataclasses.replace(ref, teacher_scores=None if path is None else str(user_path(path, DataError).absolute()))


def no_scores(path: str) -> str:
    """The error text for a file of scores that does not exist."""
    return f"teacher_scores: there is no file {path}; give a file with a teacher's scores (docs/data.md)"
