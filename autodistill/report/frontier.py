"""The frontier: the best student of each family beside the teacher and the linear models, to choose from by score, size and latency.

Pure functions of a study's records and of what its study.json says. Latencies are those that `export/frontier.py` has measured; a study
without them (an older or a stopped one, or `--no-frontier`) has a frontier of scores and sizes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.table import Table

from autodistill.limits import Limits
from autodistill.ranking import Preference, preferred, rank
from autodistill.records import TrialRecord
from autodistill.report import measures, texts
from autodistill.report.columns import Column, fitted
from autodistill.report.leaderboard import finite
from autodistill.task_types import modality_of
from autodistill.teachers import Teachers, short_name

BATCHES = (1, 32)
"""The numbers of rows whose latency is measured."""
UNDISTURBED = 0.9
"""Below this share of a core, other work on the machine has made the latencies noticeably larger."""
_UNMEASURED = (None, None)
Kind = Literal["student", "teacher", "probe", "linear"]
FRONTS: dict[str, str] = {"size": "params", "1 row": "latency_ms_1", "32 rows": "latency_ms_32"}
"""The costs that models are compared in, and their fields."""


@dataclass(frozen=True)
class Model:
    """A model to choose. name: for people. score: on the validation split, the mean over seeds. retention: score / the teacher's score.

    latency_ms_1, latency_ms_32: milliseconds for 1 row and for 32 rows, from texts or images to logits. front: the costs in which no
    other model is both cheaper and better. recommended: whether recommended.yaml is its recipe.
    """

    kind: Kind
    name: str
    trial: int | None
    score: float | None
    retention: float | None
    params: int | None
    latency_ms_1: float | None = None
    latency_ms_32: float | None = None
    front: tuple[str, ...] = ()
    recommended: bool = False


@dataclass(frozen=True)
class Measured:
    """The latencies in milliseconds, one for each of BATCHES, as study.json keeps them under `frontier`.

    students: by recipe id. teachers: in the order of the study's; None for a file of scores. linear: of the linear model without an
    encoder, with linear_params coefficients; None where there is none. core_share: seconds of computing over seconds passed; less
    than 1 where other work on the machine took part of the core.
    """

    students: dict[str, list[float]]
    teachers: list[list[float] | None]
    linear: list[float] | None
    linear_params: int | None
    core_share: float

    @classmethod
    def of_study(cls, about: Mapping[str, Any]) -> Measured | None:
        """What a study's description holds; None where it holds none."""
        kept = about.get("frontier")
        return None if not kept else cls(**{field.name: kept[field.name] for field in dataclasses.fields(cls)})


def winners(records: Sequence[TrialRecord], limits: Limits, prefer: Preference) -> list[TrialRecord]:
    """The best trial of each family, best family first, and the recommended trial where it is none of them."""
    by_family: dict[str, TrialRecord] = {}
    for record in rank(list(records), limits):
        if measures.score_of(record) is not None:
            by_family.setdefault(str(record.recipe.get("student", {}).get("family", "student")), record)
    chosen = preferred(list(records), limits, prefer)
    best = list(by_family.values())
    return best if chosen is None or chosen in best or measures.score_of(chosen) is None else [*best, chosen]


def frontier(records: Sequence[TrialRecord], limits: Limits, prefer: Preference, about: Mapping[str, Any]) -> list[Model]:
    """The models to choose from, best score first. about: study.json."""
    measured = Measured.of_study(about)
    models = [*_students(records, limits, prefer, measured), *_others(about, measured)]
    on_front: dict[str, list[Model]] = {}
    for front, field in FRONTS.items():
        costs = [(getattr(model, field), model) for model in models]
        on_front[front] = measures.undominated(
            (cost, model.score, model) for cost, model in costs if cost is not None and model.score is not None
        )
    marked = [
        dataclasses.replace(model, front=tuple(front for front, best in on_front.items() if any(item is model for item in best)))
        for model in models
    ]
    return sorted(marked, key=lambda model: -math.inf if model.score is None else model.score, reverse=True)


def _students(records: Sequence[TrialRecord], limits: Limits, prefer: Preference, measured: Measured | None) -> list[Model]:
    chosen = preferred(list(records), limits, prefer)
    seeds = {item.record.recipe_id: item for item in measures.by_recipe(records)}
    times = {} if measured is None else measured.students
    models = []
    for record in winners(records, limits, prefer):
        item, (one, many) = seeds[record.recipe_id], times.get(record.recipe_id, _UNMEASURED)
        is_chosen = chosen is not None and record.trial == chosen.trial
        name = texts.student(record.recipe)
        models.append(Model("student", name, record.trial, item.mean, item.retention, record.params, one, many, recommended=is_chosen))
    return models


