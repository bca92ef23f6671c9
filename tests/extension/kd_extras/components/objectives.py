"""An objective on the logits."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from autodistill.components import component


@component("objective.prediction")
def huber(student_logits: Tensor, teacher_logits: Tensor, *, delta: Annotated[float, Field(gt=0.0)] = 1.0) -> Tensor:
    """Huber's loss of the logits: squared up to `delta`, linear beyond it.

    Shapes: logits (B, C) each → scalar.
    Source: Huber 1964, "Robust Estimation of a Location Parameter".
    """
    return F.huber_loss(student_logits, teacher_logits.detach(), delta=delta)
