from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from made import make_study, record

from autodistill.cli.main import main
from autodistill.errors import StudyError, UsageError
from autodistill.optuna_storage.open import open_storage
from autodistill.records import TrialRecord, write_records
from autodistill.study import Study
from autodistill.study_folder import write_about
from autodistill.study_report import render

pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
from autodistill.dashboards.live import Live, Server
from autodistill.dashboards.storage import ShownStudies
from optuna_dashboard import get_note, save_note

RECORDS = [record(0, "no_kd", 0.8), record(1, score=0.85)]


def a_study(studies: Path, records: list[TrialRecord], name: str = "s") -> Study:
    """A study's folder with its Optuna storage, a trial a record."""
    study = make_study(studies, records, name)
    held = optuna.create_study(study_name=name, storage=open_storage(study.storage), direction="maximize")
    for item in records:
        held.add_trial(optuna.trial.create_trial(value=item.score, params={}, distributions={}))
    return study


@contextmanager
def serving(live: Live, **where: Any) -> Iterator[Server]:
    server = Server(live, port=0, **where)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    server.close()
    thread.join(10)


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def status(url: str, host: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_another_hosts_name_is_refused(tmp_path: Path) -> None:
    """A page whose own name resolves to 127.0.0.1 must not read what is served there."""
    with serving(Live([a_study(tmp_path, RECORDS)])) as server:
        port = server.url.rstrip("/").rpartition(":")[2]
        for host in (f"127.0.0.1:{port}", "localhost", f"LOCALHOST:{port}", f"[::1]:{port}"):
            assert status(f"{server.url}api/studies", host) == 200, host
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "[::1", ""):
            assert status(f"{server.url}api/studies", host) == 403, host
    with serving(Live([a_study(tmp_path / "all", RECORDS)]), host="0.0.0.0") as server:
        assert status(server.url.replace("0.0.0.0", "127.0.0.1") + "api/studies", "farm.example") == 200


def test_writes_other_than_notes_are_refused_without_a_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    note = json.dumps({"body": "keep this one", "version": 1})
    over_verdict = json.dumps({"body": "keep this one", "version": 2})
    live = Live([a_study(tmp_path, RECORDS)])
    live.refresh()  # the verdict is the study's first note; drawn by the server meanwhile, it might come before ours or after it
    refused: list[tuple[str, str, str, int]] = [
        ("POST", "api/studies", "", 403),
        ("DELETE", "api/studies/0", "", 403),
        ("POST", "api/studies/0/rename", '{"study_name": "t"}', 403),
        ("POST", "api/trials/0/tell", '{"state": "Fail"}', 403),
        ("POST", "report/0", "", 403),
        ("PUT", "api/studies/9/note", note, 404),
        ("PUT", "api/studies/0/999/note", note, 404),
        ("PUT", "api/studies/0/note", "", 400),
        ("PUT", "api/studies/0/note", "[", 400),
        ("PUT", "api/studies/0/note", '{"body": null, "version": 1}', 400),
    ]
    kept = [("PUT", "api/studies/0/note", over_verdict, 204), ("PUT", "api/studies/0/0/note", note, 204)]
    with serving(live) as server:
        for method, path, body, code in [*refused, *kept]:
            headers = {"Content-Type": "application/json"}
            asked = urllib.request.Request(server.url + path, data=body.encode(), method=method, headers=headers)
            try:
                with urllib.request.urlopen(asked, timeout=30) as answer:
                    got, reason = answer.status, "none needed"
            except urllib.error.HTTPError as error:
                got, reason = error.code, json.load(error)["reason"]
            assert (got, bool(reason)) == (code, True), (method, path, body)
        assert get(f"{server.url}api/studies/0")["note"]["body"] == "keep this one"
    assert "Traceback" not in "".join(capfd.readouterr())


def test_it_opens_on_the_studys_report_as_it_is_now(tmp_path: Path) -> None:
    study = a_study(tmp_path, RECORDS)

    def fetch(path: str) -> tuple[str, str]:
        with urllib.request.urlopen(server.url + path, timeout=30) as answer:
            return answer.url, answer.read().decode()

    with serving(Live([study]), page=lambda folder, optunas: f"{len(Study.open(folder).trial_records)} trials, {optunas}") as server:
        assert fetch("") == (f"{server.url}report/0", "2 trials, /dashboard/studies/0")
        write_records([*RECORDS, record(2, score=0.9)], study.folder / "trials.parquet")
        assert fetch("")[1] == "3 trials, /dashboard/studies/0"
        assert status(f"{server.url}report/1", "localhost") == 404
    with serving(Live([study, a_study(tmp_path, RECORDS, "t")]), page=lambda folder, optunas: folder.name) as server:
        assert fetch("")[0] == f"{server.url}dashboard"
        assert [fetch(f"report/{number}")[1] for number in (0, 1)] == ["s", "t"]
    assert '<a href="/dashboard/studies/0">' in render(study, "/dashboard/studies/0")


def test_the_studys_page_has_the_metric_and_the_verdict_until_somebody_writes_a_note(tmp_path: Path) -> None:
    study = a_study(tmp_path, RECORDS)
    study.about["dataset"]["metric"] = "spearman"
    write_about(study.folder, study.about)
    live = Live([study])
    live.refresh()
    shown = optuna.load_study(study_name="s", storage=live.storage)
    assert shown.metric_names == ["spearman"]
    assert get_note(shown) == study.verdict
    own = optuna.load_study(study_name="s", storage=open_storage(study.storage))
    save_note(own, "mine")
    assert get_note(shown) == "mine"


