"""How recipes are proposed (TPE) and trials stopped early (ASHA). Both use only the contents of the Optuna storage."""

from __future__ import annotations

import heapq
import math
import warnings
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from autodistill.records import Point
from autodistill.space import Choose, Domain

MODELLED, BEST = 150, 25
"""How many trials a proposal is made from."""
STARTUP = 10
"""How many trials must end before the sampler models them (Optuna's own number)."""

REDUCTION = 3
"""Of the trials that reach a rung, one in three continues."""


def make_sampler(seed: int, finished: int) -> BaseSampler:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate within each group of parameters that appear together.

    A resumed search gets another seed, so that it does not propose its first points again.
    """
    return ConditionalTPE(int(np.random.SeedSequence([seed, finished]).generate_state(1)[0]))


class ConditionalTPE(BaseSampler):
    """Optuna's TPE, at a cost that does not grow with the study or with the branches of the space.

    Optuna's own decomposition into groups samples every group of parameters that ever appeared together, even in branches that a
    proposal does not take, and ranks all trials of the study for each group: 0.4 s a proposal after some hundred trials. Here a group is
    sampled only when one of its parameters is first asked for. And only MODELLED trials, the best and the latest, are ranked, once for
    each proposal. For each group, Optuna's sampler sees those of them that have the group's parameters, the only ones that it learns
    from, and how many of these are among the good trials. In a space without branches, and up to MODELLED trials, the proposals are
    exactly Optuna's.
    """

    def __init__(self, seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.simplefilter("ignore", FutureWarning)  # `gamma` and `n_startup_trials` stay until Optuna 6
            self._tpe = TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=0, gamma=lambda _: self._shown.good)
        self._random = RandomSampler(seed)
        self._ended: dict[int, _Ended] = {}
        self._columns: dict[str, int] = {}
        self._distributions: dict[str, BaseDistribution] = {}
        self._shown = _Shown()
        self._shown.create_new_study([StudyDirection.MAXIMIZE], _MODEL)
        self._model = optuna.load_study(study_name=_MODEL, storage=self._shown, sampler=self._tpe)
        self._number = -1  # of the trial that is being proposed
        self._modelled: list[FrozenTrial] = []
        self._running: list[FrozenTrial] = []
        self._groups: dict[str, dict[str, BaseDistribution]] = {}
        self._drawn: dict[str, Any] = {}

    def reseed_rng(self) -> None:
        self._tpe.reseed_rng()
        self._random.reseed_rng()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        _refuse_several_objectives(study)
        return {}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        _refuse_several_objectives(study)
        if trial.number != self._number:
            self._number, self._drawn = trial.number, {}
            self._look_at(study.get_trials(deepcopy=False))
        if len(self._modelled) < STARTUP:
            return self._random.sample_independent(study, trial, param_name, param_distribution)
        if param_name not in self._drawn:
            group = self._groups.get(param_name, {}) | {param_name: param_distribution}
            with_it = self._has[:, self._columns[param_name]] if param_name in self._columns else np.zeros(len(self._modelled), bool)
            running = [other for other in self._running if group.keys() <= other.params.keys()]
            self._shown.trials = [self._modelled[row] for row in np.flatnonzero(with_it)] + running
            self._shown.good = int((with_it & self._good).sum())
            self._drawn |= self._tpe.sample_relative(self._model, trial, group)
        return self._drawn[param_name]

    def _look_at(self, trials: list[FrozenTrial]) -> None:
        """Prepare the trials that a proposal is made from, and find which of their parameters always appear together."""
        for trial in trials:
            if trial.number not in self._ended and trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                columns = [self._columns.setdefault(name, len(self._columns)) for name in trial.params]
                self._ended[trial.number] = _Ended(_merit(trial), _bare(trial, TrialState.COMPLETE), columns)
                self._distributions |= trial.distributions
        numbers = sorted(self._ended)
        if len(numbers) > MODELLED:
            earlier, latest = numbers[: BEST - MODELLED], numbers[BEST - MODELLED :]
            numbers = sorted(heapq.nlargest(BEST, earlier, key=lambda number: self._ended[number].merit)) + latest
        ended = [self._ended[number] for number in numbers]
        self._modelled = [item.trial for item in ended]
        self._running = [_bare(trial, TrialState.RUNNING) for trial in trials if trial.state == TrialState.RUNNING]
        best_last = sorted(range(len(ended)), key=lambda row: (ended[row].merit, -row))
        for rank, row in enumerate(best_last):
            ended[row].trial.value = rank
        self._good = np.zeros(len(ended), bool)
        self._good[best_last[len(ended) - _good(len(ended)) :]] = True
        self._has = np.zeros((len(ended), len(self._columns)), bool)
        for row, item in enumerate(ended):
            self._has[row, item.columns] = True
        together: dict[bytes, dict[str, BaseDistribution]] = {}
        for name, column in sorted(self._columns.items()):
            if self._has[:, column].any() and not self._distributions[name].single():
                together.setdefault(self._has[:, column].tobytes(), {})[name] = self._distributions[name]
        self._groups = {name: group for group in together.values() for name in group}


@dataclass(frozen=True)
class _Ended:
    """A trial that ended. trial: the part of it that TPE needs, with its rank as the value. columns: of its parameters."""

    merit: tuple[float, ...]
    trial: FrozenTrial
    columns: list[int]


def _good(ended: int) -> int:
    """How many of this many ended trials count as good: Optuna's own number."""
    return min(math.ceil(0.1 * ended), 25)


