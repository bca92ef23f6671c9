"""The figures of benchmarks/recommended.py, from trainings that are written here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from benchmark_scripts import opened


def test_the_best_is_chosen_on_validation_and_gains_are_over_datasets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = opened("recommended", monkeypatch)
    kept = tmp_path / "kept.jsonl"
    rows = []
    for dataset, first in (("trec", 0.80), ("sst2", 0.76)):
        scores = {"a": (first, 0.80), "b": (0.90, 0.70), "c": (0.70, 0.85), "kd": (0.78, 0.8), "none": (0.70, 0.7), "usual": (0.79, 0.8)}
        for recipe_id, (test, validation) in scores.items():
            for seed, shift in ((0, -0.01), (1, 0.01)):
                row = {"dataset": dataset, "regime": "few", "recipe_id": recipe_id, "seed": seed, "test": test + shift}
                rows.append(row | {"validation": validation, "recipe": {"student": {"family": "cnn"}}})
        lists = {benchmark.SHIPPED: ["a", "b", "c"], "plain_kd_all": ["kd"], "plain_kd": ["none"], "no_kd": ["none"], "defaults": ["usual"]}
        rows.append({"dataset": dataset, "regime": "few", "metric": "accuracy", "teacher": 0.95, "lists": lists})
    kept.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["recommended.py", "--kept", str(kept), "--json"])
    assert benchmark.main() == 0
    summary = json.loads(capsys.readouterr().out)
    trec = next(line for line in summary["sets"] if line["dataset"] == "trec")
    assert trec[benchmark.SHIPPED] == {"first": pytest.approx(0.80), "best": pytest.approx(0.70), "family": "cnn"}
    against = summary["gains"][f"few, {benchmark.SHIPPED}"]
    assert against["first against plain KD"]["mean"] == pytest.approx(0.0)  # +.02 and -.02
    assert against["first against plain KD"]["level"] == 0.5
    assert against["first against plain KD"]["high"] == pytest.approx(0.02 * 12.7062, rel=1e-4)  # Student's t with one degree of freedom
    assert against["first against no KD"]["mean"] == pytest.approx(0.08)
    assert against["first against search"] is None
    monkeypatch.setattr(sys, "argv", ["recommended.py", "--kept", str(kept)])
    assert benchmark.main() == 0
    shown = capsys.readouterr().out
    assert "+0.0800" in shown
    assert "50% of 2" in shown
