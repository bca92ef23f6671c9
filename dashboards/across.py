"""All recorded studies together: which datasets are alike, and which components win where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from autodistill.recommender.library import RecordedStudy
from autodistill.report import measures, texts

from . import style
from .components import name_of

_COMPONENTS = (
    "student.family", "student.init", "objective.prediction.kind", "objective.intermediate.kind", "objective.contrastive.kind",
    "objective.attention.kind", "objective.relation.kind", "augmentation.kind",
)  # fmt: skip
_TASKS = {
    "text-classification": (style.BLUE, "circle"), "text-pair-classification": (style.ORANGE, "diamond"),
    "text-regression": (style.GREEN, "square"), "text-pair-regression": (style.PURPLE, "triangle-up"),
    "text-multilabel": (style.SKY, "triangle-down"), "text-pair-multilabel": (style.YELLOW, "hexagon"),
    "text-embedding": (style.BLUE, "bowtie"),
    "image-classification": (style.VERMILION, "star"), "image-multilabel": (style.BLACK, "cross"),
}  # fmt: skip


_LABELS = {
    "top center": (0, 1), "bottom center": (0, -1), "middle right": (1, 0), "middle left": (-1, 0),
    "top right": (1, 1), "top left": (-1, 1), "bottom right": (1, -1), "bottom left": (-1, -1),
}  # fmt: skip
"""The sides of its marker on which a label may lie."""
_LETTER, _LINE, _MARKER = 6.5, 13.0, 14.0
_ROUNDS = 4
"""How often all labels are placed again, each beside the others as they lie."""
_COLUMN = 16.5
"""The least pixels of a column, so that the slanted words above neighbouring ones do not meet."""
_PHONE = (300, 330)
"""The pixels of the map's axes on a phone, where labels overlap first."""


def label_positions(places: np.ndarray, names: Sequence[str], ranges: Sequence[Sequence[float]]) -> list[str]:
    """For each point, the side on which its label covers the least of the markers and of the other labels, and stays in the plot.

    Args:
        places: (N, 2) in units of the axes.
        names: the labels.
        ranges: of the two axes.
    """
    low, high = np.array(ranges, dtype=float).T
    points = (places - low) / (high - low) * _PHONE
    markers = [(point, np.full(2, _MARKER)) for point in points]  # centres and sizes
    labels: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    sides = [""] * len(names)
    page = np.array(_PHONE, dtype=float)
    for _ in range(_ROUNDS):
        for number, (point, name) in enumerate(zip(points, names, strict=True)):
            size = np.array([_LETTER * len(name), _LINE])
            others = [*markers, *(box for place, box in labels.items() if place != number)]
            costs = []
            for side, way in _LABELS.items():
                centre = point + np.array(way) * (size + _MARKER) / 2
                outside = float(np.prod(size)) - _overlap(centre, size, page / 2, page)
                costs.append((outside + sum(_overlap(centre, size, *other) for other in others), side, centre))
            _, sides[number], centre = min(costs, key=lambda cost: cost[0])  # the first of equal ones
            labels[number] = centre, size
    return sides


def _overlap(centre: np.ndarray, size: np.ndarray, other: np.ndarray, its_size: np.ndarray) -> float:
    """The area of the overlap of two boxes, in square pixels."""
    sides = np.minimum((size + its_size) / 2 - np.abs(centre - other), np.minimum(size, its_size))
    return float(np.prod(np.maximum(sides, 0.0)))


def dataset_map(studies: Sequence[RecordedStudy]) -> go.Figure:
    """The datasets by the first two principal components of their standardised features: similar datasets are near each other."""
    title = "Datasets by what they are like"
    places, shares = principal_components(studies)
    if places is None:
        return style.nothing(title, "Fewer than three datasets with features, so there is no map to draw.")
    ranges = [style.fit(list(places[:, axis]), 0.15) for axis in (0, 1)]
    names = [style.escape(study.name, 22) for study in studies]
    positions = label_positions(places, names, ranges)
    known = {name for study in studies for name in study.features}
    figure = style.make(title, 500)
    for task in sorted({study.task for study in studies}):
        rows = [number for number, study in enumerate(studies) if study.task == task]
        colour, symbol = _TASKS.get(task, (style.BLACK, "circle"))
        figure.add_scatter(
            x=places[rows, 0],
            y=places[rows, 1],
            mode="markers+text",
            name=style.escape(task.replace("-", " "), 40),
            text=[names[row] for row in rows],
            textposition=[positions[row] for row in rows],
            textfont={"size": 11, "color": style.INK},
            marker={"color": colour, "symbol": symbol, "size": 11},
            customdata=[_about(studies[row], known) for row in rows],
            hovertemplate="<b>%{text}</b><br>%{customdata}<extra></extra>",
        )
    for axis, share, update in zip((0, 1), shares, (figure.update_xaxes, figure.update_yaxes), strict=True):
        update(title=f"principal component {axis + 1} ({share:.0%} of the variance)", range=ranges[axis])
    return figure


def _about(study: RecordedStudy, known: set[str]) -> str:
    """What is said of a dataset under the mouse. known: the features that any dataset has."""
    missing = len(known.difference(study.features))
    rest = f"<br>{missing} of {len(known)} features are missing, and count as the mean" if missing else ""
    return f"{study.train_rows:,} rows, teacher {texts.score(study.teacher_score)}{rest}"


