"""What a search came to: the leaderboard, the sentence beside it, and the JSON summary. Pure functions of a study's records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from autodistill.facts import TeacherRef
from autodistill.limits import Limits
from autodistill.ranking import rank, was_interrupted
from autodistill.records import BASELINES, TrialRecord
from autodistill.report import texts
from autodistill.report.importance import component_importance
from autodistill.values import without_password

if TYPE_CHECKING:
    from autodistill.tuning.study import Study

SHOWN = 5
"""How many trials stand beside the baselines and the teacher."""


@dataclass(frozen=True)
class Row:
    """A line of the leaderboard: the teacher (trial None), or a complete trial."""

    name: str
    trial: int | None
    score: float | None
    retention: float | None
    params: int | None
    latency_ms: float | None
    seconds: float | None
    student: str
    objective: str
    is_best: bool = False


def rows(records: Sequence[TrialRecord], limits: Limits, teacher: TeacherRef, teacher_seconds: float | None) -> list[Row]:
    """The teacher, then the best trials and all baselines, best first; baselines without a score come last.

    teacher_seconds: what its training took, None where it was trained by an earlier search.
    """
    ranked = rank(list(records), limits)
    trials = [record for record in ranked if record.role not in BASELINES][:SHOWN]
    baselines = [record for record in records if record.role in BASELINES and not was_interrupted(record)]
    scored = sorted(
        [*trials, *(item for item in baselines if _score(item) is not None)], key=lambda item: (-(item.score or 0.0), item.trial)
    )
    listed = scored + [item for item in baselines if _score(item) is None]
    found = [_row(record, bool(ranked) and record.trial == ranked[0].trial, limits) for record in listed]
    share = 1.0 if teacher.score is not None and math.isfinite(teacher.score) and teacher.score > 0 else None
    model = str(records[0].recipe.get("teacher", {}).get("model", "")) if records else ""
    costs = teacher.params, teacher.latency_ms, teacher_seconds
    return [Row("teacher", None, teacher.score, share, *costs, texts.clean(model), ""), *found]


def _row(record: TrialRecord, is_best: bool, limits: Limits) -> Row:
    name = texts.ROLES[record.role]
    if record.state != "complete":
        name += " (failed)" if record.state == "fail" else f" ({record.state})"
    elif not limits.check(record.params, record.latency_ms).feasible:
        name += " (over the limit)"
    student, objective = texts.student(record.recipe), texts.objective(record.recipe)
    costs = record.params, record.latency_ms, record.seconds
    value = _score(record)
    return Row(name, record.trial, value, record.retention if value is not None else None, *costs, student, objective, is_best)


def table(found: Sequence[Row], metric: str, width: int) -> Table:
    """The leaderboard for a terminal of that width; narrow ones leave the least telling columns out."""
    columns = [("#", True), ("what", True), (metric, True), ("retention", width >= 48), ("params", width >= 58), ("latency", width >= 70)]
    columns += [("training", width >= 80), ("student", width >= 96), ("objective", width >= 110)]
    board = Table(box=None, padding=(0, 2 if width >= 80 else 1, 0, 0), header_style="dim", pad_edge=False)
    for name, shown in columns:
        if shown:
            right = name not in ("what", "student", "objective")
            board.add_column(Text(texts.clean(name)), justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    for row in found:
        cells = ["" if row.trial is None else str(row.trial), row.name, texts.score(row.score), texts.percent(row.retention)]
        cells += [texts.params(row.params), texts.latency(row.latency_ms), texts.duration(row.seconds), row.student, row.objective]
        shown_cells = [Text(cell) for cell, (_, shown) in zip(cells, columns, strict=True) if shown]
        board.add_row(*shown_cells, style="bold green" if row.is_best else "cyan" if row.trial is None else "")
    return board


def verdict(records: Sequence[TrialRecord], limits: Limits) -> str:
    """By how much the best distilled student beats the one trained without a teacher, or that it does not."""
    ranked = rank(list(records), limits)
    distilled = next((record for record in ranked if record.role != "no_kd"), None)
    bare = next((record for record in records if record.role == "no_kd" and not was_interrupted(record)), None)
    bare_score = None if bare is None else _score(bare)
    if distilled is None or distilled.score is None:
        return "No distilled student completed, so there is nothing to hold against the student without a teacher (no KD)."
    metric, value = texts.clean(distilled.metric), distilled.score
    start = f"The best trial (trial {distilled.trial}) has {metric} {value:.4f}"
    if distilled.role in BASELINES:
        start = f"No trial beats the baseline {texts.ROLES[distilled.role]} (trial {distilled.trial}), which has {metric} {value:.4f}"
    if bare is None or bare_score is None:
        why = "has not been run" if bare is None else f"has no score ({_reason(bare)})"
        return f"{start}; what distillation gained is not known: the no-KD baseline {why}."
    if value == bare_score:
        return f"{start}, exactly what the same search has without a teacher (no KD): distillation gained nothing here."
    if value < bare_score:
        lost = f"{bare_score - value:.4f} less than no KD ({bare_score:.4f})"
        return f"{start}, {lost}: nothing here beats the student without a teacher on the validation split."
    teacher = distilled.teacher_score
    gap = ""
    if teacher is not None and teacher <= value:
        gap = (
            f" and {value - teacher:.4f} more than its teacher ({teacher:.4f})"
            if teacher < value
            else f" and level with its teacher ({teacher:.4f})"
        )
    elif teacher is not None and math.isfinite(teacher):
        gap = f", {texts.percent((value - bare_score) / (teacher - bare_score))} of the way from there to the teacher"
    gain = f"{start}, {value - bare_score:.4f} more than no KD ({bare_score:.4f}){gap}, on the validation split, with one seed."
    if texts.objective(distilled.recipe) == texts.UNDISTILLED:
        gain += " Its recipe learns from hard labels alone: the gain is not distillation's."
    return gain


def failures(records: Sequence[TrialRecord]) -> list[str]:
    """The reasons of failed trials, the most frequent first: "3 × ModelError: …"."""
    reasons = Counter(_reason(record) for record in records if record.state == "fail" and not was_interrupted(record))
    return [f"{number} × {reason}" for reason, number in reasons.most_common()]


def summary(study: Study, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The JSON object of `--json`. seconds: by stage, and `total`. Numbers that are not finite become None."""
    records = study.trial_records
    ranked = rank(records, study.limits)
    best = ranked[0] if ranked else None
    scores = {record.role: _score(record) for record in records if record.role in BASELINES and not was_interrupted(record)}
    recommended = study.folder / "recommended.yaml"
    found = {
        "study": study.name,
        "folder": str(study.folder),
        "storage": without_password(study.storage),
        "teacher_score": study.teacher_score,
        "teacher_params": study.teacher.params,
        "teacher_latency_ms": study.teacher.latency_ms,
        "baselines": {role: scores.get(role) for role in BASELINES},
        "best": None
        if best is None
        else {
            "score": best.score,
            "recipe": best.recipe,
            "params": best.params,
            "latency_ms": best.latency_ms,
            "retention": best.retention,
        },
        "importance": asdict(component_importance(records)),
        "counts": {state: study.counts[state] for state in ("complete", "pruned", "fail")},
        "recommended": str(recommended) if best is not None and recommended.exists() else None,
        "seconds": {stage: round(seconds.get(stage, 0.0), 3) for stage in ("teacher", "outputs", "trials", "total")},
    }
    return {name: finite(value) for name, value in found.items()}


def finite(value: Any) -> Any:
    """Plain data with None for what is not finite: JSON has no NaN."""
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def short_path(path: Path) -> str:
    """A path as people would write it: from the current folder where it lies there."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _score(record: TrialRecord) -> float | None:
    """The score of a trial that counts: complete, and a number."""
    return record.score if record.state == "complete" and record.score is not None and math.isfinite(record.score) else None


def _reason(record: TrialRecord) -> str:
    return texts.clean(record.reason or record.state)
