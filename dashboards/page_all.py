"""The report across all recorded studies: different datasets need different pipelines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from autodistill.errors import DataError, StudyError
from autodistill.recommender.library import RecordedStudy
from autodistill.report import measures, texts

from .across import dataset_map, winners
from .page import draw, page

Progress = Callable[[int, int], None]
"""Receives the number of finished steps, and of all."""
_METHODS = {"random": "one at random"}
_NOT_JUDGED = "it was not judged for this page. `autodistill report --all --evaluate` does that, which takes minutes"


def render_all(studies: Sequence[RecordedStudy], judging: Progress | None = None) -> str:
    """The page across studies.

    judging: the progress of judging the recommender on these studies, which takes minutes; without it, that is left out.

    Raises:
        StudyError: there are no studies.
    """
    if not studies:
        raise StudyError("there are no recorded studies; `autodistill studies add FOLDER` records one of yours")
    figures = {"map": draw("map", dataset_map(studies)), "winners": draw("winners", winners(studies))}
    table, why = ([], _NOT_JUDGED) if judging is None else recommender_table(studies, judging)
    return page(
        "all.html.jinja", studies=[_row(study) for study in studies], figures=figures, table=table, why=why, headline=headline(studies)
    )


def _row(study: RecordedStudy) -> dict[str, str]:
    recipes = measures.by_recipe(study.records)
    best = max(recipes, key=lambda item: item.mean, default=None)
    bare = next((item for item in recipes if item.record.role == "no_kd"), None)
    return {
        "name": study.name, "task": study.task.replace("-", " "), "rows": f"{study.train_rows:,}", "trials": str(len(study.records)),
        "metric": study.metric, "teacher": texts.score(study.teacher_score),
        "best": texts.score(best.mean if best else None), "retention": texts.percent(best.retention if best else None),
        "bare": texts.score(bare.mean if bare else None),
        "student": texts.student(best.record.recipe) if best else texts.ABSENT,
        "objective": texts.objective(best.record.recipe) if best else texts.ABSENT,
    }  # fmt: skip


def headline(studies: Sequence[RecordedStudy]) -> str:
    """How many different pipelines (student family and objectives) won on how many datasets."""
    best = [max(recipes, key=lambda item: item.mean) for study in studies if (recipes := measures.by_recipe(study.records))]
    kinds = {(texts.student(item.record.recipe).split()[0], texts.objective(item.record.recipe)) for item in best}
    if not best:
        return "No recorded study has a completed trial."
    if len(kinds) == 1:
        return f"One pipeline wins on {'the one dataset' if len(best) == 1 else f'all {len(best)} datasets'}."
    return f"{len(kinds)} different pipelines win on {len(best)} datasets."


def recommender_table(studies: Sequence[RecordedStudy], progress: Progress = lambda done, total: None) -> tuple[list[dict[str, Any]], str]:
    """The quality of each recommendation method with one group of datasets held out; or, without a table, the reason why there is none."""
    from autodistill.environment import cores
    from autodistill.recommender.evaluate import DEPTHS, evaluate
    from autodistill.recommender.methods import SHIPPED
    from autodistill.recommender.table import from_studies

    try:
        evaluation = evaluate(from_studies(studies), methods=("portfolio", SHIPPED), jobs=cores(), progress=progress)
    except DataError as cause:
        return [], str(cause)
    means = {name: evaluation.mean(name) for name in evaluation.methods}

    def regret(name: str) -> float:
        return means[name]["retention_regret"][str(DEPTHS[0])] or means[name]["regret"][str(DEPTHS[0])] or 0.0

    rows = [
        {
            "name": _METHODS.get(name, name) + (" (used)" if name == SHIPPED else ""),
            "used": name == SHIPPED,
            "regrets": [_points(means[name]["retention_regret"][str(depth)]) for depth in DEPTHS],
            "percentile": f"{means[name]['top1_percentile']['mean']:.0f}",
            "coverage": texts.percent(means[name]["coverage_80"]),
        }
        for name in sorted(evaluation.methods, key=regret)
    ]
    return rows, ""


def _points(value: float | None) -> str:
    return texts.ABSENT if value is None else f"{100 * value:.2f}"
