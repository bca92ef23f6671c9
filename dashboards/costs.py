"""Where the time went, and how much was saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from autodistill.limits import Limits
from autodistill.records import TrialRecord
from autodistill.report import measures, texts

from . import style

_KINDS: dict[measures.Kind, str] = {
    "baselines": "the baselines",
    "completed": "completed trials",
    "stopped early": "trials stopped early",
    "repeats": "repeats (seeds)",
    "failed": "failed trials",
}


def time(records: Sequence[TrialRecord], limits: Limits = Limits(), stages: Mapping[str, float] | None = None) -> go.Figure:  # noqa: B008 — frozen
    """Worker time by use, and the time that early stopping and stored teacher outputs saved (estimates, hatched).

    stages: seconds of the stages before the trials, `teacher` and `outputs`, where they were measured.
    """
    stages = stages or {}
    title = "Where the time went"
    spent = {"teacher’s training": stages.get("teacher", 0.0), "storing its outputs": stages.get("outputs", 0.0)}
    spent |= {_KINDS[kind]: value for kind, value in measures.worker_seconds(records).items()}
    saved = {"early stopping saved": measures.saved_by_stopping(records)}
    saved["stored outputs saved"] = measures.saved_by_store(records, stages.get("outputs")) or 0.0
    spent, saved = ({name: value for name, value in part.items() if value > 0} for part in (spent, saved))
    if not spent:
        return style.nothing(title, "No time has been recorded yet.")
    rows = [*spent, *saved][::-1]
    unit, word = _unit(max([*spent.values(), *saved.values()]))
    figure = style.make(title, 160 + 34 * len(rows))
    for part, name, colour, shape in ((spent, "spent", style.BLUE, ""), (saved, "saved (estimate)", "#ffffff", "/")):
        if part:
            figure.add_bar(
                y=list(part),
                x=np.array([value / unit for value in part.values()]),
                orientation="h",
                name=name,
                marker={
                    "color": colour,
                    "line": {"color": style.BLUE, "width": 1},
                    "pattern": {"shape": shape, "fgcolor": style.BLUE, "size": 5, "solidity": 0.2},
                },
                text=[texts.duration(value) for value in part.values()],
                textposition="outside",
                cliponaxis=False,
                textfont={"size": 12, "color": style.INK},
                hovertemplate="%{y}: %{text}<extra></extra>",
            )
    figure.update_yaxes(categoryorder="array", categoryarray=rows, ticks="", showgrid=False, tickfont={"color": style.INK})
    figure.update_xaxes(title=f"{word} of worker time", rangemode="tozero", range=[0, 1.3 * max([*spent.values(), *saved.values()]) / unit])
    figure.update_layout(bargap=0.35, barmode="overlay")
    return figure


def _unit(seconds: float) -> tuple[float, str]:
    return next((pair for pair in ((3600.0, "hours"), (60.0, "minutes")) if seconds >= 2 * pair[0]), (1.0, "seconds"))
