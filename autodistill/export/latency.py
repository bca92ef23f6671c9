"""How long models take for the same row, side by side."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

from autodistill.models.fitting import cpu_threads

ROUNDS, WARMUP, LEAST = 31, 5, 3


def paired_latency(calls: Mapping[str, Callable[[], object]], rounds: int = ROUNDS, seconds: float = math.inf) -> dict[str, float]:
    """Median milliseconds of each call. Every round runs all of them once, so that other work on the machine slows all of them equally.

    torch uses one CPU thread. A call that works on a GPU has to wait for the GPU itself. seconds: after this time no other round begins,
    but there are at least `LEAST` rounds, after at least one to warm up.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    started, warmup = time.perf_counter(), WARMUP
    with cpu_threads(1), torch.inference_mode():
        for turn in range(WARMUP + rounds):
            spent = time.perf_counter() - started
            if turn and turn < warmup and spent * (WARMUP + LEAST) > seconds * turn:  # at this pace the warm-up alone would take too long
                warmup = turn
            if turn >= warmup + LEAST and spent > seconds:
                break
            for name, call in calls.items():
                began = time.perf_counter()
                call()
                if turn >= warmup:
                    times[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) * 1e3 for name, seconds in times.items()}


def spread(order: np.ndarray, size: int) -> np.ndarray:
    """Indices of rows of all sizes, (size,) int64. order: the indices of all rows, from the smallest row to the largest, (N,) int64."""
    return order[np.linspace(0, len(order) - 1, size).round().astype(int)]
