"""report.html: a study in one file that needs no network, for someone who was not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from autodistill.tuning.study import Study


def write_report(study: Study, path: Path | None = None) -> Path:
    """Write a study's report: report.html in its folder, or the file that is asked for. Returns where it is.

    Raises:
        StudyError: the file cannot be written.
    """
    from autodistill.dashboards.page import render  # Plotly: a second
    from autodistill.errors import StudyError
    from autodistill.storage import write_whole

    place = path or study.folder / "report.html"
    try:
        write_whole(place, render(study))
    except OSError as cause:
        raise StudyError(f"the report cannot be written to {place} ({cause}); give another file with --out") from None
    return place


def write_report_of_all(path: Path) -> Path:
    """Write the report across all recorded studies. Returns where it is.

    Raises:
        StudyError: there are no recorded studies, or the file cannot be written.
    """
    from autodistill.dashboards.page_all import render_all
    from autodistill.errors import StudyError
    from autodistill.recommend.library import library
    from autodistill.storage import write_whole

    page = render_all(library())
    try:
        write_whole(path, page)
    except OSError as cause:
        raise StudyError(f"the report cannot be written to {path} ({cause}); give another file with --out") from None
    return path
