"""Scores: against a student's cost, by epoch, and between seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from autodistill.limits import Limits
from autodistill.ranking import rank
from autodistill.records import BASELINES, FOLLOWING, Role, TrialRecord
from autodistill.report import measures, texts
from autodistill.teachers import short_name

from . import style

Cost = Literal["params", "latency_ms"]
_NO_SCORE = "No trial has a score yet."
_MANY = 120
"""With this many trials or more, single trials are drawn fainter."""


def pareto(records: Sequence[TrialRecord], limits: Limits = Limits()) -> go.Figure:  # noqa: B008 — frozen
    """Score against the number of parameters, with the Pareto front and the limit."""
    return _against(records, limits, "params", "Score against size")


def latency(records: Sequence[TrialRecord], limits: Limits = Limits()) -> go.Figure:  # noqa: B008
    """Score against the time for one row, with the Pareto front and the limit."""
    return _against(records, limits, "latency_ms", "Score against latency")


def _against(records: Sequence[TrialRecord], limits: Limits, cost: Cost, title: str) -> go.Figure:
    words = texts.params if cost == "params" else texts.latency
    seeds = {item.record.trial: item for item in measures.by_recipe(records)}
    drawn = [item for item in records if item.role not in FOLLOWING or item.trial in seeds]
    drawn = [item for item in drawn if measures.score_of(item) is not None and (getattr(item, cost) or 0) > 0]
    if not drawn:
        return style.nothing(title, _NO_SCORE if cost == "params" else "No trial has both a score and a measured latency.")
    figure = style.make(title, 460)
    faint = 0.85 if len(drawn) < _MANY else 0.45
    allowed = {item.trial for item in drawn if limits.check(item.params, item.latency_ms).feasible}

    def place(
        name: str, items: list[TrialRecord], colour: str, symbol: str, size: int = 9, opacity: float = 1.0, line: float = 0.0
    ) -> None:
        if not items:
            return
        spreads = [spread if (repeats := seeds.get(item.trial)) and (spread := repeats.spread) is not None else None for item in items]
        means = [repeats.mean if (repeats := seeds.get(item.trial)) else measures.score_of(item) for item in items]
        figure.add_scatter(
            x=np.array([getattr(item, cost) for item in items], dtype=float),
            y=np.array(means, dtype=float),
            error_y={"type": "data", "array": spreads, "thickness": 1.2, "width": 3, "color": colour} if any(spreads) else None,
            text=[_about(item, words(getattr(item, cost)), seeds.get(item.trial)) for item in items],
            hovertemplate="%{text}<extra></extra>",
            mode="markers",
            name=name,
            marker={"color": colour, "symbol": symbol, "size": size, "opacity": opacity, "line": {"width": line, "color": colour}},
        )

    feasible = [item for item in drawn if item.trial in allowed]
    place("stopped early", [item for item in feasible if item.state == "pruned"], style.LINE, "circle-open", 7, faint + 0.15, 1.2)
    place("over a limit", [item for item in drawn if item.trial not in allowed], style.LINE, "x-thin", 7, 1.0, 1.4)
    for role in ("explore", "search", "repeat", "recommended", "given", *BASELINES):
        of_role = [item for item in feasible if item.role == role and item.state == "complete"]
        colour, symbol = style.ROLES[role]
        place(_role(role), of_role, colour, symbol, *((11, 1.0) if role in BASELINES else (8, faint)))
    _front(figure, records, limits, cost)
    best = rank(list(records), limits)[:1]
    best = [item for item in best if measures.score_of(item) is not None and (getattr(item, cost) or 0) > 0]
    place("best", best, style.VERMILION, "circle-open", 17, 1.0, 2.5)

    costs = [float(getattr(item, cost)) for item in drawn]
    border = limits.max_params if cost == "params" else limits.max_latency_ms
    low, high = min(costs) / 1.3, max(max(costs), border or 0.0) * 1.3
    if border is not None:
        style.limit(figure, float(border), high, f"limit {words(border)}")  # type: ignore[arg-type]
    scores = {item.trial: seeds[item.trial].mean if item.trial in seeds else float(item.score or 0.0) for item in drawn}
    teachers = teacher_levels(records)
    shown = [scores[item.trial] for item in drawn if item.state == "complete"] or list(scores.values())
    below = _focus(figure, list(scores.values()), [*shown, *teachers.values()])
    figure.update_yaxes(title=style.validation_metric(records[0].metric))
    if below:
        style.corner(figure, f"{texts.plural(below, 'stopped trial')} below the frame")
    for name, level in teachers.items():
        style.level(figure, level, name)
    axis = "parameters (log scale)" if cost == "params" else "latency for one row (ms, log scale)"
    figure.update_xaxes(title=axis, type="log", range=[math.log10(low), math.log10(high)], **ticks(low, high, cost))
    return figure


_REMARK_SHARE = 0.08
"""Of the height: room below the lowest mark, for the remark on what is below the frame."""


def _focus(figure: go.Figure, scores: list[float], shown: list[float]) -> int:
    """Fit the y axis to the scores that matter, or to all if they are not too far apart. Returns how many are below it."""
    low, high = style.fit(shown)
    if min(scores) > low - (high - low):
        low, high = style.fit([*scores, *shown])
    below = sum(score < low for score in scores)
    room = _REMARK_SHARE * (high - low) if below else 0.0
    figure.update_yaxes(range=[low - room, high])
    return sum(score < low - room for score in scores)


def _front(figure: go.Figure, records: Sequence[TrialRecord], limits: Limits, cost: Cost) -> None:
    front = [item for item in measures.front(records, limits, cost) if getattr(item.record, cost) > 0]
    if front:
        figure.add_scatter(
            x=np.array([getattr(item.record, cost) for item in front], dtype=float),
            y=np.array([item.mean for item in front]),
            mode="lines",
            name="Pareto front",
            line={"color": style.VERMILION, "width": 1.8, "shape": "hv"},
            hoverinfo="skip",
        )


def ticks(low: float, high: float, cost: Cost) -> dict[str, object]:
    """Ticks at 1, 2 and 5 times the powers of ten, or at the powers alone on a long axis; written as elsewhere on the page."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if math.log10(high / low) < 2.2 else (1,)
    values = [step * 10.0**power for power in powers for step in steps]
    names = [f"{value:g}" if cost == "latency_ms" else _count(value) for value in values]
    return {"tickvals": values, "ticktext": names}