def principal_components(studies: Sequence[RecordedStudy]) -> tuple[np.ndarray | None, tuple[float, float]]:
    """Places (N, 2) of the studies, and each component's share of the variance; None where there are too few studies or features.

    Features are standardised. A feature that a dataset lacks is set to the mean; a feature that does not vary is left out.
    """
    names = sorted({name for study in studies for name in study.features})
    table = np.array([[study.features.get(name, np.nan) for name in names] for study in studies], dtype=float).reshape(
        len(studies), len(names)
    )
    table[~np.isfinite(table)] = np.nan
    table = table[:, ~np.isnan(table).all(axis=0)] if table.size else table
    if len(studies) < 3 or table.shape[1] < 2:
        return None, (0.0, 0.0)
    spread = np.nanstd(table, axis=0)
    table = np.nan_to_num((table[:, spread > 0] - np.nanmean(table[:, spread > 0], axis=0)) / spread[spread > 0])
    if table.shape[1] < 2:
        return None, (0.0, 0.0)
    left, sizes, _ = np.linalg.svd(table, full_matrices=False)
    shares = sizes**2 / max(float((sizes**2).sum()), 1e-12)
    return left[:, :2] * sizes[:2], (float(shares[0]), float(shares[1]))


def winners(studies: Sequence[RecordedStudy]) -> go.Figure:
    """A row for each dataset, a column for each choice: its best trial's gap to the dataset's best, in points of the teacher's score."""
    title = "Which components win where"
    gaps = gaps_by_choice(studies)
    columns = [key for path in _COMPONENTS for key in sorted({key for row in gaps.values() for key in row if key[0] == path})]
    columns = [key for key in columns if sum(other[0] == key[0] for other in columns) > 1]
    if not gaps or not columns:
        return style.nothing(title, "No recorded study has completed trials that differ, so nothing can be compared.")
    names = list(gaps)[::-1]
    table = np.array([[gaps[name].get(key, np.nan) for key in columns] for name in names])
    # The columns' places leave a gap between the components.
    parts = [key[0] for key in columns]
    places = np.cumsum([0.0] + [1.0 if parts[number] == parts[number - 1] else 1.5 for number in range(1, len(parts))])
    above, below = style.TOP + 112, 70
    figure = style.make(title, above + below + 26 * len(names))
    cut = 8.0
    for part in dict.fromkeys(parts):
        own = [number for number, other in enumerate(parts) if other == part]
        figure.add_heatmap(
            x=places[own],
            y=np.arange(len(names)),
            z=np.minimum(table[:, own], cut),
            customdata=table[:, own],
            text=np.array([[f"{style.escape(name)}: {style.escape(columns[number][1])}" for number in own] for name in names]),
            hovertemplate="%{text}<br>%{customdata:.1f} points behind the best<extra></extra>",
            colorscale=[[1.0 - float(at), colour] for at, colour in reversed(style.SCALE)],
            zmin=0,
            zmax=cut,
            xgap=2,
            ygap=2,
            showscale=part == parts[0],
            colorbar={
                "orientation": "h", "x": 0, "xanchor": "left", "y": -0.02, "yanchor": "top", "len": 0.4, "thickness": 8, "outlinewidth": 0,
                "title": {"text": "points of the teacher’s score behind the best", "side": "top", "font": {"size": 12}},
                "tickvals": [0, 2, 4, 6, 8], "ticktext": ["0", "2", "4", "6", "8 or more"], "tickfont": {"size": 11},
            },
        )  # fmt: skip
        figure.add_annotation(
            text=f"<b>{style.escape(name_of(part))}</b>", x=float(places[own[0]]) - 0.5, xanchor="left", y=1.0, yref="paper",
            yanchor="bottom",
            yshift=84, showarrow=False, font={"size": 12},
        )  # fmt: skip
        best = [(float(places[own[int(np.nanargmin(row))]]), at) for at, row in enumerate(table[:, own]) if not np.isnan(row).all()]
        figure.add_scatter(
            x=[x for x, _ in best], y=[y for _, y in best], mode="markers", showlegend=False, hoverinfo="skip",
            marker={"color": style.VERMILION, "size": 8, "line": {"color": "#ffffff", "width": 1}},
        )  # fmt: skip
    figure.update_xaxes(
        tickvals=places, ticktext=[style.escape(_short(key[1])) for key in columns], side="top", tickangle=-55,
        showgrid=False, ticks="", linewidth=0, range=[places[0] - 0.6, places[-1] + 0.6], automargin=False,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=np.arange(len(names)), ticktext=[style.escape(name, 24) for name in names], showgrid=False, ticks="", linewidth=0,
        tickfont={"color": style.INK}, range=[-0.6, len(names) - 0.4],
    )  # fmt: skip
    figure.update_layout(margin={"t": above, "b": below}, meta={"least_width": int(170 + _COLUMN * (places[-1] + 1.2))})
    return figure


def _short(choice: str) -> str:
    """A choice's name, without the family of a variant, shortened in the middle because the names of variants differ at their ends."""
    name = choice.rpartition(":")[2]
    return name if len(name) <= 14 else f"{name[:7]}…{name[-4:]}"


def gaps_by_choice(studies: Sequence[RecordedStudy]) -> dict[str, dict[tuple[str, str], float]]:
    """By study and (key path, value): the best score of all minus the best with that value, in points (hundredths) of the teacher's score.

    Without a positive teacher's score, points are hundredths of the score itself.
    """
    gaps: dict[str, dict[tuple[str, str], float]] = {}
    for study in studies:
        recipes = measures.by_recipe(study.records)
        if not recipes:
            continue
        top = max(item.mean for item in recipes)
        scale = study.teacher_score if study.teacher_score and study.teacher_score > 0 else 1.0
        row: dict[tuple[str, str], float] = {}
        for item in recipes:
            for path in _COMPONENTS:
                value = measures.leaf(item.record.recipe, path)
                if value is not None:
                    gap = 100 * (top - item.mean) / scale
                    row[path, str(value)] = min(gap, row.get((path, str(value)), gap))
        gaps[study.name] = row
    return gaps
