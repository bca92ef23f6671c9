from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from autodistill.dashboards import page_all
from autodistill.dashboards.page import render_recorded
from generated import generated_study, library
from made import failed, make_study, record

from autodistill import study_report
from autodistill.cli.main import main
from autodistill.errors import StudyError
from autodistill.records import TrialRecord
from autodistill.report import measures
from autodistill.schema import COMMENT, RECIPE_FILE
from autodistill.study import Study
from autodistill.study_report import render, write_report

RECORDS = [
    record(0, "no_kd", 0.81),
    record(1, "plain_kd", 0.83),
    record(2, "defaults", 0.82),
    record(3, score=0.6, state="pruned"),
    record(4, score=0.87),
]
SECTIONS = ["choose", "leaderboard", "trials", "recipe", "cost", "learning", "why", "noise", "hours", "failed", "again"]
BAD = "<script>alert(1)</script>"


class _Parsed(HTMLParser):
    """The page's table rows, section ids and text, and whatever loads something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.sections: list[str | None] = []
        self.loads: list[str] = []
        self.text = ""
        self._cell = self._script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._script = tag in ("script", "style")
        if tag == "section":
            self.sections.append(attributes.get("id"))
        if tag == "tr":
            self.rows.append([])
        self._cell = tag in ("td", "th")
        if self._cell:
            self.rows[-1].append("")
        if tag == "link" or attributes.get("src") or (attributes.get("href") or "#")[0] != "#":
            self.loads.append(tag)

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data
        if not self._script:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._script = False


def without_plotly(page: str) -> str:
    return re.sub(r"<script>/\*\*\n\* plotly.js.*?</script>", "", page, flags=re.DOTALL)  # it names addresses in comments


def test_the_page_has_every_section_the_leaderboard_and_the_recipe(tmp_path: Path) -> None:
    study = make_study(tmp_path, RECORDS)
    (study.folder / "recommended.yaml").write_text(f"{COMMENT}{RECIPE_FILE}\n# the best\nversion: 1\n", encoding="utf-8")
    write_report(study)
    page = _Parsed((study.folder / "report.html").read_text(encoding="utf-8"))
    assert page.sections == SECTIONS  # "rows" only where the study has a data curve
    assert [(row[0], row[1], row[2]) for row in page.rows[:3]] == [
        ("model", "trial", "accuracy"), ("teacher big", "", "0.9000"), ("bert 3×192", "4", "0.8700"),
    ]  # fmt: skip
    shown = [(row[0], row[2]) for row in page.rows[4:9]]
    assert shown == [("", "0.9000"), ("4", "0.8700"), ("1", "0.8300"), ("2", "0.8200"), ("0", "0.8100")]
    assert [row[:4] for row in page.rows[10:12]] == [["0", "no KD", "complete", "0.8100"], ["1", "plain KD", "complete", "0.8300"]]
    assert len(page.rows) == 10 + len(RECORDS)
    assert "0.0600 more than no KD" in page.text
    assert "reaches accuracy 0.8700, 96.7% of the teacher’s 0.9000." in page.text
    assert "# the best\nversion: 1" in page.text
    assert COMMENT not in page.text  # a page has no schema beside it
    assert "autodistill search --dataset d" in page.text  # what has its default is left out


def test_agreements_stand_beside_scores_where_there_are_some(tmp_path: Path) -> None:
    compared = [
        record(0, "no_kd", 0.90, agreement=0.7, standing=0.72),
        record(1, score=0.90, agreement=0.85, standing=0.855),
        record(2, score=0.88, agreement=0.95, standing=0.943),
        record(3, state="pruned", score=0.5),
    ]
    page = _Parsed(without_plotly(render(make_study(tmp_path, compared))))
    heads = [row for row in page.rows if "agreement" in row]
    assert [row[2:5] for row in heads] == [["accuracy", "agreement", "retention"]]
    board = page.rows[page.rows.index(heads[0]) + 1 :][:4]
    assert [(row[0], row[2], row[3]) for row in board] == [
        ("", "0.9000", "–"), ("2", "0.8800", "0.9500"), ("1", "0.9000", "0.8500"), ("0", "0.9000", "0.7000"),
    ]  # fmt: skip
    assert next(row for row in page.rows if row[:1] == ["3"])[3:5] == ["0.5000", "–"]  # of all trials
    assert [row[3:5] for row in page.rows if row[2:3] == ["complete"]] == [["0.9000", "0.7000"], ["0.9000", "0.8500"], ["0.8800", "0.9500"]]
    assert "trials are ordered by both" in page.text
    plain = _Parsed(without_plotly(render(make_study(tmp_path / "plain", RECORDS))))
    assert not [row for row in plain.rows if "agreement" in row]
    assert "trials are ordered by both" not in plain.text


def test_limits_as_shares_of_the_teachers_costs_are_said_and_asked_again(tmp_path: Path) -> None:
    study = make_study(tmp_path, RECORDS, max_params="1/7.5", max_latency_ms="1/9.4")
    study.about["limits"] = {"max_params": 3_026_666, "max_latency_ms": 0.8}
    study.about["teachers"] = [{"model": "big", "score": 0.9, "params": 22_700_000, "latency_ms": 7.52}]
    page = _Parsed(without_plotly(render(study)))
    assert "at most 3,026,666 parameters, at most 0.8 ms for one row (beside the teacher: 1/7.5 of its parameters and 1/9.4" in page.text
    assert "--max-params 1/7.5 --max-latency 1/9.4" in page.text
    assert next(row for row in page.rows if row[1] == "teacher")[4:6] == ["22.7M", "7.52 ms"]


def test_every_figure_is_described_in_words(tmp_path: Path) -> None:
    text = render(generated_study(tmp_path, 12))
    described = re.findall(r'<div class="plot" role="img" aria-label="([^"]*)" id="(\w+)"', text)
    assert len(described) == text.count('<div class="plot"') > 5
    alts = {name: alt for alt, name in described}
    assert all(len(alt.split()) > 2 for alt in alts.values())
    assert "parameters" in alts["pareto"]
    assert "plain KD" in alts["pareto"]


def test_the_page_loads_nothing_and_has_plotly_once(tmp_path: Path) -> None:
    page = render(make_study(tmp_path, RECORDS))
    assert page.count("* plotly.js v") == 1
    outside = without_plotly(page)
    assert len(outside) < len(page) / 10
    assert _Parsed(outside).loads == []
    assert "default-src 'none'" in outside


AWKWARD: dict[str, list[TrialRecord]] = {
    "none": [],
    "all failed": [failed(0), failed(1)],
    "not a number": [record(0, score=math.nan)],
    "long and not ASCII": [record(0, dataset="größe" * 12, metric="naïve_" * 10)],
    "three": RECORDS[:3],
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_the_page_is_made_of_whatever_there_is(kind: str, tmp_path: Path) -> None:
    records = AWKWARD[kind]
    page = render(make_study(tmp_path, records))
    parsed = _Parsed(without_plotly(page))
    assert parsed.sections == SECTIONS
    assert ("DivergedError: the loss is nan" in parsed.text) == any(item.state == "fail" for item in records)
    for text in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, flags=re.DOTALL):
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_names_from_outside_stay_text(tmp_path: Path) -> None:
    student = {"student": {"family": BAD}, "objective": {}, "teacher": {"model": BAD}}
    study = make_study(tmp_path, [record(0, metric=BAD, recipe=student), record(1, metric=BAD, recipe=student), failed(2, BAD)])
    study.about["dataset"]["name"] = BAD
    study.about["teachers"] = [{"model": BAD}]
    page = render(study)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; with 1.23M" not in page.split("<body>")[0]
    assert page.lower().count("<script") == page.lower().count("</script>")
    assert f"“s” on {BAD}" in _Parsed(without_plotly(page)).text


def test_the_hours_are_said_as_they_were_measured(tmp_path: Path) -> None:
    text = " ".join(_Parsed(without_plotly(render(generated_study(tmp_path, 30)))).text.split())
    assert re.search(r"Stopping \d+ trials early saved about \S+: the epochs they did not run", text)
    assert re.search(r"Storing the teacher’s outputs saved about \S+: [\d,]+ epochs would each", text)
    assert "9.5s a pass" in text
    other = make_study(tmp_path, RECORDS)
    assert "what storing them saved is not known" in " ".join(_Parsed(without_plotly(render(other))).text.split())


def test_a_page_of_2000_trials_is_not_too_large(tmp_path: Path) -> None:
    page = render(generated_study(tmp_path, 2000))
    assert len(page.encode()) < 8_000_000


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make_study(tmp_path, RECORDS)
    assert main(["report", "s", "--studies-dir", str(tmp_path)]) == 0
    assert (study.folder / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main(["report", str(study.folder), "--out", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("page.html")
    assert (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give one study, or --all"),
        (["s", "--all"], "give one study, or --all"),
        (["t"], "the study is 't'; allowed: s. "),
        (["s", "--out", "."], "--out is '.', a folder"),
        (["s", "--out", "nowhere/x.html"], "there is no folder"),
    ],
)
def test_the_command_says_what_is_wrong(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_study(tmp_path, RECORDS)
    assert main(["report", *words, "--studies-dir", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_study_is_found_by_name_or_folder(tmp_path: Path) -> None:
    study = make_study(tmp_path, RECORDS)
    assert Study.find("s", tmp_path).folder == Study.find(str(study.folder), "elsewhere").folder


def test_a_recorded_study_has_a_page_too(tmp_path: Path) -> None:
    (study, _) = library(2, 12)
    about = {"settings": {"limit_train": 500, "trials": 12, "seed": 3, "explore": True, "repeats": 3, "space": None, "max_params": None}}
    parsed = _Parsed(without_plotly(render_recorded(replace(study, about=about))))
    assert parsed.sections == SECTIONS
    assert "autodistill search --dataset 'set 0' --limit-train 500 --seed 3 --trials 12 --repeats 3 --explore" in parsed.text
    assert "--explore --study set-0-again" in parsed.text
    assert "version: 1" in parsed.text
    assert "given with --recipe" not in parsed.text
    own = [record.model_copy(update={"role": "given"}) if record.trial in (4, 5) else record for record in study.records]
    parsed = _Parsed(without_plotly(render_recorded(replace(study, about=about, records=own))))
    assert "2, given with --recipe: trial 4, 5" in parsed.text


def test_across_studies_the_page_counts_the_pipelines_that_win(tmp_path: Path) -> None:
    studies = library(4, 12)
    parsed = _Parsed(without_plotly(page_all.render_all(studies)))
    assert parsed.sections == ["winners", "studies", "map", "recommender"]
    assert [row[0] for row in parsed.rows[1:]] == [study.name for study in studies]
    best = {studies[0].name: max(item.mean for item in measures.by_recipe(studies[0].records))}
    assert parsed.rows[1][6] == f"{best['set-0']:.4f}"
    assert page_all.headline(studies[:1]) == "One pipeline wins on the one dataset."
    with pytest.raises(StudyError, match="there are no recorded studies"):
        page_all.render_all([])


@pytest.mark.slow
def test_the_recommenders_are_held_against_each_other(tmp_path: Path) -> None:
    rows, why = page_all.recommender_table(library(3, 10))
    assert why == ""
    assert {row["name"] for row in rows} >= {"one at random", "portfolio"}
    assert sum(row["used"] for row in rows) == 1
    assert page_all.recommender_table(library(1, 10))[1].endswith("two or more are needed to hold one out")


def test_the_page_shows_the_data_curve_of_a_study_that_has_one(tmp_path: Path) -> None:
    parts = [record(trial, "fewer_rows", score) for trial, score in ((5, 0.86), (6, 0.80), (7, 0.84))]
    keeps = {5: 1.0, 6: 0.25, 7: 0.5}
    records = [
        *RECORDS,
        *(item.model_copy(update={"recipe": item.recipe | {"training": {"unlabelled_keep": keeps[item.trial]}}}) for item in parts),
    ]
    study = make_study(tmp_path, records)
    study.about["dataset"]["unlabelled_rows"] = 4000
    page = _Parsed(render(study))
    assert page.sections == [*SECTIONS[:8], "rows", *SECTIONS[8:]]
    assert "0.8000 with 1,000, 0.8400 with 2,000, 0.8600 with 4,000" in page.text


@pytest.mark.parametrize("evaluate", [False, True])
def test_writing_the_page_across_studies_tells_its_stages(evaluate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studies, events = library(3, 3), []
    monkeypatch.setattr(study_report, "library", lambda: studies)
    monkeypatch.setattr(page_all, "recommender_table", lambda studies, judging: (judging(1, 2), ([], "left out here"))[1])
    place = study_report.write_report_of_all(tmp_path / "all.html", evaluate, events.append)
    assert ("left out here" in place.read_text(encoding="utf-8")) == evaluate
    told = [(type(event).__name__, event.stage, event.text) for event in events]
    judged = [
        ("StageStarted", "judging", "each group of datasets is held out in turn"),
        ("StageProgress", "judging", "groups of datasets held out, by each method"),
        ("StageFinished", "judging", "the recommender is judged"),
    ]
    assert told == [
        ("StageStarted", "page", "reading the recorded studies"),
        ("StageProgress", "page", "drawing 3 studies"),
        *(judged if evaluate else []),
        ("StageFinished", "page", "3 studies on one page"),
    ]
