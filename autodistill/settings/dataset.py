"""The settings of the rows, which searching, recommending and distilling have in common."""

from __future__ import annotations

from typing import Annotated

from autodistill.errors import UsageError, not_allowed
from autodistill.option import DATA, Settings, setting
from autodistill.target import TARGETS
from autodistill.tasks.base import DatasetRef
from autodistill.tasks.source import TASK_KINDS
from autodistill.tasks.unlabelled import check_places, places_of
from autodistill.values import COUNT, DATASET, TEXT, UNLABELLED, many, one_of, text, whole

METRICS = tuple(dict.fromkeys(name for target in TARGETS for name in target.metrics))
"""Every metric that can be chosen."""


class DatasetSettings(Settings):
    """The rows: the settings that searching, recommending and distilling have in common."""

    dataset: Annotated[str, DATASET] = setting(..., "a name (see `autodistill datasets`), a hub id, a file or folder", "NAME|PATH", DATA)
    limit_train: Annotated[int | None, COUNT] = setting(None, "train on only N of its rows: a seeded, stratified subset", "N", DATA)
    unlabelled: Annotated[tuple[str, ...], UNLABELLED] = setting(
        (),
        "rows without labels: csv, tsv, jsonl, parquet, txt (one text on each line), a folder of images; may be repeated; "
        "`rest` means the training rows beyond --limit-train, and those without a label",
        "PATH",
        DATA,
    )
    limit_unlabelled: Annotated[int | None, COUNT] = setting(None, "use only N unlabelled rows: a seeded subset", "N", DATA)
    text_columns: Annotated[tuple[str, ...] | None, many(TEXT)] = setting(
        None, "the column of texts; give it twice for pairs of texts", "NAME", DATA, "--text-column"
    )
    label_column: Annotated[tuple[str, ...] | None, many(TEXT)] = setting(
        None, "the column of labels; for several labels per row it may be repeated: a column of 0 and 1 for each label", "NAME", DATA
    )
    label_separator: Annotated[str | None, text("a text that is not empty", "(?s).+")] = setting(
        None, "the separator of several labels in a text, as in `a,b`", "SIGN", DATA
    )
    task: Annotated[str | None, one_of(*TASK_KINDS)] = setting(
        None,
        "what the labels are, if their values could be either (default: as they look); embedding: texts without labels, or rated pairs",
        "|".join(TASK_KINDS),
        DATA,
    )
    metric: Annotated[str | None, one_of(*METRICS)] = setting(
        None, f"the metric that scores students: {', '.join(METRICS)} (default: the dataset's)", "NAME", DATA
    )
    seed: Annotated[int, whole(0)] = setting(0, "the seed of everything random", "S")

    @property
    def ref(self) -> DatasetRef:
        """A reference with which a worker opens the same rows."""
        places = places_of(self.unlabelled)
        return DatasetRef(
            name=self.dataset,
            limit_train=self.limit_train,
            seed=self.seed,
            text_columns=self.text_columns,
            label_column=self.label_column[0] if self.label_column and len(self.label_column) == 1 else self.label_column,
            label_separator=self.label_separator,
            unlabelled=places,
            limit_unlabelled=self.limit_unlabelled,
            task=self.task,
            metric=self.metric,
        )

    def check(self) -> None:
        """Check what can be checked before the dataset is read: that the named files exist.

        Raises:
            UsageError: the metric is not one of the task's.
            DataError: a file of unlabelled rows does not exist.
        """
        if self.task is not None and self.metric is not None:
            metrics = next(target.metrics for target in TARGETS if target.kind == self.task)
            if self.metric not in metrics:
                raise UsageError(not_allowed(f"task is {self.task}, and the metric", self.metric, metrics))
        check_places(self.unlabelled)
