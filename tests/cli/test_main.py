from __future__ import annotations

import importlib.metadata
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autodistill.cli import datasets, main, search
from autodistill.errors import ModelError, RunError
from autodistill.space import shipped_spaces


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ModelError("no such teacher"), 2, "autodistill: no such teacher\n"),
        (RunError("it broke"), 1, "autodistill: it broke\n"),
        (KeyboardInterrupt(), 130, "autodistill: stopped\n"),
    ],
)
def test_errors_have_their_exit_codes_and_no_traceback(
    error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: object) -> int:
        raise error

    monkeypatch.setattr(datasets, "run", fail)
    assert main.main(["datasets"]) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("on_interrupt", [signal.default_int_handler, signal.SIG_IGN])  # the second in a shell's background jobs
def test_sigterm_is_ctrl_c_with_its_own_exit_code(
    on_interrupt: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    before = signal.signal(signal.SIGINT, on_interrupt)
    monkeypatch.setattr(datasets, "run", lambda args: signal.raise_signal(signal.SIGTERM))
    try:
        assert main.main(["datasets"]) == 143
        assert signal.getsignal(signal.SIGINT) is on_interrupt
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "autodistill: stopped\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_mistake_of_our_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(datasets, "run", fail)
    with pytest.raises(ZeroDivisionError):
        main.main(["datasets"])


@pytest.mark.parametrize("words", [[], ["find"], ["datasets", "--no"]])
def test_usage_errors_exit_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main.main(words)
    assert stop.value.code == 2
    assert "usage: autodistill" in capsys.readouterr().err


@pytest.mark.parametrize("command", [command.__name__.rpartition(".")[2] for command in main.COMMANDS])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main.main([command, "--help"])
    assert stop.value.code == 0
    assert f"usage: autodistill {command}" in capsys.readouterr().out


def test_the_version_is_that_of_the_installed_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"autodistill {importlib.metadata.version('autodistill-kd')}\n"


def test_datasets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["datasets", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert {"sst2", "movie-reviews", "digits"} <= set(listed)
    assert set(listed["sst2"]) == {"name", "task", "metric", "source", "about", "group"}
    assert main.main(["datasets"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in listed)


def test_datasets_shows_names_from_outside_as_they_are(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    entry = datasets.catalog()[0]
    monkeypatch.setattr(datasets, "catalog", lambda: [type(entry)("[red]x[/red]", entry.task, entry.metric, entry.source, "a [bold]b")])
    assert main.main(["datasets"]) == 0
    out = capsys.readouterr().out
    assert "[red]x[/red]" in out
    assert "a [bold]b" in out


def test_spaces_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["spaces", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {entry["name"] for entry in listed} == set(shipped_spaces())
    assert main.main(["spaces"]) == 0
    assert "text-classification" in capsys.readouterr().out


def test_a_space_is_shown_for_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["spaces", "text", "--task", "text-regression", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["task"]) == ("text", "text-regression")
    assert main.main(["spaces", "text"]) == 0
    out = capsys.readouterr().out
    assert all(path in out for path in shown["parameters"])


def test_an_unknown_space_exits_2_and_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["spaces", "imag"]) == 2
    assert "Did you mean 'image'?" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = "import sys; from autodistill.cli.main import main; sys.exit(main(['spaces', 'text', '--json']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait() == 0
    assert errors == b""


def test_a_name_that_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    code = "import sys; from autodistill.cli.main import main; sys.exit(main(['search', '--dataset', 'd', '--space', 'größe']))"
    environment = {"PYTHONIOENCODING": "ascii", "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "gr\\xf6\\xdfe" in done.stderr


def test_the_search_is_a_command() -> None:
    assert main.parser().parse_args(["search", "--dataset", "d"]).run is search.run


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["search", "my reviews.csv"], "unrecognized arguments: my reviews.csv; name the dataset with --dataset 'my reviews.csv'"),
        (["search", "--dataset", "sst2", "more"], "unrecognized arguments: more"),
        (["search", "--datasets", "sst2"], "unrecognized arguments: --datasets sst2"),
    ],
)
def test_a_dataset_that_stands_by_itself_is_answered_with_how_it_is_given(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith(hint)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_completion_script_has_every_command_and_option(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    names = [command.__name__.rpartition(".")[2] for command in main.COMMANDS]
    assert [name for name in names if name not in script] == []
    assert "--max-params" in script
    if shell == "bash":  # which is here, so it completes
        ask = 'COMP_WORDS=(autodistill search --max-p); COMP_CWORD=2; _shtab_autodistill; echo "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True, check=True)
        assert done.stdout == "--max-params\n"
