"""How long models take for the same row, side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from autodistill.models.fitting import cpu_threads

ROUNDS, WARMUP = 31, 5


def paired_latency(calls: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median milliseconds of each call. Every round runs all of them once, so that other work on the machine slows all of them equally.

    torch uses one CPU thread. A call that works on a GPU has to wait for the GPU itself.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    with cpu_threads(1), torch.inference_mode():
        for turn in range(WARMUP + rounds):
            for name, call in calls.items():
                began = time.perf_counter()
                call()
                if turn >= WARMUP:
                    times[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) * 1e3 for name, seconds in times.items()}
