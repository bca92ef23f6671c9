"""Objectives on the layers' states: they compare a student's layer with a teacher's layer.

Each function is called once for each layer pair. No gradient goes to the teacher's side. student_state is already projected to the
teacher's width, unless the component drops the projection. States are (B, D), or (B, T, D) with mask (B, T); then each position where
the mask is True counts as one vector. Over several layer pairs the trial takes the mean, where PKD and TinyBERT sum.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from autodistill.components import component
from autodistill.losses.tensors import SHORTEST, average, positions, unit


@component("objective.intermediate")
def mse(student_state: Tensor, teacher_state: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error of the states: the hint of FitNets, TinyBERT's loss on hidden states.

    Shapes: student_state, teacher_state (B, D) or (B, T, D); mask (B, T) bool or None → scalar.
    Formula: mean over kept positions n and dimensions d of (s_nd − t_nd)².
    Scale: at random initialisation gradient 0.14 × cross-entropy's (D = 384, unit variances; it is proportional to 1/√D and to the
        teacher's standard deviation). Search the weight on a log scale around 7.
    Source: Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", eq. 3 (there times ½); Jiao et al. 2020, "TinyBERT:
        Distilling BERT for Natural Language Understanding", eq. 8.
    When: a plain first choice if the student is similar to its teacher.
    """
    return average((positions(student_state, mask) - positions(teacher_state.detach(), mask)).square())


@component("objective.intermediate")
def l1(student_state: Tensor, teacher_state: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute error of the states: as mse, but not dominated by a few outlying dimensions.

    Shapes: student_state, teacher_state (B, D) or (B, T, D); mask (B, T) bool or None → scalar.
    Formula: mean over kept positions n and dimensions d of |s_nd − t_nd|.
    Scale: at random initialisation gradient 0.05 × cross-entropy's (D = 384; it is proportional to 1/√D and does not depend on the
        states' variance). Search the weight on a log scale around 20.
    Source: Kim, Park, Kwak 2018, "Paraphrasing Complex Network: Network Compression via Factor Transfer", its loss with
        p = 1, without its normalisation.
    When: some dimensions of the teacher's states have very large values, as in BERT.
    """
    return average((positions(student_state, mask) - positions(teacher_state.detach(), mask)).abs())


@component("objective.intermediate")
def cosine(student_state: Tensor, teacher_state: Tensor, mask: Tensor | None = None) -> Tensor:
    """Cosine distance of the states: their direction counts, their length does not.

    Shapes: student_state, teacher_state (B, D) or (B, T, D); mask (B, T) bool or None → scalar.
    Formula: mean over kept positions n of 1 − ⟨s_n, t_n⟩ / (‖s_n‖ ‖t_n‖); a vector shorter than 1e-4 is not divided by its length.
    Scale: between 0 and 2; at random initialisation gradient 0.05 × cross-entropy's (D = 384; it is proportional to 1/‖s_n‖). Search the
        weight on a log scale around 20.
    Source: Sanh et al. 2019, "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter", L_cos.
    When: text encoders, whose states differ in length for reasons that do not matter.
    """
    student, teacher = unit(positions(student_state, mask)), unit(positions(teacher_state.detach(), mask))
    return average(1 - (student * teacher).sum(dim=-1))


@component("objective.intermediate")
def pkd(student_state: Tensor, teacher_state: Tensor, mask: Tensor | None = None) -> Tensor:
    """Patient knowledge distillation: squared distance of the states after each is scaled to unit length.

    Shapes: student_state, teacher_state (B, D) or (B, T, D); mask (B, T) bool or None → scalar.
    Formula: mean over kept positions n of ‖ s_n/‖s_n‖ − t_n/‖t_n‖ ‖²  (= 2 · cosine); a vector shorter than 1e-4 is not divided by its
        length.
    Scale: between 0 and 4; at random initialisation gradient 0.1 × cross-entropy's (D = 384; it is proportional to 1/‖s_n‖). The equation
        sums over dimensions; the authors' code takes the mean, which is D times smaller. Search the weight on a log scale around 10.
    Source: Sun et al. 2019, "Patient Knowledge Distillation for BERT Model Compression", section 3.2, L_PT (on CLS states: tokens cls).
        The paper's two maps, PKD-Skip and PKD-Last, leave out the last layer of each model; layer_map skip and last include it.
    When: several CLS states of a BERT teacher, with layer_map skip or last.
    """
    student, teacher = unit(positions(student_state, mask)), unit(positions(teacher_state.detach(), mask))
    return average((student - teacher).square().sum(dim=-1))


@component("objective.intermediate", drop=("projection",))
def cka(student_state: Tensor, teacher_state: Tensor, mask: Tensor | None = None) -> Tensor:
    """Linear centred kernel alignment: the student's vectors of a batch should be arranged like the teacher's; needs no projection.

    Shapes: student_state (B, D_s) or (B, T, D_s), teacher_state (B, D_t) or (B, T, D_t); mask (B, T) bool or None → scalar.
    Formula: 1 − ‖Y'X‖²_F / (‖X'X‖_F ‖Y'Y‖_F), with the kept vectors as the rows of X and Y, minus the column means.
    Scale: between 0 and 1; at random initialisation gradient 0.06 × cross-entropy's (D = 192; it is proportional to 1/‖s_n‖). Search the
        weight on a log scale around 15. With two vectors it is always 0, with one it is 1; neither has a gradient.
    Source: Kornblith, Norouzi, Lee, Hinton 2019, "Similarity of Neural Network Representations Revisited", section 3,
        CKA with a linear kernel.
    When: widths differ, batches are large (32 and more), and the student should learn, not a projection in its place.
    """
    student, teacher = positions(student_state, mask), positions(teacher_state.detach(), mask)
    student, teacher = _spread_out(student), _spread_out(teacher)
    shared = (teacher.T @ student).square().sum()
    norms = (student.T @ student).norm() * (teacher.T @ teacher).norm()
    return 1 - shared / norms.clamp(min=torch.finfo(norms.dtype).tiny)


def _spread_out(vectors: Tensor) -> Tensor:
    """Vectors (N, D) minus their mean, scaled to norm 1 (CKA ignores scale), or all 0 if they are equal except for rounding noise."""
    apart = vectors - vectors.mean(dim=0)
    norm = apart.norm()
    equal = norm <= SHORTEST * vectors.detach().norm()
    return (apart / norm.masked_fill(equal, 1.0)).masked_fill(equal, 0.0)


class Variance(nn.Module):
    """The learned variance of each of the teacher's dimensions: softplus of a parameter, plus a floor of 1e-5."""

    def __init__(self, width: int, initial_variance: float) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.full((width,), math.log(math.expm1(initial_variance))))

    def forward(self) -> Tensor:
        """The variances, (D,)."""
        return F.softplus(self.raw) + 1e-5


