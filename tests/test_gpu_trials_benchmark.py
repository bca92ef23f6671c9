"""The benchmark of trials on a GPU, as far as it runs without one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from benchmark_scripts import opened


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    return opened("gpu_trials", monkeypatch)


@pytest.mark.slow
def test_it_runs_by_itself(script: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "EPOCH", 4)
    assert script.main(["--device", "cpu", "--tiny"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [(case["data"], case["student"]) for case in result["cases"]] == [("trec-like", "cnn"), ("trec-like", "bert 3x192")]
    for case in result["cases"]:
        assert case["bandwidth_gb_s"] > 0
        for arm in ("eager", "graph"):
            assert case[arm]["steps_per_second"] > 0
            assert case[arm]["trials_per_hour"] > 0
            assert case[arm]["notes"] == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_ends_with_a_sentence(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "gpu_trials.py measures a GPU, and torch finds none here; --device cpu --tiny tries the script itself\n"


def test_processes_at_a_time_add_up(script: Any) -> None:
    runs = [
        {"steps_per_second": pace, "trial_seconds": seconds, "step_bytes": 2e6, "recorded": 3, "notes": []}
        for pace, seconds in ((100.0, 30.0), (50.0, 60.0))
    ]
    figures = script.summary(runs, 3e9)
    assert figures["steps_per_second"] == 150.0
    assert figures["trials_per_hour"] == 180.0  # 120 and 60
    assert figures["share_of_bandwidth"] == pytest.approx(150 * 2e6 / 3e9)
