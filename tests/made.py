"""Records, events and studies made for the tests of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autodistill.events import (
    Event,
    SearchFinished,
    SearchStarted,
    StageFinished,
    StageProgress,
    StageStarted,
    TrialFinished,
    TrialReported,
    TrialStarted,
)
from autodistill.records import Point, TrialRecord, write_records
from autodistill.settings import SearchSettings
from autodistill.study import Study
from autodistill.study_folder import SCHEMA, default_storage, write_about

BERT = {"family": "bert", "layers": 3, "hidden_size": 192}
CNN = {"family": "cnn", "channels": 128}


def point(epoch: int, score: float) -> Point:
    return Point(epoch=epoch, score=score, train_loss=1.0, seconds=float(epoch))


def record(trial: int, role: str = "search", score: float | None = 0.8, **changes: Any) -> TrialRecord:
    values: dict[str, Any] = {
        "study": "s", "trial": trial, "role": role, "state": "complete", "recipe_id": f"id{trial}", "recipe_version": 1, "dataset": "d",
        "recipe": {
            "teacher": {"model": "big"}, "student": BERT, "training": {"epochs": 8},
            "objective": {"prediction": {"kind": "kl", "weight": 0.5}, "intermediate": {"kind": "mi", "weight": 0.0}},
        },
        "dataset_fingerprint": "f", "task": "text-classification", "metric": "accuracy", "train_rows": 10, "seed": 0, "max_epochs": 8,
        "score": score, "teacher_score": 0.9, "params": 1_234_567, "latency_ms": 1.25, "seconds": 40.0,
        "curve": [] if score is None else [point(1, score), point(2, score)],
    }  # fmt: skip
    return TrialRecord.model_validate(values | changes)


def failed(trial: int, reason: str = "DivergedError: the loss is nan", **changes: Any) -> TrialRecord:
    return record(trial, score=None, state="fail", reason=reason, **changes)


def started(trial: int, role: Any = "search", student: str = "bert") -> TrialStarted:
    return TrialStarted(trial, role, f"id{trial}", student, 8, 1_234_567, 1.25)


def search_started(folder: str = "/studies/s", **changes: Any) -> SearchStarted:
    return SearchStarted(**({"study": "s", "folder": folder, "trials": 8, "done": 0, "workers": 2, "time_budget": None} | changes))


def a_search() -> list[Event]:
    """The events of a search with every kind of end; trial 7 still runs when its trials end."""
    return [
        StageStarted("data", "reading sst2"),
        StageFinished("data", 0.5, "sst2: text-classification, 4,000 training and 500 validation rows, accuracy"),
        StageStarted("teacher", "fine-tuning big"),
        StageProgress("teacher", 150, 250, "epoch 1 of 2, loss 0.300"),
        StageFinished("teacher", 61.2, "big fine-tuned, accuracy 0.9000"),
        StageStarted("outputs", "storing"),
        StageFinished("outputs", 9.5, "stored, 31 MB"),
        StageStarted("trials", "8 trials and 3 baselines"),
        search_started(),
        started(0, "no_kd"),
        started(1, "plain_kd"),
        TrialFinished(record(0, "no_kd", 0.81)),
        TrialFinished(record(1, "plain_kd", 0.83)),
        started(3),
        TrialReported(3, point(1, 0.6), 1),
        TrialFinished(record(3, score=0.6, state="pruned")),
        started(4),
        TrialFinished(record(4, score=0.87)),
        started(5),
        TrialFinished(failed(5)),
        TrialFinished(record(6, score=None, state="infeasible", reason="too large")),
        started(7),
        TrialReported(7, point(1, 0.7), 1),
        TrialReported(7, point(2, 0.65), 2),
    ]


def ended(seconds: float = 200.0, why: str | None = None) -> SearchFinished:
    return SearchFinished({}, seconds, why)


def make_study(studies: Path, records: list[TrialRecord], name: str = "s", storage: str | None = None, **asked: Any) -> Study:
    """A study's folder as a search leaves it, without its Optuna storage and weights."""
    folder = studies / name
    folder.mkdir(parents=True)
    settings = SearchSettings(dataset="d", study=name, studies_dir=str(studies), storage=storage, **asked)
    about = {
        "schema": SCHEMA,
        "study": name,
        "settings": settings.to_dict(),
        "teacher_score": 0.9,
        "teachers": [{"model": "big", "score": 0.9}],
    }
    about["dataset"] = {"name": "d", "task": "text-classification", "train_rows": 10}
    write_about(folder, about)
    write_records(records, folder / "trials.parquet")
    (folder / "recommended.yaml").write_text("version: 1\n", encoding="utf-8")
    study = Study(folder, about, storage)
    assert storage is not None or study.storage == default_storage(folder)
    return study
