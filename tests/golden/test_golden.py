"""What the product does is what it did when the golden files were recorded. What a change of one means: golden_files.py."""

from __future__ import annotations

import math
from pathlib import Path

import golden_files
import golden_runs
import pytest

pytestmark = pytest.mark.usefixtures("float32")  # a golden file holds on CPUs with bfloat16 and without

HELP = golden_files.split_help(golden_files.read_text("help"))


def test_every_recorded_study_is_in_the_golden_file() -> None:
    assert golden_runs.recorded_studies() == sorted(golden_files.read("recipe_ids")["values"])


@pytest.mark.parametrize("study", golden_files.read("recipe_ids")["values"])
def test_recorded_recipes_keep_their_ids(study: str) -> None:
    changed, ids = golden_runs.recipe_ids(study)
    assert not changed, f"{len(changed)} recipes have other ids than they were recorded with:\n" + "\n".join(changed)
    golden_files.check("recipe_ids", study, ids)


@pytest.mark.parametrize("name", golden_runs.CURVES)
def test_a_trials_curve(name: str, tmp_path: Path) -> None:
    golden_files.check("curves", name, golden_runs.curve(tmp_path, name))


@pytest.mark.parametrize("name", golden_runs.TEACHERS)
def test_a_teachers_metrics(name: str, tmp_path: Path) -> None:
    golden_files.check("teachers", name, golden_runs.teacher(tmp_path, name))


@pytest.mark.parametrize("name", [pytest.param("searched", marks=pytest.mark.slow), "generated"])
def test_a_searchs_json(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    golden_files.check("search", name, golden_runs.search_json(tmp_path, name, lambda: capfd.readouterr().out))


@pytest.mark.parametrize("study", golden_runs.REPORTS)
def test_a_reports_text(study: str) -> None:
    assert golden_runs.report_text(study).splitlines() == golden_files.read_text(f"report-{study}").splitlines()


def test_the_help_of_every_command_is_in_the_golden_file() -> None:
    assert golden_runs.commands() == list(HELP)


@pytest.mark.parametrize("command", HELP)
def test_a_commands_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    golden_files.check_help(command, golden_runs.help_text(command, lambda: capsys.readouterr().out))


def test_the_comparison_sees_what_differs() -> None:
    golden = {"score": 0.5, "curve": [{"loss": 1.0}, {"loss": 2.0}], "epoch": 2, "recipe": {"kind": "kl"}}
    last_digit = golden | {"score": math.nextafter(0.5, 1.0)}
    assert list(golden_files.differences(golden, golden, exact=True)) == []
    assert list(golden_files.differences(golden, last_digit, exact=True)) == ["score: was 0.5, is 0.5000000000000001"]
    assert list(golden_files.differences(golden, last_digit, exact=False)) == []
    off = golden | {"curve": [{"loss": 1.0}, {"loss": 2.004}], "epoch": 3, "recipe": {"kind": "kl", "new": 1}}
    assert list(golden_files.differences(golden, off, exact=False)) == [
        "curve[1].loss: was 2.0, is 2.004", "epoch: was 2, is 3", "recipe.new: was '(nothing)', is 1",
    ]  # fmt: skip
    assert list(golden_files.differences(golden, golden | {"curve": []}, exact=False))
    assert list(golden_files.differences({"score": 1}, {"score": True}, exact=True))


def test_what_a_reader_sees_of_a_page() -> None:
    page = "<title>x</title><main><h1>A <b>b</b>\n c</h1><script>hidden</script><td>1</td><td>&lt;2</td>"
    page += "<details><summary>more</summary>folded</details><pre>a:\n  b: 1</pre></main>"
    assert golden_runs.visible(page).split("\n") == ["A b c", "1", "<2", "more", "a:", "  b: 1"]
