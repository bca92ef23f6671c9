"""The probe: a regularised linear model of what the frozen encoder gives, which a teacher's head can start as."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from autodistill.models.base import StudentModule, to_device
from autodistill.models.fitting import EVALUATION_BATCH, evaluation_batches
from autodistill.models.image import EncodedImages
from autodistill.models.pooled import PooledClassifier, pool
from autodistill.models.text import EncodedText
from autodistill.models.transformer import Transformer
from autodistill.teacher.training import Judged, Rows

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse penalties of the logistic regression that are tried on standardised features; weaker ones than the last change nothing."""
PENALTIES = (1e4, 1e3, 1e2, 1e1, 1.0)
"""Penalties of the ridge regression that are tried."""
_ITERATIONS = 200
_ABSENT = 10.0
"""How many nats below the rarest class that training rows have the others start."""


@dataclass(frozen=True)
class ProbeProgress:
    """How many of the rows the frozen encoder has read."""

    rows: int
    done: int


@dataclass(frozen=True)
class Probe:
    """A linear model of frozen vectors. weight: (C, D); bias: (C,). pooling: how its vectors were pooled.

    said: what it says of the validation rows.
    """

    weight: Tensor
    bias: Tensor
    pooling: str
    said: Judged


def frozen_vectors(
    model: StudentModule,
    inputs: EncodedText | EncodedImages,
    poolings: tuple[str, ...],
    device: torch.device,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:
    """What the head reads of every row, (N, D) float32 on the CPU, for each of the poolings, in one pass.

    poolings: other ones than the model's own only of a `PooledClassifier`. progress: is told after each batch how many rows it had.
    """
    model.eval()
    found: dict[str, list[Tensor]] = {pooling: [] for pooling in poolings}
    states: list[Tensor] = []
    pooled = model.model if isinstance(model, Transformer) and isinstance(model.model, PooledClassifier) else None
    handle = pooled.encoder.register_forward_hook(lambda _, __, out: states.append(out.last_hidden_state)) if pooled else None
    order = []
    try:
        with torch.inference_mode():
            for rows in evaluation_batches(inputs.lengths, len(inputs), EVALUATION_BATCH):
                batch = to_device(inputs.batch(rows), device)
                said = model(batch)
                for pooling in poolings:
                    own = pooled is None or pooling == pooled.pooling
                    found[pooling].append((said.embedding if own else pool(states[-1], batch.mask, pooling)).float().cpu())  # type: ignore[union-attr]
                states.clear()
                order.append(rows)
                if progress:
                    progress(len(rows))
    finally:
        if handle is not None:
            handle.remove()
    place = torch.argsort(torch.cat(order))
    return {pooling: torch.cat(parts)[place] for pooling, parts in found.items()}


def fit_probe(vectors: Tensor, train: Rows, held: Tensor, validation: Rows, metric: str, outputs: int, pooling: str = "model") -> Probe:
    """Fit a linear model for each of a few penalties, and keep the one that is best on the validation rows.

    Logistic regression, or for scores ridge regression, of standardised vectors; the standardisation is folded into the weights. Of equal
    scores the likelier is kept. Source: Alain, Bengio 2016, "Understanding intermediate layers using linear classifier probes".

    Args:
        vectors: (N, D) of the training rows.
        train: those rows.
        held: (M, D) of the validation rows.
        validation: those rows.
        metric: of the dataset.
        outputs: how many classes there are; 1 for scores.
        pooling: how the vectors were pooled, for the record.
    """
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(vectors.double().numpy())
    ready = scaler.transform(vectors.double().numpy())
    fit = _ridges if train.targets.is_floating_point() else _logistic_regressions
    probes = []
    for coefficients, intercepts in fit(ready, train.targets.numpy(), outputs):
        unscaled = coefficients / scaler.scale_
        weight, bias = torch.from_numpy(unscaled).float(), torch.from_numpy(intercepts - unscaled @ scaler.mean_).float()
        probes.append(Probe(weight, bias, pooling, validation.judge(F.linear(held, weight, bias), metric)))
    return max(probes, key=lambda probe: (probe.said.score, probe.said.likelihood))


def _logistic_regressions(ready: np.ndarray, labels: np.ndarray, outputs: int) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    found = []
    model = LogisticRegression(max_iter=_ITERATIONS, warm_start=True)  # each starts where the more penalised one ended
    for strength in STRENGTHS:
        model.set_params(C=strength)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # held-out rows choose among them, converged or not
            model.fit(ready, labels)
        coefficients, intercepts = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # one row for both, the second class's
            coefficients, intercepts = (np.concatenate([-part / 2, part / 2]) for part in (coefficients, intercepts))
        weight = np.zeros((outputs, ready.shape[1]))
        bias = np.full(outputs, intercepts.min() - _ABSENT)
        weight[model.classes_], bias[model.classes_] = coefficients, intercepts
        found.append((weight, bias))
    return found


def _ridges(ready: np.ndarray, targets: np.ndarray, _: int) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.linear_model import Ridge

    models = [Ridge(alpha=penalty).fit(ready, targets) for penalty in PENALTIES]
    return [(model.coef_.reshape(1, -1), np.atleast_1d(model.intercept_)) for model in models]