def figures(detail: Any) -> dict[str, Any]:
    return {item["id"]: json.loads(item["graph_object"]) for item in detail["plotly_graph_objects"]}


def wait_for(what: Any, seconds: float = 60.0) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        result = what()
        if result:
            return result
        time.sleep(0.2)
    raise AssertionError("it did not come")


@pytest.mark.slow
def test_the_page_shows_our_figures_and_they_follow_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autodistill.dashboards.live.EVERY", 0.2)
    study = a_study(tmp_path, RECORDS)
    with serving(Live([study])) as server:
        summaries = get(f"{server.url}api/studies")["study_summaries"]
        assert [item["study_name"] for item in summaries] == ["s"]
        detail = f"{server.url}api/studies/{summaries[0]['study_id']}"
        drawn = wait_for(lambda: figures(get(detail)))
        assert {"autodistill_pareto", "autodistill_curves"} <= set(drawn)
        assert [len(get(detail)[name]) for name in ("trials", "best_trials")] == [2, 1]

        held = optuna.load_study(study_name="s", storage=open_storage(study.storage))  # the search goes on
        held.add_trial(optuna.trial.create_trial(value=0.9, params={}, distributions={}))
        more = [*RECORDS, record(2, score=0.9)]
        write_records(more, study.folder / "trials.parquet")

        wait_for(lambda: any("trial 2" in str(trace.get("name")) for trace in figures(get(detail))["autodistill_curves"]["data"]))
        wait_for(lambda: len(get(detail)["trials"]) == 3)


def test_figures_are_drawn_again_only_where_there_is_news(tmp_path: Path) -> None:
    one, two = a_study(tmp_path, RECORDS, "one"), a_study(tmp_path, RECORDS, "two")
    live = Live([one, two])
    assert live.refresh() == 2
    assert live.refresh() == 0
    write_records([*RECORDS, record(2)], two.folder / "trials.parquet")
    assert live.refresh() == 1


def test_the_searchs_own_storage_is_only_read(tmp_path: Path) -> None:
    study = a_study(tmp_path, RECORDS)
    live = Live([study])
    live.refresh()
    shown = live.storage.get_study_id_from_name("s")
    there = open_storage(study.storage)
    own = there.get_study_id_from_name("s")
    assert not [name for name in there.get_study_system_attrs(own) if name.startswith("dashboard")]
    assert [name for name in live.storage.get_study_system_attrs(shown) if name.startswith("dashboard:plot_data:autodistill_pareto")]
    live.storage.set_study_system_attr(shown, "dashboard:note", "a note that somebody wrote")
    assert there.get_study_system_attrs(own)["dashboard:note"] == "a note that somebody wrote"


def test_several_studies_are_one_storage(tmp_path: Path) -> None:
    shown = ShownStudies()
    studies = [a_study(tmp_path, RECORDS[:count], name) for name, count in (("one", 1), ("two", 2))]
    numbers = [shown.add(study.folder, study.name, study.storage) for study in studies]
    assert [study.study_name for study in shown.get_all_studies()] == ["one", "two"]
    assert [len(shown.get_all_trials(number)) for number in numbers] == [1, 2]
    ids = [trial._trial_id for number in numbers for trial in shown.get_all_trials(number)]
    assert len(set(ids)) == 3
    assert [shown.get_trial(trial_id).value for trial_id in ids] == [0.8, 0.8, 0.85]
    assert shown.get_best_trial(numbers[1]).value == 0.85
    loaded = optuna.load_study(study_name="two", storage=shown)
    assert loaded.best_value == 0.85
    for refused in (
        lambda: shown.delete_study(numbers[0]),
        lambda: shown.create_new_study([optuna.study.StudyDirection.MAXIMIZE]),
        lambda: shown.create_new_trial(numbers[0]),
        lambda: shown.set_trial_user_attr(ids[0], "a", 1),
    ):
        with pytest.raises(StudyError, match="does not change them"):
            refused()
    with pytest.raises(KeyError):
        shown.get_study_name_from_id(3)


def test_a_study_that_begins_later_is_shown_too(tmp_path: Path) -> None:
    messages: list[str] = []
    live = Live([a_study(tmp_path, RECORDS, "one")], messages.append)
    a_study(tmp_path, RECORDS, "two")
    make_study(tmp_path, RECORDS, "without-storage")
    live.look_for_more(tmp_path)
    assert live.names == ["one", "two"]
    live.add(make_study(tmp_path, RECORDS, "lost"))
    assert messages == [text for text in messages if text.startswith("lost is not shown: ")]
    assert len(messages) == 1


def test_what_cannot_be_served_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_study(tmp_path, RECORDS)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["dashboard", "s", "--studies-dir", str(tmp_path), "--port", str(port)]) == 2
        errors = capsys.readouterr().err
        assert f"127.0.0.1:{port} cannot be served (Address already in use); give another --port or --host" in errors
    assert main(["dashboard", "t", "--studies-dir", str(tmp_path)]) == 2
    assert "the study is 't'; allowed: s." in capsys.readouterr().err
    assert main(["dashboard", "--studies-dir", str(tmp_path / "empty")]) == 2
    assert "there are no studies in" in capsys.readouterr().err
    assert main(["dashboard", "s", "--all", "--studies-dir", str(tmp_path)]) == 2
    assert "give one study, or --all" in capsys.readouterr().err
    with pytest.raises(UsageError, match="up to 65535"):
        Server(Live([]), port=70_000)


def test_without_the_extra_it_says_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["dashboard", "s", "--studies-dir", str(tmp_path)]) == 2
    assert "pip install 'autodistill-kd[dashboard]'" in capsys.readouterr().err
