from __future__ import annotations

from pathlib import Path

import pytest
from damage import DAMAGE
from made import make_study, record
from pydantic import ValidationError

from autodistill.errors import StudyError
from autodistill.records import Point, TrialRecord, read_records, to_frame, write_records


def _record(trial: int, **changes: object) -> TrialRecord:
    values: dict[str, object] = {
        "study": "s", "trial": trial, "role": "search", "state": "complete", "recipe_id": "abc", "recipe_version": 1,
        "recipe": {"task": "text-classification", "student": {"family": "cnn", "channels": 64}}, "dataset": "d",
        "dataset_fingerprint": "f", "task": "text-classification", "metric": "accuracy", "train_rows": 10, "seed": 0, "max_epochs": 3,
    }  # fmt: skip
    return TrialRecord.model_validate(values | changes)


def test_a_table_comes_back_the_same(tmp_path: Path) -> None:
    curve = [Point(epoch=1, score=0.5, train_loss=1.25, seconds=2.5, losses={"hard_label": 0.7, "prediction": 0.55})]
    full = _record(
        1, score=0.5, teacher_score=0.8, curve=curve, metrics={"accuracy": 0.5}, params=123, latency_ms=1.5, flops=1e6, started=1.7e9,
        seconds=3.0, seconds_by_stage={"training": 2.0}, environment={"python": "3.11"},
    )  # fmt: skip
    records = [_record(2, state="fail", reason="DivergedError: loss is nan"), full, _record(3, state="infeasible", params=9)]
    path = tmp_path / "trials.parquet"
    write_records(records, path)
    assert read_records(path) == sorted(records, key=lambda record: record.trial)
    assert list(to_frame(records)["trial"]) == [1, 2, 3]
    assert not list(tmp_path.glob("*.part"))


def test_an_empty_table_comes_back_empty(tmp_path: Path) -> None:
    write_records([], tmp_path / "trials.parquet")
    assert read_records(tmp_path / "trials.parquet") == []


def test_retention_is_the_share_of_the_teachers_score() -> None:
    assert _record(0, score=0.6, teacher_score=0.8).retention == pytest.approx(0.75)
    assert _record(0, score=0.6, teacher_score=None).retention is None
    assert _record(0, score=None, teacher_score=0.8).retention is None
    assert _record(0, score=0.6, teacher_score=-0.1).retention is None  # a correlation may be negative; a share of it says nothing


def test_unknown_states_are_refused() -> None:
    with pytest.raises(ValidationError, match="state"):
        _record(0, state="running")


@pytest.mark.parametrize("how", ["cut", "emptied", "altered", "a folder"])
def test_a_damaged_table_is_one_sentence(tmp_path: Path, how: str) -> None:
    path = tmp_path / "trials.parquet"
    write_records([_record(1), _record(2)], path)
    if how == "altered":
        path.write_bytes(path.read_bytes()[:-40] + bytes(36) + b"PAR1")
    else:
        DAMAGE[how](path)
    with pytest.raises(StudyError, match=r"the trials in .*trials\.parquet cannot be read \(.*\(--resume\) writes it again") as caught:
        read_records(path)
    assert "\n" not in str(caught.value)


def test_a_lost_table_is_no_empty_one(tmp_path: Path) -> None:
    study = make_study(tmp_path, [record(1)])
    (study.folder / "trials.parquet").unlink()
    with pytest.raises(StudyError, match=r"has lost its trials\.parquet; resuming the search"):
        _ = study.best
    (study.folder / "recommended.yaml").unlink()  # a search whose first trial has not ended
    assert study.trial_records == []


def test_columns_of_a_newer_version_are_left_out_and_other_states_are_named(tmp_path: Path) -> None:
    path = tmp_path / "trials.parquet"
    frame = to_frame([_record(1)]).assign(carbon=1.5)
    frame.to_parquet(path)
    assert read_records(path) == [_record(1)]
    frame.drop(columns=["retention", "carbon"]).to_parquet(path)
    assert read_records(path) == [_record(1)]
    frame.assign(state="paused").to_parquet(path)
    with pytest.raises(StudyError, match="cannot be read .*state"):
        read_records(path)
