"""The figures of a study and of all recorded studies, and the pages that show them.

A figure is a function from a study's records and limits to a Plotly figure, for a notebook as well as for a page:

    from autodistill.dashboards import FIGURES
    FIGURES["pareto"](study.trial_records, study.limits).show()     # or study.plot("pareto")

Modules here import each other relatively: the folder `dashboards/` is installed as `autodistill.dashboards`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from autodistill.limits import Limits
from autodistill.records import TrialRecord

from .components import importance, loss_mix, parallel, values
from .costs import time
from .frontier import frontier
from .rows import unlabelled
from .scores import curves, latency, pareto, seeds

FIGURES: dict[str, Callable[..., go.Figure]] = {
    "frontier": frontier,
    "pareto": pareto,
    "latency": latency,
    "curves": curves,
    "importance": importance,
    "values": values,
    "parallel": parallel,
    "loss_mix": loss_mix,
    "seeds": seeds,
    "unlabelled": unlabelled,
    "time": time,
}
"""The figures of one study by name; each is called with its records and its limits, the frontier also with its study.json."""


def draw_figure(name: str, records: Sequence[TrialRecord], limits: Limits, about: Mapping[str, Any]) -> go.Figure:
    """One of FIGURES for a study. about: the study's study.json."""
    return FIGURES[name](records, limits, **({"about": about} if name == "frontier" else {}))