def _refuse_several_objectives(study: optuna.Study) -> None:
    if len(study.directions) > 1:
        raise ValueError("ConditionalTPE proposes for one objective, and this study has several")


_MODEL = "model"


class _Shown(InMemoryStorage):
    """A storage with the trials that Optuna's sampler should see. What the sampler writes to a trial, for others to see, is dropped.

    good: how many of the trials, those with the highest values, count as good.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trials: list[FrozenTrial] = []
        self.good = 0

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return [trial for trial in self.trials if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        pass


def _merit(trial: FrozenTrial) -> tuple[float, ...]:
    """Larger is better: complete trials by score, stopped ones by how far they got, infeasible ones by how near they are to the limits."""
    excess = sum(value for value in trial.constraints.values() if value > 0)
    if excess > 0:
        return 0, -excess
    if trial.state == TrialState.COMPLETE:
        return 3, trial.value or 0.0
    if not trial.intermediate_values:
        return 1, 0.0
    step, score = max(trial.intermediate_values.items())
    return 2, step, *(_standing(trial, _rung(step)) if _rung(step) in trial.user_attrs else (score,))


class _Bare(FrozenTrial):
    """A trial without constraints. TPE would look for them in every trial for every group, which takes 6% of a proposal."""

    constraints: ClassVar[dict[str, float]] = {}


def _bare(trial: FrozenTrial, state: TrialState) -> FrozenTrial:
    return _Bare(trial.number, state, None, None, None, trial.params, trial.distributions, {}, {}, {}, trial.number)


def rungs(max_epochs: int) -> tuple[int, ...]:
    """The epochs at which trials are compared: from a ninth of the budget, each three times the last, below the budget."""
    epoch = max(1, max_epochs // REDUCTION**2)
    epochs = []
    while epoch < max_epochs:
        epochs.append(epoch)
        epoch *= REDUCTION
    return tuple(epochs)


def enter_rung(trial: optuna.Trial, point: Point) -> None:
    """Let a trial take part in a rung. Its place there is an attribute of the trial, so it survives a kill."""
    standing = [point.rank_score, None if point.validation_loss is None else -point.validation_loss]
    trial.set_user_attr(_rung(point.epoch), [value if value is not None and math.isfinite(value) else None for value in standing])


class Halving(BasePruner):
    """Asynchronous successive halving (Li et al. 2018): of the trials that reach a rung, the best third continues.

    Like Optuna's, except that the validation loss decides between equal scores: after an epoch of few steps most students still predict
    the most frequent class, and if all of them had the same score none would be stopped.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        rung = _rung(trial.last_step)
        if rung not in trial.user_attrs:
            return False
        reached = [other for other in study.get_trials(deepcopy=False) if rung in other.user_attrs and other.state != TrialState.FAIL]
        own = _standing(trial, rung)
        better = sum(_standing(other, rung) > own for other in reached)
        return own[0] == -math.inf or better >= max(1, len(reached) // REDUCTION)


def _rung(epoch: int | None) -> str:
    return f"rung {epoch}"


def _standing(trial: FrozenTrial, rung: str) -> tuple[float, ...]:
    """The score, and minus the validation loss: larger is better; missing or non-finite values come last."""
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
