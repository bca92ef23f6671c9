"""What unlabelled rows are worth: the best recipe with parts of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from autodistill.limits import Limits
from autodistill.records import TrialRecord
from autodistill.report import texts
from autodistill.report.leaderboard import counted_score, data_curve

from . import style
from .scores import teacher_levels

_TITLE = "Score by unlabelled rows"
_PER_CENT = 100


def unlabelled(records: Sequence[TrialRecord], limits: Limits = Limits()) -> go.Figure:  # noqa: B008 — called as all figures are
    """The best recipe's score with a quarter, half and all of the unlabelled rows, beside the student without a teacher and the teacher."""
    points = data_curve(records, _PER_CENT)
    if not points:
        return style.nothing(_TITLE, "No recipe was trained on parts of the unlabelled rows; search with --data-curve for that.")
    figure = style.make(_TITLE, 360)
    figure.add_scatter(
        x=np.array([share for share, _ in points], dtype=float),
        y=np.array([score for _, score in points]),
        mode="lines+markers",
        name="the best recipe",
        line={"color": style.BLUE, "width": 2},
        marker={"size": 9},
        hovertemplate="%{x:g}% of the rows<br>%{y:.4f}<extra></extra>",
    )
    bare = [score for item in records if item.role == "no_kd" and (score := counted_score(item)) is not None]
    levels = ({f"no KD {texts.score(max(bare))}": max(bare)} if bare else {}) | teacher_levels(records)
    for name, score in levels.items():
        style.level(figure, score, name, end="left" if name.startswith("no KD") else "right")  # apart where they are near
    figure.update_yaxes(
        title=style.validation_metric(records[0].metric),
        range=list(style.fit([*(score for _, score in points), *levels.values()], 0.1)),
    )
    figure.update_xaxes(title="share of the unlabelled rows", tickvals=[share for share, _ in points], ticksuffix="%", range=[15, 105])
    return figure