def _others(about: Mapping[str, Any], measured: Measured | None) -> list[Model]:
    teachers = Teachers.of_study(about)
    times = [None] * len(teachers) if measured is None else measured.teachers
    models = []
    for (part, ref), taken in zip(teachers.items(), times, strict=False):
        if part.is_self:
            continue
        name = texts.clean(short_name(teachers.names[part]))
        latencies = taken or _UNMEASURED
        full = 1.0 if finite(ref.score) else None
        models.append(Model("teacher", f"teacher {name}", None, finite(ref.score), full, ref.params, *latencies))
        if finite(ref.probe_score) is not None:
            share = _share(ref.probe_score, ref.score)
            models.append(Model("probe", f"probe of {name}", None, ref.probe_score, share, ref.params, *latencies))
    linear = next((ref.linear_score for ref in teachers.values() if finite(ref.linear_score) is not None), None)
    if linear is not None:
        name = modality_of(about["dataset"]["task"]).plain_name
        params, taken = (None, None) if measured is None else (measured.linear_params, measured.linear)
        models.append(Model("linear", name, None, linear, _share(linear, teachers.best.score), params, *(taken or _UNMEASURED)))
    return models


def _share(score: float | None, teacher: float | None) -> float | None:
    """A score over the teacher's; None where one is not known or not finite, or the teacher's is not above 0."""
    own, best = finite(score), finite(teacher)
    return own / best if own is not None and best is not None and best > 0 else None


def cells(model: Model) -> list[str]:
    """A model as a table has it: name, trial, score, retention, parameters, latencies, fronts."""
    trial = "" if model.trial is None else str(model.trial)
    costs = [texts.params(model.params), texts.latency(model.latency_ms_1), texts.latency(model.latency_ms_32)]
    fronts = "all" if len(model.front) == len(FRONTS) else ", ".join(model.front)
    return [model.name, trial, texts.score(model.score), texts.percent(model.retention), *costs, fronts]


def table(models: Sequence[Model], metric: str, width: int) -> Table:
    """The frontier for a terminal of that width; a narrow one shows the most important columns only."""
    columns = [Column("model", text=True), Column("trial", rank=3), Column(metric), Column("retention", rank=2), Column("params")]
    columns += [Column("1 row"), Column("32 rows", rank=1), Column("unbeaten in", text=True, rank=4)]

    def line(model: Model) -> tuple[Sequence[str], str]:
        return cells(model), "bold green" if model.recommended else "" if model.kind == "student" else "cyan"

    return fitted(columns, map(line, models), width)


def note(about: Mapping[str, Any]) -> str:
    """How the latencies were measured, and what to think of them; or why there are none."""
    measured = Measured.of_study(about)
    if measured is None:
        return "Latencies were not measured at the end of this search."
    sentence = "Latency is from the text or image to the answer, tokenizer included, on one CPU thread of the machine of the search."
    if any(ref.probe_score is not None for ref in Teachers.of_study(about).values()):
        sentence += " A probe costs what its teacher costs."
    if measured.core_share < UNDISTURBED:
        sentence += f" Other work on the machine left it {measured.core_share:.0%} of a core, so all latencies are too large."
    return sentence


def advice(records: Sequence[TrialRecord], limits: Limits, prefer: Preference) -> str:
    """What a preference for a low cost gives away, and what for; empty where the best student is recommended."""
    best, chosen = rank(list(records), limits)[:1], preferred(list(records), limits, prefer)
    if prefer == "score" or chosen is None or not best:
        return ""
    means = {item.record.recipe_id: item.mean for item in measures.by_recipe(records)}
    loss = means[best[0].recipe_id] - means[chosen.recipe_id]
    if chosen.trial == best[0].trial:
        return f"Preferring {prefer}, the best student is recommended: no {_CHEAPER[prefer]} one is within half a point of it."
    costs = (f"{texts.params(item.params)} parameters, {texts.latency(item.latency_ms)}" for item in (chosen, best[0]))
    ours, others = costs
    return (
        f"Preferring {prefer}, trial {chosen.trial} is recommended ({texts.student(chosen.recipe)}, {ours}): {loss:.4f} below the best, "
        f"trial {best[0].trial} ({texts.student(best[0].recipe)}, {others})."
    )


_CHEAPER = {"latency": "faster", "size": "smaller"}
