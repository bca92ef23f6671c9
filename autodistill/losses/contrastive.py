"""Contrastive objectives: the student's vector of a row should be nearer to the teacher's vector of this row than to any other.

`wcord`, the Wasserstein form, is in wasserstein.py. Embeddings are the vectors that the classification heads read.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from autodistill.components import CLASSIFICATION, IMAGE, TEXT, component
from autodistill.losses.heads import Heads, StudentHead, build_heads, build_student_head, info_nce
from autodistill.losses.memory import CkdHead, CrdHead, build_ckd_head, build_crd_head
from autodistill.losses.tensors import full_precision


@component("objective.contrastive", modules={"head": build_heads})
def infonce(
    student_embedding: Tensor,
    teacher_embedding: Tensor,
    head: nn.Module,
    *,
    temperature: Annotated[float, Field(gt=0.0)] = 0.1,
    width: Annotated[int, Field(ge=1)] = 128,
) -> Tensor:
    """InfoNCE between student and teacher: among the batch's teacher vectors, the student's vector should pick the one of its own row.

    Shapes: student_embedding (B, D_s), teacher_embedding (B, D_t) → scalar. head: learned linear maps g_s, g_t onto the unit
        sphere of `width` dimensions.
    Formula: −mean_i log( e^(⟨z_i, y_i⟩/τ) / Σ_j e^(⟨z_i, y_j⟩/τ) ), z = g_s(student), y = g_t(teacher), j over the batch.
    Scale: about log B + 1/(2 · width · τ²) at the start, which is 0.4 more than log B at the defaults; 0 at best. The gradient is 1.5 to 2
        times cross-entropy's at τ = 0.1, and is proportional to 1/τ.
    Source: van den Oord, Li, Vinyals 2018, "Representation Learning with Contrastive Predictive Coding", eq. 4.
    When: a plain first choice among the contrastive objectives. Larger batches make it stronger.
    """
    student, teacher = head(student_embedding, teacher_embedding)
    return info_nce(student, teacher, temperature)


@component("objective.contrastive", tasks=CLASSIFICATION, modules={"head": build_heads})
def supcon(
    student_embedding: Tensor,
    teacher_embedding: Tensor,
    labels: Tensor,
    head: nn.Module,
    *,
    temperature: Annotated[float, Field(gt=0.0)] = 0.1,
    width: Annotated[int, Field(ge=1)] = 128,
) -> Tensor:
    """Supervised contrast: the teacher vectors of all rows of the same class are positives, not only the row's own.

    Shapes: student_embedding (B, D_s), teacher_embedding (B, D_t), labels (B,) int64 → scalar. head: as in infonce.
    Formula: mean_i −1/|P(i)| Σ_{p ∈ P(i)} log( e^(⟨z_i, y_p⟩/τ) / Σ_j e^(⟨z_i, y_j⟩/τ) ), P(i) = {p : label_p = label_i}, i included.
    Scale: as infonce at the start. Where classes repeat it cannot reach 0: its floor is log |P(i)|. The gradient is 0.5 to 1 times
        cross-entropy's at τ = 0.1, and is proportional to 1/τ.
    Source: Khosla et al. 2020, "Supervised Contrastive Learning", eq. 2 (L_out); here the anchors are the student's vectors and the
        candidates the teacher's, so the teacher's vector of row i is a positive too.
    When: classes matter more than single rows. With infonce, rows of the same class push each other away.
    """
    student, teacher = head(student_embedding, teacher_embedding)
    log_share = F.log_softmax(student @ teacher.T / temperature, dim=1)
    positive = (labels.unsqueeze(1) == labels.unsqueeze(0)).to(log_share.dtype)
    return -((positive * log_share).sum(dim=1) / positive.sum(dim=1)).mean()


@component("objective.contrastive", modules={"head": build_crd_head})
def crd(
    student_embedding: Tensor,
    teacher_embedding: Tensor,
    index: Tensor,
    head: CrdHead,
    *,
    negatives: Literal["batch", "bank"] = "bank",
    temperature: Annotated[float, Field(gt=0.0)] = 0.07,
    width: Annotated[int, Field(ge=1)] = 128,
    bank_negatives: Annotated[int, Field(ge=1)] = 1024,
    momentum: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5,
) -> Tensor:
    """Contrastive representation distillation: does this pair of vectors come from one row, or from two?

    Shapes: student_embedding (B, D_s), teacher_embedding (B, D_t), index (B,) rows in the train split → scalar. head: learned linear
        maps g_s, g_t onto the unit sphere of `width` dimensions; for `bank` also a memory of M unit vectors for each side.
    Formula: −mean_i [ log h(t_i, s_i) + Σ_{j ∈ N(i)} log(1 − h(t_j, s_i)) ], h(t, s) = e^(g_t(t)·g_s(s)/τ) / ( e^(g_t(t)·g_s(s)/τ) + N/M ),
        N = |N(i)| negatives, M rows in the train split.
        negatives: batch: N(i) is the rest of the batch, N = B − 1.
        negatives: bank: as in the authors' code. The positive and the negatives are read from the memory (N = bank_negatives rows, drawn
        with replacement from the other rows; all M − 1 if there are no more). e^(…) is divided by Z = M · mean e^(…) over the first
        batch. The same term with the sides swapped (g_t(t_i) against the student's memory) is added. Afterwards memory_i becomes
        momentum · memory_i + (1 − momentum) · projection_i, scaled to length 1. The memory is in the head's state_dict. Adapted: the
        authors' loader for CIFAR draws negatives from rows of other classes; a regression has no classes.
    Scale: bank: about 2 (1 + log(1 + N)) + 1/(width · τ²) at the start (the last is 1.6 at the defaults), with a gradient about 2.5 times
        cross-entropy's. batch: a sum over N negatives without Z, so it grows with B: about 12 times cross-entropy's gradient at
        B = 16, 30 times at B = 64 (M = 8,000); search its weight on a log scale around 0.05.
    Source: Tian, Krishnan, Isola 2020, "Contrastive Representation Distillation", section 3.1: the objective L_critic and, at its end,
        the critic h (eq. 19).
    When: images above all, for which it was made. `bank` for small batches, `batch` if a memory of the train split would be too large.
    """
    student, teacher = head(student_embedding, teacher_embedding)
    if negatives == "batch":
        scores = student @ teacher.T / temperature
        others = ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        return noise_contrast(scores.diagonal(), scores[others].view(len(scores), -1), head.rows)
    bank = head.bank
    assert bank is not None, "crd's head has a memory only if it was built with negatives: bank"
    chosen = bank.draw(index, bank_negatives)
    value = student.new_zeros(())
    for side, (anchors, memory) in enumerate(((student, bank.teacher), (teacher, bank.student))):
        scores = torch.einsum("bd,bkd->bk", anchors, memory[chosen].to(anchors.dtype)) / temperature
        scores = scores - bank.normaliser(side, scores)
        value = value + noise_contrast(scores[:, 0], scores[:, 1:], head.rows)
    if head.training:
        bank.update(index, student, teacher, momentum)
    return value


def noise_contrast(positive: Tensor, negative: Tensor, rows: int) -> Tensor:
    """−mean_b [ log h_b + Σ_n log(1 − h_bn) ] with h = e^score / (e^score + N/M), N negatives, M = rows.

    Shapes: positive (B,) and negative (B, N) scores → scalar. N = 0 gives h = 1, so 0.
    """
    count = negative.shape[1]
    log_ratio = math.log(count / rows) if count else -math.inf
    return (F.softplus(log_ratio - positive) + F.softplus(negative - log_ratio).sum(dim=1)).mean()


@component("objective.contrastive", tasks=IMAGE, modules={"head": build_heads})
def mcrd(
    student_maps: Tensor,
    teacher_maps: Tensor,
    head: Heads,
    *,
    scales: Annotated[int, Field(ge=1, le=4)] = 3,
    temperature: Annotated[float, Field(gt=0.0)] = 0.1,
    width: Annotated[int, Field(ge=1)] = 128,
) -> Tensor:
    """Multi-scale decoupled contrast: infonce between regions of feature maps, at several scales.

    Shapes: student_maps (B, C_s, H, W), teacher_maps (B, C_t, H', W') of the last stage → scalar. head: as in infonce, one for all scales.
    Formula: mean over scales k of infonce over the B·n_k² regions of that scale. Each map is pooled to n_k × n_k regions,
        n_k = min(2^k, H, W, H', W'), k = 0 … scales − 1 (equal grids count once). A region's positive is the teacher's region at the same
        place in the same image. All other regions of that scale in the batch, of this image and of others, are negatives.
    Scale: the mean over k of log(B·n_k²), plus about 1/(2 · width · τ²), at the start; the gradient is about 1.5 times cross-entropy's at
        τ = 0.1, and is proportional to 1/τ.
    Source: Wang, Wang 2025, "Contrastive Representation Distillation via Multi-Scale Feature Decoupling" (MSDCRD), its sample-wise
        contrast within one batch, without a memory. Adapted: windows do not overlap. All regions are treated alike, where the paper first
        sorts them by the class that the teacher assigns to them. The paper's feature-wise contrast is left out.
    When: images whose classes differ in parts of the image. The finest grid needs a last stage of at least 4 × 4.
    """
    most = min(*student_maps.shape[2:], *teacher_maps.shape[2:])
    values = []
    for grid in sorted({min(2**scale, most) for scale in range(scales)}):
        regions = [F.adaptive_avg_pool2d(full_precision(maps), grid).flatten(2).transpose(1, 2) for maps in (student_maps, teacher_maps)]
        student, teacher = head(*regions)
        values.append(info_nce(student.flatten(0, 1), teacher.flatten(0, 1), temperature))
    return torch.stack(values).mean()


@component("objective.contrastive", modules={"head": build_ckd_head})
def ckd(
    student_embedding: Tensor,
    teacher_embedding: Tensor,
    index: Tensor,
    head: CkdHead,
    *,
    temperature: Annotated[float, Field(gt=0.0)] = 0.05,
    queue: Annotated[int, Field(ge=1)] = 4096,
) -> Tensor:
    """Contrastive knowledge distillation of DistilCSE: InfoNCE against the teacher vectors of this batch and of a queue of earlier ones.

    Shapes: student_embedding (B, D_s), teacher_embedding (B, D_t), index (B,) rows in the train split → scalar. head: a learned linear
        map of the student to D_t, and the queue of the last `queue` teacher vectors (at most as many as there are training rows).
    Formula: −mean_i log( e^(cos(W s_i, t_i)/τ) / ( Σ_{j ∈ batch} e^(cos(W s_i, t_j)/τ) + Σ_{q ∈ queue, row(q) ≠ i} e^(cos(W s_i, q)/τ) ) );
        then the batch's t_j replace the oldest in the queue, which is in the head's state_dict. Adapted: copies of the row itself in the
        queue are not negatives (the paper's 5 million sentences never come again while they are in the queue, our rows do); τ is
        fixed, where the authors' code learns it.
    Scale: about log B + 1/(2 · D_t · τ²) at the start (the last term is 0.5 for D_t = 384), since the queue is empty; as it fills, log B
        becomes log(B + queue). The gradient is about twice cross-entropy's at τ = 0.05, and is proportional to 1/τ.
    Source: Gao et al. 2021, "DistilCSE: Effective Knowledge Distillation For Contrastive Sentence Embeddings", section "Contrastive
        Knowledge Distillation".
    When: text and small batches. The teacher does not change, so a queue of its vectors is as good as a large batch.
    """
    student, teacher = head(student_embedding, teacher_embedding)
    waiting = student @ head.queue.to(student.dtype, copy=True).T / temperature  # the queue changes before the backward pass
    unfit = (head.queue_rows < 0) | (head.queue_rows == index.unsqueeze(1))
    scores = torch.cat([student @ teacher.T / temperature, waiting.masked_fill(unfit, -math.inf)], dim=1)
    if head.training:
        head.enqueue(teacher, index)
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


@component("objective.contrastive", tasks=TEXT, modules={"head": build_student_head})
def colld(
    student_states: list[Tensor],
    teacher_states: list[Tensor],
    head: StudentHead,
    *,
    temperature: Annotated[float, Field(gt=0.0)] = 0.1,
) -> Tensor:
    """Contrastive layer-to-layer distillation: infonce between each student layer and its teacher layer.

    Shapes: student_states and teacher_states: lists, one sentence vector for each mapped layer, (B, D_s) and (B, D_t) → scalar.
        head: one learned linear map of the student to D_t for all layers.
    Formula: mean over pairs l of −mean_i log( e^(cos(W s_i^l, t_i^l)/τ) / Σ_j e^(cos(W s_i^l, t_j^l)/τ) ), j over the batch.
    Scale: about log B + 1/(2 · D_t · τ²) at the start (the last term is 0.1 for D_t = 384). The gradient is about cross-entropy's at
        τ = 0.1, and is proportional to 1/τ.
    Source: Chang et al. 2023, "CoLLD: Contrastive Layer-to-layer Distillation for Compressing Multilingual Pre-trained Speech Encoders",
        section 2. Adapted from speech frames to texts: in the paper anchors are masked frames, distractors are other masked frames of
        the same utterance, and each layer has its own map. Here anchors are texts, and distractors are the batch's other texts at the
        same layer.
    When: a deep student with a layer map, whose lower layers get only a weak signal from the last layer.
    """
    values = []
    for student_state, teacher_state in zip(student_states, teacher_states, strict=True):
        student, teacher = head(student_state, teacher_state)
        values.append(info_nce(student, teacher, temperature))
    return torch.stack(values).mean()
