"""The style of all figures: a template, a colour-blind-safe palette (Okabe and Ito 2008), a figure for when there is nothing to draw."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Literal

import plotly.graph_objects as go

from autodistill.records import Role
from autodistill.report import texts

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
"""Okabe and Ito's palette."""
INK, MUTED, LINE, GRID, SHADE = "#1c2024", "#5a6270", "#c4c9d1", "#eceef1", "rgba(90, 98, 112, 0.08)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
SCALE: list[list[float | str]] = [[0.0, "#d6e3ee"], [0.35, "#8fbbd9"], [0.7, "#2f7fb8"], [1.0, "#08306b"]]
"""From low to high values, by lightness only."""

ROLES: dict[Role, tuple[str, str]] = {
    "no_kd": (BLACK, "square"),
    "plain_kd": (ORANGE, "diamond"),
    "pseudo_labels": (YELLOW, "diamond-wide"),
    "plain_kd_all": (ORANGE, "diamond-tall"),
    "defaults": (GREEN, "triangle-up"),
    "given": (VERMILION, "star"),
    "recommended": (PURPLE, "circle"),
    "explore": (SKY, "circle"),
    "search": (BLUE, "circle"),
    "repeat": (MUTED, "circle"),
    "fewer_rows": (MUTED, "circle-open"),
    "twin": (BLACK, "square-open"),
}
"""A trial's colour and marker by its role; baselines differ in shape too."""

TOP = 76
"""Pixels above a plot, for its title and one line of legend."""

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": INK},
        "title": {"font": {"size": 16}, "x": 0.01, "xref": "container", "xanchor": "left"},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "colorway": [BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, BLACK],
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": LINE, "font": {"family": FONT, "size": 12, "color": INK}, "align": "left"},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "font": {"size": 12}, "itemwidth": 30},
        "margin": {"l": 8, "r": 8, "t": TOP, "b": 8},
        "xaxis": {"gridcolor": GRID, "linecolor": LINE, "zeroline": False, "ticks": "outside", "tickcolor": LINE, "automargin": True,
                  "tickfont": {"color": MUTED, "size": 12}, "title": {"font": {"size": 13}, "standoff": 8}},
        "yaxis": {"gridcolor": GRID, "linecolor": LINE, "zeroline": False, "ticks": "outside", "tickcolor": LINE, "automargin": True,
                  "tickfont": {"color": MUTED, "size": 12}, "title": {"font": {"size": 13}, "standoff": 8}},
    }
)  # fmt: skip


def make(title: str, height: int = 420) -> go.Figure:
    """An empty figure in our style."""
    figure = go.Figure()
    figure.update_layout(template=TEMPLATE, title_text=title, height=height)
    return figure


def nothing(title: str, why: str) -> go.Figure:
    """A figure that says why there is nothing to draw. `layout.meta["empty"]` holds the sentence, so that a page can print it instead."""
    figure = make(title, 160)
    figure.add_annotation(text=escape(why), showarrow=False, x=0, y=0.5, xref="paper", yref="paper", xanchor="left", font={"color": MUTED})
    figure.update_layout(meta={"empty": why})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def escape(text: str, longest: int | None = None) -> str:
    """Text from outside, made safe for Plotly: one line, no markup, cut where it is longer than `longest`."""
    line = texts.clean(text)
    if longest is not None and len(line) > longest:
        line = line[: longest - 1] + "…"
    return html.escape(line, quote=False)


def validation_metric(name: str) -> str:
    """The title of an axis of scores. A name is cut where it would be longer than the axis of a small figure."""
    return escape(name, 24) + " (validation)"


def level(figure: go.Figure, y: float, name: str, colour: str = MUTED, dash: str = "dot", end: Literal["left", "right"] = "right") -> None:
    """A horizontal line across the figure with its name at one end."""
    figure.add_hline(y=y, line={"color": colour, "width": 1.2, "dash": dash})
    figure.add_annotation(
        text=escape(name), x=float(end == "right"), xref="paper", xanchor=end, y=y, yanchor="bottom", showarrow=False,
        font={"size": 11, "color": colour},
    )  # fmt: skip


def limit(figure: go.Figure, x: float, until: float, name: str) -> None:
    """A vertical line at a limit; the area beyond it is shaded up to `until`. The x axis is logarithmic."""
    if until > x:
        figure.add_vrect(x0=x, x1=until, fillcolor=SHADE, line_width=0, layer="below")
    figure.add_vline(x=x, line={"color": VERMILION, "width": 1.2, "dash": "dash"})
    figure.add_annotation(
        text=escape(name), x=_log10(x), xref="x", xanchor="right", y=0.5, yref="paper", textangle=-90, showarrow=False,
        font={"size": 11, "color": VERMILION},
    )  # fmt: skip


def corner(figure: go.Figure, text: str) -> None:
    """A remark in the lower right corner of the plot."""
    figure.add_annotation(
        text=escape(text), x=1, xref="paper", xanchor="right", y=0, yref="paper", yanchor="bottom", showarrow=False,
        font={"size": 11, "color": MUTED},
    )  # fmt: skip


def fit(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    """A range that holds the values, with a margin on both sides."""
    low, high = min(values), max(values)
    air = (high - low) * share or abs(high) * 0.02 or 0.02
    return low - air, high + air


def _log10(value: float) -> float:
    return math.log10(value)
