"""How recipes are proposed (TPE) and trials stopped early (ASHA), both from what the Optuna storage holds and from nothing else."""

from __future__ import annotations

import heapq
import math
import warnings
from collections.abc import Container
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from autodistill.records import Point
from autodistill.space import Choose, Domain

MODELLED, BEST = 150, 25
"""Trials that a proposal is made from."""
STARTUP = 10
"""Trials that end before there is something to model (Optuna's own number)."""

REDUCTION = 3
"""Of the trials that reach a rung, one in three goes on."""


def make_sampler(seed: int, finished: int) -> BaseSampler:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate within each group of parameters that appear together.

    A resumed search has another seed, so that it does not propose its first points again.
    """
    return ConditionalTPE(int(np.random.SeedSequence([seed, finished]).generate_state(1)[0]))


class ConditionalTPE(BaseSampler):
    """Optuna's TPE, at a cost that grows neither with the study nor with the branches of the space.

    Optuna's own decomposition into groups draws from every group of parameters that ever appeared together, also in branches
    that a proposal does not take, and ranks all trials of the study for each: 0.4 s a proposal after some hundred trials. Here
    a group is drawn from when the first of its parameters is asked for, and Optuna's sampler is shown a study of MODELLED
    trials, the best and the latest, which have their ranks for values. In a space without branches, and up to MODELLED trials,
    the proposals are Optuna's own.
    """

    def __init__(self, seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._tpe = TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=STARTUP)
        self._ended: dict[int, tuple[tuple[float, ...], FrozenTrial]] = {}
        self._shown = _Shown()
        self._shown.create_new_study([StudyDirection.MAXIMIZE], _MODEL)
        self._number = -1  # of the trial that is being proposed
        self._groups: dict[str, dict[str, BaseDistribution]] = {}
        self._drawn: dict[str, Any] = {}

    def reseed_rng(self) -> None:
        self._tpe.reseed_rng()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        _refuse_several_objectives(study)
        return {}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        _refuse_several_objectives(study)
        if trial.number != self._number:
            trials = self._modelled(study.get_trials(deepcopy=False))
            self._number, self._shown.trials, self._groups, self._drawn = trial.number, trials, _groups(trials), {}
            self._model = optuna.load_study(study_name=_MODEL, storage=self._shown, sampler=self._tpe)  # anew: a study keeps trials
        if param_name not in self._drawn:
            group = self._groups.get(param_name, {}) | {param_name: param_distribution}
            self._drawn |= self._tpe.sample_relative(self._model, trial, group)
        if param_name not in self._drawn:  # too few trials to model
            self._drawn[param_name] = self._tpe.sample_independent(self._model, trial, param_name, param_distribution)
        return self._drawn[param_name]

    def _modelled(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """What TPE needs of the trials that it models: where they were, and their rank for a value; those that run, it takes for bad."""
        for trial in trials:
            if trial.number not in self._ended and trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                self._ended[trial.number] = _merit(trial), _bare(trial, TrialState.COMPLETE)
        ended = sorted(self._ended)
        if len(ended) > MODELLED:
            earlier, latest = ended[: BEST - MODELLED], ended[BEST - MODELLED :]
            ended = heapq.nlargest(BEST, earlier, key=lambda number: self._ended[number][0]) + latest
        for rank, number in enumerate(sorted(ended, key=lambda number: (self._ended[number][0], -number))):
            self._ended[number][1].value = rank
        running = [_bare(trial, TrialState.RUNNING) for trial in trials if trial.state == TrialState.RUNNING]
        return sorted([self._ended[number][1] for number in ended] + running, key=lambda trial: trial.number)


def _refuse_several_objectives(study: optuna.Study) -> None:
    if len(study.directions) > 1:
        raise ValueError("ConditionalTPE proposes for one objective, and this study has several")


_MODEL = "model"


class _Shown(InMemoryStorage):
    """A storage with the trials that Optuna's sampler is to see. What it writes to a trial, for others to see, goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.trials: list[FrozenTrial] = []

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return [trial for trial in self.trials if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        pass


def _merit(trial: FrozenTrial) -> tuple[float, ...]:
    """Larger is better: complete trials by score, the stopped by how far they came, the infeasible by how near they are to the limits."""
    excess = sum(value for value in trial.constraints.values() if value > 0)
    if excess > 0:
        return 0, -excess
    if trial.state == TrialState.COMPLETE:
        return 3, trial.value or 0.0
    if not trial.intermediate_values:
        return 1, 0.0
    step, score = max(trial.intermediate_values.items())
    return 2, step, *(_standing(trial, _rung(step)) if _rung(step) in trial.user_attrs else (score,))


def _bare(trial: FrozenTrial, state: TrialState) -> FrozenTrial:
    return FrozenTrial(trial.number, state, None, None, None, trial.params, trial.distributions, {}, {}, {}, trial.number)


def _groups(trials: list[FrozenTrial]) -> dict[str, dict[str, BaseDistribution]]:
    """For each parameter, those that have always appeared together with it, itself among them."""
    seen: dict[str, list[int]] = {}
    distributions: dict[str, BaseDistribution] = {}
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            distributions |= trial.distributions
            for name in trial.params:
                seen.setdefault(name, []).append(trial.number)
    together: dict[tuple[int, ...], dict[str, BaseDistribution]] = {}
    for name in sorted(name for name, distribution in distributions.items() if not distribution.single()):
        together.setdefault(tuple(seen[name]), {})[name] = distributions[name]
    return {name: group for group in together.values() for name in group}


def rungs(max_epochs: int) -> tuple[int, ...]:
    """The epochs at which trials are compared: from a ninth of the budget, each three times the last, below the budget."""
    epoch = max(1, max_epochs // REDUCTION**2)
    epochs = []
    while epoch < max_epochs:
        epochs.append(epoch)
        epoch *= REDUCTION
    return tuple(epochs)


def enter_rung(trial: optuna.Trial, point: Point) -> None:
    """Let a trial take part in a rung. Its standing there is an attribute of the trial, so it survives a kill."""
    standing = [point.score, None if point.validation_loss is None else -point.validation_loss]
    trial.set_user_attr(_rung(point.epoch), [value if value is not None and math.isfinite(value) else None for value in standing])


class Halving(BasePruner):
    """Asynchronous successive halving (Li et al. 2018): of the trials that have come to a rung, the best third goes on.

    As Optuna's, but of equal scores the one with the smaller validation loss is the better: after an epoch of few steps most
    students still name the commonest class, and with one score for all of them none would be stopped.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        rung = _rung(trial.last_step)
        if rung not in trial.user_attrs:
            return False
        held = [other for other in study.get_trials(deepcopy=False) if rung in other.user_attrs and other.state != TrialState.FAIL]
        last = heapq.nlargest(max(1, len(held) // REDUCTION), (_standing(other, rung) for other in held))[-1]
        own = _standing(trial, rung)
        return own[0] == -math.inf or own < last


def _rung(epoch: int | None) -> str:
    return f"rung {epoch}"


def _standing(trial: FrozenTrial, rung: str) -> tuple[float, ...]:
    """Score, and the validation loss turned round: larger is better, what is not known or no finite number is least."""
    return tuple(-math.inf if value is None else value for value in trial.user_attrs[rung])


def chooser(trial: BaseTrial) -> Choose:
    """The choices of a space, made by an Optuna trial."""

    def choose(name: str, domain: Domain) -> Any:
        if domain.kind == "choice":
            return trial.suggest_categorical(name, domain.choices)
        if domain.kind == "int":
            return trial.suggest_int(name, int(domain.low), int(domain.high), step=1 if domain.log else domain.step, log=domain.log)
        return trial.suggest_float(name, domain.low, domain.high, log=domain.log)

    return choose
