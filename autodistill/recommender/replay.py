"""A recorded study as a search objective that needs no training: the score that a recipe would have after each epoch, and its time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold

from autodistill.errors import DataError
from autodistill.recipe import Recipe
from autodistill.recommender.encoding import RecipeEncoder
from autodistill.recommender.library import RecordedStudy
from autodistill.recommender.table import recipe_frame

_TREES = 60
_FOLDS = 5


class Blackbox:
    """A model of one recorded study, fitted to all of its complete trials: recipe → score after each epoch, and seconds per epoch.

    As in Syne Tune's blackbox repository (Salinas et al. 2022), a model of the finite table of recorded recipes covers the whole space.
    It is smoother than the real study, which makes a target score easier for all methods alike; `fidelity` says how accurate it is.
    """

    def __init__(self, study: RecordedStudy, seed: int = 0) -> None:
        """Fit the model.

        Raises:
            DataError: the study has too few complete trials with curves.
        """
        records = [record for record in study.records if record.state == "complete" and record.curve]
        if len(records) < 2 * _FOLDS:
            raise DataError(f"the study {study.name!r} has {len(records)} complete trials with curves; {2 * _FOLDS} or more are needed")
        self.epochs = max(record.curve[-1].epoch for record in records)
        frame = recipe_frame(record.recipe for record in records)
        self.encoder = RecipeEncoder(frame)
        inputs = self.encoder.encode(frame)
        curves = np.array([_filled([point.score for point in record.curve], self.epochs) for record in records])
        pace = np.log([max(record.curve[-1].seconds / len(record.curve), 1e-3) for record in records])
        targets = np.column_stack([curves, pace])
        self.model = _trees(seed).fit(inputs, targets)
        held = np.concatenate(
            [
                np.column_stack([test, _trees(seed).fit(inputs[train], targets[train]).predict(inputs[test])[:, : self.epochs].max(axis=1)])
                for train, test in KFold(_FOLDS, shuffle=True, random_state=seed).split(inputs)
            ]
        )
        best = curves.max(axis=1)[held[:, 0].astype(int)]
        self.fidelity = float(spearmanr(held[:, 1], best).statistic)
        """Spearman correlation of predicted and recorded scores, in five-fold cross-validation."""

    def run(self, recipes: Sequence[Recipe]) -> tuple[np.ndarray, np.ndarray]:
        """(N, epochs) the score after each epoch, and (N,) the seconds per epoch."""
        predicted = self.model.predict(self.encoder.encode(recipe_frame(recipe.model_dump() for recipe in recipes)))
        return predicted[:, : self.epochs], np.exp(predicted[:, self.epochs])


def _trees(seed: int) -> ExtraTreesRegressor:
    return ExtraTreesRegressor(_TREES, random_state=seed, n_jobs=1)


def _filled(curve: list[float], epochs: int) -> list[float]:
    """The curve extended to that many epochs by repeating its last score."""
    return curve + curve[-1:] * (epochs - len(curve))
