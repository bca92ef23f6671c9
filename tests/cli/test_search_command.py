from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from made import a_search, ended, failed, make_study, record, search_started

from autodistill.cli import main as command_line
from autodistill.cli.options import read_options
from autodistill.cli.search import SearchCommand, go_on
from autodistill.errors import DataError, ExhaustedError, RunError
from autodistill.records import TrialRecord
from autodistill.space import Space
from autodistill.study import Study

Api = Callable[..., Study]
SPACES = Path(__file__).parents[2] / "search_spaces"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Api], dict[str, Any]]:
    """Puts a search of the test's own in the place of the real one; returns what it is called with."""

    def put(api: Api) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        def search(dataset: str, **options: Any) -> Study:
            seen.update(options, dataset=dataset)
            return api(**seen)

        module = ModuleType("autodistill.api")
        module.search = search  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "autodistill.api", module)
        return seen

    return put


def main(*words: str) -> int:
    return command_line.main(["search", *words])


def good(records: list[TrialRecord] | None = None, why: str | None = None) -> Api:
    def search(listen: Any, studies_dir: str, study: str | None, **options: Any) -> Study:
        trials = records or [record(0, "no_kd", 0.81), record(1, "plain_kd", 0.83), record(2, "defaults", 0.82), record(4, score=0.87)]
        made = make_study(Path(studies_dir).resolve(), trials, study or "s")
        for event in [*a_search(), ended(200.0, why)]:
            listen(event)
        print("something that a library prints")
        os.write(1, b"something below Python\n")
        return made

    return search


def test_every_option_reaches_the_search(here: Path, asked: Callable[[Api], dict[str, Any]]) -> None:
    seen = asked(good())
    shutil.copy(SPACES / "text.yaml", here / "own.yaml")
    (here / "mine.yaml").write_text(Space.load("text", "text-classification").defaults().canonical_json())
    words = (
        "--dataset d.csv --space own.yaml --teacher bert-tiny --trials 8 --time-budget 30m --max-epochs 3 --max-params 5M "
        "--max-latency 2ms --limit-train 4k --workers 2 --cpus-per-trial 3 --gpus-per-trial 0.25 --address auto --study s "
        "--studies-dir out --seed 7 --explore --repeats 3 --cold --storage sqlite:///x.db --text-column a --text-column b --label-column y "
        "--recipe mine.yaml --recipe mine.yaml --keep 5 --task classification --metric macro_f1 --max-length 64 --class-weights balanced "
        "--prefer size --no-frontier"
    )
    assert main(*words.split()) == 0
    seen.pop("listen")
    assert seen == {
        "dataset": "d.csv", "space": "own.yaml", "teacher": ("bert-tiny",), "trials": 8, "time_budget": 1800.0, "max_epochs": 3,
        "max_params": 5_000_000, "max_latency_ms": 2.0, "limit_train": 4000, "workers": 2, "cpus_per_trial": 3, "gpus_per_trial": 0.25,
        "address": "auto", "study": "s", "studies_dir": "out", "resume": False, "seed": 7, "explore": True, "repeats": 3, "cold": True,
        "recipes": ("mine.yaml", "mine.yaml"), "storage": "sqlite:///x.db",
        "text_columns": ("a", "b"), "label_column": ("y",), "label_separator": None, "keep": 5,
        "unlabelled": (), "limit_unlabelled": None, "teacher_scores": None, "data_curve": False,
        "task": "classification", "metric": "macro_f1", "max_length": 64, "class_weights": "balanced", "prefer": "size", "frontier": False,
    }  # fmt: skip


def test_what_is_not_asked_for_is_left_to_the_search(here: Path, asked: Callable[[Api], dict[str, Any]]) -> None:
    seen = asked(good())
    assert main("--dataset", "d") == 0
    passed = {name: value for name, value in seen.items() if value is not None and name != "listen"}
    assert passed == {
        "dataset": "d", "trials": 20, "cpus_per_trial": 1, "studies_dir": "studies", "study": "d", "resume": False, "seed": 0,
        "explore": False, "repeats": 1, "recipes": (), "cold": False, "keep": 3,
        "unlabelled": (), "data_curve": False, "teacher": (), "prefer": "score", "frontier": True,
    }  # fmt: skip


