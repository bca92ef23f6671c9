"""The pages in a real browser: what is drawn, what is asked of the network, what fits."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from autodistill.dashboards import page_all
from generated import TASK, generate, generated_study, library
from made import failed, make_study, record

from autodistill.components import TASKS
from autodistill.study import Study
from autodistill.study_report import render, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.browser, pytest.mark.slow]
WIDTHS = (390, 1280)
"""Pixels of a phone's window and of a laptop's."""


@dataclass
class Seen:
    """A page as the browser shows it, and what went wrong on the way."""

    page: Any
    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def wait(self, condition: str) -> None:
        """Until a condition holds; Playwright's own waiting evaluates texts within the page, which the page's policy forbids."""
        until = time.monotonic() + 30
        while not self.page.evaluate(condition):
            assert time.monotonic() < until, condition
            self.page.wait_for_timeout(50)

    def open(self, path: Path, width: int) -> None:
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.goto(path.as_uri(), timeout=120_000)  # a busy machine needs more than the usual 30 s for 5 MB of script
        self.wait("[...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('svg.main-svg'))")

    @property
    def plots(self) -> list[dict[str, float]]:
        """Size of each plot's drawing, and how many marks are in it."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll('.plot')].map((plot) => {
                const box = plot.querySelector('svg.main-svg').getBoundingClientRect();
                const marks = plot.querySelectorAll('.points path, .lines path, .bars path, .hm image, .shapelayer path').length;
                return {width: box.width, height: box.height, marks, text: plot.querySelectorAll('svg text').length};
            })"""
        )

    @property
    def clipped(self) -> list[str]:
        """The words in plots that reach beyond their drawing, where the browser cuts them."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll('.plot')].flatMap((plot) => {
                const box = plot.querySelector('svg.main-svg').getBoundingClientRect();
                const out = (r) => r.left < box.left - 2 || r.right > box.right + 2 || r.top < box.top - 2 || r.bottom > box.bottom + 2;
                return [...plot.querySelectorAll('svg.main-svg text')]
                    .map((text) => [text.textContent, text.getBoundingClientRect()])
                    .filter(([text, place]) => text.trim() && place.width && out(place))
                    .map(([text, place]) => `${plot.id}: ${text}`);
            })"""
        )

    @property
    def colliding(self) -> list[str]:
        """Pairs of words in a plot that lie on each other. Slanted words are left out, because their boxes overlap where they do not."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll('.plot')].flatMap((plot) => {
                const level = (text) => !/rotate\\((?!0|-90)/.test(text.getAttribute('transform') || '');
                const words = [...plot.querySelectorAll('svg.main-svg text')]
                    .filter((text) => text.textContent.trim() && level(text))
                    .map((text) => [text.textContent, text.getBoundingClientRect()])
                    .filter(([, place]) => place.width);
                const meet = (r, q) => Math.min(r.right, q.right) - Math.max(r.left, q.left) > 2
                    && Math.min(r.bottom, q.bottom) - Math.max(r.top, q.top) > 4;
                return words.flatMap(([one, place], at) => words.slice(at + 1)
                    .filter(([, other]) => meet(place, other))
                    .map(([two]) => `${plot.id}: ${one} / ${two}`));
            })"""
        )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine (looked for chromium, chromium-browser, google-chrome)")
    with playwright.sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def seen(browser: Any) -> Iterator[Seen]:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    opened = Seen(context.new_page())
    opened.page.on("console", lambda message: opened.errors.append(message.text) if message.type in ("error", "warning") else None)
    opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.page.on("request", lambda request: opened.asked.append(request.url))
    yield opened
    context.close()


def awkward(kind: str, studies: Path) -> Study:
    long = "überaus_langer_" * 4
    if kind == "300 trials":
        return generated_study(studies, 300, asked={"max_params": 5_000_000, "max_latency_ms": 2.0})
    records = {
        "3 trials": generate(3),
        "none finished": [],
        "all failed": [failed(0, "no_kd"), failed(1)],
        "not a number": [record(0, score=float("nan")), record(1)],
        "long names": [item.model_copy(update={"metric": long, "recipe": _renamed(item.recipe, long)}) for item in generate(12)],
        "markup": [record(0, metric="<script>boom()</script>"), record(1, metric="<script>boom()</script>", score=0.5)],
    }[kind]
    study = make_study(studies, records)
    if kind in ("long names", "markup"):
        study.about["dataset"] = {"name": long if kind == "long names" else "<script>boom()</script>", "task": TASK, "train_rows": 10}
    return study


def _renamed(recipe: dict[str, Any], name: str) -> dict[str, Any]:
    return recipe | {"student": recipe["student"] | {"family": f"{name}-{recipe['student']['family']}"}}


@pytest.mark.parametrize("kind", ["3 trials", "300 trials", "none finished", "all failed", "not a number", "long names", "markup"])
def test_every_figure_is_drawn_and_fits(kind: str, seen: Seen, tmp_path: Path) -> None:
    study = awkward(kind, tmp_path)
    path = tmp_path / "page.html"
    path.write_text(render(study), encoding="utf-8")
    for width in (*WIDTHS, 768) if kind in ("300 trials", "long names") else WIDTHS:
        seen.asked.clear()
        seen.open(path, width)
        assert seen.errors == []
        assert "\n".join(seen.clipped) == ""
        assert "\n".join(seen.colliding) == ""
        assert seen.asked == [path.as_uri()]  # the page itself, and nothing that it would load
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        plots = seen.plots
        assert len(plots) == {"none finished": 0, "all failed": 1, "300 trials": 10}.get(kind, len(plots))
        for plot in plots:
            assert plot["width"] >= 250
            assert plot["height"] >= 80
            assert plot["marks"] > 0
            assert plot["text"] > 0
        assert seen.page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 15


def test_the_smallest_letters_can_be_read(seen: Seen, tmp_path: Path) -> None:
    path = write_report(generated_study(tmp_path, 40))
    seen.open(path, 390)
    sizes = seen.page.evaluate(
        "[...document.querySelectorAll('.plot svg text')].map((text) => parseFloat(getComputedStyle(text).fontSize))"
    )
    assert min(sizes) >= 10


def test_a_dark_screen_gets_a_dark_page_with_readable_figures_and_paper_a_light_one(seen: Seen, tmp_path: Path) -> None:
    seen.page.emulate_media(color_scheme="dark")
    seen.open(write_report(generated_study(tmp_path, 12)), 1280)

    def light(selector: str, name: str) -> float:
        """The mean of a colour's channels, from 0 to 255."""
        numbers = seen.page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{name}.match(/[0-9.]+/g).map(Number)")
        return sum(numbers[:3]) / 3

    assert light("body", "backgroundColor") < 30
    assert light("td", "color") > 120
    assert light("button", "backgroundColor") < 30
    assert light("#pareto .xtick text", "fill") < 130  # as on paper, and the filter inverts it
    assert seen.page.evaluate("getComputedStyle(document.querySelector('#pareto')).filter").startswith("invert(1)")
    seen.page.emulate_media(media="print", color_scheme="dark")
    assert light("body", "backgroundColor") == 255
    assert seen.page.evaluate("getComputedStyle(document.querySelector('#pareto')).filter") == "none"


