"""What the contrastive objectives remember of earlier batches: CRD's memory bank and CKD's queue.

Both are buffers of the objective's module. So they are in its state_dict, and a run that continues from a checkpoint has them. They are
written only in training mode.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autodistill.losses.heads import Heads, StudentHead


class MemoryBank(nn.Module):
    """A unit vector of student and teacher for every training row, each a moving average of that row's projections.

    log_z: the logarithms of the two normalisers Z (student's anchors, teacher's anchors); NaN until the first batch sets them.
    """

    student: Tensor
    teacher: Tensor
    log_z: Tensor

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.register_buffer("student", F.normalize(torch.randn(rows, width), dim=-1))
        self.register_buffer("teacher", F.normalize(torch.randn(rows, width), dim=-1))
        self.register_buffer("log_z", torch.full((2,), math.nan))

    def draw(self, index: Tensor, count: int) -> Tensor:
        """Each row itself and `count` other rows, drawn with replacement; if there are no more than `count` others, each of them once.

        Shapes: index (B,) → (B, 1 + min(count, rows − 1)) int64.
        """
        others = len(self.student) - 1
        if count < others:
            steps = torch.randint(1, others + 1, (len(index), count), device=index.device)
        else:
            steps = torch.arange(1, others + 1, device=index.device).expand(len(index), -1)
        return torch.cat([index.unsqueeze(1), (index.unsqueeze(1) + steps) % len(self.student)], dim=1)

    def normaliser(self, side: int, scores: Tensor) -> Tensor:
        """The logarithm of a side's Z: rows · mean of e^score over the first batch's scores, a constant from then on."""
        if not self.log_z[side].isnan():
            return self.log_z[side].to(scores.dtype)
        log_z = torch.logsumexp(scores.detach().flatten(), dim=0) - math.log(scores.numel()) + math.log(len(self.student))
        if self.training:
            self.log_z[side] = log_z
        return log_z

    @torch.no_grad()
    def update(self, index: Tensor, student: Tensor, teacher: Tensor, momentum: float) -> None:
        """Update the batch's rows: memory ← momentum · memory + (1 − momentum) · projection, scaled to length 1."""
        for memory, new in ((self.student, student), (self.teacher, teacher)):
            memory[index] = F.normalize(momentum * memory[index] + (1 - momentum) * new.to(memory.dtype), dim=-1)


class CrdHead(Heads):
    """CRD's heads, the number of training rows, and, for negatives: bank, the memory bank."""

    def __init__(self, student_width: int, teacher_width: int, width: int, rows: int, with_bank: bool) -> None:
        super().__init__(student_width, teacher_width, width)
        self.rows = rows
        self.bank = MemoryBank(rows, width) if with_bank else None


def build_crd_head(student_width: int, teacher_width: int, *, rows: int, width: int, negatives: str, **_: Any) -> CrdHead:
    """The head of `crd`."""
    return CrdHead(student_width, teacher_width, width, rows, with_bank=negatives == "bank")


class CkdHead(StudentHead):
    """CKD's projection of the student, and a first-in-first-out queue of teacher vectors.

    queue: (size, D_t) unit vectors; queue_rows: (size,) the training row of each, −1 for "not filled yet"; next: where to write.
    """

    queue: Tensor
    queue_rows: Tensor
    next: Tensor

    def __init__(self, student_width: int, teacher_width: int, size: int) -> None:
        super().__init__(student_width, teacher_width)
        self.register_buffer("queue", torch.zeros(size, teacher_width))
        self.register_buffer("queue_rows", torch.full((size,), -1))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, teacher: Tensor, index: Tensor) -> None:
        """Replace the oldest entries with a batch's teacher vectors (B, D_t) and row indices (B,)."""
        teacher, index = teacher[-len(self.queue) :], index[-len(self.queue) :]
        places = (self.next + torch.arange(len(index), device=index.device)) % len(self.queue)
        self.queue[places] = teacher.to(self.queue.dtype)
        self.queue_rows[places] = index
        self.next.copy_((self.next + len(index)) % len(self.queue))


def build_ckd_head(student_width: int, teacher_width: int, *, rows: int, queue: int, **_: Any) -> CkdHead:
    """The head of `ckd`. The queue is at most as long as the training split: a longer one would hold nothing new."""
    return CkdHead(student_width, teacher_width, min(queue, rows))
