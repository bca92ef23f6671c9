"""TrialRecord: the record of a trial, and the table (parquet) of a study's trials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from autodistill.errors import StudyError, explained

if TYPE_CHECKING:
    import pandas as pd  # takes a second to import, and most users of this module read no table

SCHEMA = 1

State = Literal["complete", "pruned", "fail", "infeasible"]
Role = Literal[
    "no_kd",
    "plain_kd",
    "pseudo_labels",
    "plain_kd_all",
    "defaults",
    "given",
    "recommended",
    "search",
    "explore",
    "repeat",
    "fewer_rows",
    "twin",
]
"""Why a trial was run: baselines, a recipe of the user's, a recommender's proposal, the sampler's, a space-filling one, another seed of an
earlier recipe, the best recipe on a part of the unlabelled rows, the best recipe without a teacher."""
BASELINES: tuple[Role, ...] = ("no_kd", "plain_kd", "pseudo_labels", "plain_kd_all", "defaults")
"""What a search must beat. `pseudo_labels` and `plain_kd_all` are only for datasets with unlabelled rows, and learn on those too."""
FOLLOWING: tuple[Role, ...] = ("repeat", "fewer_rows", "twin")
"""Trials that follow from ended trials, and cannot win."""
UNCOUNTED: tuple[Role, ...] = (*BASELINES, "given", *FOLLOWING)
"""Trials that run in addition to the requested number."""
STOPPABLE: tuple[Role, ...] = ("recommended", "search")
"""Trials of other roles run to their end, because they are for comparison."""


class Point(BaseModel):
    """One evaluation on the validation split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int
    score: float
    train_loss: float
    validation_loss: float | None = None
    """Mean cross-entropy of the labels, or squared error of the standardised scores; None in older records."""
    seconds: float
    """Seconds since the trial began, evaluation included."""
    losses: dict[str, float] = {}
    """Mean of each weighted term over the epoch."""
    agreement: float | None = None
    """The metric on rows without labels, against the teacher's decisions (train/agreement.py); None if nothing is compared there."""
    standing: float | None = None
    """The mean of score and agreement, each weighted by its number of rows; None without an agreement."""

    @property
    def rank_score(self) -> float:
        """What students are ordered by: the standing or, without one, the score."""
        return self.score if self.standing is None else self.standing


class TrialRecord(BaseModel):
    """One trial. Times are in seconds, latency in milliseconds, `started` in Unix seconds.

    score, agreement and standing (see `Point`) are of the best epoch of the curve, whose weights are kept; None if there is none.
    retention is score / teacher_score. `recipe` is plain data of recipe_version, so that records outlive the schema.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA
    study: str
    trial: int
    role: Role
    state: State
    reason: str | None = None
    recipe_id: str
    recipe_version: int
    recipe: dict[str, Any]
    dataset: str
    dataset_fingerprint: str
    task: str
    metric: str
    train_rows: int
    seed: int
    max_epochs: int
    score: float | None = None
    metrics: dict[str, float] = {}
    curve: list[Point] = []
    teacher_score: float | None = None
    params: int | None = None
    flops: float | None = None
    latency_ms: float | None = None
    started: float | None = None
    seconds: float | None = None
    seconds_by_stage: dict[str, float] = {}
    environment: dict[str, str] = {}
    agreement: float | None = None
    standing: float | None = None

    def __repr__(self) -> str:
        """What tells trials apart; the recipe and the curve are pages long."""
        names = ("study", "trial", "role", "state", "score", "retention", "params", "latency_ms", "recipe_id")
        return f"TrialRecord({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    __str__ = __repr__

    @property
    def rank_score(self) -> float | None:
        """What trials are ordered by: the standing or, without one, the score."""
        return self.score if self.standing is None else self.standing

    @property
    def retention(self) -> float | None:
        """Score over the teacher's, None if either is missing or the teacher's is not positive."""
        if self.score is None or not self.teacher_score or self.teacher_score <= 0:
            return None
        return self.score / self.teacher_score


_JSON = ("recipe", "metrics", "curve", "seconds_by_stage", "environment")


def to_frame(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """A row for each trial, sorted by number; nested fields are JSON texts, and retention is after the score."""
    import pandas as pd

    rows = []
    for record in sorted(records, key=lambda item: item.trial):
        row = record.model_dump(mode="json")
        row |= {name: json.dumps(row[name], sort_keys=True) for name in _JSON}
        rows.append(row | {"retention": record.retention})
    return pd.DataFrame(rows, columns=[*TrialRecord.model_fields, "retention"])


def from_frame(frame: pd.DataFrame) -> list[TrialRecord]:
    """The records of a table that `to_frame` made. Columns that a newer version added are left out."""
    import pandas as pd

    records = []
    for row in frame[[name for name in frame.columns if name in TrialRecord.model_fields]].to_dict("records"):
        values: dict[str, Any] = {
            str(name): None if not isinstance(value, str) and pd.isna(value) else value for name, value in row.items()
        }
        values |= {name: json.loads(values[name]) for name in _JSON}
        records.append(TrialRecord.model_validate(values))
    return records


def write_records(records: Sequence[TrialRecord], path: Path) -> None:
    """Write the table to a temporary file, then rename it, so that a reader never sees half of it."""
    aside = path.with_suffix(".parquet.part")
    try:
        to_frame(records).to_parquet(aside, index=False)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_records(path: Path) -> list[TrialRecord]:
    """Read a table of trials.

    Raises:
        StudyError: it is damaged, or a newer autodistill wrote what this one does not know.
    """
    import pandas as pd

    way_out = "in a study's folder, resuming the search (--resume) writes it again from the study's storage"
    refusal = f"the trials in {path} cannot be read"
    with explained(lambda reason: StudyError(f"{refusal} ({reason}); {way_out}")), path.open("rb") as file:
        return from_frame(pd.read_parquet(file))  # from the open file: pandas would read a folder as an empty table