def test_the_end_shows_the_leaderboard_the_verdict_and_the_way_on(
    here: Path, asked: Callable[[Api], dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    asked(good())
    assert main("--dataset", "d", "--trials", "8", "--max-params", "5M") == 0
    out = capfd.readouterr().out
    assert "trial 4 (search) complete: 0.8700" in out  # the plain view, there being no terminal
    assert next(line.split()[:3] for line in out.splitlines() if "%" in line and "1.25 ms" in line) == ["4", "search", "0.8700"]
    assert "teacher     0.9000     100.0%       –        –     1m01s  big" in out
    assert "has accuracy 0.8700, 0.0600 more than no KD (0.8100), 66.7% of the way" in out
    assert "Latencies were not measured at the end of this search." in out
    assert "recipe   studies/d/recommended.yaml" in out
    assert "go on    autodistill search --dataset d --max-params 5000000 --trials 16 --study d --resume\n" in out
    assert "look     autodistill dashboard d" in out


def test_the_trials_are_told_to_a_tracker(here: Path, asked: Callable[[Api], dict[str, Any]], capfd: pytest.CaptureFixture[str]) -> None:
    asked(good())
    assert main("--dataset", "d", "--track", "tensorboard") == 0
    assert "logging to" not in capfd.readouterr().out
    assert {"trial-0000", "trial-0004", "trial-0005"} <= {item.name for item in (here / "studies" / "d" / "tensorboard").iterdir()}


def test_json_has_stdout_for_itself(here: Path, asked: Callable[[Api], dict[str, Any]], capfd: pytest.CaptureFixture[str]) -> None:
    asked(good())
    assert main("--dataset", "größe", "--json") == 0
    captured = capfd.readouterr()
    answer = json.loads(captured.out)
    assert answer["best"]["score"] == 0.87
    assert answer["baselines"] == {"no_kd": 0.81, "plain_kd": 0.83, "pseudo_labels": None, "plain_kd_all": None, "defaults": 0.82}
    assert answer["seconds"] | {"total": 0} == {"teacher": 61.2, "outputs": 9.5, "trials": 200.0, "total": 0}
    assert answer["folder"] == str(here / "studies" / "größe")
    for text in ("trial 4 (search) complete", "something that a library prints", "something below Python", "0.0600 more than no KD"):
        assert text in captured.err


def test_a_time_budget_that_ends_first_is_said(
    here: Path, asked: Callable[[Api], dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    asked(good(why="time budget"))
    assert main("--dataset", "d", "--trials", "8", "--time-budget", "5m") == 0
    out = capfd.readouterr().out
    assert "The search ended early (time budget) with 3 of 8 trials." in out
    assert "autodistill search --dataset d --trials 8 --time-budget 300 --study d --resume\n" in out


def test_ctrl_c_says_how_to_go_on(here: Path, asked: Callable[[Api], dict[str, Any]], capfd: pytest.CaptureFixture[str]) -> None:
    def stopped(listen: Any, **options: Any) -> Study:
        for event in a_search():
            listen(event)
        raise KeyboardInterrupt

    asked(stopped)
    assert main("--dataset", "my data.csv", "--studies-dir", "out", "--json") == 130
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "its 5 finished trials" in captured.err
    assert "\n  autodistill search --dataset 'my data.csv' --study my-data --studies-dir out --resume --json\n" in captured.err


def test_ctrl_c_before_the_first_trial(here: Path, asked: Callable[[Api], dict[str, Any]], capfd: pytest.CaptureFixture[str]) -> None:
    def stopped(listen: Any, **options: Any) -> Study:
        raise KeyboardInterrupt

    asked(stopped)
    assert main("--dataset", "d", "--study", "s") == 130
    err = capfd.readouterr().err
    assert "The same command starts again" in err
    assert "--resume" not in err


def test_no_complete_trial_exits_1_with_the_reasons(
    here: Path, asked: Callable[[Api], dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(listen: Any, studies_dir: str, **options: Any) -> Study:
        make_study(here / studies_dir, [failed(0, role="no_kd"), failed(1), failed(2, "ModelError: no such student")], name="d")
        listen(search_started(str(here / "studies" / "d")))
        listen(ended(3.0))
        raise RunError("no trial completed")

    asked(broken)
    assert main("--dataset", "d", "--trials", "2", "--json") == 1
    captured = capfd.readouterr()
    answer = json.loads(captured.out)
    assert answer["best"] is None
    assert answer["counts"] == {"complete": 0, "pruned": 0, "fail": 3}
    reasons = "autodistill: no trial completed\n  2 × DivergedError: the loss is nan\n  1 × ModelError: no such student\n"
    # All have ended, and what failed is not run again: only more trials can give another result.
    assert captured.err.endswith(f"{reasons}  continue with: autodistill search --dataset d --trials 10 --study d --resume --json\n")


def test_after_a_failure_nothing_is_advised_that_would_fail_again(
    here: Path, asked: Callable[[Api], dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(why: str | None, error: RunError) -> Api:
        def search(listen: Any, studies_dir: str, study: str, **options: Any) -> Study:
            make_study(here / studies_dir, [failed(0, role="no_kd"), failed(1, "interrupted: the search was stopped")], name=study)
            listen(search_started(str(here / "studies" / study)))
            listen(ended(3.0, why))
            raise error

        return search

    asked(broken("time budget", RunError("no trial completed within the time budget of 60 s")))
    assert main("--dataset", "d", "--trials", "2", "--time-budget", "60", "--study", "late") == 1
    again = "\n  continue with: autodistill search --dataset d --trials 2 --time-budget"
    assert capfd.readouterr().err.endswith(f"{again} 120 --study late --resume\n")
    asked(broken(None, RunError("a process of Ray was killed")))
    assert main("--dataset", "d", "--trials", "2", "--time-budget", "60", "--study", "killed") == 1
    assert capfd.readouterr().err.endswith(f"{again} 60 --study killed --resume\n")
    asked(broken(None, ExhaustedError("the space is exhausted")))
    assert main("--dataset", "d", "--trials", "2", "--study", "small") == 1
    assert "--resume" not in capfd.readouterr().err


def test_a_failure_after_some_trials_shows_what_there_is(
    here: Path, asked: Callable[[Api], dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(**options: Any) -> Study:
        good()(**options)
        raise ExhaustedError("200 proposals in a row could not be used")

    asked(broken)
    assert main("--dataset", "d", "--study", "s") == 1
    captured = capfd.readouterr()
    assert "0.0600 more than no KD" in captured.out
    assert "autodistill: 200 proposals in a row could not be used\n" in captured.err
    assert "--resume" not in captured.out + captured.err


def test_bad_data_exit_2_and_say_what(here: Path, asked: Callable[[Api], dict[str, Any]], capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(**options: Any) -> Study:
        raise DataError("d.csv, row 3: the text is empty")

    asked(refuse)
    assert main("--dataset", "d.csv", "--json") == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("autodistill: d.csv, row 3: the text is empty\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "--dataset is missing; give --dataset NAME|PATH"),
        ("--dataset d --trials many", "'many' is not a whole number from 0"),
        (
            "--dataset d --max-params 5X",
            "'5X' is not a whole number above 0, like 5M, 250k or 120000; or a share of",
        ),
        ("--dataset d --workers 0", "'0' is not a whole number from 1"),
        ("--dataset d --gpus-per-trial 1.5", "'1.5' is not a share of GPUs"),
        ("--dataset d --address head", "'head' is not the address of a Ray cluster"),
        ("--dataset d --trial 5", "unrecognized arguments: --trial"),
        ("--dataset d --study ../up", "'../up' is not a folder's name"),
        ("--dataset d --space txet", "Did you mean 'text'?"),
        ("--dataset d --space my/own.yaml", "my/own.yaml"),
        ("--dataset d --recipe my/own.yaml", "my/own.yaml"),
        ("--dataset d --study gone --resume", "there is no study 'gone'"),
        ("--dataset d --study old", "continue it with --resume"),
    ],
)
def test_what_cannot_be_meant_exits_2_before_anything_heavy_is_loaded(
    words: str, message: str, here: Path, asked: Callable[[Api], dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    def never(**options: Any) -> Study:
        raise AssertionError("the search was started")

    asked(never)
    make_study(here / "studies", [], "old")
    try:
        code = main(*words.split())
    except SystemExit as stop:  # argparse's own way out
        code = int(stop.code or 0)
    captured = capfd.readouterr()
    assert code == 2
    assert message in captured.err
    assert captured.out == ""


def test_an_early_refusal_loads_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom autodistill.cli.main import main\n"
        "assert main(['search', '--dataset', 'd', '--study', 'gone', '--resume']) == 2\n"
        "print([name for name in ('torch', 'ray', 'optuna', 'transformers', 'timm', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"


def test_the_command_to_go_on_can_be_pasted() -> None:
    words = [
        "search", "--dataset", "my data", "--text-column", "a b", "--text-column=-c", "--max-params", "2.3M", "--time-budget", "1.5h",
        "--gpus-per-trial", "0.25", "--storage", "postgresql://ana:secret@host/db", "--seed", "3", "--track", "mlflow", "--json",
    ]  # fmt: skip
    asked = read_options(command_line.parser().parse_args(words), SearchCommand)
    again = shlex.split(go_on(asked, study="s", trials=40))
    assert again[:2] == ["autodistill", "search"]
    assert "secret" not in " ".join(again)
    changed = {"study": "s", "resume": True, "trials": 40, "storage": "postgresql://ana:***@host/db"}
    assert read_options(command_line.parser().parse_args(again[1:]), SearchCommand) == asked.model_copy(update=changed)
