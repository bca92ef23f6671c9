"""Objectives on attention: the student should attend to the same places as its teacher.

For text models, each function takes the queries, keys and values of a layer pair and computes the attention scores itself. So only
T × d numbers have to be stored of a teacher, not T × T. Padding counts neither as queries nor as keys. Every text has the same weight.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from autodistill.components import IMAGE, TEXT, component
from autodistill.errors import RecipeError
from autodistill.losses.tensors import SHORTEST, full_precision, unit

VECTOR = 16
"""The CPU's softmax processes shorter rows one number at a time, which takes up to ten times as long as a row of this length."""


@component("objective.attention", tasks=IMAGE)
def at(student_maps: Tensor, teacher_maps: Tensor, *, exponent: Annotated[float, Field(ge=1.0)] = 2.0) -> Tensor:
    """Attention transfer: the student's feature map should be strongly activated at the same places as the teacher's.

    Shapes: student_maps (B, C_s, H, W), teacher_maps (B, C_t, H', W') → scalar.
    Formula: mean_b ‖ Q_s/‖Q_s‖₂ − Q_t/‖Q_t‖₂ ‖₂, Q = vec(Σ_c |A_c|^exponent). Where the sizes differ, both maps Σ_c |A_c|^exponent are
        first average-pooled to the smaller height and width.
    Scale: between 0 and √2. The paper does not square the norm. The authors' code takes the mean of the squares over places, which is
        ‖ … ‖₂²/(H·W). The gradient is about 0.6 times cross-entropy's.
    Source: Zagoruyko, Komodakis 2017, "Paying More Attention to Attention", eq. 2 (its ½ is part of the weight).
    When: two convolutional networks of a similar kind. A map of 1 × 1 holds no information, as in the last stage for 32 × 32 images.
    """
    grid = min(student_maps.shape[2], teacher_maps.shape[2]), min(student_maps.shape[3], teacher_maps.shape[3])
    student, teacher = (
        unit(F.adaptive_avg_pool2d(full_precision(maps).abs().pow(exponent).sum(dim=1), grid).flatten(1), shortest=SHORTEST**exponent)
        for maps in (student_maps, teacher_maps.detach())
    )
    return torch.linalg.vector_norm(student - teacher, dim=1).mean()


