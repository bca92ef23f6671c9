"""The frontier: the models to choose from, by score against latency and size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autodistill.limits import Limits
from autodistill.records import TrialRecord
from autodistill.report import measures, texts
from autodistill.report.frontier import Model
from autodistill.report.frontier import frontier as models_of

from . import style
from .scores import Cost, ticks

_AXES = {"latency_ms_1": "milliseconds for 1 row", "latency_ms_32": "milliseconds for 32 rows", "params": "parameters"}
_COLOURS = (style.BLUE, style.GREEN, style.PURPLE, style.SKY, style.ORANGE)
_SYMBOLS = ("circle", "square", "triangle-up")
_PANEL = 230
"""Pixels of a panel's height."""


def frontier(records: Sequence[TrialRecord], limits: Limits = Limits(), about: Mapping[str, Any] | None = None) -> go.Figure:  # noqa: B008 — frozen
    """The best student of each family, the teachers and the linear models: score against latency and size, a panel each.

    about: the study's study.json, which has the teachers and the latencies; without it there are the students' sizes alone.
    """
    title = "The frontier"
    about = about or {}
    prefer = about.get("settings", {}).get("prefer", "score")
    models = [model for model in models_of(records, limits, prefer, about) if model.score is not None]
    panels = [field for field in _AXES if any(_cost(model, field) > 0 for model in models)]
    if not panels or all(model.kind != "student" for model in models):
        return style.nothing(title, "No student within the limits has a score yet.")
    figure = make_subplots(rows=len(panels), cols=1, vertical_spacing=0.24 / len(panels))
    figure.update_layout(template=style.TEMPLATE, title_text=title, height=style.TOP + 20 + _PANEL * len(panels))
    scores = [float(model.score) for model in models if model.score is not None]
    metric = style.escape(records[0].metric, 24)
    for row, field in enumerate(panels, 1):
        priced = [(_cost(model, field), float(model.score or 0.0), model) for model in models if _cost(model, field) > 0]
        front = measures.undominated(priced)
        figure.add_scatter(
            x=np.array([_cost(model, field) for model in front]), y=np.array([model.score for model in front], dtype=float), row=row, col=1,
            mode="lines", name="nothing is better and cheaper", line={"color": style.VERMILION, "width": 1.6, "shape": "hv"},
            hoverinfo="skip", showlegend=row == 1,
        )  # fmt: skip
        costs = [cost for cost, _, _ in priced]
        low, high = min(costs) / 1.6, max(costs) * 1.6
        cost_kind: Cost = "params" if field == "params" else "latency_ms"
        figure.update_xaxes(
            title=f"{_AXES[field]} (log scale)", type="log", range=[math.log10(low), math.log10(high)], **ticks(low, high, cost_kind),
            row=row, col=1,
        )  # fmt: skip
        figure.update_yaxes(title=metric, range=list(style.fit(scores, 0.12)), row=row, col=1)
    for number, model in enumerate(_in_order(models)):
        for row, field in enumerate(panels, 1):
            if _cost(model, field) > 0:
                figure.add_scatter(
                    x=np.array([_cost(model, field)]), y=np.array([model.score], dtype=float), row=row, col=1, mode="markers",
                    name=style.escape(_name(model), 48), marker=_marker(model, number), text=[_about(model)],
                    hovertemplate="%{text}<extra></extra>", showlegend=field == _first(model, panels), legendgroup=str(number),
                )  # fmt: skip
    return figure


def _in_order(models: Sequence[Model]) -> list[Model]:
    """Students first, so that their colours do not depend on the others."""
    return sorted(models, key=lambda model: model.kind != "student")


def _cost(model: Model, field: str) -> float:
    value = getattr(model, field)
    return float(value) if value is not None and math.isfinite(value) else 0.0


def _first(model: Model, panels: Sequence[str]) -> str:
    """The panel whose marker stands in the legend."""
    return next(field for field in panels if _cost(model, field) > 0)


def _name(model: Model) -> str:
    trial = "" if model.trial is None else f" (trial {model.trial}{', recommended' if model.recommended else ''})"
    return model.name + trial


def _marker(model: Model, number: int) -> dict[str, Any]:
    if model.kind == "student":
        colour, symbol = _COLOURS[number % len(_COLOURS)], _SYMBOLS[number // len(_COLOURS) % len(_SYMBOLS)]
        ring = {"width": 2.5, "color": style.VERMILION} if model.recommended else {"width": 0, "color": colour}
        return {"color": colour, "symbol": symbol, "size": 13 if model.recommended else 11, "line": ring}
    symbol = {"teacher": "diamond", "probe": "diamond-open", "linear": "square-open"}[model.kind]
    return {"color": style.INK, "symbol": symbol, "size": 10, "line": {"width": 1.6, "color": style.INK}}


def _about(model: Model) -> str:
    name = style.escape(_name(model), 60)
    costs = f"{texts.latency(model.latency_ms_1)} for 1 row, {texts.latency(model.latency_ms_32)} for 32"
    unbeaten = f"<br>unbeaten in {', '.join(model.front)}" if model.front else ""
    return f"<b>{texts.score(model.score)}</b>  {name}<br>{costs}<br>{texts.params(model.params)} parameters{unbeaten}"
