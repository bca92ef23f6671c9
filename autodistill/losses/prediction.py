"""Objectives on the logits: they compare the student's predictions with the teacher's."""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from autodistill.components import CLASSIFICATION, component
from autodistill.errors import RecipeError
from autodistill.losses.tensors import centred, full_precision


def _pair(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Both logits divided by the temperature, in full precision, the teacher's without a gradient."""
    return full_precision(student_logits) / temperature, full_precision(teacher_logits.detach()) / temperature


@component("objective.prediction", tasks=CLASSIFICATION)
def kl(student_logits: Tensor, teacher_logits: Tensor, *, temperature: Annotated[float, Field(gt=0.0)] = 2.0) -> Tensor:
    """Kullback-Leibler divergence of the softened predictions: classic knowledge distillation.

    Shapes: student_logits, teacher_logits (B, C) → scalar.
    Formula: T² · mean_b Σ_c p_c log(p_c / q_c), with p = softmax(teacher / T), q = softmax(student / T).
    Scale: T² keeps the gradient's size about the same for every T; at random initialisation gradient 0.6 × cross-entropy's.
    Source: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.
    When: always a first choice for classification. A higher T passes on more about which wrong classes the teacher finds likely.
    """
    student, teacher = _pair(student_logits, teacher_logits, temperature)
    divergence = F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="batchmean", log_target=True)
    return divergence * temperature**2


@component("objective.prediction", kind="ce", tasks=CLASSIFICATION)
def soft_ce(student_logits: Tensor, teacher_logits: Tensor, *, temperature: Annotated[float, Field(gt=0.0)] = 1.0) -> Tensor:
    """Cross-entropy with the teacher's softened predictions as labels.

    Shapes: student_logits, teacher_logits (B, C) → scalar.
    Formula: −T² · mean_b Σ_c p_c log q_c, with p = softmax(teacher / T), q = softmax(student / T); it is kl plus T² times the
        teacher's entropy, so the student's gradient is that of kl.
    Scale: at random initialisation gradient 0.55 × cross-entropy's.
    Source: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2; Jiao et al. 2020, "TinyBERT:
        Distilling BERT for Natural Language Understanding", eq. 10.
    When: as kl. Its value is comparable to the hard labels' cross-entropy.
    """
    student, teacher = _pair(student_logits, teacher_logits, temperature)
    return -(teacher.softmax(-1) * student.log_softmax(-1)).sum(-1).mean() * temperature**2


