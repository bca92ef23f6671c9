from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from made import BERT, CNN, make_study, record
from rich.console import Console

from autodistill.limits import Limits
from autodistill.ranking import preferred
from autodistill.records import TrialRecord
from autodistill.report.frontier import Model, advice, frontier, note, table, winners
from autodistill.study import Study
from autodistill.study_report import summary

NONE = Limits()


def trial(number: int, score: float, student: dict[str, Any] = BERT, **changes: Any) -> TrialRecord:
    return record(number, score=score, recipe=record(0).recipe | {"student": student}, **changes)


RECORDS = [
    trial(0, 0.80, params=900, latency_ms=0.9, role="no_kd"),
    trial(1, 0.90, params=500, latency_ms=0.2),
    trial(2, 0.897, CNN, params=100, latency_ms=0.6),
    trial(3, 0.895, CNN, params=300, latency_ms=0.1),
    trial(4, 0.894, {"family": "bilstm"}, params=10, latency_ms=0.01),
    trial(5, 0.999, CNN, params=5, latency_ms=0.001, state="pruned"),
    trial(6, 0.899, CNN, params=1, latency_ms=0.001, role="twin"),
]


@pytest.mark.parametrize(("prefer", "chosen"), [("score", 1), ("size", 2), ("latency", 3)])
def test_a_cheaper_student_is_preferred_down_to_half_a_point_below_the_best(prefer: Any, chosen: int) -> None:
    best = preferred(RECORDS, NONE, prefer)
    assert best is not None
    assert best.trial == chosen
    assert advice(RECORDS, NONE, prefer) == {
        1: "",
        2: "Preferring size, trial 2 is recommended (cnn 128, 100 parameters, 0.6 ms): 0.0030 below the best, "
        "trial 1 (bert 3×192, 500 parameters, 0.2 ms).",
        3: "Preferring latency, trial 3 is recommended (cnn 128, 300 parameters, 0.1 ms): 0.0050 below the best, "
        "trial 1 (bert 3×192, 500 parameters, 0.2 ms).",
    }[chosen]  # fmt: skip


def test_a_preference_counts_mean_scores_limits_and_costs_that_are_recorded() -> None:
    lucky = trial(7, 0.8999, CNN, params=50, recipe_id="lucky")
    again = [
        trial(8, 0.80, CNN, params=50, recipe_id="lucky", seed=1, role="repeat"),
        trial(9, 0.90, recipe_id="id1", seed=1, role="repeat"),
    ]
    assert (preferred([*RECORDS, lucky, *again], NONE, "size") or lucky).trial == 2  # the mean of the lucky one is 0.85
    assert (preferred(RECORDS, Limits(max_latency_ms=0.5), "size") or lucky).trial == 3
    blank = [trial(0, 0.8, params=None, latency_ms=None)]
    assert (preferred(blank, NONE, "size") or lucky).trial == 0
    assert preferred([], NONE, "latency") is None
    assert "no smaller one is within half a point" in advice(RECORDS[:2], NONE, "size")


def a_study(folder: Path, measured: bool = True, **asked: Any) -> Study:
    study = make_study(folder, RECORDS, **asked)
    study.about["teachers"] = [{"model": "a/big", "score": 0.92, "params": 9000, "probe_score": 0.91, "linear_score": 0.85}]
    if measured:
        times = {f"id{item.trial}": [item.latency_ms, 20 * (item.latency_ms or 0)] for item in RECORDS}
        study.about["frontier"] = {
            "students": times, "teachers": [[8.0, 90.0]], "linear": [0.005, 0.1], "linear_params": 70, "core_share": 0.5,
        }  # fmt: skip
    return study


def test_the_frontier_holds_the_best_of_each_family_and_what_stands_beside_them(tmp_path: Path) -> None:
    models = a_study(tmp_path, prefer="latency").frontier_models
    assert [(model.name, model.trial, model.score) for model in models] == [
        ("teacher big", None, 0.92), ("probe of big", None, 0.91), ("bert 3×192", 1, 0.90), ("cnn 128", 2, 0.897), ("cnn 128", 3, 0.895),
        ("bilstm", 4, 0.894), ("TF-IDF, linear", None, 0.85),
    ]  # fmt: skip
    assert [model.trial for model in models if model.recommended] == [3]
    assert [item.trial for item in winners(RECORDS, NONE, "score")] == [1, 2, 4]
    linear, probe = models[-1], models[1]
    assert (linear.params, linear.latency_ms_1, linear.latency_ms_32) == (70, 0.005, 0.1)
    assert (probe.params, probe.latency_ms_1, probe.retention) == (9000, 8.0, pytest.approx(0.91 / 0.92))

    def beaten(one: Model, other: Model, cost: str) -> bool:
        pairs = (getattr(other, cost), getattr(one, cost)), (-(other.score or 0), -(one.score or 0))
        return all(theirs <= ours for theirs, ours in pairs) and any(theirs < ours for theirs, ours in pairs)

    for front, cost in {"size": "params", "1 row": "latency_ms_1", "32 rows": "latency_ms_32"}.items():
        unbeaten = [one for one in models if not any(beaten(one, other, cost) for other in models)]
        assert [model for model in models if front in model.front] == unbeaten


def test_a_study_without_latencies_has_a_frontier_of_sizes(tmp_path: Path) -> None:
    study = a_study(tmp_path, measured=False)
    assert {(model.latency_ms_1, model.latency_ms_32) for model in study.frontier_models} == {(None, None)}
    assert {front for model in study.frontier_models for front in model.front} == {"size"}
    assert note(study.about) == "Latencies were not measured at the end of this search."
    assert list(study.frontier()["name"]) == [model.name for model in study.frontier_models]
    assert len(study.plot("frontier").layout.annotations) == 0
    assert [name for name in study.plot("frontier").to_dict()["layout"] if name.startswith("xaxis")] == ["xaxis"]
    assert frontier([], NONE, "size", {}) == []


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_its_terminal_and_the_note_says_how_busy_the_machine_was(tmp_path: Path, width: int) -> None:
    study = a_study(tmp_path)
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(study.frontier_models, "accuracy", width))
    lines = console.export_text().splitlines()
    assert len(lines) == 7
    assert all(len(line) <= width and "…" not in line for line in lines)
    assert "left it 50% of a core, so all latencies are too large" in note(study.about)
    assert [model["trial"] for model in summary(study, {})["frontier"]] == [None, None, 1, 2, 4, None]


def test_every_panel_draws_its_models_and_its_front(tmp_path: Path) -> None:
    figure = a_study(tmp_path).plot("frontier")
    titles = [figure.layout[name].title.text for name in ("xaxis", "xaxis2", "xaxis3")]
    assert titles == [f"{cost} (log scale)" for cost in ("milliseconds for 1 row", "milliseconds for 32 rows", "parameters")]
    for axis, costs in (("x", {0.2, 0.6, 0.01, 8.0, 0.005}), ("x3", {500, 100, 10, 9000, 70})):
        markers = [trace for trace in figure.data if trace.mode == "markers" and trace.xaxis == axis]
        assert {trace.x[0] for trace in markers} == costs
        front = next(trace for trace in figure.data if trace.mode == "lines" and trace.xaxis == axis)
        assert all(one < other for one, other in itertools.pairwise(front.y))
    legend = [trace.name for trace in figure.data if trace.showlegend]
    assert len(legend) == len(set(legend)) == 7
    assert "bert 3×192 (trial 1, recommended)" in legend
