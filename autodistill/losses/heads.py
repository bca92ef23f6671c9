"""What the contrastive objectives share: heads that bring student and teacher onto one unit sphere, and the contrast itself."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autodistill.losses.tensors import unit


def project(layer: nn.Module, vectors: Tensor) -> Tensor:
    """A layer's output at length 1: the layer runs in its own precision, the rest in full precision."""
    return unit(layer(vectors.to(next(layer.parameters()).dtype)))


def info_nce(anchors: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    """Mean over anchors i of −log softmax_j(⟨anchor_i, candidate_j⟩ / temperature) at j = i.

    Shapes: anchors (N, D), candidates (M, D) with M ≥ N; candidate i is anchor i's positive → scalar.
    """
    return F.cross_entropy(anchors @ candidates.T / temperature, torch.arange(len(anchors), device=anchors.device))


class Heads(nn.Module):
    """A learned linear map for each side, onto the unit sphere of `width` dimensions. The teacher itself gets no gradient."""

    def __init__(self, student_width: int, teacher_width: int, width: int) -> None:
        super().__init__()
        self.student = nn.Linear(student_width, width)
        self.teacher = nn.Linear(teacher_width, width)

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides' unit vectors: (…, D_s) and (…, D_t) → two of (…, width)."""
        return project(self.student, student), project(self.teacher, teacher.detach())


def build_heads(student_width: int, teacher_width: int, *, width: int, **_: Any) -> Heads:
    """The heads of `infonce`, `supcon` and `mcrd`."""
    return Heads(student_width, teacher_width, width)


class StudentHead(nn.Module):
    """A linear map of the student to the teacher's width; the teacher's vectors are used unchanged."""

    def __init__(self, student_width: int, teacher_width: int) -> None:
        super().__init__()
        self.student = nn.Linear(student_width, teacher_width)

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides' unit vectors: (…, D_s) and (…, D_t) → two of (…, D_t)."""
        return project(self.student, student), unit(teacher.detach())


def build_student_head(student_width: int, teacher_width: int, **_: Any) -> StudentHead:
    """The head of `colld` and `trg`."""
    return StudentHead(student_width, teacher_width)
