"""Reading batches ahead: while a GPU trains on one batch, a thread reads the next one from the memory-mapped files into pinned memory.

Written where there was no GPU: that results stay the same is tested, what it saves is not yet measured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from autodistill.models.base import Batch, Outputs, each_tensor

AHEAD = 2
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class ReadBatch:
    """A batch as it was read. rows: (B,) of the train split; labels: (B,). teacher_outputs: for these rows, None without a teacher."""

    rows: Tensor
    labels: Tensor
    batch: Batch
    teacher_outputs: Outputs | None

    def pinned(self) -> ReadBatch:
        """A copy in pinned memory, from which it is copied to a GPU without the CPU waiting."""
        outputs = None if self.teacher_outputs is None else each_tensor(self.teacher_outputs, Tensor.pin_memory)
        return ReadBatch(self.rows.pin_memory(), self.labels.pin_memory(), each_tensor(self.batch, Tensor.pin_memory), outputs)


def read_batches(read: Callable[[Tensor], ReadBatch], batches: list[Tensor], device: torch.device) -> Iterator[ReadBatch]:
    """Read each batch in turn; for a GPU, ahead of its turn. On the CPU a trial has no spare core for that."""
    if device.type == "cuda":
        return ahead(lambda rows: read(rows).pinned(), batches)
    return map(read, batches)


def ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Like `map`, but a thread works up to two items ahead. An exception is raised when its item is reached."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(1) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
