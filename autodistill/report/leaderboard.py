"""The result of a search: the leaderboard, and the verdict beside it. Pure functions of a study's records."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from autodistill.facts import TeacherRef
from autodistill.limits import Limits
from autodistill.ranking import has_failed, rank, was_interrupted
from autodistill.recipe import without_teacher
from autodistill.records import BASELINES, TrialRecord
from autodistill.report import texts
from autodistill.report.columns import Column, fitted
from autodistill.report.measures import by_recipe
from autodistill.teachers import Teachers

SHOWN = 5
"""How many trials are listed beside the baselines and the teacher."""
LEVEL = 0.005
"""A student that lacks less than this is called level with its teacher."""


@dataclass(frozen=True)
class Row:
    """A line of the leaderboard: a teacher (trial None), or a complete trial.

    agreement: with the teacher, where trials are ordered by it too.
    """

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
    agreement: float | None = None


def rows(
    records: Sequence[TrialRecord],
    limits: Limits,
    teachers: Teachers,
    teacher_seconds: float | None,
    constant_score: float | None = None,
) -> list[Row]:
    """The teachers, then the best trials and all baselines, best first; baselines without a score come last.

    teacher_seconds: how long the training of all teachers took; None if an earlier search trained them. constant_score: of a constant
    prediction, if it is known: a student that is no better is marked.
    """
    ranked = rank(list(records), limits)
    trials = [record for record in ranked if record.role not in BASELINES][:SHOWN]
    baselines = [record for record in records if record.role in BASELINES and not was_interrupted(record)]
    baselines += [record for record in records if record.role == "twin" and counted_score(record) is not None][:1]
    scored = sorted(
        [*trials, *(item for item in baselines if counted_score(item) is not None)],
        key=lambda item: (-(item.rank_score or 0.0), item.trial),
    )
    listed = scored + [item for item in baselines if counted_score(item) is None]
    names = teachers.names
    best = ranked[0].trial if ranked else None
    trial_rows = [_row(record, record.trial == best, limits, teachers, constant_score) for record in listed]
    seconds = teacher_seconds if len(teachers) == 1 else None  # for several teachers only the total is known
    taught = [_teacher_row(ref, texts.clean(names[part]), seconds) for part, ref in teachers.items() if not part.is_self]
    return [*taught, *trial_rows]


def _teacher_row(teacher: TeacherRef, name: str, seconds: float | None) -> Row:
    share = 1.0 if teacher.score is not None and math.isfinite(teacher.score) and teacher.score > 0 else None
    return Row("teacher", None, teacher.score, share, teacher.params, teacher.latency_ms, seconds, name, "")


def _row(record: TrialRecord, is_best: bool, limits: Limits, teachers: Teachers, constant_score: float | None) -> Row:
    name = texts.ROLES[record.role]
    if record.state != "complete":
        name += " (failed)" if record.state == "fail" else f" ({record.state})"
    elif not limits.check(record.params, record.latency_ms).feasible:
        name += " (over the limit)"
    elif is_constant(record.score, constant_score):
        name += " (knows nothing)"
    student, objective = texts.student(record.recipe), texts.objective(record.recipe)
    if len(teachers) > 1 and not texts.is_undistilled(record.recipe):
        objective += f", of {texts.clean(teachers.name_of(record.recipe))}"
    costs = record.params, record.latency_ms, record.seconds
    value = counted_score(record)
    retention = record.retention if value is not None else None
    return Row(name, record.trial, value, retention, *costs, student, objective, is_best, record.agreement)


def above_best(leaderboard: Sequence[Row], records: Sequence[TrialRecord], limits: Limits) -> str:
    """Why trials stand above the best one and are not it, in a sentence; empty if there are none."""
    by_trial = {record.trial: record for record in records}
    best = next((by_trial[row.trial] for row in leaderboard if row.is_best and row.trial is not None), None)
    if best is None:
        return ""
    places = [row.trial for row in leaderboard if row.trial is not None]
    reasons: dict[str, list[int]] = {}
    for trial in places[: places.index(best.trial)]:
        reasons.setdefault(_why_not(by_trial[trial], best, limits), []).append(trial)
    named = [f"trial{'s' if len(trials) > 1 else ''} {', '.join(map(str, trials))}: {why}" for why, trials in reasons.items()]
    return f"Rows above the best trial ({best.trial}) are not chosen. {'; '.join(named).capitalize()}." if named else ""


def _why_not(record: TrialRecord, best: TrialRecord, limits: Limits) -> str:
    """Why a trial with a score as high as the best one's, or higher, is not the best."""
    if not limits.check(record.params, record.latency_ms).feasible:
        return "over a limit of the search"
    if record.role == "twin":
        return "the best recipe without its teacher, trained to compare with and not to choose"
    if record.rank_score == best.rank_score:
        return "the same score with a larger student"
    return "a higher score with fewer seeds, but the best has the highest mean over several seeds"


