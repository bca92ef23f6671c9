"""The probe: a regularised linear model of the frozen encoder's vectors. A teacher's head can start from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from autodistill.models.base import Batch, Inputs, StudentModule, TextBatch, to_device
from autodistill.models.fitting import EVALUATION_BATCH, evaluation_batches
from autodistill.models.pooled import PooledClassifier, pool
from autodistill.teacher.head import pooling_of
from autodistill.teacher.training import Judged, Training

DEAD = 1e-4
"""A dimension whose standard deviation is below this share of the largest one holds only rounding errors. Pretrained encoders have some
(all-MiniLM-L6-v2 has three, of 1e-33 to 1e-9 beside .28). A weight that magnifies them would stop fine-tuning: its gradient would be so
large that clipping scales all others down to nothing."""

LEVEL = 0.005
"""Scores of probes that differ by at most this much are level: half a point, about a standard error on 3,000 validation rows."""


@dataclass(frozen=True)
class ProbeProgress:
    """How many rows the frozen encoder has read."""

    rows: int
    done: int


@dataclass(frozen=True)
class Probe:
    """A linear model of frozen vectors. weight: (C, D); bias: (C,). pooling: of its vectors.

    judged: its score on the validation rows.
    """

    weight: Tensor
    bias: Tensor
    pooling: str
    judged: Judged


def best_probe(training: Training, poolings: Sequence[str]) -> Probe:
    """The best probe on the validation split, over these poolings of the model that will be trained.

    poolings: only a `PooledClassifier` can have other ones than its own.
    """
    total, done = len(training.train) + len(training.validation), 0

    def read(rows: int) -> None:
        nonlocal done
        done += rows
        if training.progress:
            training.progress(ProbeProgress(total, done))

    vectors, validation = (
        frozen_vectors(training.model, rows.inputs, poolings, training.device, read) for rows in (training.train, training.validation)
    )
    return fit_probe(training, vectors, validation)


def frozen_vectors(
    model: StudentModule, inputs: Inputs, poolings: Sequence[str], device: torch.device, progress: Callable[[int], None] = lambda _: None
) -> dict[str, Tensor]:
    """The head's input vectors for all rows, (N, D) float32 on the CPU, for each pooling, in one pass.

    progress: called after each batch with its number of rows.
    """
    model.eval()
    by_pooling: dict[str, list[Tensor]] = {pooling: [] for pooling in poolings}
    order = []
    with torch.inference_mode():
        for rows in evaluation_batches(inputs.lengths, len(inputs), EVALUATION_BATCH):
            batch = to_device(inputs.batch(rows), device)
            for pooling, vectors in _pooled(model, batch, poolings).items():
                by_pooling[pooling].append(vectors.float().cpu())
            order.append(rows)
            progress(len(rows))
    place = torch.argsort(torch.cat(order))
    return {pooling: torch.cat(parts)[place] for pooling, parts in by_pooling.items()}


def _pooled(model: StudentModule, batch: Batch, poolings: Sequence[str]) -> dict[str, Tensor]:
    """The head's input vectors (B, D) for a batch, for each pooling, whichever the model has."""
    if tuple(poolings) == (pooling_of(model),):
        return {poolings[0]: model(batch).embedding}
    inner, states = model.model, list[Tensor]()
    assert isinstance(inner, PooledClassifier)
    assert isinstance(batch, TextBatch)
    handle = inner.encoder.register_forward_hook(lambda _, __, read: states.append(read.last_hidden_state))
    try:
        model(batch)
    finally:
        handle.remove()
    return {pooling: pool(states[0], batch.mask, pooling) for pooling in poolings}


def fit_probe(training: Training, vectors: Mapping[str, Tensor], validation: Mapping[str, Tensor]) -> Probe:
    """Fit linear models with a few penalties to each pooling's vectors, and choose one by its score on the validation rows.

    The best one gives the pooling; of equal ones, that with the higher likelihood. If the teacher is fine-tuned from the probe, the one
    with the strongest penalty is kept of that pooling's which are within `LEVEL` of the best. A weak penalty leaves no loss on the training
    rows, so nothing to learn, and large weights, which spoil the encoder with their gradients: on clinc150 with 2,000 labels fine-tuning
    fell from .921 to .881 and never came back. (Breiman et al. 1984, "Classification and Regression Trees", choose the simplest model that
    is level with the best in this way.)

    The vectors are standardised, and this is folded into the weights; constant dimensions have weight 0. Source: Alain, Bengio 2016,
    "Understanding intermediate layers using linear classifier probes".

    Args:
        training: whose rows they are.
        vectors: by pooling, (N, D) of the training rows.
        validation: by pooling, (M, D) of the validation rows.
    """
    probes = [probe for pooling in vectors for probe in _fitted(training, vectors[pooling], validation[pooling], pooling)]
    best = max(probes, key=lambda probe: (probe.judged.score, probe.judged.likelihood))
    if training.steps == 0 or training.teacher.head_init != "probe":
        return best
    level = best.judged.score - LEVEL
    return next(probe for probe in probes if probe.pooling == best.pooling and probe.judged.score >= level)


def _fitted(training: Training, vectors: Tensor, validation: Tensor, pooling: str) -> Iterator[Probe]:
    """The linear models of one pooling, from the strongest penalty to the weakest."""
    columns = vectors.double().numpy()
    mean, spread = columns.mean(axis=0), columns.std(axis=0)
    alive = spread > DEAD * spread.max()
    ready = (columns - mean)[:, alive] / spread[alive]
    balanced = training.teacher.class_weights != "none"
    for coefficients, intercepts in training.dataset.target.linear_models(ready, training.train.learned.numpy(), balanced=balanced):
        unscaled = np.zeros((len(coefficients), len(mean)))
        unscaled[:, alive] = coefficients / spread[alive]
        weight, bias = torch.from_numpy(unscaled).float(), torch.from_numpy(intercepts - unscaled @ mean).float()
        yield Probe(weight, bias, pooling, training.judged(F.linear(validation, weight, bias)))