@component("objective.attention", tasks=TEXT)
def mse(student_queries: Tensor, student_keys: Tensor, teacher_queries: Tensor, teacher_keys: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of the attention scores, before the softmax: TinyBERT's attention loss.

    Shapes: queries, keys (B, h, T, d), h and d may differ between the sides; mask (B, T) bool → scalar.
    Formula: mean over texts and heads of 1/l² Σ_ij (A^s_ij − A^t_ij)², A = Q Kᵀ/√d, i and j over the text's l tokens.
        Where the numbers of heads differ, A is first averaged over the heads of each side.
    Scale: the square of a score's unit, often 1 to 100 for a BERT teacher. The gradient on the layer's input is about 0.06 times
        cross-entropy's for scores of unit variance, and grows with the scores. Search the weight on a log scale around 10.
    Source: Jiao et al. 2020, "TinyBERT: Distilling BERT for Natural Language Understanding", eq. 7 (unnormalised attention matrices).
    When: the student has as many heads as the teacher and ideally starts from its weights. TinyBERT uses layer_map skip.
    """
    student, teacher = scores(student_queries, student_keys), scores(teacher_queries.detach(), teacher_keys.detach())
    if student.shape[1] != teacher.shape[1]:
        student, teacher = student.mean(dim=1, keepdim=True), teacher.mean(dim=1, keepdim=True)
    return token_mean(token_mean((student - teacher).square(), mask), mask).mean()


@component("objective.attention", tasks=TEXT)
def kl(student_queries: Tensor, student_keys: Tensor, teacher_queries: Tensor, teacher_keys: Tensor, mask: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the attention distributions, head by head.

    Shapes: queries, keys (B, h, T, d), h and d may differ between the sides; mask (B, T) bool → scalar.
    Formula: mean over texts, heads and the text's tokens i of KL( A^t_i ‖ A^s_i ), A_i = softmax_j(q_i·k_j/√d), j over the text's tokens.
        Where the numbers of heads differ, the distributions are first averaged over the heads of each side.
    Scale: between 0 and about log l; the gradient on the layer's input is about 0.03 times cross-entropy's. Search the weight on a log
        scale around 10.
    Source: Sun et al. 2020, "MobileBERT: a Compact Task-Agnostic BERT for Resource-Limited Devices", its attention transfer.
    When: as mse, where only the probabilities after the softmax should count. It is safer where the teacher's scores are large.
    """
    return divergence(
        relations(teacher_queries.detach(), teacher_keys.detach(), mask), relations(student_queries, student_keys, mask), mask
    )


@component("objective.attention", tasks=TEXT, drop=("layer_map", "layers"))
def minilm(
    student_queries: Tensor,
    student_keys: Tensor,
    student_values: Tensor,
    teacher_queries: Tensor,
    teacher_keys: Tensor,
    teacher_values: Tensor,
    mask: Tensor,
) -> Tensor:
    """MiniLM's deep self-attention distillation: attention distributions, and the relations between the values.

    Shapes: queries, keys, values (B, h, T, d), h and d may differ between the sides; mask (B, T) bool → scalar.
    Formula: L_AT + L_VR. L_AT: mean over texts, heads and tokens i of KL( A^t_i ‖ A^s_i ), A = softmax(Q Kᵀ/√d).
        L_VR: the same with softmax(V Vᵀ/√d). Where the numbers of heads differ (the paper's do not), the distributions are first
        averaged over the heads of each side.
    Scale: a sum of two divergences; the gradient on the layer's input is about 0.1 times cross-entropy's. Search the weight on a
        log scale around 10.
    Source: Wang et al. 2020, "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
        sections 3.1 and 3.2. As in the paper, it compares only the last layers, so it has no layer_map.
    When: transformers whose hidden widths differ, because relations between tokens need no projection.
    """
    attention = kl(student_queries, student_keys, teacher_queries, teacher_keys, mask)
    return attention + kl(student_values, student_values, teacher_values, teacher_values, mask)


@component("objective.attention", tasks=TEXT, drop=("layer_map", "layers"))
def minilmv2(
    student_queries: Tensor,
    student_keys: Tensor,
    student_values: Tensor,
    teacher_queries: Tensor,
    teacher_keys: Tensor,
    teacher_values: Tensor,
    mask: Tensor,
    *,
    relation_heads: Annotated[int, Field(ge=1)] = 16,
) -> Tensor:
    """MiniLMv2's multi-head self-attention relations: QQ, KK and VV over newly cut heads, so the numbers of heads may differ.

    Shapes: queries, keys, values (B, h, T, d), h and d may differ between the sides; mask (B, T) bool → scalar. relation_heads must divide
        h·d of both sides.
    Formula: Σ over X ∈ {Q, K, V} of the mean over texts, relation heads r and tokens i of KL( R^t_ri ‖ R^s_ri ),
        R_r = softmax(X_r X_rᵀ/√d_r); X_r: the heads' vectors put side by side (T, h·d), cut into relation_heads pieces of d_r each.
    Scale: a sum of three divergences; the gradient on the layer's input is about 0.2 times cross-entropy's. Search the weight on a
        log scale around 5.
    Source: Wang et al. 2021, "MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing Pretrained Transformers",
        section 3.1 (the weights of QQ, KK and VV are 1, of the other relations 0). It compares only the last layers; for large
        teachers the paper reads an upper middle layer instead.
    When: as minilm, where the numbers of heads or the widths differ. More relation heads compare in finer detail.

    Raises:
        RecipeError: relation_heads does not divide both widths.
    """
    widths = [queries.shape[1] * queries.shape[3] for queries in (student_queries, teacher_queries)]
    if any(width % relation_heads for width in widths):
        shared = math.gcd(*widths)
        allowed = ", ".join(str(count) for count in range(1, shared + 1) if shared % count == 0)
        raise RecipeError(
            f"objective.attention.relation_heads is {relation_heads}, which does not divide the widths of the queries, {widths[0]} of the "
            f"student and {widths[1]} of the teacher; allowed: {allowed}"
        )
    sides = (student_queries, student_keys, student_values), (teacher_queries, teacher_keys, teacher_values)
    # all three as one batch: a third of the operations
    student, teacher = (torch.cat([resplit(vectors, relation_heads) for vectors in side]) for side in sides)
    return 3 * kl(student, student, teacher, teacher, mask.repeat(3, 1))


def resplit(vectors: Tensor, heads: int) -> Tensor:
    """Put the heads' vectors side by side and cut them into `heads` pieces: (B, h, T, d) → (B, heads, T, h·d/heads)."""
    batch, _, length, _ = vectors.shape
    return vectors.transpose(1, 2).reshape(batch, length, heads, -1).transpose(1, 2)


def scores(left: Tensor, right: Tensor) -> Tensor:
    """Scaled inner products of all pairs of tokens, in full precision: two of (B, h, T, d) → (B, h, T, T)."""
    return (full_precision(left) / math.sqrt(left.shape[-1])) @ full_precision(right).transpose(-1, -2)


def relations(left: Tensor, right: Tensor, mask: Tensor) -> Tensor:
    """Logarithms of the softmax of the scores over the text's own tokens: two of (B, h, T, d), mask (B, T) → (B, h, T, T).

    If T is below VECTOR, the result has VECTOR columns; the extra ones are padding.
    """
    more = VECTOR - mask.shape[1]
    if more > 0:  # padding with zero columns would still copy
        right, mask = F.pad(right, (0, 0, 0, more)), F.pad(mask, (0, more))
    # Added, because a masked fill needs a second pass backward. Finite, because a text without tokens must not give NaN.
    foreign = torch.where(mask, 0.0, torch.finfo(torch.float32).min / 2)[:, None, None, :]
    return F.log_softmax(scores(left, right).add_(foreign), dim=-1)


def divergence(teacher: Tensor, student: Tensor, mask: Tensor) -> Tensor:
    """Mean over texts, heads and tokens of KL(teacher ‖ student), from log distributions (B, h, T, T or more) and mask (B, T)."""
    if student.shape[1] != teacher.shape[1]:
        teacher, student = (log.logsumexp(dim=1, keepdim=True) - math.log(log.shape[1]) for log in (teacher, student))
    each = teacher.exp() * (teacher - student)  # 0 for padding, whose probability is exactly 0
    return token_mean(each.sum(dim=-1), mask).mean()


def token_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the last axis over each text's own tokens; 0 for a text without any. Shapes: values (B, …, T), mask (B, T) → (B, …)."""
    keep = mask.view(len(mask), *[1] * (values.dim() - 2), -1)
    return values.masked_fill(~keep, 0.0).sum(dim=-1) / keep.sum(dim=-1).clamp(min=1)
