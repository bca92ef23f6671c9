"""Ways to stop early that are only compared: orders, noise and promises worked out by hand, and whole studies."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import optuna
import pytest
from benchmark_scripts import opened
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from autodistill.records import Point
from autodistill.tuning.sampler import enter_rung


@pytest.fixture
def pruners(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return opened("pruners", monkeypatch)


def run(pruner: BasePruner, curves: list[list[float]]) -> list[int]:
    """After how many epochs each trial ends; they run one after the other."""
    study = optuna.create_study(direction="maximize", pruner=pruner)
    ends = []
    for curve in curves:
        trial = study.ask()
        for epoch, score in enumerate(curve, start=1):
            trial.report(score, epoch)
            enter_rung(trial, Point(epoch=epoch, score=score, train_loss=1.0, seconds=1.0))
            if epoch < len(curve) and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, curve[-1])
        ends.append(epoch)
    return ends


def test_an_order_changes_by_more_than_the_noise(pruners: ModuleType) -> None:
    before, after = [0.5, 0.4, 0.3], [0.6, 0.7, 0.2]
    assert pruners.reordered(before, after, 0.0)
    assert pruners.reordered(before, after, 0.09)  # the first place had .6, and has .7
    assert not pruners.reordered(before, after, 0.11)
    assert not pruners.reordered(before, [0.9, 0.8, 0.7], 0.0)


def test_noise_is_the_difference_between_those_that_keep_changing_places(pruners: ModuleType) -> None:
    once = [{1: 0.1, 2: 0.5}, {1: 0.2, 2: 0.4}]
    assert pruners.noise(once) == 0
    twice = [{1: 0.1, 2: 0.5, 3: 0.5}, {1: 0.2, 2: 0.4, 3: 0.53}]
    assert pruners.noise(twice) == pytest.approx(0.03)
    assert pruners.noise([*twice, {1: 0.0, 2: 0.0, 3: 0.0}]) == pytest.approx(0.03)


def test_pasha_trains_longer_only_where_that_changes_the_order(pruners: ModuleType) -> None:
    # Each better than the last, so that none is stopped by the others; nine epochs have the levels 1, 3 and 9.
    steady = [[level + 0.001 * epoch for epoch in range(9)] for level in (0.1, 0.2, 0.3)]
    assert run(pruners.Pasha(9), steady) == [3, 3, 3]
    rising = [[0.5] * 9, [0.6, 0.6, 0.4, *[0.4] * 6], [0.7, 0.7, 0.8, *[0.8] * 6]]
    assert run(pruners.Pasha(9), rising)[0] == 3
    turned = [[0.5] * 9, [0.6, 0.6, 0.55, *[0.55] * 6], [0.7, 0.7, 0.52, *[0.52] * 6], [0.9] * 9]
    assert run(pruners.Pasha(9), turned) == [3, 3, 3, 9]  # the third of them falls behind the second, but it is stopped by ASHA


def test_the_expected_improvement_of_a_normal(pruners: ModuleType) -> None:
    draws = np.random.default_rng(0).normal(0.4, 0.2, 400_000)
    assert pruners.expected_improvement(0.4, 0.2, 0.5) == pytest.approx(np.maximum(draws - 0.5, 0).mean(), rel=0.02)
    assert pruners.expected_improvement(0.4, 0.0, 0.5) == 0
    assert pruners.expected_improvement(0.6, 0.0, 0.5) == pytest.approx(0.1)


def test_a_trial_ends_where_a_new_one_promises_more(pruners: ModuleType) -> None:
    # The last score is the first plus .1, so after one epoch of nine everything is known.
    curves = [[level, *[level + 0.1] * 8] for level in (0.1, 0.3, 0.2, 0.25, 0.15, 0.3, 0.22, 0.28)]
    assert run(pruners.Promise(9), [*curves, [0.29, *[0.39] * 8], [0.31, *[0.41] * 8]]) == [9] * 8 + [1, 9]
