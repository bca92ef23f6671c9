from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made import failed, make_study, record

from autodistill.records import TrialRecord
from autodistill.report.html import learning_curves, render, score_against_params, write_report

RECORDS = [
    record(0, "no_kd", 0.81),
    record(1, "plain_kd", 0.83),
    record(2, "defaults", 0.82),
    record(3, score=0.6, state="pruned"),
    record(4, score=0.87),
]


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        self.inside = tag in ("td", "th")
        if self.inside:
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.inside = False


def test_the_page_has_the_leaderboard_the_verdict_and_the_recipe(tmp_path: Path) -> None:
    study = make_study(tmp_path, RECORDS)
    write_report(study)
    page = (study.folder / "report.html").read_text(encoding="utf-8")
    cells = _Cells()
    cells.feed(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    assert [(row[0], row[2]) for row in cells.rows[1:]] == [
        ("", "0.9000"),
        ("4", "0.8700"),
        ("1", "0.8300"),
        ("2", "0.8200"),
        ("0", "0.8100"),
    ]
    assert "0.0600 more than no KD" in page
    assert "version: 1" in page


def test_the_page_asks_nothing_of_the_network(tmp_path: Path) -> None:
    page = render(make_study(tmp_path, RECORDS))
    outside = re.sub(r"<script>/\*\*\n\* plotly.js.*?</script>", "", page, flags=re.DOTALL)  # plotly's own code names addresses in comments
    assert len(outside) < len(page) / 10
    assert not re.search(r"(src|href)=", outside)


@pytest.mark.parametrize("records", [[], [failed(0), failed(1)], [record(0, score=float("nan"))], [record(0, dataset="größe" * 12)]])
def test_the_page_is_made_of_whatever_there_is(tmp_path: Path, records: list[TrialRecord]) -> None:
    page = render(make_study(tmp_path, records))
    assert page.startswith("<!doctype html>")
    assert ("DivergedError: the loss is nan" in page) == any(item.state == "fail" for item in records)


def test_names_from_outside_stay_text(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    student = {"student": {"family": bad}, "objective": {}, "teacher": {"model": bad}}
    study = make_study(tmp_path, [record(0, metric=bad, recipe=student), failed(1, bad)])
    study.about["dataset"]["name"] = bad
    assert "<script>alert" not in render(study)


def test_the_figures_show_every_trial() -> None:
    points = score_against_params(RECORDS, "accuracy")
    assert sorted(y for trace in points.data for y in trace.y) == sorted(item.score for item in RECORDS)
    curves = learning_curves(RECORDS, "accuracy")
    assert len(curves.data) == len(RECORDS)
    assert [trace.marker.symbol[-1] for trace in curves.data] == ["circle", "circle", "circle", "x", "circle"]
