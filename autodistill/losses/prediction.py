"""Objectives on the logits: what the student says against what the teacher says."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from autodistill.components import CLASSIFICATION, component
from autodistill.losses.tensors import full_precision


@component("objective.prediction", tasks=CLASSIFICATION)
def kl(student_logits: Tensor, teacher_logits: Tensor, *, temperature: Annotated[float, Field(gt=0.0)] = 2.0) -> Tensor:
    """Kullback-Leibler divergence of the softened predictions: the classic of knowledge distillation.

    Shapes: student_logits, teacher_logits (B, C) → scalar.
    Formula: T² · mean_b Σ_c p_c log(p_c / q_c), with p = softmax(teacher / T), q = softmax(student / T).
    Scale: T² keeps the gradient's size about the same for every T, so weight 1 is of cross-entropy's order.
    Source: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.
    When: always a first choice where there are several classes; higher T passes on more of how the teacher errs.
    """
    student = F.log_softmax(full_precision(student_logits) / temperature, dim=-1)
    teacher = F.log_softmax(full_precision(teacher_logits) / temperature, dim=-1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


@component("objective.prediction")
def mse(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean squared error of the logits; for regression, of the predictions.

    Shapes: student_logits, teacher_logits (B, C), C = 1 for regression → scalar.
    Formula: mean over rows b and classes c of (z_bc − v_bc)², z the student's logits, v the teacher's.
    Scale: of cross-entropy's order for logits of unit variance; it grows with the size of the teacher's logits.
    Source: Ba, Caruana 2014, "Do Deep Nets Really Need to be Deep?", eq. 1; the mean over classes as in Kim et al. 2021, "Comparing
        Kullback-Leibler Divergence and Mean Squared Error Loss in Knowledge Distillation".
    When: regression, and classification where the teacher is so sure that its softened predictions say little.
    """
    return F.mse_loss(full_precision(student_logits), full_precision(teacher_logits))
