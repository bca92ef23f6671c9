"""All recorded studies together: which datasets are alike, and which components win where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

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


_SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0.5, 1), (-0.5, 1), (0.5, -1), (-0.5, -1))
"""Where a label may lie beside its marker: right and up are positive."""
_AWAY = (0.0, 14.0, 28.0, 42.0, 56.0)
"""Pixels between a marker and its label, beside the one that touches it; a line joins those that are apart."""
_LETTER, _LINE, _MARKER = 7.0, 13.0, 14.0
_CROSSED = 10.0
"""How much worse it is to cross a label or a marker with a line than to cover as many pixels of it."""
_ROUNDS = 4
"""How often all labels are placed again, each beside the others as they lie."""
_COLUMN = 16.5
"""The least pixels of a column, so that the slanted words above neighbouring ones do not meet."""
_VIEWS = ((300, 376), (600, 376), (860, 376))
"""The pixels of the map's axes on a phone, a tablet and a laptop."""


def label_places(places: np.ndarray, names: Sequence[str], ranges: Sequence[Sequence[float]]) -> list[tuple[np.ndarray, bool]]:
    """For each point, where its label covers the least of the markers and of the other labels, and stays in the plot, at every width.

    Args:
        places: (N, 2) in units of the axes.
        names: the labels.
        ranges: of the two axes.

    Returns:
        For each label: its centre beside the point's, in pixels to the right and up, and whether it is apart from its marker.
    """
    low, high = np.array(ranges, dtype=float).T
    views = [(np.array(view, dtype=float), (places - low) / (high - low) * view) for view in _VIEWS]
    sizes = np.array([[_LETTER * len(name), _LINE] for name in names])
    away = np.repeat(_AWAY, len(_SIDES))
    sides = np.tile(np.array(_SIDES, dtype=float), (len(_AWAY), 1))
    shifts = np.zeros_like(sizes)
    chosen = np.zeros(len(names), dtype=int)
    placed: list[int] = []
    for _ in range(_ROUNDS):
        for number, size in enumerate(sizes):
            tried = sides * ((size + _MARKER) / 2 + away[:, None])
            others = [other for other in placed if other != number]
            markers = [other for other in range(len(names)) if other != number]
            box_sizes = np.concatenate([sizes[others], np.full((len(markers), 2), _MARKER)])
            costs = np.zeros(len(tried))
            for page, points in views:  # the worst width counts
                boxes = np.concatenate([points[others] + shifts[others], points[markers]])
                centres = points[number] + tried
                lines = points[number] + tried[:, None] * np.array([0.2, 0.35, 0.5, 0.65, 0.8])[:, None]  # from the marker to the label
                crossed = _overlap(lines[:, :, None], np.full(2, 2.0), boxes, box_sizes).sum(axis=(1, 2))
                covered = _overlap(centres[:, None], size, boxes, box_sizes).sum(axis=1)
                outside = np.prod(size) - _overlap(centres, size, page / 2, page)
                costs = np.maximum(costs, covered + outside + np.where(away > 0, _CROSSED * crossed, 0.0))
            best = int(np.argmin(np.round(costs + away / 10, 6)))  # of those that cover nothing the nearest, the first of equal ones
            shifts[number], chosen[number] = tried[best], best
            placed = sorted({*placed, number})
    return [(shift, bool(away[best])) for shift, best in zip(shifts, chosen, strict=True)]


def _overlap(centre: np.ndarray, size: np.ndarray, other: np.ndarray, its_size: np.ndarray) -> np.ndarray:
    """The areas of the overlaps of boxes, in square pixels: (..., 2) each, in shapes that fit each other, to (...)."""
    sides = np.minimum((size + its_size) / 2 - np.abs(centre - other), np.minimum(size, its_size))
    return np.prod(np.maximum(sides, 0.0), axis=-1)


def dataset_map(studies: Sequence[RecordedStudy]) -> go.Figure:
    """The datasets by the first two principal components of their standardised features: similar datasets are near each other."""
    title = "Datasets by what they are like"
    places, shares = principal_components(studies)
    if places is None:
        return style.nothing(title, "Fewer than three datasets with features, so there is no map to draw.")
    ranges = [style.fit(list(places[:, axis]), 0.15) for axis in (0, 1)]
    names = [style.escape(study.name, 22) for study in studies]
    known = {name for study in studies for name in study.features}
    figure = style.make(title, 500)
    for task in sorted({study.task for study in studies}):
        rows = [number for number, study in enumerate(studies) if study.task == task]
        colour, symbol = _TASKS.get(task, (style.BLACK, "circle"))
        figure.add_scatter(
            x=places[rows, 0],
            y=places[rows, 1],
            mode="markers",
            name=_task_name(task),
            text=[names[row] for row in rows],
            marker={"color": colour, "symbol": symbol, "size": 11},
            customdata=[_about(studies[row], known) for row in rows],
            hovertemplate="<b>%{text}</b><br>%{customdata}<extra></extra>",
        )
    for study, name, place, (shift, apart) in zip(studies, names, places, label_places(places, names, ranges), strict=True):
        where = {"ax": shift[0], "ay": -shift[1], "standoff": 6} if apart else {"xshift": shift[0], "yshift": shift[1]}
        figure.add_annotation(
            x=place[0], y=place[1], text=name, name=_task_name(study.task), showarrow=apart, arrowhead=0, arrowwidth=1,
            arrowcolor=style.MUTED, font={"size": 11, "color": style.INK}, borderpad=0, **where,
        )  # fmt: skip
    figure.update_layout(meta={"alt": f"The datasets: {', '.join(names)}"})
    for axis, share, update in zip((0, 1), shares, (figure.update_xaxes, figure.update_yaxes), strict=True):
        update(title=f"principal component {axis + 1} ({share:.0%} of the variance)", range=ranges[axis])
    return figure


def _about(study: RecordedStudy, known: set[str]) -> str:
    """What is said of a dataset under the mouse. known: the features that any dataset has."""
    missing = len(known.difference(study.features))
    rest = f"<br>{missing} of {len(known)} features are missing, and count as the mean" if missing else ""
    return f"{study.train_rows:,} rows, teacher {texts.score(study.teacher_score)}{rest}"


def _task_name(task: str) -> str:
    """A task on the page; the legend hides the labels that have the name of their trace."""
    return style.escape(task.replace("-", " "), 40)


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
    figure = style.make(title, above + below + 22 * len(names))
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
    least_width = int(170 + _COLUMN * (places[-1] + 1.2))
    meta = {"least_width": least_width, "paper": 7.5, "alt": _winners_in_words(gaps, columns)}
    figure.update_layout(margin={"t": above, "b": below}, meta=meta)
    return figure


def _winners_in_words(gaps: Mapping[str, Mapping[tuple[str, str], float]], columns: Sequence[tuple[str, str]]) -> str:
    """For each component, the choice that wins most often, and how often: what the dots of the figure show at a glance."""
    parts = []
    for part in dict.fromkeys(path for path, _ in columns):
        rows = [own for row in gaps.values() if (own := {choice: gap for (path, choice), gap in row.items() if path == part})]
        choice, times = Counter(min(own, key=lambda name: own[name]) for own in rows).most_common(1)[0]
        parts.append(f"{style.escape(name_of(part))} {style.escape(choice)} ({times} of {len(rows)})")
    return f"The choices that win most often: {', '.join(parts)}"


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
