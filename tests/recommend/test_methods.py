from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from tables import depends, made, shared

from autodistill.recommender.methods import METHODS, Cautious, Portfolio, Units, _noise, fitting, lower_gain
from autodistill.recommender.table import NewDataset, Table, make_table


def regrets(name: str, table: Table) -> list[float]:
    values = []
    for dataset in table.names:
        method, rows = METHODS[name](table.without_groups({dataset})), table.select([dataset])
        values.append(rows.scores.max() - rows.scores[method.order(rows.recipes, table.target(dataset))[0]])
    return values


def test_units_put_the_median_at_0_and_the_ninth_decile_at_1() -> None:
    table = made(shared)
    units = Units(table)
    for place in range(len(table.names)):
        own = units.values[table.index == place]
        assert np.median(own) == pytest.approx(0, abs=1e-9)
        assert np.quantile(own, 0.9) == pytest.approx(1)
        assert units.weights[table.index == place].sum() == pytest.approx(50)


def test_equal_scores_are_no_division_by_zero() -> None:
    table = made(lambda recipe, feature, rng: 0.5)
    assert np.all(Units(table).values == 0)


@pytest.mark.parametrize("name", METHODS)
def test_effects_that_all_datasets_share_are_learnt(name: str) -> None:
    table = made(shared)
    spread = np.mean([np.ptp(table.scores[table.datasets == name]) for name in table.names])
    assert np.mean(regrets(name, table)) < 0.03 * spread


@pytest.mark.parametrize("name", ["forest", "boosting", "nearest", "committee"])
def test_effects_that_hang_on_a_dataset_feature_are_learnt_where_the_portfolio_cannot(name: str) -> None:
    table = made(depends, datasets=8)
    blind = np.mean(regrets("portfolio", table))
    assert blind > 0.04
    assert np.mean(regrets(name, table)) < blind / 2


def shared_recipes() -> Table:
    """Six recipes, all run on four datasets."""
    rng = np.random.default_rng(3)
    rows = [
        {"dataset": f"d{number}", "task": "text-classification", "score": float(rng.uniform()), "kind": kind}
        for number in range(4)
        for kind in "abcdef"
    ]
    return make_table(pd.DataFrame(rows), ["kind"])


def test_a_portfolio_of_shared_recipes_uses_what_was_recorded_and_is_greedy() -> None:
    table = shared_recipes()
    method = Portfolio(table)
    target = table.target("d0")
    recipes = pd.DataFrame({"kind": list("abcdef")})
    worth = method.merits(recipes, target)
    units = Units(table).values
    for row, kind in enumerate("abcdef"):
        assert worth[row].tolist() == units[(table.recipes["kind"] == kind).to_numpy()].tolist()
    order = method.order(recipes, target)
    assert sorted(order) == list(range(6))
    assert order[0] == worth.mean(axis=1).argmax()
    gained = [np.maximum(worth[order[0]], worth[other]).mean() for other in range(6)]
    assert gained[order[1]] == pytest.approx(max(gained))
    best_pair = max(np.maximum(worth[a], worth[b]).mean() for a, b in itertools.combinations(range(6), 2))
    floor = worth.min()
    assert np.maximum(*worth[order[:2]]).mean() - floor >= (1 - 1 / np.e) * (best_pair - floor)


def test_a_committee_says_the_mean_of_its_members() -> None:
    table = made(depends)
    rest, rows, target = table.without_groups({"d1"}), table.select(["d1"]), table.target("d1")
    members = [METHODS[name](rest).merit(rows.recipes, target) for name in ("cautious", "boosting")]
    committee = METHODS["committee"](rest)
    assert committee.merit(rows.recipes, target) == pytest.approx((members[0] + members[1]) / 2)
    assert committee.order(rows.recipes, target)[0] == np.argmax(members[0] + members[1])


