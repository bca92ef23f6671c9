"""Steps of which the device does everything: the CPU only says which rows. Each shape of a step is recorded once and then replayed.

Everything but the recording itself runs on the CPU too, in tests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from autodistill.models.base import Batch, Outputs
from autodistill.train.graphs import Obstacles, Recorder
from autodistill.train.objective import BatchLabels
from autodistill.train.resident import ResidentView

EAGER_STEPS = 2
"""The steps of each shape that are taken one operation at a time before it is recorded: the first creates the optimizer's state, the last
is searched for what cannot be recorded. So a shape that is seen less often is never recorded."""
MOST_RECORDED = 64
"""The most shapes that are recorded: each takes memory, and time once. A trial has one for each view, length, and kind of batch."""

Descend = Callable[[Batch, Outputs | None, BatchLabels, bool], dict[str, Tensor]]
"""Takes a step on a batch on the device and returns each weighted term."""

_PLACES = ("labelled", "scored", "complete")


class StaticStep:
    """The step on one shape of batch. `run` reads the rows from a buffer of fixed size, so what it does can be replayed.

    view: the rows on the device. labels: a batch of this shape, on the CPU; only its row numbers and places count. totals: the sum of each
    term over the steps so far, which `run` adds to.
    """

    def __init__(
        self, view: ResidentView, labels: BatchLabels, length: int | None, hard_labels: bool, descend: Descend, totals: dict[str, Tensor]
    ) -> None:
        self.view, self.length, self.hard_labels, self.descend, self.totals = view, length, hard_labels, descend, totals
        numbers = _numbers(labels)
        self._buffer = torch.empty(sum(len(part) for part in numbers.values()), dtype=torch.int64, device=view.device)
        self._parts = dict(zip(numbers, self._buffer.split([len(part) for part in numbers.values()]), strict=True))
        self.replay: Callable[[], None] | None = None
        self.taken = 0
        self.names: tuple[str, ...] = ()

    def feed(self, labels: BatchLabels) -> None:
        """Say which rows come next. It does not wait for the device."""
        numbers = torch.cat(list(_numbers(labels).values()))
        self._buffer.copy_(numbers.pin_memory() if self._buffer.is_cuda else numbers, non_blocking=True)

    def run(self) -> None:
        """Take the step."""
        rows = self._parts["index"]
        places: dict[str, Any] = {name: part for name, part in self._parts.items() if name != "index"}
        labels = BatchLabels(self.view.labels[rows], rows, **places)
        outputs = self.view.teacher_batch(rows, self.length)
        parts = self.descend(self.view.batch(rows, self.length), outputs, labels, self.hard_labels)
        for name, value in parts.items():
            if name in self.totals:
                self.totals[name].add_(value)
            else:
                self.totals[name] = value.clone()
        self.names = tuple(parts)


class DeviceSteps:
    """Takes the steps of a trial whose rows are on its device.

    descend: takes a step. places: which of some rows have a label and teacher outputs, see `TrialData.places`. stepped: called after each
    step. recorder: None to take each step one operation at a time. refusal: why steps are not recorded, for people; None if they are.
    """

    def __init__(
        self, descend: Descend, places: Callable[[Tensor], dict[str, Any]], stepped: Callable[[], None], recorder: Recorder | None
    ) -> None:
        self.descend, self.places, self.stepped, self.recorder = descend, places, stepped, recorder
        self.refusal: str | None = None
        self.totals: dict[str, Tensor] = {}
        self._steps: dict[tuple[object, ...], StaticStep] = {}

    @property
    def recorded(self) -> int:
        """The number of shapes that are replayed."""
        return sum(step.replay is not None for step in self._steps.values())

    def take(self, view: ResidentView, batches: Sequence[Tensor], has_hard_labels: Callable[[int], bool]) -> dict[str, float]:
        """One step on each batch of rows (B,) int64, on the CPU. Returns the sum of each term over the batches.

        has_hard_labels: whether hard labels count in a step, counted from 0.
        """
        names: dict[str, None] = {}  # in the order of the first step that has them
        for total in self.totals.values():
            total.zero_()
        with nullcontext() if self.recorder is None else self.recorder.session():
            for number, rows in enumerate(batches):
                step = self._fed(view, rows, has_hard_labels(number))
                self._take(step)
                self.stepped()
                names |= dict.fromkeys(step.names)
        return {name: float(self.totals[name]) for name in names}

    def _fed(self, view: ResidentView, rows: Tensor, hard_labels: bool) -> StaticStep:
        labels = BatchLabels(rows, rows, **self.places(rows))
        length = view.length(rows)
        shape = (view, length, hard_labels, *((name, len(part)) for name, part in _numbers(labels).items()))
        if shape not in self._steps:
            self._steps[shape] = StaticStep(view, labels, length, hard_labels, self.descend, self.totals)
        self._steps[shape].feed(labels)
        return self._steps[shape]

    def _take(self, step: StaticStep) -> None:
        if step.replay is None and self._may_record(step):
            self._record(step)
        if step.replay is not None:
            step.replay()
        elif self.recorder is not None and self.refusal is None and step.taken == EAGER_STEPS - 1:
            with Obstacles() as obstacles:
                step.run()
            if obstacles.seen:
                self._refuse("; ".join(obstacles.seen))
        else:
            step.run()
        step.taken += 1

    def _may_record(self, step: StaticStep) -> bool:
        return self.recorder is not None and self.refusal is None and step.taken >= EAGER_STEPS and self.recorded < MOST_RECORDED

    def _record(self, step: StaticStep) -> None:
        assert self.recorder is not None
        try:
            step.replay = self.recorder.record(step.run)
        except RuntimeError as cause:  # torch raises nothing more precise
            self._refuse(str(cause).partition("\n")[0])

    def _refuse(self, why: str) -> None:
        self.refusal = why
        logging.getLogger(__name__).info("steps are not recorded as CUDA graphs: %s", why)


def _numbers(labels: BatchLabels) -> dict[str, Tensor]:
    """What a step of a fixed shape reads anew each time: row numbers, and places in the batch, int64."""
    return {"index": labels.index} | {name: part for name in _PLACES if (part := getattr(labels, name)) is not None}
