"""How recipes are proposed (TPE) and trials stopped early (ASHA), both with all their state in the Optuna storage."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, TPESampler

from autodistill.space import Choose, Domain

REDUCTION = 3
"""Of the trials that reach a rung, one in three goes on."""


def make_sampler(seed: int, finished: int) -> BaseSampler:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate within each group of parameters that appear together.

    A resumed search has another seed, so that it does not propose its first points again.
    """
    state = int(np.random.SeedSequence([seed, finished]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(seed=state, multivariate=True, group=True, constant_liar=True)


def rungs(max_epochs: int) -> tuple[int, ...]:
    """The epochs at which trials are compared: from a ninth of the budget, each three times the last, below the budget."""
    epoch = max(1, max_epochs // REDUCTION**2)
    found = []
    while epoch < max_epochs:
        found.append(epoch)
        epoch *= REDUCTION
    return tuple(found)


def make_pruner(max_epochs: int) -> BasePruner:
    """Asynchronous successive halving (Li et al. 2018); its rungs are attributes of the trials, so they survive a kill."""
    found = rungs(max_epochs)
    return SuccessiveHalvingPruner(min_resource=found[0], reduction_factor=REDUCTION) if found else NopPruner()


def chooser(trial: optuna.Trial) -> Choose:
    """The choices of a space, made by an Optuna trial."""

    def choose(name: str, domain: Domain) -> Any:
        if domain.kind == "choice":
            return trial.suggest_categorical(name, domain.choices)
        if domain.kind == "int":
            return trial.suggest_int(name, int(domain.low), int(domain.high), step=1 if domain.log else domain.step, log=domain.log)
        return trial.suggest_float(name, domain.low, domain.high, log=domain.log)

    return choose
