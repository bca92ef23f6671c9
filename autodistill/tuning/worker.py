"""What runs inside a Ray worker: one trial after another in the same warm process.

Messages to the search are JSON texts: {"kind": "started" | "point" | "result" | "failure" | "disk", …}. "started": what runs the trial, so
that its record says so however it ends. A failure is a message too, not an exception, so that the worker keeps running and the next trial
need not import torch again. "disk": a file cannot be written, which is no fault of the trial.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import json
import math
import os
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from autodistill.environment import describe_environment, gpu_names
from autodistill.errors import DivergedError
from autodistill.records import Point
from autodistill.storage import disk_error_of, is_disk_full
from autodistill.train.assignment import Runner


def run_assignment(config: dict[str, Any], runner: Runner) -> None:
    """Run one trial and report its start and its epochs, then its result or its failure."""
    from ray import tune

    began = time.monotonic()

    def send(kind: str, **content: Any) -> None:
        tune.report({"message": json.dumps({"kind": kind, "seconds": time.monotonic() - began, **content}, default=float)})

    def report(point: Point) -> None:
        if not math.isfinite(point.score):
            raise DivergedError(f"the score of epoch {point.epoch} is {point.score}")
        send("point", point=point.model_dump())

    send("started", environment=describe_environment() | _whereabouts())
    if Path(config["cwd"]).is_dir():  # so that a relative path means the same here; another machine may not have the folder
        os.chdir(config["cwd"])
    if not gc.get_freeze_count():
        gc.freeze()  # collections then skip the objects of torch, which stay anyway; this saves 0.1 s each time
    _free_memory()  # of the trial before, if it was stopped
    poisoned = False
    try:
        result = dataclasses.asdict(runner(config["assignment"], report))
        message: dict[str, Any] = {"kind": "result", "result": result}
    except Exception as cause:
        poisoned = type(cause).__name__ == "AcceleratorError" or "CUDA error" in str(cause)
        kind = "disk" if is_disk_full(cause) or disk_error_of(cause) else "failure"
        message = {"kind": kind, "reason": _one_line(disk_error_of(cause) or cause), "traceback": traceback.format_exc()}
    finally:
        _free_memory()
    send(**message)
    if poisoned:
        raise RuntimeError("the device is in an error state, so this process ends")


def _whereabouts() -> dict[str, str]:
    """The host, Ray's id of the node, and the device: `cpu`, or `cuda:` and the GPU as the node numbers or names it."""
    import ray

    context = ray.get_runtime_context()
    assigned = context.get_accelerator_ids().get("GPU") or (os.environ.get("CUDA_VISIBLE_DEVICES") or "0").split(",")
    return {"host": socket.gethostname(), "node": context.get_node_id(), "device": f"cuda:{assigned[0]}" if gpu_names() else "cpu"}


def _one_line(cause: BaseException) -> str:
    text = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {text[:500]}" if text else type(cause).__name__


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    # Within a trial freed memory is kept (KEEP_MEMORY). After 40 trials a worker held 5.4 GB; with this call, which only glibc has, 0.6 GB.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
