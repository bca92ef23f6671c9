"""Wasserstein contrastive representation distillation: optimal transport in its primal and its dual form."""

from __future__ import annotations

import math
from typing import Annotated, Any, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from autodistill.components import component
from autodistill.losses.heads import StudentHead
from autodistill.losses.tensors import full_precision


class LipschitzCritic(nn.Module):
    """g(t, s): linear, ReLU, linear to a number; each layer's spectral norm is held at 1, so g is 1-Lipschitz in (t, s)."""

    def __init__(self, input_width: int, hidden_width: int) -> None:
        super().__init__()
        self.hidden = cast(nn.Linear, spectral_norm(nn.Linear(2 * input_width, hidden_width)))
        self.out = spectral_norm(nn.Linear(hidden_width, 1))

    def forward(self, teacher: Tensor, student: Tensor) -> Tensor:
        """All pairs: teacher (B, D), student (B, D) → (B, B), entry (i, j) is g(t_i, s_j)."""
        weight = self.hidden.weight  # read once: each reading is a step of the power iteration
        left, right = weight.split(weight.shape[1] // 2, dim=1)
        from_teacher = F.linear(teacher.to(weight.dtype), left, self.hidden.bias)
        from_student = F.linear(student.to(weight.dtype), right)
        return full_precision(self.out(F.relu(from_teacher.unsqueeze(1) + from_student.unsqueeze(0))).squeeze(-1))


class WcordHead(StudentHead):
    """A linear map of the student to the teacher's width, and the critic of the dual form."""

    def __init__(self, student_width: int, teacher_width: int, critic_width: int) -> None:
        super().__init__(student_width, teacher_width)
        self.critic = LipschitzCritic(teacher_width, critic_width)


def build_wcord_head(student_width: int, teacher_width: int, *, critic_width: int, **_: Any) -> WcordHead:
    """The head of `wcord`."""
    return WcordHead(student_width, teacher_width, critic_width)


@component("objective.contrastive", modules={"head": build_wcord_head})
def wcord(
    student_embedding: Tensor,
    teacher_embedding: Tensor,
    head: WcordHead,
    *,
    dual_weight: Annotated[float, Field(ge=0.0)] = 1.0,
    primal_weight: Annotated[float, Field(ge=0.0)] = 1.0,
    sinkhorn_epsilon: Annotated[float, Field(gt=0.0)] = 0.1,
    sinkhorn_iterations: Annotated[int, Field(ge=1, le=500)] = 20,
    critic_width: Annotated[int, Field(ge=1)] = 256,
) -> Tensor:
    """Wasserstein contrastive representation distillation: global transfer by the dual form, local transfer by the primal form.

    Shapes: student_embedding (B, D_s), teacher_embedding (B, D_t) → scalar. head: a learned linear map of the student to D_t, and a
        critic g(t, s) of two spectrally normalised layers; s (mapped) and t are scaled to length 1.
    Formula: dual_weight · L_dual + primal_weight · L_primal.
        L_dual = −( mean_i g(t_i, s_i) − mean_{i,j} g(t_i, s_j) ), ‖g‖_Lipschitz ≤ 1: minus the Wasserstein distance between the joint
        distribution and the product of the batch's marginals, a Wasserstein form of mutual information. Student and critic both lower it.
        L_primal = Σ_ij π_ij (1 − cos(t_i, s_j)), π the entropic transport plan between the two batches: `sinkhorn_iterations` rounds of
        Sinkhorn on e^(−cost / sinkhorn_epsilon) to the marginals 1/B. The gradient goes through the rounds.
    Scale: |L_dual| below 2, L_primal between 0 and 2; the gradient at the start is about 0.02 (dual) and 0.05 (primal) times
        cross-entropy's. Search the weight on a log scale around 10.
    Source: Chen et al. 2021, "Wasserstein Contrastive Representation Distillation", sections "Global Contrastive Knowledge Transfer"
        and "Local Contrastive Knowledge Transfer". Adapted: negatives are the batch's other rows, not a memory's, and their mean is not
        multiplied by their number; L_primal keeps the teacher's space as it is, for with two learned maps it would be 0 at a point.
    When: teacher and student differ much, so that matching the shapes of two clouds is easier than matching row by row.
    """
    student, teacher = head(student_embedding, teacher_embedding)
    value = student.new_zeros(())
    if dual_weight > 0:
        scores = head.critic(teacher, student)
        value = value + dual_weight * (scores.mean() - scores.diagonal().mean())
    if primal_weight > 0:
        value = value + primal_weight * transport_cost(1 - teacher @ student.T, sinkhorn_epsilon, sinkhorn_iterations)
    return value


def transport_cost(cost: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Σ_ij π_ij cost_ij for the entropic plan π between uniform marginals; Sinkhorn's rounds in the log domain.

    Shapes: cost (N, M) → scalar. A round fits the rows first and the columns last.
    """
    kernel = -cost / epsilon
    rows, columns = cost.new_zeros(cost.shape[0], 1), cost.new_zeros(1, cost.shape[1])
    for _ in range(iterations):
        rows = -math.log(cost.shape[0]) - torch.logsumexp(kernel + columns, dim=1, keepdim=True)
        columns = -math.log(cost.shape[1]) - torch.logsumexp(kernel + rows, dim=0, keepdim=True)
    return ((kernel + rows + columns).exp() * cost).sum()