def build_variance(student_width: int, teacher_width: int, *, initial_variance: float, **_: Any) -> Variance:
    """The module of `vid`: one variance for each of the teacher's dimensions."""
    return Variance(teacher_width, initial_variance)


@component("objective.intermediate", modules={"variance": build_variance})
def vid(
    student_state: Tensor,
    teacher_state: Tensor,
    mask: Tensor | None,
    variance: nn.Module,
    *,
    initial_variance: Annotated[float, Field(gt=0.0, le=50.0)] = 1.0,
) -> Tensor:
    """Variational information distillation: the student predicts the teacher's state as a Gaussian with learned variances.

    Shapes: student_state, teacher_state (B, D) or (B, T, D); mask (B, T) bool or None; variance: module, () → (D,) → scalar.
    Formula: mean over kept positions n and dimensions d of ½ (log σ_d² + (t_nd − μ_d(s_n))² / σ_d²), σ_d² = softplus(a_d) + 1e-5
        (the authors' code starts with a variance of 5).
        μ is the projection of the recipe (in the paper a small network: projection mlp). The loss bounds −I(t; s) up to a constant.
    Scale: mse / (2σ²) at the start, σ² = initial_variance: at random initialisation gradient 0.07 × cross-entropy's (D = 384). As
        variances shrink the value goes below 0 and the gradient grows. Search the weight on a log scale around 15.
    Source: Ahn, Hu, Damianou, Lawrence, Dai 2019, "Variational Information Distillation for Knowledge Transfer", section 2.1,
        the Gaussian log-likelihood with softplus variances.
    When: a small student cannot predict some of the teacher's dimensions. These get a large variance and stop mattering.
    """
    student, teacher, spread = positions(student_state, mask), positions(teacher_state.detach(), mask), variance()
    spread = spread.to(student.dtype)
    return 0.5 * average(spread.log() + (teacher - student).square() / spread)