def test_the_recipe_is_copied_and_the_legend_hides_a_trace(seen: Seen, tmp_path: Path) -> None:
    study = generated_study(tmp_path, 40)
    seen.open(write_report(study), 1280)
    seen.page.click("button[data-copy=recipe-text]")
    seen.page.locator("button[data-copy=recipe-text]", has_text="Copied").wait_for()  # the page's policy forbids to evaluate texts
    copied = seen.page.evaluate("navigator.clipboard.readText()")
    assert copied.rstrip() == (study.folder / "recommended.yaml").read_text(encoding="utf-8").rstrip()
    first = seen.page.locator("#curves .scatterlayer .trace").count()
    seen.page.click("#cost .legend button >> nth=0")
    assert seen.page.get_attribute("#cost .legend button >> nth=0", "aria-pressed") == "false"
    assert first == seen.page.locator("#curves .scatterlayer .trace").count()
    assert seen.errors == []


def test_the_table_of_all_trials_is_sorted_and_filtered(seen: Seen, tmp_path: Path) -> None:
    study = generated_study(tmp_path, 40)
    seen.open(write_report(study), 1280)
    column = "(place) => [...document.querySelectorAll('#all-trials tbody tr:not([hidden])')].map((row) => row.cells[place].textContent)"
    seen.page.click("#trials summary")
    seen.page.click("#all-trials th >> nth=3")  # the score
    scores = [float(text) for text in seen.page.evaluate(column, 3) if text != "–"]
    assert len(seen.page.evaluate(column, 0)) == len(study.trial_records)
    assert scores == sorted(scores, reverse=True)
    seen.page.click("#all-trials th >> nth=3 >> button")
    assert [float(text) for text in seen.page.evaluate(column, 3) if text != "–"] == sorted(scores)
    seen.page.fill("input[data-filter]", "stopped bert")
    left = [item for item in study.trial_records if item.state == "pruned" and item.recipe["student"]["family"] == "bert"]
    assert sorted(map(int, seen.page.evaluate(column, 0))) == sorted(item.trial for item in left)
    assert seen.errors == []


def test_it_prints_within_the_paper(seen: Seen, tmp_path: Path) -> None:
    seen.open(write_report(generated_study(tmp_path, 40)), 1280)
    seen.page.emulate_media(media="print")
    seen.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    seen.wait("[...document.querySelectorAll('.plot svg.main-svg')].every((svg) => svg.getBoundingClientRect().width <= 700)")
    assert seen.page.pdf(format="A4")[:5] == b"%PDF-"
    assert seen.page.is_hidden("button[data-copy=recipe-text]")
    assert seen.errors == []


def test_the_page_across_studies_is_drawn_and_fits_screens_and_paper(seen: Seen, tmp_path: Path) -> None:
    path = tmp_path / "all.html"
    tasks = [*TASKS, TASKS[0]]  # each has a mark of its own on the map
    path.write_text(page_all.render_all([replace(study, task=task) for study, task in zip(library(len(tasks), 12), tasks, strict=True)]))
    for width in WIDTHS:
        seen.asked.clear()
        seen.open(path, width)
        assert seen.errors == []
        assert "\n".join(seen.colliding) == ""
        assert seen.asked == [path.as_uri()]
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert [plot["marks"] > 0 and plot["text"] > 0 for plot in seen.plots] == [True, True]
    assert seen.page.locator("#map .legend svg :is(circle, rect, path)").count() == len(TASKS)
    labels = seen.page.locator("#map .annotation-text")
    assert labels.count() == len(tasks)
    seen.page.click("#map .legend button >> nth=0")  # hides a task's datasets, with their labels
    seen.wait(f"document.querySelectorAll('#map .annotation-text').length < {len(tasks)}")
    seen.page.set_viewport_size({"width": 690, "height": 900})  # paper
    seen.page.emulate_media(media="print")
    seen.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    seen.wait("[...document.querySelectorAll('.plot svg.main-svg')].every((svg) => svg.getBoundingClientRect().width <= 680)")
    assert "\n".join(seen.colliding) == ""
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 690
