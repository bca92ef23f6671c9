"""Which parts of the pipeline matter: importance, scores by choice, the top trials side by side, the loss mix."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from autodistill.limits import Limits
from autodistill.ranking import rank
from autodistill.records import FOLLOWING, TrialRecord
from autodistill.report import measures, texts
from autodistill.report.importance import component_importance

from . import style

TOP = 20
"""How many trials are drawn side by side."""
_AXES = 9
_AXIS_WIDTH = 96
"""Pixels between two axes side by side, so that the words at neighbouring ones do not meet."""
_ROWS = 40
_CHOICES = ("family", "kind", "init", "layer_map", "tokens", "mixing")
_OFF = "off"
_HYPHENS = {
    "hard_label": "hard<br>labels", "prediction": "predic-<br>tion", "intermediate": "inter-<br>mediate", "contrastive": "contras-<br>tive",
    "attention": "atten-<br>tion", "relation": "rela-<br>tion",
}  # fmt: skip
"""The terms' names, hyphenated for a phone's width."""
_NAMES = {
    "student.family": "student", "student.init": "init", "objective.hard_label_weight": "hard-label weight",
    "augmentation.kind": "augmentation", "augmentation.mixup": "mixup", "training.learning_rate": "learning rate",
    "training.batch_size": "batch size", "training.weight_decay": "weight decay", "objective.prediction.temperature": "temperature",
}  # fmt: skip


def name_of(path: str) -> str:
    """A key path in plain words: `objective.intermediate.weight` is "intermediate weight"."""
    if path in _NAMES:
        return _NAMES[path]
    parts = path.removeprefix("objective.").split(".")
    if parts[-1] == "kind":
        return parts[0]
    return " ".join(parts).replace("_", " ")


def importance(records: Sequence[TrialRecord], limits: Limits = Limits()) -> go.Figure:  # noqa: B008 — frozen
    """The share of the scores' variance that each component of the pipeline explains (fANOVA by groups of parameters)."""
    title = "Importance of each component"
    importances = component_importance(records)
    if not importances.shares:
        return style.nothing(title, f"What mattered most is not known: {importances.reason}.")
    shares = dict(importances.shares)
    if importances.interactions >= 0.005:
        shares["only together"] = importances.interactions
    names = list(shares)[::-1]
    figure = style.make(title, 110 + 30 * len(names))
    figure.add_bar(
        y=[style.escape(name, 24) for name in names],
        x=np.array([100 * shares[name] for name in names]),
        orientation="h",
        marker={"color": [style.LINE if name == "only together" else style.BLUE for name in names]},
        text=[f"{100 * shares[name]:.0f}%" for name in names],
        textposition="outside",
        cliponaxis=False,
        textfont={"size": 12, "color": style.INK},
        showlegend=False,
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    figure.update_yaxes(ticks="", showgrid=False, tickfont={"color": style.INK})
    figure.update_xaxes(title="share of the variance of the scores (%)", range=[0, 112 * max(shares.values())])
    figure.update_layout(bargap=0.35)
    return figure


def values(records: Sequence[TrialRecord], limits: Limits = Limits()) -> go.Figure:  # noqa: B008 — frozen
    """For each choice in the pipeline, the scores of the completed trials with that choice: median, middle half, and extremes."""
    title = "Scores by the choices that were made"
    done = [item for item in measures.completed(records) if item.role not in FOLLOWING]
    best = next(iter(rank(list(records), limits)), None)
    groups: list[tuple[str, list[tuple[str, list[float]]]]] = []
    for path in sorted(measures.varying(done), key=lambda path: _worth(path) > 0):
        if path.rpartition(".")[2] not in _CHOICES or sum(len(by_value) for _, by_value in groups) > _ROWS:
            continue
        of_value: dict[str, list[float]] = {}
        for item in done:
            value = measures.leaf(item.recipe, path)
            if value is not None:
                of_value.setdefault(str(value), []).append(float(item.score or 0.0))
        if len(of_value) > 1:
            groups.append((path, sorted(of_value.items(), key=lambda pair: statistics.median(pair[1]))))
    if not groups:
        return style.nothing(title, "Fewer than two completed trials that differ in a choice, so there is nothing to compare.")
    ticks: list[tuple[float, str]] = []
    rows: list[tuple[float, str, str, list[float], bool]] = []
    at = 0.0
    for path, by_value in reversed(groups):
        for value, scores in by_value:
            chosen = best is not None and str(measures.leaf(best.recipe, path)) == value
            rows.append((at, path, value, scores, chosen))
            ticks.append((at, f"{style.escape(value, 18)} <span style='color:{style.MUTED}'>({len(scores)})</span>"))
            at += 1
        ticks.append((at, f"<b>{style.escape(name_of(path), 24)}</b>"))
        at += 1.35
    figure = style.make(title, int(110 + 21 * at))
    _spans(figure, [(y, min(scores), max(scores)) for y, _, _, scores, _ in rows], "lowest to highest", style.LINE, 1.5)
    middles = [(y, *_middle_half(scores)) for y, _, _, scores, _ in rows]
    _spans(figure, middles, "middle half", style.SKY, 7)
    for chosen, name, colour in ((False, "median", style.BLUE), (True, "best trial’s choice", style.VERMILION)):
        part = [row for row in rows if row[4] == chosen]
        figure.add_scatter(
            x=np.array([statistics.median(row[3]) for row in part]),
            y=np.array([row[0] for row in part]),
            text=[
                f"<b>{style.escape(value, 60)}</b>, {texts.plural(len(scores), 'trial')}<br>median {statistics.median(scores):.4f}, "
                f"best {max(scores):.4f}"
                for _, _, value, scores, _ in part
            ],
            hovertemplate="%{text}<extra></extra>",
            mode="markers",
            name=name,
            marker={"color": colour, "size": 10},
        )
    figure.update_yaxes(
        tickvals=[y for y, _ in ticks], ticktext=[text for _, text in ticks], showgrid=False, ticks="", range=[-0.7, at - 0.7]
    )
    spread = style.fit([score for row in rows for score in row[3]], 0.03)
    figure.update_xaxes(title=style.escape(records[0].metric, 24), range=spread)
    return figure


def _middle_half(scores: list[float]) -> tuple[float, float]:
    low, high = np.quantile(scores, [0.25, 0.75])
    return float(low), float(high)


def _spans(figure: go.Figure, spans: list[tuple[float, float, float]], name: str, colour: str, width: float) -> None:
    figure.add_scatter(
        x=np.array([x for _, low, high in spans for x in (low, high, math.nan)]),
        y=np.array([y for at, _, _ in spans for y in (at, at, math.nan)]),
        mode="lines",
        name=name,
        line={"color": colour, "width": width},
        hoverinfo="skip",
    )


def parallel(records: Sequence[TrialRecord], limits: Limits = Limits()) -> go.Figure:  # noqa: B008
    """The best trials side by side: a line for each trial through the values that differ between them, stronger in colour for a
    higher score.
    """
    title = f"The best {TOP} trials side by side"
    top = [item for item in rank(list(records), limits) if measures.score_of(item) is not None][:TOP]
    paths = _axes(top)
    if len(top) < 2 or not paths:
        return style.nothing(title, "Fewer than two completed trials within the limits, so there is nothing to put side by side.")
    axes = [
        _Axis(name_of(path), [measures.leaf(item.recipe, path) for item in top], "learning_rate" in path or "weight" in path)
        for path in paths
    ]
    axes.append(_Axis("parameters", [item.params for item in top], True))
    axes.append(_Axis(top[0].metric, [item.score for item in top], False))
    figure = style.make(f"The best {len(top)} trials side by side", 460)
    scores = [float(item.score or 0.0) for item in top]
    low, high = min(scores), max(scores)
    for order in reversed(range(len(top))):
        item = top[order]
        share = (scores[order] - low) / (high - low) if high > low else 1.0
        best = order == 0
        colour = style.VERMILION if best else sample_colorscale(style.SCALE, [share])[0]
        figure.add_scatter(
            x=np.arange(len(axes), dtype=float),
            y=np.array([axis.place(order, order / max(1, len(top) - 1)) for axis in axes]),
            mode="lines+markers",
            line={"color": colour, "width": 3 if best else 1.6},
            marker={"size": 6 if best else 4},
            opacity=1.0 if best else 0.85,
            name=f"best, trial {item.trial}" if best else f"trial {item.trial}",
            showlegend=best,
            text=[
                f"<b>trial {item.trial}</b>  {texts.score(item.score)}<br>{style.escape(axis.title, 30)}: {axis.words(order)}"
                for axis in axes
            ],
            hovertemplate="%{text}<extra></extra>",
        )
    # All are set at once, because Plotly validates everything again for each one that is added.
    line = {"type": "line", "y0": 0, "y1": 1, "yref": "paper", "layer": "below", "line": {"color": style.LINE, "width": 1}}
    figure.update_layout(
        shapes=[line | {"x0": number, "x1": number} for number in range(len(axes))],
        annotations=[
            {
                "x": number, "y": y, "text": style.escape(word, 14), "showarrow": False, "xanchor": "left", "xshift": 5,
                "font": {"size": 11, "color": style.MUTED}, "bgcolor": "rgba(255, 255, 255, 0.75)", "borderpad": 1,
            }
            for number, axis in enumerate(axes) for y, word in axis.ticks
        ],
    )  # fmt: skip
    names = ["<br>".join(style.escape(word, 14) for word in _two_lines(axis.title)) for axis in axes]
    figure.update_xaxes(
        tickvals=list(range(len(axes))), ticktext=names, side="top", showgrid=False, linewidth=0, ticks="", range=[-0.45, len(axes) - 0.25]
    )
    figure.update_xaxes(tickfont={"size": 12, "color": style.INK}, tickangle=0)
    figure.update_yaxes(visible=False, range=[-0.08, 1.08])
    meta = {"least_width": _AXIS_WIDTH * len(axes), "paper": 8}
    figure.update_layout(legend={"y": -0.02, "yanchor": "top"}, margin_t=style.TOP + 24, meta=meta)
    return figure


def _axes(top: list[TrialRecord]) -> list[str]:
    """The key paths that get an axis: choices first, then weights and the learning rate, then the rest; in the order of a recipe."""
    different = measures.varying(top)
    kept = sorted(different, key=_worth)[:_AXES]
    return [path for path in different if path in kept]


def _worth(path: str) -> int:
    """The priority of a key path, 0 being the highest: which parts there are, then their weights, then the rest."""
    tail = path.rpartition(".")[2]
    if tail in ("family", "kind"):
        return 0
    return 1 if tail in ("weight", "hard_label_weight") else 2 if tail in ("learning_rate", "init") else 3


def _two_lines(text: str) -> list[str]:
    words = text.split()
    half = (len(words) + 1) // 2
    return [line for line in (" ".join(words[:half]), " ".join(words[half:])) if line]


class _Axis:
    """A vertical axis: the place of each trial's value on it, from 0 to 1, and the labels beside it."""

    def __init__(self, title: str, by_trial: list[Any], log: bool) -> None:
        self.title, self.by_trial = title, by_trial
        present = [value for value in by_trial if value is not None]
        self.numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in present) and len(set(present)) > 4
        self.missing = any(value is None for value in by_trial)
        floor = 0.14 if self.missing else 0.0  # below it are the trials without a value
        if self.numeric:
            self.log = log and min(present) > 0
            low, high = (math.log(value) if self.log else float(value) for value in (min(present), max(present)))
            self.low, self.high, self.floor = low, high, floor
            self.ticks = [(floor, _number(min(present))), (1.0, _number(max(present)))]
        else:
            names = sorted({_number(value) for value in present}, key=lambda name: (_as_number(name), name))
            step = (1.0 - floor) / max(1, len(names) - 1)
            self.places = {name: floor + step * index if len(names) > 1 else 0.5 for index, name in enumerate(names)}
            self.ticks = [(y, name) for name, y in self.places.items()]
            self.spread = min(0.05, step / 3)
        if self.missing:
            self.ticks.append((0.0, _OFF))

    def place(self, order: int, share: float) -> float:
        """The height of a trial's value; trials with the same choice are spread a little by their rank."""
        value = self.by_trial[order]
        if value is None:
            return 0.03 * (0.5 - share)
        if not self.numeric:
            return self.places[_number(value)] + self.spread * (0.5 - share)
        spot = math.log(value) if self.log else float(value)
        width = self.high - self.low
        return self.floor + (1.0 - self.floor) * ((spot - self.low) / width if width else 0.5)

    def words(self, order: int) -> str:
        value = self.by_trial[order]
        return _OFF if value is None else style.escape(_number(value), 40)


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) and value < 100_000 else texts.params(value) if isinstance(value, int) else f"{value:.3g}"


