"""A teacher's head: its pooling, and its last layer."""

from __future__ import annotations

import torch
from torch import Tensor

from autodistill.errors import ModelError
from autodistill.models.base import StudentModule
from autodistill.models.pooled import APART, PooledClassifier


def set_head(model: StudentModule, weight: Tensor, bias: Tensor) -> None:
    """Set the last layer's weights (C, D) and biases (C,).

    Raises:
        ModelError: it has no bias, or reads vectors of another width.
    """
    head = model.output_layer
    if head.bias is None or head.weight.numel() != weight.numel():
        raise ModelError("the teacher's head has no bias, or reads vectors of another width; give teacher.head_init: random")
    with torch.no_grad():
        head.weight.copy_(weight.reshape(head.weight.shape))
        head.bias.copy_(bias)


def pooling_of(model: StudentModule) -> str:
    """`cls` or `mean` for an encoder that we pool, `apart` if it reads the texts of a pair apart; else "model"."""
    inner = getattr(model, "model", None)
    if not isinstance(inner, PooledClassifier):
        return "model"
    return inner.pooling if inner.ends is None else APART


def set_pooling(model: StudentModule, pooling: str) -> None:
    """Use this pooling from now on, as `pooling_of` names it. A model that pools in its own way, or each text alone, is not changed."""
    if isinstance(model.model, PooledClassifier) and pooling != APART:
        model.model.pooling = pooling
