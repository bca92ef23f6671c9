"""The mutual-information family: MI-alpha, from NWJ (mi_alpha = 0) to InfoNCE (mi_alpha = 1), and its critics."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from autodistill.components import component
from autodistill.losses.tensors import SHORTEST, full_precision, positions, spread, unit

MAX_POSITIONS = 256
"""For `tokens: tokens`: how many positions of a batch are compared with each other (the matrix has this number squared of entries). A
batch with more rows than this has one position of each row."""

MAX_SCALE = 50.0
"""Upper limit of a critic's scale: exp(50) still fits in float32, which mi_alpha = 0 needs."""


def mutual_information_bound(scores: Tensor, mi_alpha: float, log_baseline: Tensor | float = 1.0) -> Tensor:
    """I_α, a lower bound of mutual information in nats, estimated from one batch of K pairs.

    Shapes: scores (K, K) with scores[i, j] = f(x_j, y_i), so the pairs are on the diagonal and a row has one y and every x;
        log_baseline: log q(y_i), (K,), or one number for all (1.0, that is q = e, makes mi_alpha = 0 the NWJ bound) → scalar.
    Formula: 1 + E_{p(x_1:K) p(y|x_1)}[log e^f(x_1,y) / (α m(y; x_1:K) + (1−α) q(y))]
               − E_{p(x_1:K) p(y)}[e^f(x_1,y) / (α m(y; x_1:K) + (1−α) q(y))],   m(y; x_1:K) = 1/K Σ_k e^f(x_k,y).
        First expectation: mean over i of scores_ii − log(α m_i + (1−α) q_i), m_i the mean of e^scores over row i. In the second
        expectation y must be independent of every x, so row i is used without its own pair: m'_i is the mean over k ≠ i. The mean of
        e^f(x_k,y_i) over those same k is m'_i too, so the expectation is the mean over i of m'_i / (α m'_i + (1−α) q_i).
        α = 1: the second expectation is 1 and cancels. What remains is log K + mean_i log_softmax(scores)_ii: InfoNCE, which is never
        above log K.
        α = 0: 1 + mean_i (scores_ii − log q_i) − mean_{i≠k} e^scores_ik / q_i, without bias: TUBA, and NWJ for q = e.
        In between, the second expectation has K − 1 samples of x where eq. 12 has K. That changes the bound by about
        α (1 − α) q Var(e^f) / ((α E[e^f] + (1 − α) q)³ K²), so not at all at either end.
    Scale: nats. All is computed in log space, so only mi_alpha = 0 can overflow (scores beyond 88 in float32), where the value itself is
        that large. A single pair has no other to be compared with, and its bound is 0.
    Source: Poole, Ozair, van den Oord, Alemi, Tucker 2019, "On Variational Bounds of Mutual Information", section 2.4, eq. 12;
        TUBA and NWJ are in section 2.2 there, InfoNCE in 2.3.
    When: as a measurement. The objective is `mi`.
    """
    scores = full_precision(scores)
    pairs = scores.shape[0]
    if pairs < 2:
        return (scores * 0).sum()
    others = scores.masked_fill(torch.eye(pairs, dtype=torch.bool, device=scores.device), -torch.inf)
    counts = torch.arange(pairs, pairs - 2, -1, dtype=scores.dtype, device=scores.device)[:, None]  # made there: nothing is copied
    log_means = torch.stack((scores, others)).logsumexp(dim=2) - counts.log()  # over a row with and without its own pair, (2, K)
    log_baseline = log_baseline.to(scores.dtype) if isinstance(log_baseline, Tensor) else scores.new_full((), log_baseline)
    if mi_alpha == 0.0:
        mixed = log_baseline.expand_as(log_means)
    elif mi_alpha == 1.0:
        mixed = log_means
    else:
        mixed = torch.logaddexp(log_means + math.log(mi_alpha), log_baseline + math.log1p(-mi_alpha))
    joint = (scores.diagonal() - mixed[0]).mean()
    independent = (log_means[1] - mixed[1]).exp().mean()
    return 1 + joint - independent


class Standardise(nn.Module):
    """A layer norm without parameters, so that a critic with biases does not depend on the scale of the states."""

    def forward(self, states: Tensor) -> Tensor:
        """States (…, D) at mean 0 and variance 1. From a state of equal or tiny numbers only the mean is subtracted."""
        apart = states - states.mean(dim=-1, keepdim=True)
        length, before = (torch.linalg.vector_norm(full_precision(part.detach()), dim=-1, keepdim=True) for part in (apart, states))
        flat = length <= (SHORTEST * before).clamp(min=SHORTEST)
        return torch.where(flat, apart, F.layer_norm(states, states.shape[-1:], eps=1e-12))


