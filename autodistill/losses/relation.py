"""Objectives on relations between the vectors of a batch. These do not depend on the vector space, so no projection is needed.

Embeddings are the vectors that the classification heads read.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from autodistill.components import component
from autodistill.losses.attention import relations, token_mean
from autodistill.losses.heads import build_student_head, info_nce
from autodistill.losses.tensors import SHORTEST, full_precision, spread, unit


@component("objective.relation")
def rkd(
    student_embedding: Tensor,
    teacher_embedding: Tensor,
    *,
    distance_weight: Annotated[float, Field(ge=0.0)] = 1.0,
    angle_weight: Annotated[float, Field(ge=0.0)] = 2.0,
) -> Tensor:
    """Relational knowledge distillation: the distances and angles within a batch should be the teacher's.

    Shapes: student_embedding (B, D_s), teacher_embedding (B, D_t) → scalar. Memory B² · (D + B): batches up to 256.
    Formula: distance_weight · L_D + angle_weight · L_A, H the Huber function with δ = 1.
        L_D = mean_ij H(ψ^s_ij − ψ^t_ij), ψ_ij = ‖x_i − x_j‖ / μ, μ the mean of ‖x_i − x_j‖ over i ≠ j.
        L_A = mean_ijk H(a^s_ijk − a^t_ijk), a_ijk = cos of the angle between x_i − x_j and x_k − x_j (0 if one of these differences is 0).
    Scale: means over all B² pairs and B³ triples, including those that are 0 by definition, as in the authors' code. Each term's
        gradient is about 0.03 times cross-entropy's. Search the weight on a log scale around 25.
    Source: Park, Kim, Lu, Cho 2019, "Relational Knowledge Distillation", eqs. 5–7 (distance), 8 (Huber), 9–10 (angle).
    When: embeddings that will be compared with each other later. The paper weighs angles twice as much as distances.
    """
    value = full_precision(student_embedding).new_zeros(())
    student, teacher = differences(student_embedding), differences(teacher_embedding.detach())
    if distance_weight > 0:
        value = value + distance_weight * F.smooth_l1_loss(relative_distances(*student), relative_distances(*teacher))
    if angle_weight > 0:
        value = value + angle_weight * F.smooth_l1_loss(angles(*student), angles(*teacher))
    return value


def differences(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """x_i − x_j, in full precision: (B, D) → (B, B, D), entry (j, i); and the length up to which a difference is rounding noise.

    It does not use inner products, which lose precision for vectors that are close together.
    """
    vectors = full_precision(vectors)
    noise = SHORTEST * torch.linalg.vector_norm(vectors.detach(), dim=-1).mean()
    return vectors.unsqueeze(0) - vectors.unsqueeze(1), noise


def relative_distances(apart: Tensor, noise: Tensor) -> Tensor:
    """Lengths of the differences, divided by their mean over pairs of distinct vectors: (B, B, D) → (B, B)."""
    length = torch.linalg.vector_norm(apart, dim=-1)
    mean = length.sum() / max(1, len(length) * (len(length) - 1))
    return length / mean.masked_fill(mean <= noise, 1.0)


def angles(apart: Tensor, noise: Tensor) -> Tensor:
    """Cosines of the angles at j between i and k: (B, B, D) → (B, B, B), entry (j, i, k)."""
    direction = unit(apart, shortest=noise)
    return direction @ direction.transpose(1, 2)


@component("objective.relation")
def sp(student_embedding: Tensor, teacher_embedding: Tensor) -> Tensor:
    """Similarity-preserving distillation: rows that are similar for the teacher should be similar for the student.

    Shapes: student_embedding (B, D_s), teacher_embedding (B, D_t) → scalar.
    Formula: 1/B² ‖ G_t − G_s ‖²_F, G = X Xᵀ with every row scaled to length 1.
    Scale: at most 4(B − 1)/B², when one row is far longer than the others; about 2/B when rows that are equal for the teacher are
        opposite for the student as often as equal. So it falls with the batch size: its gradient is about 0.03 times cross-entropy's at
        B = 16, 0.01 times at B = 64. Search the weight on a log scale around 100.
    Source: Tung, Mori 2019, "Similarity-Preserving Knowledge Distillation", eqs. 2–4.
    When: large batches in which classes repeat. It works best on non-negative activations (convolutional networks).
    """
    student, teacher = (full_precision(vectors) for vectors in (student_embedding, teacher_embedding.detach()))
    return (_similarities(teacher) - _similarities(student)).square().mean()


def _similarities(vectors: Tensor) -> Tensor:
    """Inner products (B, B) of all pairs, each row scaled to length 1; rows of vectors without a direction (see `unit`) are not scaled."""
    return unit(vectors @ vectors.T, shortest=SHORTEST * vectors.detach().norm())


@component("objective.relation")
def cc(
    student_embedding: Tensor,
    teacher_embedding: Tensor,
    *,
    gamma: Annotated[float, Field(gt=0.0)] = 0.4,
    order: Annotated[int, Field(ge=1, le=8)] = 2,
) -> Tensor:
    """Correlation congruence: the batch's kernel matrix should be the teacher's. The kernel is the Taylor series of a Gaussian.

    Shapes: student_embedding (B, D_s), teacher_embedding (B, D_t) → scalar.
    Formula: 1/B² ‖ K_t − K_s ‖²_F, K_ij = e^(−2γ) Σ_{p=0..order} (2γ)^p/p! ⟨x_i, x_j⟩^p, x at length 1 (so that K → e^(−γ‖x_i − x_j‖²)).
    Scale: below 1; its gradient is about 0.005 times cross-entropy's. Search the weight on a log scale around 100.
    Source: Peng et al. 2019, "Correlation Congruence for Knowledge Distillation", sections 3.2 (the loss) and 3.3 (the kernel; γ = 0.4
        and order 2 are the paper's). The paper first maps both sides to one width, which B × B matrices do not need.
    When: as sp. A larger γ looks at near neighbours, a smaller one at all rows.
    """
    kernels = []
    for vectors in (student_embedding, teacher_embedding.detach()):
        products = unit(vectors) @ unit(vectors).T
        series = torch.ones_like(products)
        for power in range(1, order + 1):
            series = series + (2 * gamma * products) ** power / math.factorial(power)
        kernels.append(math.exp(-2 * gamma) * series)
    return (kernels[0] - kernels[1]).square().mean()


@component("objective.relation", modules={"head": build_student_head})
def trg(
    student_state: Tensor,
    teacher_state: Tensor,
    mask: Tensor,
    head: nn.Module,
    *,
    nodes: Annotated[int, Field(ge=2)] = 512,
    neighbours: Annotated[int, Field(ge=1)] = 8,
    bandwidth: Annotated[float, Field(gt=0.0)] = 0.5,
    temperature: Annotated[float, Field(gt=0.0)] = 0.1,
    inner_weight: Annotated[float, Field(ge=0.0)] = 10.0,
    local_weight: Annotated[float, Field(ge=0.0)] = 100.0,
    global_weight: Annotated[float, Field(ge=0.0)] = 1.0,
) -> Tensor:
    """Token-level relationship graph: the tokens of all rows form one graph, whose local and global structure should be the teacher's.

    Shapes: student_state (B, T, D_s), teacher_state (B, T, D_t), mask (B, T) bool → scalar. States are tokens of a text's last layer, or
        positions of an image's last stage. head: a learned linear map W of the student to D_t.
    Formula: inner_weight · L_inner + local_weight · L_local + global_weight · L_global.
        L_inner = mean over rows of the mean squared error of softmax(F Fᵀ/√D), F the row's tokens.
        Then the graph: about `nodes` tokens, x for the student and y for the teacher, scaled to length 1.
        L_local = mean_i KL( softmax_j a^s_ij ‖ softmax_j a^t_ij ), a_ij = e^(−‖x_i − x_j‖²/(2·bandwidth)), j over the teacher's
        `neighbours` nearest nodes of i.
        L_global = −mean_i log( e^(cos(W x_i, y_i)/τ) / Σ_j e^(cos(W x_i, y_j)/τ) ).
    Scale: L_local is a mean over nodes, where the paper sums. Gradients of the unweighted terms are about 0.004 (inner), 0.001 (local) and
        0.2 (global) times cross-entropy's; the default weights bring them near each other. On states right after a layer norm L_inner
        can be close to 0, because every token is then similar only to itself.
    Source: Zhang, Liu, He 2023, "Knowledge Distillation via Token-level Relationship Graph", the losses L_inner, L_local and L_global.
        Adapted: tokens are not drawn at random but evenly spaced over each row, nodes/B of each, so that neither padding nor the batch's
        order matters. Their vectors have length 1, so that one bandwidth fits both widths. The student is compared on the teacher's
        edges, and the softmax runs over these (the paper has a graph for each side and takes the softmax over all nodes). τ is constant.
    When: long texts or large feature maps, whose meaning is in how the parts relate; and imbalanced classes, for which it was made.
    """
    teacher_state = teacher_state.detach()
    value = full_precision(student_state).new_zeros(())
    if inner_weight > 0:
        student, teacher = (relations(state.unsqueeze(1), state.unsqueeze(1), mask).exp() for state in (student_state, teacher_state))
        squares = (student - teacher).square()[..., : mask.shape[1]]
        value = value + inner_weight * token_mean(token_mean(squares, mask), mask).mean()
    chosen = spread(mask, nodes)
    student_nodes, teacher_nodes = student_state[chosen], teacher_state[chosen]
    if not len(student_nodes):
        return value + full_precision(student_nodes).sum()  # 0
    if local_weight > 0:
        value = value + local_weight * _local(unit(student_nodes), unit(teacher_nodes), neighbours, bandwidth)
    if global_weight > 0:
        student, teacher = head(student_nodes, teacher_nodes)
        value = value + global_weight * info_nce(student, teacher, temperature)
    return value


def _local(student: Tensor, teacher: Tensor, neighbours: int, bandwidth: float) -> Tensor:
    squared = [2 - 2 * nodes @ nodes.T for nodes in (student, teacher)]
    self_edges = torch.eye(len(teacher), dtype=torch.bool, device=teacher.device)
    nearest = squared[1].masked_fill(self_edges, math.inf).topk(min(neighbours, len(teacher) - 1), largest=False).indices
    own, target = (F.log_softmax((-gaps.gather(1, nearest) / (2 * bandwidth)).exp(), dim=1) for gaps in squared)
    return (own.exp() * (own - target)).sum(dim=1).mean()