def have_agreements(items: Iterable[Row | TrialRecord]) -> bool:
    """Whether some of these trials were compared by their agreement with the teacher, so that a table shows it."""
    return any(item.agreement is not None for item in items)


def table(leaderboard: Sequence[Row], metric: str, width: int) -> Table:
    """The leaderboard for a terminal of this width. A narrow one shows only the most important columns."""
    compared = have_agreements(leaderboard)
    columns = [Column("#"), Column("what", text=True), Column(metric)]
    columns += [Column("agreement")] if compared else []
    columns += [Column("retention", rank=1), Column("params", rank=2)]
    columns += [Column("latency", rank=3), Column("training", rank=4), Column("student", text=True, rank=5)]
    columns += [Column("objective", text=True, rank=6)]

    def line(row: Row) -> tuple[list[str], str]:
        cells = ["" if row.trial is None else str(row.trial), row.name, texts.score(row.score)]
        cells += [texts.score(row.agreement)] if compared else []
        cells += [texts.percent(row.retention), texts.params(row.params), texts.latency(row.latency_ms), texts.duration(row.seconds)]
        cells += [row.student, row.objective]
        return cells, "bold green" if row.is_best else "cyan" if row.trial is None else ""

    return fitted(columns, map(line, leaderboard), width)


def verdict(records: Sequence[TrialRecord], limits: Limits, validation_rows: int | None = None, constant_score: float | None = None) -> str:
    """By how much the best distilled student beats the same student without a teacher, and what unlabelled rows gain.

    validation_rows: the number of rows behind the scores, if known. constant_score: of a constant prediction.
    """
    gain, order = _gain(records, limits, validation_rows, constant_score), how_ordered(records, limits, validation_rows)
    return " ".join(part for part in (gain, order, unlabelled_worth(records)) if part)


def how_ordered(records: Sequence[TrialRecord], limits: Limits, validation_rows: int | None) -> str:
    """What trials are ordered by beside their score, in a sentence; empty if by nothing. validation_rows: as for `verdict`."""
    best = next(iter(rank(list(records), limits)), None)
    if best is None or best.agreement is None:
        return ""
    few = "Few validation rows" if validation_rows is None else texts.plural(validation_rows, "validation row")
    bare = bare_student(records, best)
    beside = "" if bare.agreement is None or texts.is_undistilled(best.recipe) else f", {bare.agreement:.4f} for {bare.name}"
    return (
        f"{few} can hardly tell trials apart, so they are ordered also by their agreement with the teacher on rows without labels that "
        f"none of them learned from: {best.agreement:.4f} for the best{beside}."
    )


@dataclass(frozen=True)
class Bare:
    """A student without a teacher. name: for people. scores: by seed, may be empty. why: the reason if it is. agreement: see `Row`."""

    name: str
    scores: tuple[float, ...] = ()
    why: str = ""
    agreement: float | None = None


