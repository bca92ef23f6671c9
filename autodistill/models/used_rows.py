"""Trains only those rows of a student's word embeddings that its texts use. The others have no gradient, so AdamW only decays them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autodistill.models.form import TrainingForm
from autodistill.models.vocabulary import TrimmedEmbedding


class UsedRows(TrainingForm):
    """Trains a student with the word embeddings of only those pieces that occur in its training and validation rows.

    A batch has a few hundred pieces, but the optimizer would go over all 30,000, which is much of a small student's step. At the end the
    rows of the other pieces are multiplied by the total decay of all steps. So the weights are those of training the whole table, except
    for rounding.

    table: the student's. ids: of all tokens that are read, int32 tensors of any length. pad_id: of the tokenizer.
    """

    def __init__(self, student: nn.Module, table: nn.Embedding, ids: Sequence[Tensor], pad_id: int) -> None:
        super().__init__(student)
        self.decayed = 1.0
        used = torch.zeros(len(table.weight), dtype=torch.bool)
        for part in ids:
            used[part.long()] = True
        used[pad_id] = False  # padding gets row 0
        self._used = torch.cat([torch.tensor([pad_id]), used.nonzero()[:, 0]]).to(table.weight.device)
        rows = torch.zeros(len(table.weight), dtype=torch.int32, device=table.weight.device)
        rows[self._used] = torch.arange(len(self._used), dtype=torch.int32, device=rows.device)
        few = TrimmedEmbedding(table.weight.detach()[self._used], rows)
        few.padding_idx = None if table.padding_idx is None else 0
        self._path = next(path for path, module in student.named_modules() if module is table)
        self._whole = table
        student.set_submodule(self._path, few)

    def stepped(self, decay: float) -> None:
        """Add up the decay of all steps."""
        self.decayed *= decay

    def copy_weights(self) -> dict[str, Tensor]:
        """The student's current weights, with the whole table, on the CPU."""
        weights = super().copy_weights()
        if self._path:
            del weights[f"{self._path}.rows"]
            table = self._whole.weight.detach().cpu() * self.decayed
            table[self._used.cpu()] = weights[f"{self._path}.weight"]
            weights[f"{self._path}.weight"] = table
        return weights

    def state(self) -> dict[str, float]:
        return {"decayed": self.decayed}

    def resume(self, state: dict[str, float]) -> None:
        self.decayed = state["decayed"]

    def restore(self) -> None:
        """Give the student its whole table back."""
        if self._path:
            weights = self.copy_weights()
            self.student.set_submodule(self._path, self._whole)
            self.student.load_state_dict(weights)
            self._path = ""
