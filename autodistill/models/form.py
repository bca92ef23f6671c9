"""The form that a student is trained in: the student itself, or one that takes less time and comes to the same weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TrialReads:
    """What a trial reads, by which a family decides on the form.

    ids: token ids of all rows that the student will read, int32 tensors of any length; None where they change from epoch to epoch, and
    where rows have no tokens. pad_id: of the tokenizer. taps: which lists of the student's outputs are filled. single_tokens: whether
    states of other tokens than a text's first are read, one by one or in a mean.
    """

    ids: tuple[Tensor, ...] | None = None
    pad_id: int = 0
    taps: frozenset[str] = frozenset()
    single_tokens: bool = True


class TrainingForm:
    """A student as it is."""

    def __init__(self, student: nn.Module) -> None:
        self.student = student

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer has made a step (its first group holds the matrices, which decay)."""

    def copy_weights(self) -> dict[str, Tensor]:
        """The student's weights as they are now, under its own names, on the CPU."""
        return {name: value.detach().cpu().clone() for name, value in self.student.state_dict().items()}

    def restore(self) -> None:
        """Make the student what it was, with the weights that it has learned."""