def _count(value: float) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _about(item: TrialRecord, cost: str, seeds: measures.Seeds | None) -> str:
    value = texts.score(item.score)
    if seeds is not None and seeds.spread is not None:
        value = f"{seeds.mean:.4f} ± {seeds.spread:.4f} over {len(seeds.scores)} seeds"
    state = {"complete": "", "pruned": ", stopped early", "fail": ", failed", "infeasible": ", not run"}[item.state]
    lines = [f"<b>{value}</b>  trial {item.trial}, {_role(item.role)}{state}"]
    lines += [style.escape(texts.student(item.recipe), 60) + f", {cost}", style.escape(texts.objective(item.recipe), 60)]
    return "<br>".join(lines)


def _role(role: Role) -> str:
    return texts.ROLES.get(role, role)


def teacher_levels(records: Sequence[TrialRecord]) -> dict[str, float]:
    """The scores of the trials' teachers, by the text at their lines: with their model if there are several teachers."""
    taught = [item for item in records if item.teacher_score is not None and math.isfinite(item.teacher_score)]
    scores = {(str(item.recipe.get("teacher", {}).get("model", "")), float(item.teacher_score or 0.0)) for item in taught}
    several = len(scores) > 1
    return {
        f"teacher {short_name(model)[:30] + ' ' if several else ''}{texts.score(score)}": score
        for model, score in sorted(scores, key=lambda item: -item[1])
    }


