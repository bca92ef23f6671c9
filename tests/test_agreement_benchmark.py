"""The figures of benchmarks/agreement.py, from answers that are written here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmark_scripts import opened


def answers(decided: np.ndarray) -> np.ndarray:
    return np.where(decided[:, None] == np.arange(2), 2.0, -2.0)


def written(folder: Path, rows: int = 2000) -> None:
    """A teacher that is right about nine of ten rows, a student that repeats it, and one that repeats it about seven of ten."""
    labels = np.random.default_rng(0).integers(0, 2, rows)
    teacher = np.where(np.arange(rows) % 10 == 0, 1 - labels, labels)
    other = np.where(np.arange(rows) % 10 < 7, teacher, 1 - teacher)
    np.savez(folder / "made.npz", labels=labels, teacher=answers(teacher), echo=answers(teacher), other=answers(other))


def test_a_rule_loses_what_its_choice_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path)
    script = opened("agreement", monkeypatch, "--kept", str(tmp_path), "--rows", "1", "400", "--draws", "2000", "--json")
    assert script.main() == 0
    one, many = json.loads(capsys.readouterr().out)["losses"]
    assert one["agreement"] == one["both"] == many["agreement"] == many["both"] == 0.0
    assert many["score"] == 0.0
    # Right about nine rows of ten, and about six (of the seven rows that it repeats, one is the teacher's mistake): by one row the worse
    # student is chosen if it alone is right (never) or, by lot, if both are right (.6) or both wrong (.1).
    assert one["score"] == pytest.approx((0.6 + 0.1) / 2 * 0.3, abs=0.012)


def test_what_is_kept_is_shown_and_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        opened("agreement", monkeypatch, "--kept", str(tmp_path / "none")).main()
    assert "name --sets" in capsys.readouterr().err
    written(tmp_path)
    assert opened("agreement", monkeypatch, "--kept", str(tmp_path), "--draws", "5").main() == 0
    assert "mean" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        opened("agreement", monkeypatch, "--kept", str(tmp_path), "--rows", "1900", "--draws", "5").main()
    assert "1900 of 2000 rows leave too few for the rest" in capsys.readouterr().err
