"""A study for other people: report.html, one file that needs no network, and the JSON object of `--json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autodistill.errors import StudyError
from autodistill.events import Listen, Stage, StageProgress
from autodistill.ranking import rank, was_interrupted
from autodistill.recommender.library import RecordedStudy, library
from autodistill.records import BASELINES
from autodistill.report.importance import component_importance
from autodistill.report.leaderboard import counted_score, finite, short_path
from autodistill.schema import COMMENT
from autodistill.storage import write_whole
from autodistill.study import Study
from autodistill.values import without_password


def render(study: Study, live: str = "") -> str:
    """The page of a study. live: the path at which optuna-dashboard shows it, for the dashboard's own page."""
    from autodistill.dashboards.page import Subject, render_subject  # Plotly: a second

    recipe = study.folder / "recommended.yaml"
    text = recipe.read_text(encoding="utf-8") if recipe.exists() else ""
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(COMMENT))  # the page has no schema beside it
    folder = short_path(study.folder)
    return render_subject(Subject(study.name, study.trial_records, study.limits, study.settings, study.about, text, folder, live))


def write_report(study: Study, path: Path | None = None) -> Path:
    """Write a study's report: report.html in its folder, or another file. Returns the path.

    Raises:
        StudyError: the file cannot be written.
    """
    return _write(path or study.folder / "report.html", render(study))


def write_report_of_all(path: Path, evaluate: bool = False, listen: Listen = lambda event: None) -> Path:
    """Write the report across all recorded studies. Returns the path.

    evaluate: also judge the recommender on these studies, which takes minutes. listen: receives the progress.

    Raises:
        StudyError: there are no recorded studies, or the file cannot be written.
    """
    from autodistill.dashboards.page_all import render_all

    with Stage(listen, "page", "reading the recorded studies") as stage:
        studies = library()
        listen(StageProgress("page", 0, 1, f"drawing {len(studies)} studies"))
        place = _write(path, _judged(studies, listen) if evaluate else render_all(studies))
        stage.end(f"{len(studies)} studies on one page")
    return place


def _judged(studies: Sequence[RecordedStudy], listen: Listen) -> str:
    """The page across studies, with the recommender's judgement."""
    from autodistill.dashboards.page_all import render_all

    with Stage(listen, "judging", "each group of datasets is held out in turn") as stage:
        what = "groups of datasets held out, by each method"
        page = render_all(studies, lambda done, total: listen(StageProgress("judging", done, total, what)))
        stage.end("the recommender is judged")
    return page


def _write(place: Path, page: str) -> Path:
    try:
        write_whole(place, page)
    except OSError as cause:
        raise StudyError(f"the report cannot be written to {place} ({cause}); give another file with --out") from None
    return place


def summary(study: Study, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The JSON object of `--json`. seconds: by stage, and `total`. Numbers that are not finite become None."""
    records = study.trial_records
    ranked = rank(records, study.limits)
    best = ranked[0] if ranked else None
    scores = {record.role: counted_score(record) for record in records if record.role in BASELINES and not was_interrupted(record)}
    recommended = study.folder / "recommended.yaml"
    facts = {
        "study": study.name,
        "folder": str(study.folder),
        "storage": without_password(study.storage),
        "teacher_score": study.teacher_score,
        "teacher_params": study.teacher.params,
        "teacher_latency_ms": study.teacher.latency_ms,
        "teachers": [
            {
                "name": name,
                "score": ref.score,
                "probe_score": ref.probe_score,
                "linear_score": ref.linear_score,
                "ensemble_gain": ref.ensemble_gain,
                "params": ref.params,
                "latency_ms": ref.latency_ms,
            }
            for (part, ref), name in zip(study.teachers.items(), study.teachers.names.values(), strict=True)
        ],
        "baselines": {role: scores.get(role) for role in BASELINES},
        "best": None
        if best is None
        else {
            "score": best.score,
            "agreement": best.agreement,
            "recipe": best.recipe,
            "params": best.params,
            "latency_ms": best.latency_ms,
            "retention": best.retention,
        },
        "frontier": [asdict(model) for model in study.frontier_models],
        "importance": asdict(component_importance(records)),
        "counts": {state: study.counts[state] for state in ("complete", "pruned", "fail")},
        "recommended": str(recommended) if best is not None and recommended.exists() else None,
        "seconds": {stage: round(seconds.get(stage, 0.0), 3) for stage in ("teacher", "outputs", "trials", "total")},
    }
    return {name: finite(value) for name, value in facts.items()}
