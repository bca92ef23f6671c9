"""Wasserstein contrastive representation distillation: optimal transport in its dual form and in its debiased primal form."""

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

LEAST_COST = 1e-4
"""The least mean cost that the blur is relative to, if the teacher's vectors are nearly all equal. Costs have rounding errors of 1e-7."""


class LipschitzCritic(nn.Module):
    """g(t, s): linear, ReLU, linear to a number; each layer's spectral norm is held at 1, so g is 1-Lipschitz in (t, s)."""

    def __init__(self, input_width: int, hidden_width: int) -> None:
        super().__init__()
        self.hidden = cast(nn.Linear, spectral_norm(nn.Linear(2 * input_width, hidden_width)))
        self.out = spectral_norm(nn.Linear(hidden_width, 1))

    def forward(self, teacher: Tensor, student: Tensor) -> Tensor:
        """All pairs: teacher (B, D), student (B, D) → (B, B), entry (i, j) is g(t_i, s_j)."""
        weight = self.hidden.weight  # read once, because each read is a step of the power iteration
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
        L_primal = W(t, s) − ½ W(t, t) − ½ W(s, s), the Sinkhorn divergence of the two batches (see sinkhorn_divergence), with the cost
        1 − cos(t_i, s_j) and ε = sinkhorn_epsilon · the mean cost between two of the batch's teacher vectors: the share of the teacher's
        spread that is blurred. The gradient goes through the `sinkhorn_iterations` rounds.
    Scale: |L_dual| below 2. L_primal is 0 if both batches are the same set of vectors (only L_dual sees which row is which), and above
        0 otherwise. If all of the student's vectors are equal, it is more than a third of the teacher's mean cost, at the defaults.
        The gradient at the start is about 0.01 (dual) and 0.01 to 0.05 (primal; more where the teacher's vectors are close together)
        times cross-entropy's. Search the weight on a log scale around 10.
    Source: Chen et al. 2021, "Wasserstein Contrastive Representation Distillation", sections "Global Contrastive Knowledge Transfer"
        and "Local Contrastive Knowledge Transfer"; Feydy et al. 2019, "Interpolating between Optimal Transport and MMD using Sinkhorn
        Divergences", eq. 3. Adapted: negatives are the batch's other rows, not a memory's, and their mean is not multiplied by their
        number. L_primal leaves the teacher's space unchanged, because with two learned maps it would be 0 for a single point. In the
        paper L_primal is only the cost of the blurred plan. Its minimum is a collapse if ε is not small compared with the teacher's
        costs. So here the blur is relative to those costs, and the blurred cost of each batch with itself is subtracted.
    When: teacher and student differ so much that matching the shapes of two clouds is easier than matching row by row.
    """
    student, teacher = head(student_embedding, teacher_embedding)
    value = student.new_zeros(())
    if dual_weight > 0:
        scores = head.critic(teacher, student)
        value = value + dual_weight * (scores.mean() - scores.diagonal().mean())
    if primal_weight > 0:
        value = value + primal_weight * sinkhorn_divergence(teacher, student, sinkhorn_epsilon, sinkhorn_iterations)
    return value


def sinkhorn_divergence(left: Tensor, right: Tensor, relative_epsilon: float, iterations: int) -> Tensor:
    """W(x, y) − ½ W(x, x) − ½ W(y, y), with W the cost of optimal transport between two sets of unit vectors, blurred by ε.

    W(x, y) = min over plans π with marginals 1/B of Σ_ij π_ij (1 − ⟨x_i, y_j⟩) + ε KL(π ‖ 1/B²), ε = relative_epsilon · the mean of
    1 − ⟨x_i, x_j⟩ over all i and j. It is not below 0 once Sinkhorn's rounds have converged, and 0 only for equal sets. For equal sets it
    is 0, with a gradient of 0, after any number of rounds: each pair of sets is taken in both orders, so errors cancel.
    Shapes: left, right (B, D), of length 1 → scalar. The gradient goes to both.
    Source: Feydy et al. 2019, "Interpolating between Optimal Transport and MMD using Sinkhorn Divergences", eqs. 1 to 3.
    """
    both = torch.stack([left, right])
    cost = 1 - both.unsqueeze(1) @ both.transpose(1, 2)  # (2, 2, B, B): entry (a, b) between the sets a and b
    epsilon = relative_epsilon * cost[0, 0].detach().mean().clamp(min=LEAST_COST)
    values = transport_value(cost, epsilon, iterations)
    return 0.5 * (values[0, 1] + values[1, 0] - values[0, 0] - values[1, 1])


def transport_value(cost: Tensor, epsilon: Tensor | float, iterations: int) -> Tensor:
    """The minimum over plans π with uniform marginals of Σ_ij π_ij cost_ij + ε KL(π ‖ 1/(N M)), by Sinkhorn's rounds.

    In the log domain; a round fits the rows first and the columns last. The value is the dual's, so it rises as the rounds converge.
    Shapes: cost (…, N, M) → (…).
    """
    kernel = -cost / epsilon
    columns = torch.zeros_like(cost[..., :1, :])
    for _ in range(iterations):
        rows = math.log(cost.shape[-1]) - torch.logsumexp(kernel + columns, dim=-1, keepdim=True)
        columns = math.log(cost.shape[-2]) - torch.logsumexp(kernel + rows, dim=-2, keepdim=True)
    return epsilon * (rows.mean(dim=(-2, -1)) + columns.mean(dim=(-2, -1)))