def with_a_failure(table: Table, dataset: str) -> Table:
    """The table where on one dataset the recipe that is best on the mean of the others has the score of a model that learned nothing."""
    rest = table.without_groups({dataset})
    means = pd.Series(rest.scores).groupby(rest.recipes["kind"]).mean()
    scores = table.scores.copy()
    scores[(table.datasets == dataset) & (table.recipes["kind"] == means.idxmax()).to_numpy()] = 0.0
    return dataclasses.replace(table, scores=scores)


@pytest.mark.parametrize("seed", range(5))
def test_a_recipe_that_fails_on_one_dataset_costs_less_than_choosing_at_random(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds, datasets = [f"k{number}" for number in range(12)], [f"d{number}" for number in range(8)]
    worth = dict(zip(kinds, rng.uniform(0.2, 0.9, len(kinds)), strict=True))
    rows = [
        {"dataset": dataset, "task": "text-classification", "kind": kind, "score": worth[kind] + 0.02 * rng.standard_normal()}
        for dataset in datasets
        for kind in kinds
    ]
    table = with_a_failure(make_table(pd.DataFrame(rows), ["kind"]), "d3")
    by_chance = np.mean([table.select([name]).scores.max() - table.select([name]).scores.mean() for name in datasets])
    assert np.mean(regrets("committee", table)) < by_chance


def test_a_cautious_portfolio_prefers_what_is_good_everywhere_to_what_is_best_on_average() -> None:
    scores = {"risky": [0.9, 0.9, 0.9, 0.9, 0.1, 0.1], "steady": [0.8] * 6, "poor": [0.3] * 6, "bad": [0.2] * 6, "worse": [0.15] * 6}
    rows = [
        {"dataset": f"d{number}", "task": "text-classification", "kind": kind, "score": score}
        for kind, values in scores.items()
        for number, score in enumerate(values)
    ]
    table = make_table(pd.DataFrame(rows), ["kind"])
    recipes, target = pd.DataFrame({"kind": list(scores)}), table.target("d0")
    cautious = Cautious(table)
    merits = cautious.merits(recipes, target)
    assert cautious.merit(recipes, target) == pytest.approx([np.quantile(row, 0.25) for row in merits])
    assert list(scores)[cautious.order(recipes, target)[0]] == "steady"
    steady = recipes.iloc[[1]]
    unit = np.array([(0.86 - 0.3) / 0.3] * 4 + [(0.6 - 0.2) / 0.2] * 2)  # the ninth decile's distance from the median, over the median
    expected = lower_gain((merits[0] - merits[1]) * unit, np.zeros(6))
    assert cautious.gains(recipes, steady, target)[0] == pytest.approx(expected)
    assert cautious.gains(recipes, steady, target)[0] < 0 == pytest.approx(cautious.gains(recipes, steady, target)[1], abs=1e-6)


QUARTILE = -0.67449
"""The lower quartile of a standard normal distribution."""


def test_the_careful_gain_is_that_of_a_random_effects_model() -> None:
    """Thirteen trials of a vaccine (Colditz et al. 1994), for which the R package metafor gives, with DerSimonian and Laird's estimator,
    a mean of -.7141 with standard error .1787, and a variance between studies of .3088.
    """
    gains = [-0.8893, -1.5854, -1.3481, -1.4416, -0.2175, -0.7861, -1.6209, 0.0120, -0.4694, -1.3713, -0.3394, 0.4459, -0.0173]
    noise = [0.3256, 0.1946, 0.4154, 0.0200, 0.0512, 0.0069, 0.2230, 0.0040, 0.0564, 0.0730, 0.0124, 0.5325, 0.0714]
    expected = -0.7141 + QUARTILE * math.sqrt(0.3088 + 0.1787**2)
    assert lower_gain(np.array(gains), np.array(noise)) == pytest.approx(expected, abs=5e-4)


def test_noise_that_explains_a_loss_is_not_held_against_a_recipe() -> None:
    steady = np.full(7, 0.02)
    once, level = np.append(steady, -0.03), np.full(8, 1e-4)
    assert lower_gain(steady, level[1:]) == pytest.approx(0.02 + QUARTILE * math.sqrt(1e-4 / 7), abs=1e-4)
    few_rows, many_rows = level.copy(), level.copy()
    few_rows[-1], many_rows[-1] = 2e-3, 1e-5
    assert lower_gain(once, few_rows) > 0.01
    assert lower_gain(once, many_rows) < 0
    assert lower_gain(np.append(steady, -0.5), level) < -0.1  # a collapse that a quantile of the measured gains would not see
    assert lower_gain(np.array([0.01]), np.array([0.0])) == pytest.approx(0.01, abs=1e-5)


def test_a_perfect_score_is_noisy_too_and_unknown_rows_have_the_noise_of_the_others() -> None:
    """One set where nothing is left to gain, or one whose validation rows nobody wrote down, does not decide for all."""
    perfect, half = _noise(np.array([1.0, 0.5]), np.array([180.0, 180.0]))
    assert perfect == pytest.approx(2 * (181 / 182) * (1 / 182) / 180)
    assert half == pytest.approx(2 * 0.25 / 180 / 0.25)
    assert _noise(np.array([0.5, 0.5, 0.5]), np.array([100.0, np.nan, 100.0])).tolist() == pytest.approx([0.02] * 3)
    assert _noise(np.array([0.5]), np.array([np.nan])).tolist() == [0.0]
    level, rows = np.array([1.0, 0.85, 0.85, 0.85, 0.85]), np.array([180, 2000, 2000, 2000, 2000.0])
    assert lower_gain(np.array([0.0, 0.03, 0.03, 0.03, 0.03]), _noise(level, rows)) > 0.005


@pytest.mark.parametrize(("rows", "first_is_better"), [(20, False), (20_000, True)])
def test_a_gain_counts_if_there_are_enough_validation_rows_to_see_it(rows: int, first_is_better: bool) -> None:
    scores = {"better": [0.83, 0.82, 0.84], "usual": [0.80, 0.81, 0.80], "poor": [0.5] * 3}
    frame = pd.DataFrame(
        {"dataset": f"d{number}", "task": "text-classification", "kind": kind, "score": score, "validation_rows": rows}
        for kind, values in scores.items()
        for number, score in enumerate(values)
    )
    table = make_table(frame, ["kind"])
    recipes = pd.DataFrame({"kind": ["better", "usual"]})
    gain = Cautious(table).gains(recipes[:1], recipes[1:], table.target("d0"))[0]
    assert (gain > 0.005) == first_is_better


def test_a_portfolio_reads_the_datasets_that_agree_in_whether_there_are_unlabelled_rows() -> None:
    rows = [
        {"dataset": f"d{number}", "task": task, "score": number / 10, "kind": "a", "unlabelled": number % 2 == 1}
        for number, task in enumerate(["text-classification"] * 4 + ["text-regression"] * 2)
    ]
    table = make_table(pd.DataFrame(rows), ["kind"])

    def read(task: str, unlabelled: bool) -> list[int]:
        return fitting(table, NewDataset(task, pd.Series(dtype=float), unlabelled)).tolist()

    assert (read("text-classification", True), read("text-classification", False)) == ([1, 3], [0, 2])
    assert (read("text-regression", True), read("text-pair-regression", False)) == ([5], [0, 2, 4])
    assert fitting(table.select(["d0", "d2"]), NewDataset("text-classification", pd.Series(dtype=float), True)).tolist() == [0, 1]
    assert table.target("d1").unlabelled
    assert not table.target("d2").unlabelled


def test_a_method_is_indifferent_to_the_order_of_rows_and_repeats_itself() -> None:
    table = made(depends)
    rows, target = table.select(["d1"]), table.target("d1")
    for name, fit in METHODS.items():
        method = fit(table.without_groups({"d1"}))
        merit = method.merit(rows.recipes, target)
        assert np.allclose(method.merit(rows.recipes[::-1], target), merit[::-1]), name
        assert np.array_equal(fit(table.without_groups({"d1"})).merit(rows.recipes, target), merit), name
