"""What fine-tuning a teacher and training a student have in common: the order of the rows, the optimizer, the CPU's threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from autodistill.models.base import Inputs, StudentModule, mixed_precision, to_device

EVALUATION_BATCH = 128


def training_batches(lengths: Tensor | None, rows: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Every row once, in random batches; with lengths (rows,), the rows of a batch have similar lengths.

    Rows are shuffled, then sorted by length within pools of 50 batches, then the batches are shuffled. The last, smaller batch is
    kept unless it is a single row (batch statistics and contrasts need two).
    """
    order = torch.randperm(rows, generator=generator)
    if lengths is not None:
        pools = order.split(50 * batch_size)
        order = torch.cat([pool[torch.argsort(lengths[pool], stable=True)] for pool in pools])
    batches = [batch for batch in order.split(batch_size) if len(batch) > 1 or rows == 1]
    return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]


def evaluation_batches(lengths: Tensor | None, rows: int, batch_size: int) -> Iterator[Tensor]:
    """Every row once, sorted by length if there are lengths."""
    order = torch.arange(rows) if lengths is None else torch.argsort(lengths, stable=True)
    yield from order.split(batch_size)


def validation_logits(model: StudentModule, inputs: Inputs, num_outputs: int, device: torch.device, rows: Tensor | None = None) -> Tensor:
    """The logits of a teacher in training for every row, or for `rows`, in the precision of its training."""
    with mixed_precision(model, device):
        return all_logits(model, inputs, num_outputs, device, rows)


def all_logits(model: StudentModule, inputs: Inputs, num_outputs: int, device: torch.device, rows: Tensor | None = None) -> Tensor:
    """A model's logits for every row, (N, C) float32 on the CPU; or only for `rows` (R,), (R, C)."""
    model.eval()
    asked = torch.arange(len(inputs)) if rows is None else rows
    lengths = None if inputs.lengths is None else inputs.lengths[asked]
    logits = torch.empty(len(asked), num_outputs)
    with torch.inference_mode():
        for places in evaluation_batches(lengths, len(asked), EVALUATION_BATCH):
            logits[places] = model(to_device(inputs.batch(asked[places]), device)).logits.float().cpu()
    return logits


def make_optimizer(
    modules: Iterable[nn.Module], learning_rate: float, weight_decay: float, capturable: bool = False
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov, Hutter 2019), fused; matrices decay, biases and norms do not. capturable: for steps in a CUDA graph."""
    parameters = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    groups = parameter_groups(parameters, learning_rate, weight_decay)
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True, capturable=capturable)


def parameter_groups(parameters: list[nn.Parameter], learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for an optimizer: matrices decay, biases and norms do not."""
    return [
        {"params": [item for item in parameters if item.ndim >= 2], "weight_decay": weight_decay, "lr": learning_rate},
        {"params": [item for item in parameters if item.ndim < 2], "weight_decay": 0.0, "lr": learning_rate},
    ]


def warmup_and_decay(steps: int, warmup: float) -> Callable[[int], float]:
    """The factor of the learning rate at each step: it rises from 0 over the first share of the steps, then falls linearly to 0."""
    rise = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        return (step + 1) / rise if step < rise else max(0.0, (steps - step) / max(1, steps - rise))

    return factor


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Run with this many CPU threads; None does not change the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
