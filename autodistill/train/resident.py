"""The training rows on the device: token ids or pixels, labels and teacher outputs, so that batches are made there from row numbers.

Texts are padded to one of a few lengths, so that a trial has few shapes of batches, each of which can be recorded once and replayed.
"""

from __future__ import annotations

import logging
import os
from bisect import bisect_left

import torch
from torch import Tensor

from autodistill.errors import UsageError
from autodistill.models.base import Batch, Outputs
from autodistill.train.data import TrainView
from autodistill.train.reading import ReadBatch

BUDGET_VARIABLE = "AUTODISTILL_RESIDENT_BYTES"
LENGTHS = tuple(step * 2**power for power in range(11) for step in (8, 12))  # 8, 12, 16, 24, 32, … 12288
"""The lengths that texts are padded to. Each is at most 1.5 times the one before, so padding is at most a third of a batch."""


def resident_budget() -> int:
    """The bytes that rows may take on a GPU: AUTODISTILL_RESIDENT_BYTES, by default 0, because it has not been measured on a GPU yet.

    On the CPU rows are read from memory-mapped files as they are needed: there is nothing to be gained by copying them.

    Raises:
        UsageError: the variable is not a number of bytes.
    """
    text = os.environ.get(BUDGET_VARIABLE, "0")
    if not text.isdecimal():
        raise UsageError(f"{BUDGET_VARIABLE} is {text!r}; allowed: a number of bytes, such as 2000000000, or 0 to keep rows off the GPU")
    return int(text)


def padded_lengths(longest: int) -> tuple[int, ...]:
    """The lengths that batches of a split are padded to: those of LENGTHS below its longest row, and the length of that row."""
    return (*(length for length in LENGTHS if length < longest), longest)


class ResidentView:
    """One view of the training rows on a device.

    view: as it is read on the CPU; all its teacher outputs are stored. labels: of all rows, as `Target.loss` expects them.
    """

    def __init__(self, view: TrainView, labels: Tensor, device: torch.device) -> None:
        self.view, self.labels = view, labels.to(device)
        self.device = device
        self.inputs = view.inputs.to(device)
        self.teacher_outputs = None if view.teacher_outputs is None else view.teacher_outputs.to(device)
        self._lengths = view.lengths
        self._padded = () if view.lengths is None else padded_lengths(int(view.lengths.max()))

    def length(self, rows: Tensor) -> int | None:
        """The length that a batch is padded to; None for images. rows: (B,) int64, on the CPU."""
        return None if self._lengths is None else self._padded[bisect_left(self._padded, int(self._lengths[rows].max()))]

    def batch(self, rows: Tensor, length: int | None) -> Batch:
        """The rows as the student reads them. rows: (B,) int64, on the device. length: see `length`."""
        return self.inputs.batch(rows, length)

    def teacher_batch(self, rows: Tensor, length: int | None) -> Outputs | None:
        """The teacher's outputs for the rows, on the student's scale; None if the recipe needs no teacher."""
        return None if self.teacher_outputs is None else self.view.scaled(self.teacher_outputs.batch(rows, length))

    def read(self, rows: Tensor) -> ReadBatch:
        """A batch on the device. rows: (B,) int64, on the CPU."""
        length, places = self.length(rows), rows.to(self.device, non_blocking=True)
        return ReadBatch(rows, self.labels[places], self.batch(places, length), self.teacher_batch(places, length))


class ResidentViews:
    """Moves the views of a trial to its device, as long as they fit into a budget of bytes. The others are read on the CPU as always.

    taken: bytes of the budget. refusals: for people, why views stay on the CPU.
    """

    def __init__(self, labels: Tensor, device: torch.device, budget: int) -> None:
        self.labels, self.device, self.budget = labels, device, budget
        self.taken = 0
        self.refusals: dict[str, None] = {}
        self._views: dict[TrainView, ResidentView | None] = {}

    def get(self, view: TrainView) -> ResidentView | None:
        """A view on the device; None if it does not fit, or if the teacher runs with its batches."""
        if not self.budget:
            return None
        if view not in self._views:
            size = bytes_of(view, self.labels)
            fits = view.is_stored and self.taken + size <= self.budget
            if not fits:
                left = f"they take {size / 1e6:,.0f} MB, and {(self.budget - self.taken) / 1e6:,.0f} MB are left ({BUDGET_VARIABLE})"
                self._refuse(left if view.is_stored else "the teacher runs with every batch")
            self.taken += size if fits else 0
            self._views[view] = ResidentView(view, self.labels, self.device) if fits else None
        return self._views[view]

    def _refuse(self, why: str) -> None:
        note = f"its training rows are read on the CPU: {why}"
        logging.getLogger(__name__).info(note)
        self.refusals[note] = None


def bytes_of(view: TrainView, labels: Tensor) -> int:
    """What a view takes on a device, with the labels: its rows and, if it has a teacher, the stored outputs that the recipe reads."""
    return labels.nbytes + view.inputs.bytes + (0 if view.teacher_outputs is None else view.teacher_outputs.bytes)
