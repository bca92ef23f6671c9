"""report.html: a study in one file that needs no network, for someone who was not there."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from autodistill.records import Role, TrialRecord
from autodistill.report import texts
from autodistill.report.leaderboard import Row, failures, rows, verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from autodistill.tuning.study import Study

COLOURS: dict[Role, str] = {"no_kd": "#000000", "plain_kd": "#E69F00", "defaults": "#56B4E9", "recommended": "#CC79A7", "search": "#009E73"}
"""By role: Okabe and Ito's colours, which the colour-blind tell apart."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1000px; padding: 1rem; color: #1a1a1a; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { padding: .35rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd }
th:nth-child(2), td:nth-child(2), th:nth-child(n+8), td:nth-child(n+8) { text-align: left }
tr.best { font-weight: 600; background: #e8f5ef } .answer { font-size: 1.1rem; font-weight: 600 }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: .85rem } dt { color: #555 } dd { margin: 0 0 .4rem 0 }
"""


def write_report(study: Study) -> None:
    """Write report.html into the study's folder."""
    from autodistill.tuning.study import write_whole

    write_whole(study.folder / "report.html", render(study))


def render(study: Study) -> str:
    """The page. Every name from outside is escaped."""
    from plotly.offline import get_plotlyjs

    records, settings, data = study.trial_records, study.settings, study.about["dataset"]
    metric = records[0].metric if records else "score"
    found = rows(records, study.limits, study.teacher_score, None)
    asked = {
        "dataset": f"{data['name']} ({data['task']}, {data['train_rows']:,} training rows)",
        "trials": f"{settings.trials}, of at most {settings.max_epochs} epochs, seed {settings.seed}",
        "limits": study.limits.text(),
        "ended": ", ".join(f"{number} {state}" for state, number in study.counts.items() if number) or "no trial",
    }
    figures = [score_against_params(records, metric), learning_curves(records, metric)]
    plots = "".join(
        figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False, "responsive": True}) for figure in figures
    )
    recipe = study.folder / "recommended.yaml"
    parts = [
        f"<h1>Study {html.escape(study.name)}</h1>",
        f'<p class="answer">{html.escape(verdict(records, study.limits))}</p>',
        "<dl>" + "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in asked.items()) + "</dl>",
        f'<h2>Leaderboard</h2><div class="wide">{_table(found, metric)}</div>',
        f"<h2>Trials</h2>{plots}",
    ]
    if recipe.exists():
        parts.append(f"<h2>Recommended recipe</h2><pre>{html.escape(recipe.read_text(encoding='utf-8'))}</pre>")
    if failures(records):
        parts.append("<h2>Failures</h2><ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in failures(records)) + "</ul>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(study.name)}</title><style>{_STYLE}</style><script>{get_plotlyjs()}</script></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def score_against_params(records: Sequence[TrialRecord], metric: str) -> go.Figure:
    """Every scored trial by its parameters and its score, coloured by role."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for role, colour in COLOURS.items():
        points = [item for item in records if item.role == role and item.score is not None and item.params is not None]
        if points:
            symbols = ["circle" if item.state == "complete" else "circle-open" for item in points]
            figure.add_scatter(
                x=[item.params for item in points],
                y=[item.score for item in points],
                text=[f"trial {item.trial}, {item.state}<br>{html.escape(texts.student(item.recipe))}" for item in points],
                mode="markers",
                name=texts.ROLES[role],
                marker={"color": colour, "size": 10, "symbol": symbols},
            )
    figure.update_layout(template="plotly_white", title="Score against parameters (open: stopped early)", height=420)
    figure.update_xaxes(title="parameters", type="log")
    figure.update_yaxes(title=html.escape(metric))
    return figure


def learning_curves(records: Sequence[TrialRecord], metric: str) -> go.Figure:
    """Each trial's score by epoch; a cross where it was stopped early."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for item in records:
        if item.curve:
            stopped = item.state == "pruned"
            symbols = ["circle"] * (len(item.curve) - 1) + ["x" if stopped else "circle"]
            figure.add_scatter(
                x=[point.epoch for point in item.curve],
                y=[point.score for point in item.curve],
                name=f"{item.trial} {texts.ROLES[item.role]}",
                mode="lines+markers",
                line={"color": COLOURS[item.role], "width": 1.5},
                marker={"symbol": symbols, "size": 7},
            )
    figure.update_layout(template="plotly_white", title="Learning curves (×: stopped early)", height=420)
    figure.update_xaxes(title="epoch", dtick=1)
    figure.update_yaxes(title=html.escape(metric))
    return figure


def _table(found: Sequence[Row], metric: str) -> str:
    head = "".join(
        f"<th>{html.escape(name)}</th>" for name in ("#", "", metric, "retention", "params", "latency", "training", "student", "objective")
    )
    lines = []
    for row in found:
        cells = ["" if row.trial is None else str(row.trial), row.name, texts.score(row.score), texts.percent(row.retention)]
        cells += [texts.params(row.params), texts.latency(row.latency_ms), texts.duration(row.seconds), row.student, row.objective]
        style = ' class="best"' if row.is_best else ""
        lines.append(f"<tr{style}>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