def _as_number(name: str) -> float:
    try:
        return float(name.replace(",", ""))
    except ValueError:
        return math.inf


def loss_mix(records: Sequence[TrialRecord], limits: Limits = Limits()) -> go.Figure:  # noqa: B008
    """The weight of every term of the loss in every completed trial, coloured by score."""
    title = "The loss mix"
    done = [item for item in measures.completed(records) if item.role not in FOLLOWING]
    if not done:
        return style.nothing(title, "No trial was trained to its end, so there is no loss mix to show.")
    done.sort(key=lambda item: item.score or 0.0)
    best = next((item for item in rank(list(records), limits) if measures.score_of(item) is not None), None)
    mixes = [measures.loss_mix(item) for item in done]
    terms = list(measures.TERMS)
    terms = [term for term in terms if term not in ("contrastive", "attention", "relation") or any(mix[term] for mix in mixes)]
    positive = [value for mix in mixes for value in mix.values() if value > 0]
    low, high = (min(positive), max(positive)) if positive else (0.1, 1.0)
    off = low / 2.6
    figure = style.make(title, 440)
    scores = np.array([item.score for item in done], dtype=float)
    # All trials below the median have the same pale colour, because what the good ones have in common matters.
    floor = float(np.median(scores)) if len(scores) > 8 else float(scores.min())
    spread = np.array([(item.trial * 0.618034) % 1.0 - 0.5 for item in done]) * 0.62
    top = float(scores.max())
    bar = {
        "orientation": "h", "x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom", "len": 0.5, "thickness": 8, "outlinewidth": 0,
        "title": {"text": style.escape(records[0].metric, 30), "side": "top", "font": {"size": 12}}, "tickfont": {"size": 11}, "nticks": 4,
    }  # fmt: skip
    for number, term in enumerate(terms):
        labels = [_number(mix[term]) if mix[term] else _OFF for mix in mixes]
        figure.add_scatter(
            x=number + spread,
            y=np.array([mix[term] or off for mix in mixes]),
            mode="markers",
            showlegend=False,
            marker={
                "color": scores, "colorscale": style.SCALE, "cmin": floor, "cmax": top if top > floor else floor + 1e-6,
                "size": 8 if len(done) < 150 else 5, "line": {"width": 0.5, "color": "#ffffff"}, "showscale": number == 0, "colorbar": bar,
            },
            customdata=np.array([item.trial for item in done]),
            text=[f"{label}<br>{texts.score(item.score)}" for label, item in zip(labels, done, strict=True)],
            hovertemplate="trial %{customdata}: " + measures.TERMS[term] + " %{text}<extra></extra>",
        )  # fmt: skip
    if best is not None:
        mix = measures.loss_mix(best)
        figure.add_scatter(
            x=np.arange(len(terms), dtype=float) + ((best.trial * 0.618034) % 1.0 - 0.5) * 0.62,
            y=np.array([mix[term] or off for term in terms]),
            mode="markers",
            name=f"best, trial {best.trial}",
            showlegend=False,
            marker={"symbol": "circle-open", "size": 15, "color": style.VERMILION, "line": {"width": 2.2}},
            hoverinfo="skip",
        )
    powers = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    ticks = [value for power in powers for value in (power, 3 * power) if low / 1.2 <= value <= high * 1.2]
    figure.add_hrect(y0=off / 1.5, y1=off * 1.5, fillcolor=style.SHADE, line_width=0, layer="below")
    figure.update_yaxes(
        type="log", title="weight in the loss (log scale)", tickvals=[off, *ticks], ticktext=[_OFF, *(f"{value:g}" for value in ticks)],
        range=[math.log10(off / 1.7), math.log10(high * 1.6)],
    )  # fmt: skip
    figure.update_xaxes(tickvals=list(range(len(terms))), ticktext=[measures.TERMS[term] for term in terms])
    figure.update_xaxes(showgrid=False, range=[-0.55, len(terms) - 0.45], tickangle=0)
    figure.update_layout(meta={"narrow": [_HYPHENS[term] for term in terms]}, margin_t=style.TOP + 34)
    if best is not None:
        figure.update_xaxes(title=f"term of the loss (circled: the best, trial {best.trial})")
    return figure
