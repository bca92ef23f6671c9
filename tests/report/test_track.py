from __future__ import annotations

import sys
from pathlib import Path

import pytest
from made import a_search, failed, point, record, search_started

from autodistill.errors import UsageError
from autodistill.events import Event, SearchMessage, TrialFinished, TrialReported
from autodistill.records import TrialRecord
from autodistill.report.track import TRACKERS, TrackingListener, check_tracker, parameters, results, tracked

DONE = record(4, score=0.87, metrics={"accuracy": 0.87}, flops=1e6)
EVENTS: list[Event] = [
    search_started(),
    TrialReported(4, point(1, 0.6), 1),
    TrialReported(4, point(2, 0.87), 1),
    TrialFinished(DONE),
    TrialFinished(failed(5)),
    TrialFinished(record(6, score=None, state="infeasible", reason="too large")),
    TrialReported(7, point(1, 0.5), 1),
]


def tell(name: str, folder: Path) -> list[Event]:
    heard: list[Event] = []
    with tracked(name, folder, heard.append) as listen:
        for event in EVENTS:
            listen(event)
    assert heard == EVENTS  # all is passed on, and nothing broke
    return heard


def test_tensorboard_reads_back_what_was_told(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tell("tensorboard", tmp_path)
    folders = sorted(item.name for item in (tmp_path / "tensorboard").iterdir())
    assert folders == ["trial-0004", "trial-0005", "trial-0007"]
    events = accumulators.EventAccumulator(str(tmp_path / "tensorboard" / "trial-0004"))
    events.Reload()
    assert [(item.step, item.value) for item in events.Scalars("score")] == [(1, pytest.approx(0.6)), (2, pytest.approx(0.87))]
    assert events.Scalars("result/params")[0].value == 1_234_567
    assert events.Scalars("result/retention")[0].value == pytest.approx(0.87 / 0.9)


@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_mlflow_reads_back_what_was_told(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    if store == "file":
        uri = (tmp_path / "runs").as_uri()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    tell("mlflow", tmp_path)
    client = tracking.MlflowClient(uri)
    experiment = client.get_experiment_by_name("s")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.info.status for name, run in runs.items()} == {"trial 4": "FINISHED", "trial 5": "FAILED", "trial 7": "KILLED"}
    done = runs["trial 4"]
    assert done.data.params["student.family"] == "bert"
    assert done.data.metrics["result/score"] == pytest.approx(0.87)
    assert [(item.step, item.value) for item in client.get_metric_history(done.info.run_id, "score")] == [(1, 0.6), (2, 0.87)]
    assert runs["trial 5"].data.tags["reason"] == "DivergedError: the loss is nan"


@pytest.mark.slow
def test_wandb_offline_keeps_what_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    tell("wandb", tmp_path)
    logs = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(logs) == 3
    kept = b"".join(path.read_bytes() for path in logs)
    assert b"result/score" in kept
    assert b"DivergedError: the loss is nan" in kept
    assert b"student.family" in kept


def test_a_tracker_that_breaks_is_said_once_and_stops_nothing() -> None:
    class Broken:
        times = 0

        def start(self, study: str) -> None:
            pass

        def epoch(self, trial: int, epoch: int, values: dict[str, float]) -> None:
            self.times += 1
            raise OSError("disk full")

        def end(self, record: TrialRecord) -> None:
            self.times += 1

        def close(self) -> None:
            self.times += 1

    heard: list[Event] = []
    broken = Broken()
    listen = TrackingListener("mlflow", lambda: broken, heard.append)
    for event in a_search():
        listen(event)
    listen.close()
    messages = [event for event in heard if isinstance(event, SearchMessage)]
    assert [message.level for message in messages] == ["warning"]
    assert "logging to mlflow failed (OSError: disk full); the search goes on without it" in messages[0].text
    assert broken.times == 3  # two trials ended before the first epoch was told
    assert [event for event in heard if event not in messages] == a_search()


def test_a_tracker_that_is_not_there_is_refused_before_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="the tracker is 'wand'; allowed: tensorboard, mlflow, wandb. Did you mean 'wandb'?"):
        check_tracker("wand")
    monkeypatch.setitem(TRACKERS, "mlflow", (TRACKERS["mlflow"][0], ("no_such_module",)))
    with pytest.raises(UsageError, match=r"--track mlflow needs no_such_module; install it: pip install 'autodistill-kd\[mlflow\]'"):
        check_tracker("mlflow")
    assert "no_such_module" not in sys.modules


@pytest.mark.slow
def test_wandb_without_a_key_is_refused_before_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(UsageError, match="has no API key: run `wandb login` first, or set WANDB_MODE=offline"):
        check_tracker("wandb")


def test_only_numbers_are_told_as_numbers() -> None:
    assert results(record(0, score=float("nan"), latency_ms=None)) == {"params": 1_234_567.0, "seconds": 40.0}
    assert parameters(DONE)["objective.prediction.kind"] == "kl"