@component("objective.prediction", tasks=CLASSIFICATION)
def pseudo_label(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross-entropy with the teacher's likeliest class as a hard label.

    Shapes: student_logits, teacher_logits (B, C) → scalar.
    Formula: −mean_b log q_b,k, with q = softmax(student), k = argmax_c of the teacher's logits of row b.
    Scale: at random initialisation gradient 0.97 × cross-entropy's.
    Source: Lee 2013, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks", eq. 15.
    When: as a baseline with unlabelled rows: the gain of soft predictions over it shows what they add to the teacher's decisions.
    """
    return F.cross_entropy(full_precision(student_logits), teacher_logits.argmax(-1))


@component("objective.prediction")
def mse(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean squared error of the logits; for regression, of the predictions.

    Shapes: student_logits, teacher_logits (B, C), C = 1 for regression → scalar.
    Formula: mean over rows b and classes c of (z_bc − v_bc)², z the student's logits, v the teacher's.
    Scale: at random initialisation gradient 1.5 × cross-entropy's (4 classes, unit variances; it is proportional to 1/√C and grows with
        the size of the teacher's logits).
    Source: Ba, Caruana 2014, "Do Deep Nets Really Need to be Deep?", eq. 1 (there times C/2); Kim et al. 2021, "Comparing
        Kullback-Leibler Divergence and Mean Squared Error Loss in Knowledge Distillation", L_MSE.
    When: regression, and classification by a teacher so sure that its softened predictions differ little from hard labels.
    """
    return F.mse_loss(*_pair(student_logits, teacher_logits))


@component("objective.prediction", tasks=CLASSIFICATION)
def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    dkd_target_weight: Annotated[float, Field(ge=0.0)] = 1.0,
    dkd_nontarget_weight: Annotated[float, Field(ge=0.0)] = 8.0,
    temperature: Annotated[float, Field(gt=0.0)] = 4.0,
) -> Tensor:
    """Decoupled knowledge distillation: kl in two separately weighted parts, the target's probability and the split among the others.

    Shapes: student_logits, teacher_logits (B, C); labels (B,) int64 → scalar.
    Formula: T² · mean_b (w_t · TCKD + w_n · NCKD), with p, q the softmax of teacher / T and student / T and t the label:
        TCKD = p_t log(p_t / q_t) + (1 − p_t) log((1 − p_t) / (1 − q_t)), and NCKD = Σ_{c≠t} p̂_c log(p̂_c / q̂_c) with
        p̂_c = p_c / (1 − p_t), q̂_c = q_c / (1 − q_t). Plain kl is w_t = 1, w_n = 1 − p_t.
    Scale: at random initialisation gradient 5.6 × cross-entropy's at the defaults, mostly of w_n. In the authors' settings w_n is 8 for
        five of eleven pairs of networks on CIFAR-100, 6 for four and 2 for two (T = 4), and 0.5 or 2 on ImageNet (T = 1). Search the
        weight on a log scale around 1 / w_n.
    Source: Zhao, Cui, Song, Qiu, Liang 2022, "Decoupled Knowledge Distillation", eq. 7 (α is w_t, β is w_n).
    When: many classes and a sure teacher, whose knowledge about the other classes kl suppresses. With two classes NCKD is 0.
    """
    student, teacher = _pair(student_logits, teacher_logits, temperature)
    target = F.one_hot(labels, student.shape[1]).bool()
    others = (student.shape[0], student.shape[1] - 1)
    student_rest, teacher_rest = student[~target].view(others), teacher[~target].view(others)

    def binary(logits: Tensor, rest: Tensor) -> Tensor:  # log of (p_t, 1 − p_t)
        return torch.stack([logits[target], rest.logsumexp(-1)], dim=-1).log_softmax(-1)

    tckd = F.kl_div(binary(student, student_rest), binary(teacher, teacher_rest), reduction="batchmean", log_target=True)
    nckd = F.kl_div(student_rest.log_softmax(-1), teacher_rest.log_softmax(-1), reduction="batchmean", log_target=True)
    return (dkd_target_weight * tckd + dkd_nontarget_weight * nckd) * temperature**2


@component("objective.prediction", tasks=CLASSIFICATION)
def dist(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    dist_inter_weight: Annotated[float, Field(ge=0.0)] = 1.0,
    dist_intra_weight: Annotated[float, Field(ge=0.0)] = 1.0,
    temperature: Annotated[float, Field(gt=0.0)] = 1.0,
) -> Tensor:
    """DIST: the student's predictions need only correlate with the teacher's, over each row's classes and over each class's rows.

    Shapes: student_logits, teacher_logits (B, C) → scalar.
    Formula: T² · (w_inter · mean_b (1 − ρ(q_b·, p_b·)) + w_intra · mean_c (1 − ρ(q_·c, p_·c))), with p, q the softmax of teacher / T and
        student / T, and ρ Pearson's correlation.
    Scale: each mean is between 0 and 2; at random initialisation gradient 1.4 × cross-entropy's. ρ does not depend on scale, so the
        gradient grows where predictions are nearly uniform. T² is from the authors' code.
    Source: Huang, You, Wang, Qian, Xu 2022, "Knowledge Distillation from A Stronger Teacher", section 4 (β is w_inter, γ is w_intra).
    When: a teacher much stronger than its student, three classes or more, batches of 8 or more. With two classes the inter-class part is
        constant; in a batch of one row the intra-class part is.
    """
    student, teacher = (logits.softmax(-1) for logits in _pair(student_logits, teacher_logits, temperature))

    def distance(dim: int) -> Tensor:
        return (1 - (centred(student, dim) * centred(teacher, dim)).sum(dim)).mean()

    return (dist_inter_weight * distance(1) + dist_intra_weight * distance(0)) * temperature**2


