"""Steps as CUDA graphs: a step's kernels are recorded once, and then launched together, which takes the CPU out of small students' steps.

Source: NVIDIA, "CUDA Programming Guide", CUDA graphs; PyTorch's notes on CUDA semantics, "CUDA Graphs".
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Recorder(Protocol):
    """Records a step, so that it can be replayed."""

    def session(self) -> AbstractContextManager[None]:
        """All steps are taken within it, recorded or not."""
        ...

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        """Record a step without taking it; returns what takes it. The step must have been taken before.

        Raises:
            RuntimeError: it cannot be recorded.
        """
        ...


class CudaGraphs:
    """Records steps as CUDA graphs, which share their memory. All steps run on a stream of their own, because recording needs one."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self._pool: Any = None

    @contextmanager
    def session(self) -> Iterator[None]:
        """Use the stream."""
        usual = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(usual)
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            usual.wait_stream(self.stream)

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        """See `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self.stream):
            step()
        self._pool = self._pool or graph.pool()
        replay: Callable[[], None] = graph.replay
        return replay


def recorder_for(device: torch.device) -> Recorder | None:
    """CUDA graphs on a GPU; None elsewhere, where there is nothing to gain."""
    return CudaGraphs(device) if device.type == "cuda" else None


SIZE, READ = "makes a tensor whose size depends on values", "reads a number from the device"
_OBSTACLES = {
    "_local_scalar_dense": READ,
    "lift_fresh": "copies a number to the device",
    "_pack_padded_sequence": "packs sequences by lengths on the CPU",
} | dict.fromkeys(("nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount"), SIZE)
_READS_MASKS = "transformers/masking_utils.py"
"""transformers looks for padding in a mask before it uses it, but not while a graph is recorded: then it always uses the mask."""
_PACKAGE = str(Path(__file__).parents[1])
_OF_STEPS = {str(Path(__file__).with_name(name)) for name in ("graphs.py", "device_steps.py", "trial.py")}


class Obstacles(TorchDispatchMode):
    """Finds the operations of a step that a CUDA graph cannot hold: those for which the CPU waits for the device, or copies to it.

    It looks before recording, because a recording that fails leaves the device's random numbers in an undefined state. `seen` has a
    sentence for each: where in this package it happens, if Python knows, and what.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        what = _obstacle(func, args, out)
        if what is not None and not (what == READ and _reads_mask()):
            self.seen[f"{_place()} {what}"] = None
        return out


def _obstacle(func: Any, args: Any, out: Any) -> str | None:
    name = func._schema.name.removeprefix("aten::")
    if name in _OBSTACLES:
        return _OBSTACLES[name]
    if name in ("index", "index_put", "index_put_") and any(item is not None and item.dtype == torch.bool for item in args[1]):
        return SIZE
    if name in ("_to_copy", "copy_"):
        devices = {item.device.type for item in tree_leaves((args, out)) if isinstance(item, Tensor)}
        if len(devices) > 1:
            return "copies between the device and the CPU"
    return None


def _frames() -> Iterator[CodeType]:
    """What Python runs now, from the inside out."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def _reads_mask() -> bool:
    return any(code.co_filename.endswith(_READS_MASKS) for code in _frames())


def _place() -> str:
    """The innermost place in this package that runs now: `losses/memory.py: normaliser`."""
    for code in _frames():
        file = code.co_filename
        if file.startswith(_PACKAGE) and file not in _OF_STEPS:
            return f"{Path(file).relative_to(_PACKAGE).as_posix()}: {code.co_name}"
        if file in _OF_STEPS and code.co_name in ("run", "descend"):
            return "the step"
    return "the backward pass"
