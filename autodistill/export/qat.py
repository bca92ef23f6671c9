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
    """The integers that numbers are rounded to, from `low` to `high`. symmetric: the zero point is 0."""

    low: int
    high: int
    symmetric: bool = False

    def of(self, values: Tensor) -> tuple[float, int]:
        """The scale, a float32 number, and the zero point with which onnxruntime rounds a tensor of any shape.

        Both ends of the tensor's range and 0 are on the grid: scale = (max − min) / (high − low), zero point = round(low − min / scale).
        """
        least, most = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        if self.symmetric:
            most = max(-least, most)
            least = -most
        scale = (most - least) / (self.high - self.low)
        if not math.isfinite(scale):
            return math.nan, 0
        if scale < torch.finfo(torch.float32).tiny:
            return 1.0, 0
        return float(np.float32(scale)), 0 if self.symmetric else round(self.low - least / scale)

    def integers(self, values: Tensor) -> Tensor:
        """The tensor as whole numbers, float32, of the same shape."""
        scale, zero = self.of(values)
        return (values / torch.tensor(scale)).round().add(zero).clamp(self.low, self.high)


WEIGHTS = Grid(0, 255)
"""A tensor of weights in an int8 file; and activations, in onnxruntime's DynamicQuantizeLinear."""
LSTM_WEIGHTS = Grid(-127, 127, symmetric=True)


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Grid) -> Tensor:
        scale, zero = grid.of(values)
        return (grid.integers(values) - zero) * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None  # no value is beyond the ends of the grid


def rounded(values: Tensor, grid: Grid = WEIGHTS) -> Tensor:
    """A float32 tensor rounded to the grid of its own range, of the same shape. Its gradient is that of the identity (straight-through)."""
    result: Tensor = _Rounded.apply(values, grid)
    return result


def rounded_weights(module: nn.Module, path: Path) -> dict[str, Grid]:
    """The grids of those parameters of a module that an int8 file holds as integers, by name.

    A parameter is compared with the tensors of the file by scale, zero point and integers. These may be in another order, transposed or as
    those of gates of an LSTM: every tensor has one scale. path: a file that onnxruntime has quantised, of this module.
    """
    import onnx
    from onnx import numpy_helper

    held = {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}
    wanted = set()
    for name, values in held.items():
        if name.endswith("_quantized"):
            scale, zero = (held[name.removesuffix("quantized") + end] for end in ("scale", "zero_point"))
            if scale.size == 1:
                wanted.add(_signature(values, float(scale.item()), int(zero.item())))
    grids = {}
    for name, parameter in module.named_parameters():
        for grid in (WEIGHTS, LSTM_WEIGHTS):
            if _signature(grid.integers(parameter.detach()).numpy(), *grid.of(parameter.detach())) in wanted:
                grids[name] = grid
    return grids


def _signature(integers: np.ndarray, scale: float, zero: int) -> tuple[Any, ...]:
    """What identifies a tensor's integers in any order."""
    values, counts = np.unique(integers.astype(np.int16), return_counts=True)
    return scale, zero, values.tobytes(), counts.tobytes()


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
    outputs.) The loss is the one of plain distillation for the task. Weights are rounded as the file holds them (`rounded`). So is what
    enters linear layers and convolutions, by the range of each batch; what an LSTM rounds inside is not. The module stays in the mode that
    it is in: dropout is off, and statistics of batches do not change. Parameters keep their float32 values, which the next export rounds.

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
