"""Two other ways to stop trials early, which search_efficiency.py compares with the search's own (`Halving`, ASHA)."""

from __future__ import annotations

import itertools

import numpy as np
from optuna import Study
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm

from autodistill.tuning.sampler import Halving, rungs

SWITCHED = 90
"""Percentile of the differences between recipes that change places again and again: below it two scores count as equal."""
FITTED, RECENT = 8, 20
"""The fewest complete trials that `Promise` predicts from, and how many of the latest ended trials stand for a new one."""


class Pasha(BasePruner):
    """PASHA (Bohdal et al. 2023, arXiv 2207.06940): ASHA whose longest training grows only while longer trainings change the order.

    Trials end at the longest level so far. One that reaches it goes on, and makes the next level the longest, if the order of the trials
    there is not their order at the level before. Scores that differ by less than the noise count as equal.
    """

    def __init__(self, epochs: int) -> None:
        self.levels = (*rungs(epochs), epochs)
        self.longest = min(1, len(self.levels) - 1)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        if trial.last_step not in self.levels[:-1]:
            return False
        if Halving().prune(study, trial):
            return True
        if trial.last_step != self.levels[self.longest]:
            return False
        upper, lower = self.levels[self.longest], self.levels[self.longest - 1]
        curves = [other.intermediate_values for other in study.get_trials(deepcopy=False) if upper in other.intermediate_values]
        if not reordered([curve[lower] for curve in curves], [curve[upper] for curve in curves], noise(curves)):
            return True
        self.longest += 1
        return False


def reordered(before: list[float], after: list[float], width: float) -> bool:
    """Whether the order has changed: at some place stood a trial before whose score is now not within `width` of that place's score."""
    ranked = np.sort(after)[::-1]
    return any(abs(after[trial] - ranked[place]) > width for place, trial in enumerate(np.argsort(-np.array(before), kind="stable")))


def noise(curves: list[dict[int, float]]) -> float:
    """The `SWITCHED` percentile of the last differences between two trials that changed places at least twice."""
    differences = []
    for one, other in itertools.combinations(curves, 2):
        epochs = sorted(one.keys() & other.keys())
        signs = [sign for sign in (np.sign(one[epoch] - other[epoch]) for epoch in epochs) if sign]
        if sum(a != b for a, b in itertools.pairwise(signs)) >= 2:
            differences.append(abs(one[epochs[-1]] - other[epochs[-1]]))
    return float(np.percentile(differences, SWITCHED)) if differences else 0.0


class Promise(BasePruner):
    """Stopping by expected improvement: a trial ends at a rung where another epoch of a new trial promises more than one of its own.

    A trial's last score is predicted from its score at the rung by a line through the complete trials, with the spread about it. The
    promise is the expected improvement (Jones et al. 1998) over the best complete trial, divided by the epochs that it costs. A new trial
    is as the last `RECENT` were, with the predicted scores of the stopped ones.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs, self.rungs = epochs, rungs(epochs)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step not in self.rungs:
            return False
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        complete = [other for other in ended if other.state == TrialState.COMPLETE]
        if len(complete) < FITTED:
            return False
        lines = {rung: _line(complete, rung) for rung in self.rungs}
        last = [
            other.value
            if other.state == TrialState.COMPLETE and other.value is not None
            else float(np.polyval(lines[reached][0], other.intermediate_values[reached]))
            for other in ended[-RECENT:]
            if (reached := other.last_step) is not None
        ]
        best = max(other.value for other in complete if other.value is not None)
        line, spread = lines[step]
        own = expected_improvement(float(np.polyval(line, trial.intermediate_values[step])), spread, best) / (self.epochs - step)
        return own < expected_improvement(float(np.mean(last)), float(np.std(last)), best) / self.epochs


def _line(trials: list[FrozenTrial], step: int) -> tuple[np.ndarray, float]:
    """The line from the score at a step to the last score, and the standard deviation of the residuals."""
    scores, last = np.array([(trial.intermediate_values[step], trial.value) for trial in trials]).T
    line = np.polyfit(scores, last, 1) if np.ptp(scores) else np.array([0.0, last.mean()])
    return line, float(np.std(last - np.polyval(line, scores)))


def expected_improvement(mean: float, deviation: float, best: float) -> float:
    """E[max(x - best, 0)] of a normal x."""
    if deviation == 0:
        return max(mean - best, 0.0)
    z = (mean - best) / deviation
    return float(deviation * (z * norm.cdf(z) + norm.pdf(z)))