@component("objective.prediction", tasks=CLASSIFICATION)
def nkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    nkd_nontarget_weight: Annotated[float, Field(ge=0.0)] = 1.5,
    temperature: Annotated[float, Field(gt=0.0)] = 1.0,
) -> Tensor:
    """Normalised knowledge distillation: cross-entropy of the target, weighted by the teacher's probability, and of the other classes.

    Shapes: student_logits, teacher_logits (B, C); labels (B,) int64 → scalar.
    Formula: mean_b [−p_t log q_t − w_n T² Σ_{c≠t} p̂_c log q̂_c], with p, q the softmax of the plain logits, t the label, and p̂, q̂ the
        softmax of teacher / T and student / T over the classes other than t.
    Scale: at random initialisation gradient 0.96 × cross-entropy's at the defaults. T softens only the second part, so only that part
        has the factor T², as in the authors' code. Its gradient is about the same for every T, while its value grows with T².
    Source: Yang, Zeng, Li, Zhang, Yuan, Li 2023, "From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach with
        Normalized Loss and Customized Soft Labels", section 3, L_NKD (γ is w_n, λ is T).
    When: as dkd. It has one weight fewer, and its target part trusts the label only as far as the teacher does.
    """
    student, teacher = _pair(student_logits, teacher_logits)
    target = F.one_hot(labels, student.shape[1]).bool()
    others = (student.shape[0], student.shape[1] - 1)
    own = -(teacher.softmax(-1)[target] * student.log_softmax(-1)[target]).mean()
    student_rest, teacher_rest = student[~target].view(others) / temperature, teacher[~target].view(others) / temperature
    rest = -(teacher_rest.softmax(-1) * student_rest.log_softmax(-1)).sum(-1).mean()
    return own + nkd_nontarget_weight * temperature**2 * rest


NO_VARIANCE = 1e-10
"""Components up to this share of the embeddings' mean square are rounding noise: float32 has seven digits, so noise is 1e-14 of it."""