def bare_student(records: Sequence[TrialRecord], distilled: TrialRecord) -> Bare:
    """The student that a distilled student is compared with: its own recipe without a teacher, else the baseline without one."""
    twin = without_teacher(distilled.recipe)
    runs = by_recipe(records)
    bare = (item for item in runs if texts.is_undistilled(item.record.recipe))
    own = next((item for item in bare if without_teacher(item.record.recipe) == twin), None)
    if own is not None and own.record.recipe_id != distilled.recipe_id:
        how = "untrained" if texts.objective(own.record.recipe) == texts.UNTRAINED else "without a teacher"
        return Bare(f"the same student {how}", own.scores, agreement=own.record.agreement)
    baseline = next((record for record in records if record.role == "no_kd" and not was_interrupted(record)), None)
    if baseline is None:
        return Bare("no KD", why="has not been run")
    scores = next((item.scores for item in runs if item.record.recipe_id == baseline.recipe_id), ())
    return Bare("no KD", scores, "" if scores else f"has no score ({_reason(baseline)})", baseline.agreement)


def _gain(records: Sequence[TrialRecord], limits: Limits, validation_rows: int | None, constant_score: float | None) -> str:
    distilled = next((record for record in rank(list(records), limits) if record.role != "no_kd"), None)
    if distilled is None or distilled.score is None:
        return "No distilled student completed, so there is nothing to compare with the student without a teacher (no KD)."
    scores = next((item.scores for item in by_recipe(records) if item.record.recipe_id == distilled.recipe_id), (distilled.score,))
    metric, value = texts.clean(distilled.metric), statistics.fmean(scores)
    start = f"The best trial (trial {distilled.trial}) has {metric} {value:.4f}"
    if distilled.role in BASELINES:
        start = f"No trial beats the baseline {texts.ROLES[distilled.role]} (trial {distilled.trial}), which has {metric} {value:.4f}"
    bare = bare_student(records, distilled)
    if not bare.scores:
        return f"{start}; what distillation gained is not known: the no-KD baseline {bare.why}."
    bare_score = statistics.fmean(bare.scores)
    nothing = ""
    if is_constant(bare_score, constant_score):
        nothing = f" Without a teacher the student has learned nothing (one answer for all rows: {constant_score:.4f}); train longer."
    if value == bare_score:
        seen = "distillation gained nothing here" if distilled.agreement is None else "on so few rows no gain is seen"
        return f"{start}, exactly as much as {bare.name}: {seen}.{nothing}"
    if value < bare_score:
        lost = f"{bare_score - value:.4f} less than {bare.name} ({bare_score:.4f})"
        seen = "distillation gained nothing here" if distilled.agreement is None else "with so few rows no gain is seen"
        return f"{start}, {lost}: on the validation split {seen}.{nothing}"
    interval = gain_interval(metric, scores, bare.scores, validation_rows)
    between = "" if interval is None else f"; 95% interval of the gain {interval[0]:.4f} to {interval[1]:.4f}"
    gain = f"{start}, {value - bare_score:.4f} more than {bare.name} ({bare_score:.4f}{between})"
    where = "the validation split" if validation_rows is None else f"{validation_rows:,} validation rows"
    gain += f"{_beside_teacher(value, bare_score, distilled.teacher_score)}, on {where}, {_seeds(scores, bare.scores)}.{nothing}"
    if texts.objective(distilled.recipe) == texts.UNDISTILLED:
        return f"{gain} Its recipe learns from hard labels alone, so the gain does not come from distillation."
    if distilled.teacher_score is not None and value > distilled.teacher_score - LEVEL:
        option = "--teacher-scores" if distilled.recipe.get("teacher", {}).get("scores") else "--teacher"
        gain += f" The student knows about as much as its teacher, so a stronger teacher ({option}) promises more than further trials."
    return gain


def _beside_teacher(value: float, bare_score: float, teacher: float | None) -> str:
    if teacher is None or not math.isfinite(teacher):
        return ""
    if teacher < value:
        return f" and {value - teacher:.4f} more than its teacher ({teacher:.4f})"
    if teacher == value:
        return f" and level with its teacher ({teacher:.4f})"
    return f", {texts.percent((value - bare_score) / (teacher - bare_score))} of the way from there to the teacher"


def _seeds(scores: Sequence[float], bare_scores: Sequence[float]) -> str:
    if len(scores) == len(bare_scores):
        return "with one seed" if len(scores) == 1 else f"means over {len(scores)} seeds"
    return f"means over {texts.plural(len(scores), 'seed')} and, without a teacher, {len(bare_scores)}"


