"""An ensemble: several trained teachers that are used as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from autodistill.models.base import Batch, Outputs, StudentModule
from autodistill.target import Target

Reread = Callable[[Batch], Batch]
"""Turns a batch as the first member reads it into what another member reads."""


class Ensemble(StudentModule):
    """Several teachers as one. Logits (B, C) are `Target.averaged` over the members, divided by a temperature; the embedding, states and
    attention are the first's.

    Source: Lakshminarayanan et al. 2017, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles", section 2.4.
    """

    def __init__(self, members: Sequence[StudentModule], target: Target, rereads: Sequence[Reread], temperature: float = 1.0) -> None:
        """rereads: one for each member after the first."""
        super().__init__()
        self.members = nn.ModuleList(members)
        self.target, self.rereads, self.temperature = target, tuple(rereads), temperature

    @property
    def first(self) -> StudentModule:
        """The member whose tokens or transform, states and attention are the ensemble's."""
        member = self.members[0]
        assert isinstance(member, StudentModule)
        return member

    @property
    def attention_layers(self) -> int:
        """The first member's."""
        return self.first.attention_layers

    @property
    def large_matrices(self) -> bool:
        """The first member's."""
        return self.first.large_matrices

    @property
    def output_layer(self) -> Any:
        """The first member's. No single layer gives the ensemble's own logits."""
        return self.first.output_layer

    def forward(self, batch: Batch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        """See `Model`."""
        outputs = self.first(batch, taps=taps)
        others = [member(reread(batch)).logits for member, reread in zip(self.members[1:], self.rereads, strict=True)]
        return dataclasses.replace(outputs, logits=self.target.averaged([outputs.logits, *others]) / self.temperature)