class Subclasses(nn.Module):
    """The module of `lelp`: it splits each class in S subclasses, the teacher's by fixed directions, the student's by a learned head.

    directions (C, S, D_t) and offsets (C, S): the teacher's subclass scores are ⟨directions_cs, h⟩ − offsets_cs, of unit variance over
    the class's training rows (as a mean over s).
    """

    directions: Tensor
    offsets: Tensor

    def __init__(self, student_width: int, directions: Tensor, offsets: Tensor) -> None:
        super().__init__()
        self.register_buffer("directions", directions)
        self.register_buffer("offsets", offsets)
        self.head = nn.Linear(student_width, offsets.numel())

    def forward(self, student_embedding: Tensor, teacher_embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides' subclass scores, (B, C, S) each."""
        student = full_precision(self.head(student_embedding.to(self.head.weight.dtype)))
        teacher = torch.einsum("csd,bd->bcs", self.directions, teacher_embedding.to(self.directions.dtype))
        return student.unflatten(-1, self.offsets.shape), full_precision(teacher - self.offsets)


def build_subclasses(
    student_width: int,
    teacher_width: int,
    *,
    classes: int,
    subclasses: int,
    teacher_embeddings: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    **_: Any,
) -> Subclasses:
    """Fit the directions of `lelp` to the teacher's outputs on the training rows.

    Least squares on the embeddings and logits gives the output weights W. The embeddings are projected onto the null space of W. For each
    class the first S principal components of its embeddings are turned by a random rotation (from torch's generator), so that no
    subclass has the first component, with most of the variance, for itself. Components without variance, as in a class of few rows, are
    left out. A class whose rows do not differ (it may have one row, or none) takes the components of all rows.
    Shapes: teacher_embeddings (N, D_t); teacher_logits (N, C); labels (N,) int64.

    Raises:
        RecipeError: more subclasses than the teacher's embedding has dimensions.
    """
    if subclasses > teacher_width:
        raise RecipeError(f"subclasses is {subclasses}; allowed: at most {teacher_width}, the width of the teacher's embedding")
    embeddings, logits = teacher_embeddings.detach().double().cpu(), teacher_logits.detach().double().cpu()
    weights = torch.linalg.lstsq(embeddings - embeddings.mean(0), logits - logits.mean(0), driver="gelsd").solution  # (D, C)
    basis, sizes, _right = torch.linalg.svd(weights, full_matrices=False)
    basis = basis[:, sizes > sizes.max() * 1e-9]
    hidden = embeddings - (embeddings @ basis) @ basis.T
    directions, offsets = [], []
    noise = NO_VARIANCE * embeddings.square().sum(dim=1).mean()
    everywhere = _components(hidden, subclasses, noise)
    for index in range(classes):
        rows = hidden[labels.cpu() == index]
        components, variances = _components(rows, subclasses, noise) if len(rows) else everywhere
        components, variances = (components, variances) if variances.any() else everywhere
        spread = variances.mean().sqrt() if variances.any() else 1.0
        rotation, triangle = torch.linalg.qr(torch.randn(subclasses, subclasses, dtype=torch.float64))
        turned = (components @ (rotation * triangle.diagonal().sign())).T / spread
        directions.append(turned)
        offsets.append(turned @ (rows if len(rows) else hidden).mean(0))
    return Subclasses(student_width, torch.stack(directions).float(), torch.stack(offsets).float())


def _components(rows: Tensor, count: int, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The first principal components of rows (N, D) and their variances: (D, count) and (count,), both 0 where a variance is noise."""
    apart = rows - rows.mean(0)
    variances, vectors = torch.linalg.eigh(apart.T @ apart / len(rows))
    variances, vectors = variances[-count:], vectors[:, -count:]
    return vectors * (variances > noise), variances * (variances > noise)


@component("objective.prediction", tasks=CLASSIFICATION, modules={"splitter": build_subclasses})
def lelp(
    student_logits: Tensor,
    teacher_logits: Tensor,
    student_embedding: Tensor,
    teacher_embedding: Tensor,
    splitter: nn.Module,
    *,
    subclasses: Annotated[int, Field(ge=2, le=64)] = 4,
    subclass_temperature: Annotated[float, Field(gt=0.0)] = 1.0,
    temperature: Annotated[float, Field(gt=0.0)] = 1.0,
) -> Tensor:
    """Learning embedding linear projections: cross-entropy over pseudo-subclasses made from the teacher's embeddings.

    Shapes: student_logits, teacher_logits (B, C); student_embedding (B, D_s), teacher_embedding (B, D_t), the inputs of the classification
        heads; splitter: module, both embeddings → both sides' subclass scores (B, C, S) → scalar.
    Formula: −T² · mean_b Σ_c Σ_s P_cs log Q_cs, P_cs = p_c · softmax_s(u_cs / τ) and Q_cs = q_c · softmax_s(a_cs / T), p, q the softmax of
        teacher / T and student / T. u_cs is the teacher's embedding along direction s of class c; the directions are the principal
        components of the class's training embeddings in the null space of the output weights, randomly rotated, of unit variance. a_cs
        is a linear head on the student's embedding. Any distribution over C · S classes is such a product, so the student stays a
        C-class model.
    Scale: at random initialisation gradient 0.55 × cross-entropy's on the logits; the value is about log S above ce.
    Source: Loo, Iliopoulos, Hu, Vee 2024, "Linear Projections of Teacher Embeddings for Few-Class Distillation", section 3. The paper's
        student has one head with C · S outputs, and a class's probability is their sum over s. The unit variance is ours, so that τ
        means the same for every teacher.
    When: two or few classes, where the teacher's logits hold little information.
    """
    student, teacher = _pair(student_logits, teacher_logits, temperature)
    student_scores, teacher_scores = splitter(student_embedding, teacher_embedding.detach())
    target = teacher.softmax(-1)[:, :, None] * (teacher_scores / subclass_temperature).softmax(-1)
    guess = student.log_softmax(-1)[:, :, None] + (student_scores / temperature).log_softmax(-1)
    return -(target * guess).sum(dim=(1, 2)).mean() * temperature**2
