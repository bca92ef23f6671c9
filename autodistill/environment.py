"""The machine and the versions that a search ran with."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

Fact = TypeVar("Fact")

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
"""For training processes; glibc reads it when they start. It keeps memory that a step has freed for the next step. Otherwise the top of
the heap goes back to the system after every step and is mapped again page by page: 12,000 faults and 24 ms of each 600 ms step of a
resnet10t (measured)."""


@functools.cache
def describe_environment() -> dict[str, str]:
    """Versions, platform, processor, cores and GPUs, as texts by name, without importing torch."""
    versions = {"python": platform.python_version()}
    for name, package in (("autodistill", "autodistill-kd"), ("torch", "torch"), ("ray", "ray"), ("optuna", "optuna")):
        try:
            versions[name] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    versions |= {"platform": platform.platform(), "cpu": _cpu_model(), "cores": str(cores())}
    gpus = gpu_names()
    return versions | ({"gpu": ", ".join(gpus)} if gpus else {})


def cores() -> int:
    """The number of cores that this process may use, by its affinity and by its container's CPU quota (cgroup v1 or v2), rounded up."""
    import joblib  # a tenth of a second

    return int(joblib.cpu_count())


@functools.cache
def gpu_names() -> tuple[str, ...]:
    """The NVIDIA GPUs, or slices of one (MIG), that this process may use, by name, without importing torch.

    CUDA_VISIBLE_DEVICES is read like CUDA reads it: indices, or UUIDs that begin with `GPU-` or `MIG-`, up to the first invalid one.
    """
    return tuple(_of_gpus(lambda pynvml, handle: str(pynvml.nvmlDeviceGetName(handle))))


def gpu_free_bytes() -> tuple[int, ...]:
    """The free memory of these GPUs, in bytes."""
    return tuple(_of_gpus(lambda pynvml, handle: int(pynvml.nvmlDeviceGetMemoryInfo(handle).free)))


def _of_gpus(read: Callable[[Any, Any], Fact]) -> list[Fact]:
    """A fact of each GPU. read: gets it from the module pynvml and a handle."""
    import pynvml

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver, so no GPU
        return []
    try:
        visible_gpus = range(pynvml.nvmlDeviceGetCount()) if visible is None else [item.strip() for item in visible.split(",")]
        facts = []
        for item in visible_gpus:
            try:
                by_index = isinstance(item, int) or item.isdigit()
                handle = pynvml.nvmlDeviceGetHandleByIndex(int(item)) if by_index else pynvml.nvmlDeviceGetHandleByUUID(item)
                facts.append(read(pynvml, handle))
            except pynvml.NVMLError:
                break
        return facts
    finally:
        pynvml.nvmlShutdown()


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
