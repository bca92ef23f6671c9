"""The two benchmarks on made-up studies, from their command lines to their JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmark_scripts import opened
from recorded import study


@pytest.mark.slow
def test_the_recommenders_figures_of_the_shipped_studies(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = opened("recommender", monkeypatch, "--json", "--jobs", "1")
    monkeypatch.setattr(module, "shipped", lambda: [study(number, recipes=20) for number in range(4)])
    assert module.main() == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures["top1_percentile"]) == {"mean", "worst"}
    assert set(figures["regret"]) == {"1", "3", "5"}
    assert 0 <= figures["regret"]["5"] <= figures["regret"]["3"] <= figures["regret"]["1"]
    assert figures["portfolio_regret"]["1"] >= 0
    assert figures["default_regret"]["1"] > 0
    assert 0 <= figures["coverage_80"] <= 1
    assert figures["regret"]["1"] < figures["random_regret"]["1"]
    assert figures["method"] in figures["methods"]
    assert set(figures["by_dataset"]) == {"set0", "set1", "set2", "set3"}


@pytest.mark.slow
def test_the_recommenders_figures_of_a_foreign_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"task": task, "run": f"{task} {number}", "loss": str(rng.choice(["kl", "mse", "ce"])), "rate": 10 ** rng.uniform(-5, -3)}
        for task in ("sst2", "rte", "stsb")
        for number in range(30)
    ]
    for row in rows:
        row["eval"] = 0.8 + 0.05 * (row["loss"] == "kl") - 0.02 * (np.log10(row["rate"]) + 4) ** 2
    pd.DataFrame(rows).to_csv(tmp_path / "runs.csv", index=False)
    (tmp_path / "mapping.yaml").write_text("dataset: task\nscore: eval\nignore: [run]\ndefaults: [{loss: ce}]\n")
    words = "--table", str(tmp_path / "runs.csv"), "--mapping", str(tmp_path / "mapping.yaml"), "--jobs", "1"
    module = opened("recommender", monkeypatch, *words, "--json")
    assert module.main() == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["regret"]["1"] < 0.005 < figures["default_regret"]["1"]
    assert figures["retention_regret"]["1"] is None
    monkeypatch.setattr(sys, "argv", ["recommender", *words])
    assert module.main() == 0
    shown = capsys.readouterr().out
    assert "90 recipes on 3 datasets in 3 groups" in shown
    assert "stsb" in shown


def test_a_table_without_a_mapping_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert opened("recommender", monkeypatch, "--table", "runs.csv").main() == 2
    assert "--table and --mapping go together" in capsys.readouterr().err


@pytest.mark.slow
def test_the_replayed_searches_of_the_shipped_studies(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = opened("search_efficiency", monkeypatch, "--json", "--seeds", "2", "--study", "set1", "--jobs", "1")
    monkeypatch.setattr(module, "shipped", lambda: [study(number, recipes=30) for number in range(3)])
    monkeypatch.setattr(module, "entries", lambda place: [study(3, recipes=30)])
    monkeypatch.setattr(module, "LONGEST", 40)
    assert module.main() == 0
    figures = json.loads(capsys.readouterr().out)
    trials = figures["trials_to_best_of_64_random"]
    assert set(trials) == set(module.WAYS)
    assert all(1 <= value <= 40 for value in trials.values())
    assert trials["warm"] < trials["random"]
    seconds = figures["training_seconds_to_best_of_64_random"]
    assert seconds["random"] == pytest.approx(8 * trials["random"], rel=0.01)  # a second an epoch, eight epochs
    assert all(seconds[way] <= 8.01 * trials[way] for way in ("tpe_asha", "tpe_pasha", "tpe_promise"))
    assert 0 < figures["objective_fidelity"]["set1"] < 1


def test_how_well_a_datasets_own_best_do_again(monkeypatch: pytest.MonkeyPatch) -> None:
    module = opened("recommender", monkeypatch)
    made = study(0, recipes=6)
    ranked = sorted((item for item in made.records if item.state == "complete"), key=lambda item: -item.score)
    assert module.own_best_again([made]) is None
    # The best one comes to the median with another seed, the second to the very top.
    second = [
        ranked[0].model_copy(update={"seed": 1, "score": ranked[len(ranked) // 2].score}),
        ranked[1].model_copy(update={"seed": 1, "score": 9.0}),
    ]
    again = module.own_best_again([dataclasses.replace(made, records=[*made.records, *second])])
    assert again == pytest.approx((100 * (len(ranked) - len(ranked) // 2) / len(ranked) + 100) / 2)
