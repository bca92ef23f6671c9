"""The table of all trials on a study's page: a reader can sort and filter it."""

from __future__ import annotations

from collections.abc import Sequence

from autodistill.ranking import was_interrupted
from autodistill.records import TrialRecord
from autodistill.report import texts
from autodistill.report.leaderboard import have_agreements

STATES = {"complete": "complete", "pruned": "stopped early", "fail": "failed", "infeasible": "over a limit"}
"""How a trial ended, for people."""
LAST = -1.0
"""What is sorted as the smallest value where a number is missing."""


def trial_heads(records: Sequence[TrialRecord]) -> list[tuple[str, bool]]:
    """The table's headings, and whether a column holds texts."""
    metric = texts.clean(records[0].metric) if records else "score"
    numbers = (metric, *(["agreement"] if have_agreements(records) else []), "retention", "parameters", "latency", "epochs", "training")
    words = ("student", "learns from", "augmentation")
    return [("trial", False), ("what", True), ("ended", True), *((name, False) for name in numbers), *((name, True) for name in words)]


def trial_table(records: Sequence[TrialRecord]) -> list[list[tuple[str, float | None]]]:
    """The cells of each trial, below `trial_heads`."""
    compared = have_agreements(records)
    return [_cells(record, compared) for record in records]


def _cells(record: TrialRecord, compared: bool) -> list[tuple[str, float | None]]:
    """A trial's cells: the text, and the number by which it is sorted (None: by its text). compared: whether there are agreements."""
    ended = "interrupted" if was_interrupted(record) else STATES[record.state]
    augmentation = record.recipe.get("augmentation", {}).get("kind", "none")
    return [
        (str(record.trial), float(record.trial)),
        (texts.ROLES[record.role], None),
        (ended, None),
        (texts.score(record.score), _number(record.score)),
        *([(texts.score(record.agreement), _number(record.agreement))] if compared else []),
        (texts.percent(record.retention), _number(record.retention)),
        (texts.params(record.params), _number(record.params)),
        (texts.latency(record.latency_ms), _number(record.latency_ms)),
        (str(len(record.curve)), float(len(record.curve))),
        (texts.duration(record.seconds), _number(record.seconds)),
        (texts.student(record.recipe), None),
        (texts.objective(record.recipe), None),
        ("" if augmentation == "none" else texts.clean(str(augmentation)), None),
    ]


def _number(value: float | None) -> float:
    """The value, rounded to what can be seen, for a small page."""
    return LAST if value is None or value != value else float(f"{value:.6g}")
