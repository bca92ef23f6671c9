from __future__ import annotations

import itertools
import statistics

import numpy as np
import pandas as pd
import pytest
from tables import made, noise, shared

from autodistill.errors import DataError
from autodistill.recommender.evaluate import _expected_best, _percentiles, evaluate
from autodistill.recommender.table import make_table


@pytest.mark.parametrize("draws", [1, 3, 5, 9])
def test_the_expected_best_of_a_random_draw_is_the_mean_over_all_draws(draws: int) -> None:
    scores = np.sort(np.random.default_rng(0).uniform(size=7))
    best = [max(draw) for draw in itertools.combinations(scores, min(draws, 7))]
    assert _expected_best(scores, draws) == pytest.approx(statistics.fmean(best))


def test_percentiles_count_the_others_that_are_no_better() -> None:
    assert _percentiles(np.array([0.1, 0.5, 0.5, 0.9])).tolist() == pytest.approx([0, 200 / 3, 200 / 3, 100])


def test_shared_effects_are_found_and_the_figures_agree() -> None:
    table = made(shared, datasets=4, recipes=30)
    defaults = pd.DataFrame([{"kind": "a", "rate": 1e-3}, {"kind": "b", "rate": 1e-5, "depth": 1.0}])
    evaluation = evaluate(table, lambda name: defaults, ["nearest", "boosting"])
    assert evaluation.methods == ["random", "defaults", "nearest", "boosting"]
    mean = evaluation.mean("boosting")
    assert mean["regret"]["1"] < evaluation.mean("random")["regret"]["1"] / 5
    assert mean["top1_percentile"]["mean"] > 90
    assert mean["retention_regret"]["1"] == pytest.approx(mean["regret"]["1"] / 0.9)
    regret = evaluation.mean("random")["regret"]
    assert regret["1"] > regret["3"] > regret["5"] > 0
    for outcome in evaluation.of("defaults"):  # the better default is (nearly) the optimum, the other is not: @1 is their mean, @3 the best
        assert outcome.regret[3] < 0.02 < outcome.regret[1]
    assert evaluation.winner() in ("nearest", "boosting")


@pytest.mark.slow
def test_pure_noise_leaves_chance_and_honest_intervals() -> None:
    evaluation = evaluate(made(noise, datasets=10, recipes=40), methods=["boosting"])
    mean = evaluation.mean("boosting")
    assert 0.72 < mean["coverage_80"] < 0.9
    assert 25 < mean["top1_percentile"]["mean"] < 75
    assert abs(mean["spearman"]) < 0.15


def test_the_held_out_scores_are_never_seen() -> None:
    table = made(shared, datasets=3, recipes=20)
    other = table.scores.copy()
    own = table.datasets == "d1"
    other[own] = other[own][::-1]
    changed = type(table)(table.recipes, table.datasets, other, table.about, table.features)
    before, after = (evaluate(item, methods=["nearest"]).of("nearest")[1] for item in (table, changed))
    assert before.width == after.width
    assert before.spearman != after.spearman


def test_near_duplicates_are_held_out_together_and_one_group_cannot_be() -> None:
    rows = pd.DataFrame(
        {"dataset": list("aabbcc"), "score": [0.1, 0.9, 0.2, 0.8, 0.9, 0.1], "kind": list("xyxyxy"), "group": list("ggggoo")}
    )
    evaluation = evaluate(make_table(rows, ["kind"]), methods=["nearest"])
    # a and b would teach each other that y is good; with both held out, only c is left, which says x
    assert [item.percentile for item in evaluation.of("nearest")] == [0.0, 0.0, 0.0]
    with pytest.raises(DataError, match=r"one group \('o'\)"):
        evaluate(make_table(rows[4:], ["kind"]))
