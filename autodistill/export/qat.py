"""Quantisation-aware training: a short fine-tuning of a written student, with its weights and activations rounded as its int8 file does.

Sources: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (rounding in the
forward pass); Bengio, Léonard, Courville 2013, "Estimating or Propagating Gradients Through Stochastic Neurons" (the straight-through
estimator).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autodistill.components import specs
from autodistill.errors import DivergedError
from autodistill.export.asking import Arrays
from autodistill.models.fitting import warmup_and_decay

STEPS = 200
RATE = 0.1
"""The learning rate, as a share of the one in the student's recipe."""
WARMUP = 0.1


@dataclass(frozen=True)
class Grid:
    """The integers that numbers are rounded to, from `low` to `high`.

    symmetric: the zero point is 0. axis: where each index of this axis has a scale of its own; None for one scale.
    """

    low: int
    high: int
    symmetric: bool = False
    axis: int | None = None

    def of(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The scale, float32, and the zero point, float32 but whole, with which onnxruntime rounds a tensor of any shape.

        Both have as many axes as the tensor, with one entry on all but `axis`. Both ends of the range and 0 are on the grid:
        scale = (max − min) / (high − low), zero point = round(low − min / scale).
        """
        axes = [place for place in range(values.dim()) if place != self.axis]
        least = values.amin(axes, keepdim=True).double().clamp(max=0.0)
        most = values.amax(axes, keepdim=True).double().clamp(min=0.0)
        if self.symmetric:
            most = torch.maximum(-least, most)
            least = -most
        scale = (most - least) / (self.high - self.low)
        is_tiny, is_finite = scale < torch.finfo(torch.float32).tiny, scale.isfinite()
        zero = torch.zeros_like(scale) if self.symmetric else (self.low - least / scale).round()
        return (
            scale.masked_fill(is_tiny, 1.0).masked_fill(~is_finite, math.nan).float(),
            zero.masked_fill(is_tiny | ~is_finite, 0.0).float(),
        )

    def integers(self, values: Tensor) -> Tensor:
        """The tensor as whole numbers, float32, of the same shape."""
        scale, zero = self.of(values)
        return (values / scale).round().add(zero).clamp(self.low, self.high)


ACTIVATIONS = Grid(0, 255)
"""What enters a layer; and the weights of an embedding."""
CHANNELS = Grid(-64, 64, symmetric=True, axis=0)
"""The weights of a convolution or linear layer in an int8 file: a scale for each output, and 7 bits (quantise.py)."""
LSTM_WEIGHTS = Grid(-64, 64, symmetric=True)
SAME = 0.1
"""The share of a tensor's integers that may differ: a channel whose weights are small beside its bias has a larger scale in the file."""


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Grid) -> Tensor:
        scale, zero = grid.of(values)
        return (grid.integers(values) - zero) * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None  # no value is beyond the ends of the grid


def rounded(values: Tensor, grid: Grid = ACTIVATIONS) -> Tensor:
    """A float32 tensor rounded to the grid of its own range, of the same shape. Its gradient is that of the identity (straight-through)."""
    result: Tensor = _Rounded.apply(values, grid)
    return result


def rounded_weights(module: nn.Module, path: Path) -> dict[str, Grid]:
    """The grids of those parameters of a module that an int8 file holds as integers, by name.

    A parameter's integers are compared with those of the file's tensors by how often each distance from the zero point occurs. So a tensor
    may be transposed, or hold the gates of an LSTM in another order; and a batch normalisation may have been multiplied into the channels
    of a convolution, because a channel's integers do not depend on its factor, but for the sign.

    Args:
        path: a file that `quantise` wrote, of this module.
    """
    import onnx
    from onnx import numpy_helper

    held = {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}
    wanted = []
    for name, values in held.items():
        if name.endswith("_quantized") and values.dtype.itemsize == 1:
            zero = held[name.removesuffix("quantized") + "zero_point"]  # all 0 where a tensor has more than one
            wanted.append(_distances(values, int(zero.flat[0])))
    grids = {}
    for name, parameter in module.named_parameters():
        values = parameter.detach()
        allowed = 2 * SAME * values.numel()  # an integer that differs is missing in one place and too many in another
        for grid in (ACTIVATIONS, CHANNELS, LSTM_WEIGHTS):
            mine = _distances(grid.integers(values).numpy(), int(grid.of(values)[1].flatten()[0]))
            if any(mine.sum() == its.sum() and np.abs(mine - its).sum() <= allowed for its in wanted):
                grids[name] = grid
                break
    return grids


def _distances(integers: np.ndarray, zero: int) -> np.ndarray:
    """How often each distance from the zero point occurs, (256,) int64."""
    return np.bincount(np.abs(integers.astype(np.int16) - zero).ravel(), minlength=256)


@contextmanager
def _rounded_inputs(module: nn.Module, names: Mapping[str, Grid]) -> Iterator[None]:
    """Round what is multiplied with the rounded weights of linear layers and convolutions, each tensor by its own range."""
    layers = [module.get_submodule(name.removesuffix(".weight")) for name in names if name.endswith(".weight")]
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: (rounded(inputs[0]), *inputs[1:]))
        for layer in layers
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def fine_tune(
    module: nn.Module,
    grids: Mapping[str, Grid],
    read: Callable[[np.ndarray], Arrays],
    rows: int,
    soft_loss: Mapping[str, Any],
    *,
    batch_size: int,
    learning_rate: float,
    steps: int = STEPS,
    step_done: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Train a module in place, so that its outputs with rounded weights and activations are those that it has now without rounding.

    The teacher is the student itself, as it was before: no other network and no label is needed, and what rounding changed is all that is
    to be learned. (Liu et al. 2023, "LLM-QAT: Data-Free Quantization Aware Training for Large Language Models", learn from the same model's
    outputs.) The loss is the one of plain distillation for the task. Weights are rounded as the file holds them (`rounded`). What enters
    linear layers and convolutions is rounded too, by the range of each batch in place of the file's fixed one. What leaves them, and what
    an LSTM rounds inside, is not. The module stays in the mode that it is in: dropout is off, and statistics of batches do not change.
    Parameters keep their float32 values, which the next export rounds.

    Args:
        module: called with input tensors in order, returns logits (B, C).
        grids: from `rounded_weights`.
        read: the module's inputs for row numbers (B,).
        rows: how many there are; batches are drawn from all of them, in a seeded order.
        soft_loss: an `objective.prediction` of a recipe, without its weight.
        step_done: called after each step with its number from 1 and its loss.

    Raises:
        DivergedError: the loss is not a finite number.
    """
    fields = dict(soft_loss)
    loss_of = specs("objective.prediction")[fields.pop("kind")].load()
    teacher = copy.deepcopy(module)
    module.requires_grad_(True)
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_and_decay(steps, WARMUP))
    order = np.random.default_rng(0)
    drawn = np.concatenate([order.permutation(rows) for _ in range(-(-steps * batch_size // rows))])
    with _rounded_inputs(module, grids):
        for step in range(steps):
            arrays = read(drawn[step * batch_size : (step + 1) * batch_size])
            inputs = tuple(torch.from_numpy(value) for value in arrays.values())
            with torch.no_grad():
                wanted = teacher(*inputs)
            weights = {name: rounded(module.get_parameter(name), grid) for name, grid in grids.items()}
            loss = loss_of(torch.func.functional_call(module, weights, inputs), wanted, **fields)
            if not torch.isfinite(loss):
                raise DivergedError(f"the loss of the fine-tuning is not a finite number in step {step + 1}; export without --qat")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step_done(step + 1, float(loss.detach()))
