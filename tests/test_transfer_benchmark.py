"""The table of benchmarks/transfer.py: its means, gains and shares, from rows that are written here."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from benchmark_scripts import opened

from autodistill.settings import SearchSettings
from autodistill.tasks.base import DatasetRef


def test_the_kept_trainings_are_summed_up_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    transfer = opened("transfer", monkeypatch)
    scores = [
        ("teacher", 0, 0.90),
        ("tf-idf", 0, 0.7),
        ("no_kd", 0, 0.70),
        ("no_kd", 1, 0.74),
        ("plain_kd_all", 0, 0.80),
        ("plain_kd_all", 1, 0.84),
        ("search", 0, 0.855),
        ("larger_no_kd", 0, 0.85),
        ("larger", 0, 0.87),
        ("larger", 1, 0.89),
    ]
    asked = {"dataset": "trec", "teacher": "some/model", "metric": "accuracy", "seconds": 1.0}
    kept = tmp_path / "kept.jsonl"
    kept.write_text("".join(json.dumps(asked | {"arm": arm, "seed": seed, "test": test}) + "\n" for arm, seed, test in scores))
    monkeypatch.setattr(sys, "argv", ["transfer.py", "--kept", str(kept), "--json"])
    assert transfer.main() == 0
    (line,) = json.loads(capsys.readouterr().out)["sets"]
    assert (line["dataset"], line["model"], line["labelled"]) == ("trec", "some/model", 500)
    assert line["no_kd"] == {"mean": pytest.approx(0.72), "sd": pytest.approx(0.04 / 2**0.5), "seeds": 2}
    assert line["gain"] == pytest.approx(0.10)
    assert line["retention"] == pytest.approx(0.82 / 0.90)
    assert line["larger_retention"] == pytest.approx(0.88 / 0.90)
    written = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["transfer.py", "--kept", str(kept), "--page", str(written)])
    assert transfer.main() == 0
    shown = capsys.readouterr().out
    assert "0.720 ± 0.028" in shown
    assert "+0.100" in shown
    assert "91.1%" in shown
    page = written.read_text(encoding="utf-8")
    assert "the best small student is +0.100 (1 lines) above the same student without a teacher" in page
    assert "has 91.1% (1 lines) of its teacher's score. The search's winner has 95.0% (1 lines) of it" in page
    assert "the larger student 97.8% (1 lines), +0.030 (1 lines) above itself without a teacher." in page
    assert "| trec (500) | model | 0.900 |  | 0.700 | 0.720 ± 0.028 |" in page


def test_a_search_of_any_teacher_has_a_name_that_is_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    transfer = opened("transfer", monkeypatch)
    asked: list[SearchSettings] = []

    def search(dataset: str, *, listen: object, **settings: Any) -> types.SimpleNamespace:
        asked.append(SearchSettings.read({"dataset": dataset, **settings}))
        return types.SimpleNamespace(recommended="the winner")

    monkeypatch.setattr(transfer.autodistill, "search", search)
    bench = transfer.Bench.__new__(transfer.Bench)
    bench.name, bench.model, bench.ref = "cifar10", None, DatasetRef("cifar10", 10)
    for model in ("timm:tf_efficientnet_lite0", "sentence-transformers/all-MiniLM-L6-v2"):
        bench.part = types.SimpleNamespace(model=model)
        assert bench.search(12, tmp_path) == "the winner"
    assert [settings.study for settings in asked] == ["cifar10-timm-tf_efficientnet_lite0", "cifar10-all-MiniLM-L6-v2"]
