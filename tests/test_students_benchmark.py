"""The table of benchmarks/students.py, from rows that are written here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from benchmark_scripts import opened


def test_each_family_has_a_line_beside_the_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    students = opened("students", monkeypatch)
    shared = {"dataset": "trec", "metric": "accuracy", "seconds": 10.0}
    trained = [("cnn", "defaults", 0, 0.80), ("cnn", "defaults", 1, 0.84), ("cnn", "no_kd", 0, 0.70), ("static", "defaults", 0, 0.78)]
    rows = [shared | {"arm": "teacher", "seed": 0, "test": 0.9, "params": 22_000_000}, shared | {"arm": "tf-idf", "seed": 0, "test": 0.7}]
    rows += [
        shared | {"arm": arm, "family": family, "seed": seed, "test": test, "params": 4_060_000} for family, arm, seed, test in trained
    ]
    rows += [shared | {"arm": "latency", "seed": 0, "test": 0.0, "latency_ms": {"cnn": [0.5, 9.0], "teacher": [5.0, 99.0], "tf-idf": None}}]
    kept, written = tmp_path / "kept.jsonl", tmp_path / "page.md"
    kept.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["students.py", "--kept", str(kept), "--page", str(written), "--json"])
    assert students.main() == 0
    lines = {line["model"]: line for line in json.loads(capsys.readouterr().out)["models"]}
    assert list(lines) == ["tf-idf", "teacher", "static", "cnn"]
    assert lines["cnn"]["test"] == pytest.approx(0.82)
    assert lines["cnn"]["no_kd"] == pytest.approx(0.70)
    assert lines["cnn"]["retention"] == pytest.approx(0.82 / 0.9)
    assert lines["teacher"]["retention"] is None
    table = written.read_text(encoding="utf-8")
    assert "| trec | cnn | 0.820 | 0.700 | 91.1% | 4.06 M | 0.50 | 9.00 | 10 |" in table
    assert "one seed" in table
