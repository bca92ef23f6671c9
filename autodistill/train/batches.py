"""Which rows each step of a trial reads, and whether their hard labels count. Both follow from the recipe's `training`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from autodistill.models.fitting import training_batches
from autodistill.train.data import TrainView, TrialData
from autodistill.train.order import MixedBatches

FIRST_STAGE = 0.8
"""The first stage's share of the steps, if a recipe has two stages."""


class Batches:
    """The batches of a trial, epoch by epoch.

    An epoch is a pass over the labelled rows or, if the recipe has a number of steps, an equal share of these. per_epoch: its steps.
    Unlabelled rows do not make an epoch longer: in each batch they take the place of labelled rows.
    """

    def __init__(self, data: TrialData, epochs: int, generator: torch.Generator) -> None:
        self.data, self.generator = data, generator
        self.training = data.recipe.training
        self.per_epoch = self.training.steps_per_epoch(data.rows, len(data.unlabelled))
        self.first_stage = math.ceil(FIRST_STAGE * epochs * self.per_epoch) if self.training.stages != "mixed" else 0
        self._streams: dict[bool, Iterator[Tensor]] = {}

    def of_epoch(self, epoch: int, view: TrainView) -> list[Tensor]:
        """The row numbers of each batch of an epoch. Epochs count from 1."""
        if not self.training.steps and not self.training.unlabelled_share:
            return training_batches(view.lengths, self.data.rows, self.training.batch_size, self.generator)
        places = range((epoch - 1) * self.per_epoch, epoch * self.per_epoch)
        last_stage = sum(place >= self.first_stage for place in places) if self.first_stage else 0
        first = list(islice(self._stream(True, view), len(places) - last_stage))
        return first + list(islice(self._stream(False, view), last_stage))

    def has_hard_labels(self, epoch: int, step: int) -> bool:
        """Whether hard labels count in a step (from 0) of an epoch (from 1). In the first of two stages only the teacher counts."""
        return (epoch - 1) * self.per_epoch + step >= self.first_stage

    def _stream(self, with_unlabelled: bool, view: TrainView) -> Iterator[Tensor]:
        if with_unlabelled not in self._streams:
            labelled = torch.arange(self.data.rows)
            unlabelled = self.data.unlabelled_rows(view) if with_unlabelled else torch.arange(0)
            share = self.training.unlabelled_share
            mixed = MixedBatches(labelled, unlabelled, self.training.batch_size, share, view.lengths, self.generator)
            self._streams[with_unlabelled] = iter(mixed)
        return self._streams[with_unlabelled]