def gain_interval(
    metric: str, scores: Sequence[float], bare_scores: Sequence[float], validation_rows: int | None
) -> tuple[float, float] | None:
    """A 95% interval of the difference of two accuracies; None for other metrics, or if the number of rows is not known.

    It is a normal approximation with the binomial variance of both accuracies on this many rows and, for several seeds, the variance of the
    mean. Both accuracies are of the same rows, so the interval is rather too wide.
    """
    if metric != "accuracy" or not validation_rows:
        return None
    variance = 0.0
    for values in (scores, bare_scores):
        mean = statistics.fmean(values)
        variance += mean * (1 - mean) / validation_rows
        variance += statistics.variance(values) / len(values) if len(values) > 1 else 0.0
    gain = statistics.fmean(scores) - statistics.fmean(bare_scores)
    return gain - 1.96 * math.sqrt(variance), gain + 1.96 * math.sqrt(variance)


def is_constant(score: float | None, constant_score: float | None) -> bool:
    """Whether a student is no better than a constant prediction."""
    return score is not None and constant_score is not None and score <= constant_score


def unlabelled_worth(records: Sequence[TrialRecord]) -> str:
    """How much the unlabelled rows gain for plain distillation; empty if no baseline used any."""
    scores = {record.role: counted_score(record) for record in records if record.role in BASELINES and not was_interrupted(record)}
    without, with_them, pseudo = (scores.get(role) for role in ("plain_kd", "plain_kd_all", "pseudo_labels"))
    if without is None or with_them is None:
        return ""
    hard = "" if pseudo is None else f"; with the teacher's decisions alone as labels {pseudo:.4f}"
    return (
        f"Unlabelled rows are worth {with_them - without:+.4f} to plain distillation: {without:.4f} without them, {with_them:.4f} "
        f"with them{hard}."
    )


def data_curve(records: Sequence[TrialRecord], rows: int) -> list[tuple[int, float]]:
    """Pairs of a number of unlabelled rows and the best recipe's score with that many, fewest first. rows: the number of all."""
    scores: dict[float, float] = {}
    for record in records:
        value = counted_score(record)
        if record.role == "fewer_rows" and value is not None:
            scores[record.recipe["training"]["unlabelled_keep"]] = value
    return [(round(keep * rows), scores[keep]) for keep in sorted(scores)]


def data_reading(records: Sequence[TrialRecord], rows: int) -> str:
    """A sentence that estimates what more unlabelled rows would gain; empty if no trials were run for it.

    The next doubling is assumed to gain as much as the last one, times the ratio of the last gain to the one before (at most 1).
    """
    points = data_curve(records, rows)
    if len(points) < 3:
        return ""
    quarter, half, whole = (score for _, score in points[-3:])
    seen = ", ".join(f"{score:.4f} with {count:,}" for count, score in points)
    first, last = half - quarter, whole - half
    if last <= 0:
        return f"More unlabelled rows: the best recipe has {seen}; the last doubling gained nothing, so more of them promise little."
    more = whole + last * min(1.0, last / first if first > 0 else 1.0)
    return f"More unlabelled rows: the best recipe has {seen}; twice as many would give about {more:.3f} (one seed, a guess)."


def failures(records: Sequence[TrialRecord]) -> list[str]:
    """The reasons of failed trials, the most frequent first: "3 × ModelError: …"."""
    reasons = Counter(_reason(record) for record in records if has_failed(record))
    return [f"{number} × {reason}" for reason, number in reasons.most_common()]


def finite(value: Any) -> Any:
    """Plain data with None in place of numbers that are not finite, because JSON has no NaN."""
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def short_path(path: Path) -> str:
    """A path as people would write it: relative if it is in the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def counted_score(record: TrialRecord) -> float | None:
    """The score of a trial that is complete, if it is a finite number; else None."""
    return record.score if record.state == "complete" and record.score is not None and math.isfinite(record.score) else None


def _reason(record: TrialRecord) -> str:
    return texts.clean(record.reason or record.state)
