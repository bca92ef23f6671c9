"""Proposals, held against Optuna's own, and Optuna's own tests of a sampler."""

from __future__ import annotations

import math
import warnings

import numpy as np
import optuna
import pytest
from optuna.pruners import BasePruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, SingleOnlySamplerTestCase
from optuna.trial import TrialState

from autodistill.records import Point
from autodistill.tuning import sampler as sampler_module
from autodistill.tuning.sampler import ConditionalTPE, Halving, enter_rung, rungs


class TestAsOptunaTestsSamplers(BasicSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self):
        return lambda: ConditionalTPE(0)


def flat(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    size = trial.suggest_categorical("size", [16, 32, 64])
    layers = trial.suggest_int("layers", 1, 6)
    trial.suggest_categorical("single", ["always"])
    return -abs(rate - 0.01) - abs(layers - 4) + size / 64


def branching(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("rate", 0.0, 1.0)
    family = trial.suggest_categorical("family", ["cnn", "bert"])
    if family == "cnn":
        return 0.5 + 0.1 * trial.suggest_float("channels", 0.0, 1.0) - abs(rate - 0.3)
    return (
        0.7 - (trial.suggest_float("layers", 0.0, 1.0) - 0.8) ** 2 - (trial.suggest_float("width", 0.0, 1.0) - 0.2) ** 2 - abs(rate - 0.3)
    )


def run(sampler: BaseSampler, objective, trials: int) -> optuna.Study:
    """Four at a time; of ten trials, two are stopped, one is infeasible and one fails."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    running = []
    for number in range(trials):
        trial = study.ask()
        running.append((trial, objective(trial)))
        if len(running) == 4:
            trial, score = running.pop(0)
            trial.report(score, 1 + number % 3)
            if number % 10 == 4:
                trial.set_constraint("max_params", 0.1 * number)
            if number % 10 in (2, 3, 4):
                study.tell(trial, state=TrialState.PRUNED)
            elif number % 10 == 5:
                study.tell(trial, state=TrialState.FAIL)
            else:
                study.tell(trial, round(score, 1))  # ties
    return study


def tpe(**more) -> TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TPESampler(seed=3, multivariate=True, constant_liar=True, **more)


def test_without_branches_proposals_are_optunas_own():
    expected = run(tpe(), flat, 60)
    ours = run(ConditionalTPE(3), flat, 60)
    assert [trial.params for trial in ours.get_trials()] == [trial.params for trial in expected.get_trials()]


def test_a_branch_is_drawn_from_as_a_whole():
    sampler = ConditionalTPE(3)
    asked = []
    draw = sampler._tpe.sample_relative

    def watched(study, trial, group):
        drawn = draw(study, trial, group)
        asked.append((trial.number, sorted(drawn)))
        return drawn

    sampler._tpe.sample_relative = watched
    study = run(sampler, branching, 60)
    for trial in study.get_trials()[20:]:
        groups = [names for number, names in asked if number == trial.number]
        branch = ["channels"] if trial.params["family"] == "cnn" else ["layers", "width"]
        assert groups == [["family", "rate"], branch]


def test_a_branch_is_drawn_from_as_optuna_draws_it_from_all_trials():
    sampler, whole = ConditionalTPE(3), tpe()

    def of_all(study, trial, group):
        sampler._shown.trials = sampler._modelled + sampler._running
        return whole.sample_relative(study, trial, group)

    sampler._tpe.sample_relative = of_all
    expected = run(sampler, branching, 60)
    assert [trial.params for trial in run(ConditionalTPE(3), branching, 60).get_trials()] == [
        trial.params for trial in expected.get_trials()
    ]


def test_branches_are_searched_as_well_as_by_optunas_groups():
    def mean_best(make) -> float:
        return sum(run(make(seed), branching, 60).best_value for seed in range(4)) / 4

    def groups(seed: int) -> TPESampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)

    assert mean_best(ConditionalTPE) >= mean_best(groups) - 0.05


def test_a_long_study_is_modelled_by_its_best_and_its_latest_trials(monkeypatch):
    monkeypatch.setattr(sampler_module, "MODELLED", 30)
    monkeypatch.setattr(sampler_module, "BEST", 5)
    sampler = ConditionalTPE(0)
    study = run(sampler, flat, 80)
    trials = study.get_trials()
    sampler._look_at(trials)
    seen = sampler._modelled + sampler._running
    ended = [trial.number for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    numbers = [trial.number for trial in seen if trial.state == TrialState.COMPLETE]
    assert numbers[5:] == ended[-25:]
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and not any(v > 0 for v in trial.constraints.values())]
    earlier = sorted((trial.value for trial in complete if trial.number in ended[:-25]), reverse=True)
    assert sorted((trials[number].value for number in numbers[:5]), reverse=True) == pytest.approx(earlier[:5])
    assert [trial.number for trial in seen if trial.state == TrialState.RUNNING] == [77, 78, 79]


def stopped_by(pruner: BasePruner, curves: list[list[float]], losses: list[float | None]) -> list[int | None]:
    """After which epoch each trial is stopped, None for those that run to their end; they run one after the other."""
    study = optuna.create_study(direction="maximize", pruner=pruner)
    ends: list[int | None] = []
    for curve, loss in zip(curves, losses, strict=True):
        trial = study.ask()
        ends.append(None)
        for epoch, score in enumerate(curve, start=1):
            trial.report(score, epoch)
            if epoch in rungs(len(curve)):
                enter_rung(trial, Point(epoch=epoch, score=score, train_loss=1.0, validation_loss=loss, seconds=1.0))
                if trial.should_prune():
                    ends[-1] = epoch
                    break
        study.tell(trial, None if ends[-1] else curve[-1], state=TrialState.PRUNED if ends[-1] else TrialState.COMPLETE)
    return ends


def test_where_scores_differ_optunas_rule_stops_the_same_trials():
    rng = np.random.default_rng(0)
    curves = np.cumsum(rng.random((60, 9)), axis=1).tolist()
    curves[-1][0] = float("nan")
    ours = stopped_by(Halving(), curves, rng.random(60).tolist())
    assert ours == stopped_by(SuccessiveHalvingPruner(min_resource=1, reduction_factor=3), curves, [None] * 60)
    assert {1, 3, None} <= set(ours)


def test_of_equal_scores_the_smaller_validation_loss_goes_on():
    curves = [[0.5, 0.6, 0.7]] * 9  # one rung, at 1
    falling = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert stopped_by(Halving(), curves, [*falling]) == [None] * 9  # each is the best so far
    assert stopped_by(Halving(), curves, falling[::-1]) == [None] + [1] * 8
    assert stopped_by(Halving(), curves[:7], [0.5, math.nan, None, 0.5, 0.4, 0.6, 0.45]) == [None, 1, 1, None, None, 1, None]
    assert stopped_by(Halving(), curves, [None] * 9) == [None] * 9
    assert stopped_by(Halving(), [[0.5] * 3, [0.6] * 3, [0.5] * 3], [0.1, 0.9, 0.05]) == [None, None, 1]


def test_a_trial_that_failed_takes_no_place_in_a_rung():
    study = optuna.create_study(direction="maximize", pruner=Halving())
    for score, state in ((0.9, TrialState.FAIL), (0.5, None)):
        trial = study.ask()
        trial.report(score, 1)
        enter_rung(trial, Point(epoch=1, score=score, train_loss=1.0, validation_loss=0.5, seconds=1.0))
        stopped = trial.should_prune()
        if state is not None:
            study.tell(trial, state=state)
    assert not stopped


def test_stopped_trials_of_equal_scores_are_ranked_by_their_losses():
    study = optuna.create_study(direction="maximize")
    for loss in (0.3, 0.1, 0.2):
        trial = study.ask()
        trial.report(0.5, 1)
        enter_rung(trial, Point(epoch=1, score=0.5, train_loss=1.0, validation_loss=loss, seconds=1.0))
        study.tell(trial, state=TrialState.PRUNED)
    sampler = ConditionalTPE(0)
    sampler._look_at(study.get_trials())
    ranked = sampler._modelled
    assert [trial.value for trial in ranked] == [0, 2, 1]
