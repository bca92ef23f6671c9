"""What a student costs: parameters, operations, latency."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autodistill.models.base import Batch
from autodistill.models.fitting import cpu_threads


def count_parameters(model: nn.Module) -> int:
    """The number of parameters, embeddings included. Shared parameters count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_flops(model: nn.Module, batch: Batch) -> float:
    """Floating-point operations of one forward pass over a batch, as torch counts them (matrix products and convolutions)."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(batch)
    return float(counter.get_total_flops())


def measure_latency(model: nn.Module, batch: Batch, *, threads: int = 1, repeats: int = 15, warmup: int = 3) -> float:
    """Median milliseconds of a forward pass over a batch, on the device that the model is on.

    Other work on the machine can only make it larger. If it matters, measure several times and take the smallest.
    """
    device = next(model.parameters()).device
    model.eval()
    times = []
    with cpu_threads(threads), torch.inference_mode():
        for turn in range(warmup + repeats):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            began = time.perf_counter()
            model(batch)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn >= warmup:
                times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3
