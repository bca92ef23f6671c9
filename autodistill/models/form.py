"""The form that a student is trained in: the student itself, or a faster form that ends with the same weights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class TrialReads:
    """What a trial reads. A family chooses the form by it.

    ids: token ids of all rows that the student will read, int32 tensors of any length; None if they change from epoch to epoch, and
    if rows have no tokens. pad_id: of the tokenizer. taps: which lists of the student's outputs are filled. single_tokens: whether
    states of tokens beyond a text's first are read, one by one or as a mean.
    """

    ids: tuple[Tensor, ...] | None = None
    pad_id: int = 0
    taps: frozenset[str] = frozenset()
    single_tokens: bool = True


class TrainingForm:
    """The student itself, unchanged."""

    def __init__(self, student: nn.Module) -> None:
        self.student = student

    def stepped(self, decay: float) -> None:
        """Call it after each step of the optimizer. decay: the factor by which weight decay has multiplied the matrices in this step."""

    def copy_weights(self) -> dict[str, Tensor]:
        """The student's current weights, under its own names, on the CPU."""
        return {name: value.detach().cpu().clone() for name, value in self.student.state_dict().items()}

    def state(self) -> dict[str, float]:
        """What a checkpoint has to keep beside the weights."""
        return {}

    def resume(self, state: dict[str, float]) -> None:
        """Go on from a `state`."""

    def restore(self) -> None:
        """Give the student its original form back, with the weights that it has learned."""
