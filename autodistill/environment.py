"""The machine and the versions that a search ran with."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
"""For training processes, read by glibc when they start: keep what a step has freed for the next one. Else the top of the heap goes back to
the system after every step and is mapped anew, page by page: 12,000 faults and 24 ms of each 600 ms step of a resnet10t (measured)."""


@functools.cache
def describe_environment() -> dict[str, str]:
    """Versions, platform, processor, cores and GPUs: text by name, without importing torch."""
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
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def gpu_names() -> tuple[str, ...]:
    """The NVIDIA GPUs that this process may use, by name; CUDA_VISIBLE_DEVICES is heeded."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    program = shutil.which("nvidia-smi")
    if program is None or visible in ("", "-1"):
        return ()
    try:
        answer = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    names = tuple(line.strip() for line in answer.stdout.splitlines() if line.strip())
    return names if visible is None else names[: len(visible.split(","))]


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
