"""Landmarks: the scores of simple learners, and the geometry of the frozen features.

`features` is an (N, D) array, dense or (for `linear`) sparse; `targets` (N, C) are the regression targets of the labels, see
`Target.regressed`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from autodistill.target import Target

NEIGHBOURS = 10
_PENALTIES = np.logspace(-1, 5, 7)
_KEPT = 0.9


def score(target: Target, metric: str, predicted: np.ndarray, labels: np.ndarray) -> float:
    """The dataset's metric of predictions (N, C)."""
    return target.evaluate(metric, predicted, labels)[metric]


def majority(target: Target, metric: str, targets: np.ndarray, labels: np.ndarray) -> float:
    """The score of predicting the mean of the training targets for every row."""
    return score(target, metric, np.tile(targets.mean(axis=0), (len(labels), 1)), labels)


def linear(features: Any, targets: np.ndarray, held_out: Any) -> np.ndarray:
    """Predict held-out rows by ridge regression on the targets (`fit_linear`)."""
    return fit_linear(features, targets)[0](held_out)


def fit_linear(features: Any, targets: np.ndarray) -> tuple[Callable[[Any], np.ndarray], int]:
    """A ridge regression on the targets, as a function from features to predictions (M, C), and its number of coefficients.

    Dense features are standardised, and the penalty is chosen by leave-one-out on the rows to fit. Sparse features (TF-IDF) are used
    as they are, with a penalty of 1.
    """
    from scipy.sparse import issparse
    from sklearn.linear_model import Ridge, RidgeCV
    from sklearn.preprocessing import StandardScaler

    if issparse(features):
        sparse = Ridge(alpha=1.0, solver="sparse_cg").fit(features, targets)
        return lambda rows: sparse.predict(rows).reshape(rows.shape[0], -1), sparse.coef_.size
    scaler = StandardScaler().fit(features)
    model = RidgeCV(_PENALTIES).fit(scaler.transform(features), targets)
    return lambda rows: model.predict(scaler.transform(rows)).reshape(len(rows), -1), model.coef_.size


def neighbours(features: np.ndarray, targets: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Predict held-out rows by the mean target of their ten nearest neighbours by cosine."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(features)), metric="cosine", algorithm="brute").fit(features)
    return targets[search.kneighbors(held_out, return_distance=False)].mean(axis=1)


def separability(features: np.ndarray, groups: np.ndarray) -> float:
    """1 − (variance within the groups) / (variance), each divided by its degrees of freedom; 0 on average for random groups."""
    names, of = np.unique(groups, return_inverse=True)
    rows = len(features)
    total = ((features - features.mean(axis=0)) ** 2).sum()
    if rows <= len(names) or total == 0:
        return 0.0
    sums = np.zeros((len(names), features.shape[1]))
    np.add.at(sums, of, features)
    means = sums / np.bincount(of)[:, None]
    within = ((features - means[of]) ** 2).sum()
    return float(1 - (within / (rows - len(names))) / (total / (rows - 1)))


def intrinsic_dimension(features: np.ndarray) -> float:
    """TwoNN: the dimension of the manifold that the rows lie on, at the scale of their nearest neighbours; at most D.

    For each row, μ = r₂ / r₁ is the ratio of the distances to its second and first neighbour. On a d-dimensional manifold
    F(μ) = 1 − μ^−d, so d is the slope through the origin of −log(1 − F) over log μ. As in the article, the tenth of the rows with the
    largest μ is left out. Duplicate rows count once; the result is 0 if fewer than three distinct rows are left.

    Source: Facco, d'Errico, Rodriguez, Laio 2017, "Estimating the intrinsic dimension of datasets by a minimal neighborhood
    information", Scientific Reports 7:12140.
    """
    from sklearn.neighbors import NearestNeighbors

    different = np.unique(features.astype(np.float64), axis=0)
    if len(different) < 3:
        return 0.0
    first, second = NearestNeighbors(n_neighbors=2).fit(different).kneighbors()[0].T
    ratios = np.sort(np.log(second[first > 0] / first[first > 0]))
    share = np.arange(1, len(ratios) + 1) / len(ratios)
    kept = max(int(_KEPT * len(ratios)), 1)
    x, y = ratios[:kept], -np.log1p(-np.minimum(share[:kept], 1 - 0.5 / len(ratios)))
    most = float(features.shape[1])
    return min(float(x @ y / (x @ x)), most) if (x > 0).any() else most