def curves(records: Sequence[TrialRecord], limits: Limits = Limits()) -> go.Figure:  # noqa: B008
    """Each trial's score by epoch, with a cross where it was stopped early."""
    title = "Learning curves"
    with_points = [item for item in records if any(math.isfinite(point.score) for point in item.curve)]
    if not with_points:
        return style.nothing(title, "No trial has finished an epoch yet.")
    figure = style.make(title, 440)
    best = next((item.trial for item in rank(list(records), limits) if item.curve), None)
    special = [item for item in with_points if item.trial == best or (item.role in BASELINES and item.trial != best)]
    others = [item for item in with_points if item not in special and item.role not in FOLLOWING]
    opacity = 0.55 if len(others) < 40 else 0.3 if len(others) < 400 else 0.12
    stopped = [item for item in others if item.state == "pruned"]
    ran = [item for item in others if item.state != "pruned"]
    _lines(figure, ran, "completed", style.BLUE, opacity, 1.3)
    _lines(figure, stopped, "stopped early", style.ORANGE, opacity, 1.1)
    if stopped:
        figure.add_scatter(
            x=np.array([item.curve[-1].epoch for item in stopped], dtype=float),
            y=np.array([item.curve[-1].score for item in stopped]),
            customdata=np.array([item.trial for item in stopped]),
            mode="markers",
            name="stopped here",
            marker={"symbol": "x-thin", "size": 7, "opacity": min(1.0, opacity + 0.4), "line": {"width": 1.6, "color": "#a86500"}},
            hovertemplate="trial %{customdata} stopped after epoch %{x}<br>%{y:.4f}<extra></extra>",
        )
    for item in sorted(special, key=lambda item: item.trial == best):
        colour = style.VERMILION if item.trial == best else style.ROLES[item.role][0]
        name = f"best, trial {item.trial}" if item.trial == best else _role(item.role)
        _lines(figure, [item], name, colour, 1.0, 2.6 if item.trial == best else 1.8, "solid" if item.trial == best else "dash")
    for name, level in teacher_levels(records).items():
        style.level(figure, level, name, end="left")  # where curves are low
    last = max(item.curve[-1].epoch for item in with_points)
    figure.update_xaxes(title="epoch", dtick=1 if last <= 12 else None, range=[0.85, last + 0.15])
    figure.update_yaxes(title=style.validation_metric(records[0].metric))
    return figure


def _lines(figure: go.Figure, items: list[TrialRecord], name: str, colour: str, opacity: float, width: float, dash: str = "solid") -> None:
    """Draw all curves as one trace with gaps, because thousands of traces would be slow and large."""
    if not items:
        return
    epochs: list[float] = []
    scores: list[float] = []
    trials: list[int] = []
    for item in items:
        epochs += [point.epoch for point in item.curve] + [math.nan]
        scores += [point.score if math.isfinite(point.score) else math.nan for point in item.curve] + [math.nan]
        trials += [item.trial] * (len(item.curve) + 1)
    figure.add_scatter(
        x=np.array(epochs),
        y=np.array(scores),
        customdata=np.array(trials),
        mode="lines+markers" if len(items) <= 3 or max(len(item.curve) for item in items) == 1 else "lines",
        name=name,
        opacity=opacity,
        line={"color": colour, "width": width, "dash": dash},
        marker={"size": 4},
        hovertemplate="trial %{customdata}, epoch %{x}<br>%{y:.4f}<extra></extra>",
    )


def seeds(records: Sequence[TrialRecord], limits: Limits = Limits()) -> go.Figure:  # noqa: B008
    """The repeated recipes: each seed's score, their mean and standard deviation."""
    title = "The same recipe with other seeds"
    repeated = [item for item in measures.by_recipe(records) if len(item.scores) > 1]
    repeated.sort(key=lambda item: item.mean)
    if not repeated:
        return style.nothing(title, "No recipe was trained with more than one seed, so seed noise is not known.")
    figure = style.make(title, 150 + 40 * len(repeated))
    rows = np.arange(len(repeated))
    figure.add_scatter(
        x=np.concatenate([item.scores for item in repeated]),
        y=np.repeat(rows, [len(item.scores) for item in repeated]),
        mode="markers",
        name="one seed",
        marker={"color": style.SKY, "size": 8, "symbol": "line-ns-open", "line": {"width": 2}},
        hovertemplate="%{x:.4f}<extra></extra>",
    )
    figure.add_scatter(
        x=np.array([item.mean for item in repeated]),
        y=rows,
        error_x={"type": "data", "array": [item.spread for item in repeated], "thickness": 1.6, "width": 5, "color": style.BLUE},
        mode="markers",
        name="mean ± std. dev.",
        marker={"color": style.BLUE, "size": 9},
        text=[f"{item.mean:.4f} ± {item.spread:.4f}, {len(item.scores)} seeds" for item in repeated],
        hovertemplate="%{text}<extra></extra>",
    )
    names = [f"{_role(item.record.role)}, trial {item.record.trial}" for item in repeated]
    figure.update_yaxes(tickvals=rows, ticktext=names, showgrid=False, range=[-0.6, len(repeated) - 0.4])
    figure.update_xaxes(title=style.validation_metric(records[0].metric))
    return figure