class Separable(nn.Module):
    """f = scale · cos(g(student), h(teacher)) + offset. The initial scale gives scores of unrelated vectors unit variance."""

    def __init__(self, student_side: nn.Module, teacher_side: nn.Module, width: int) -> None:
        super().__init__()
        self.student_side, self.teacher_side = student_side, teacher_side
        self.log_scale = nn.Parameter(torch.tensor(0.5 * math.log(width)))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Scores (K, K): a row for each student vector, a column for each teacher vector."""
        left, right = unit(self.student_side(student)), unit(self.teacher_side(teacher))
        return self.log_scale.exp().clamp(max=MAX_SCALE) * (left @ right.T) + self.offset


class Joint(nn.Module):
    """f = scale · w·relu(A student + B teacher + b) + offset, for every pair of a student vector and a teacher vector."""

    def __init__(self, student_width: int, teacher_width: int, width: int) -> None:
        super().__init__()
        self.student_side = nn.Sequential(Standardise(), nn.Linear(student_width, width))
        self.teacher_side = nn.Sequential(
            nn.LayerNorm(teacher_width, elementwise_affine=False), nn.Linear(teacher_width, width, bias=False)
        )
        self.out = nn.Linear(width, 1)
        # Linear's own initialisation gives hidden values of variance 2/3, and scores of variance 1/9.
        self.log_scale = nn.Parameter(torch.tensor(math.log(3.0)))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Scores (K, K): a row for each student vector, a column for each teacher vector."""
        hidden = F.relu(self.student_side(student)[:, None] + self.teacher_side(teacher)[None, :])
        return full_precision(self.out(hidden).squeeze(-1)) * self.log_scale.exp().clamp(max=MAX_SCALE)


class Scorer(nn.Module):
    """A critic and, if it is learned, the log baseline log q(student), which starts at 1 (NWJ's)."""

    def __init__(self, critic: nn.Module, baseline: nn.Module | None) -> None:
        super().__init__()
        self.critic, self.baseline = critic, baseline

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor | float]:
        """Scores (K, K) and log baselines (K,), or 1.0."""
        dtype = next(self.parameters()).dtype
        student, teacher = student.to(dtype), teacher.to(dtype)
        log_baseline = 1.0 if self.baseline is None else full_precision(self.baseline(student)[:, 0])
        return self.critic(student, teacher), log_baseline


def build_scorer(student_width: int, teacher_width: int, *, critic: str, critic_width: int, baseline: str, **_: Any) -> Scorer:
    """The module of `mi`: the critic, and the baseline if it is learned."""

    def mlp(width: int) -> nn.Module:
        return nn.Sequential(Standardise(), nn.Linear(width, critic_width), nn.ReLU(), nn.Linear(critic_width, critic_width))

    module: nn.Module
    match critic:
        case "inner":
            student_side = nn.Sequential(Standardise(), nn.Linear(student_width, teacher_width))
            module = Separable(student_side, nn.Identity(), teacher_width)
        case "bilinear":
            sides = [nn.Linear(width, critic_width, bias=False) for width in (student_width, teacher_width)]
            module = Separable(sides[0], sides[1], critic_width)
        case "mlp":
            module = Separable(mlp(student_width), mlp(teacher_width), critic_width)
        case _:
            module = Joint(student_width, teacher_width, critic_width)
    if baseline != "learned":
        return Scorer(module, None)
    log_q = nn.Linear(student_width, 1)
    nn.init.zeros_(log_q.weight)
    nn.init.ones_(log_q.bias)
    return Scorer(module, nn.Sequential(Standardise(), log_q))


@component("objective.intermediate", drop=("projection",), modules={"scorer": build_scorer})
def mi(
    student_state: Tensor,
    teacher_state: Tensor,
    mask: Tensor | None,
    scorer: nn.Module,
    *,
    mi_alpha: Annotated[float, Field(ge=0.0, le=1.0)] = 0.9,
    critic: Literal["inner", "bilinear", "mlp", "joint"] = "inner",
    critic_width: Annotated[int, Field(ge=1)] = 128,
    baseline: Literal["constant", "learned"] = "constant",
) -> Tensor:
    """MI-alpha: raise a lower bound of the mutual information between the student's and the teacher's state.

    Shapes: student_state (B, D_s) or (B, T, D_s), teacher_state (B, D_t) or (B, T, D_t); mask (B, T) bool or None;
        scorer: module, (K, D_s), (K, D_t) → scores (K, K) and log baseline (K,) or a number → scalar.
    Formula: −I_α (see mutual_information_bound) with x the teacher's states and y the student's; the independent samples are the
        batch's other rows. Critics: inner f = c·cos(A s + a, t), bilinear c·cos(A s, B t) of rank critic_width, mlp c·cos(g(s), h(t)),
        joint an mlp of both. Their inputs are layer-normalised, except bilinear's on both sides and inner's on the teacher's side. The
        scale c is learned: it starts at √width, so that scores start with about unit variance, and is at most 50. q is e (constant,
        NWJ) or exp of a learned linear function of the student's state (learned, TUBA).
        With `tokens: tokens`, up to 256 positions of the batch are used, evenly spaced in each row, but at least one of each row: a batch
        of 300 rows uses 300.
    Scale: nats. At mi_alpha = 1 it is the cross-entropy of picking the student's own teacher vector from the batch, minus log K; at
        random initialisation gradient 1.0 × cross-entropy's. Near mi_alpha = 0 the gradient's variance grows as e^I. Search the weight
        on a log scale around 0.1.
    Source: Poole et al. 2019, "On Variational Bounds of Mutual Information", eq. 12; as an objective of distillation: He, Shi, et al.
        2021, "Distiller: A Systematic Study of Model Distillation Methods in Natural Language Processing", MI-α.
    When: a first choice among the intermediate objectives, the best of them in the Distiller study. mi_alpha near 1 has calm gradients
        but cannot see more than log B nats; a smaller mi_alpha sees further, with more variance (docs/mi_bounds.html).
    """
    if student_state.dim() == 3:
        full = torch.ones(student_state.shape[:2], dtype=torch.bool, device=student_state.device)
        mask = spread(full if mask is None else mask, MAX_POSITIONS)
    scores, log_baseline = scorer(positions(student_state, mask), positions(teacher_state.detach(), mask))
    return -mutual_information_bound(scores, mi_alpha, log_baseline)
