"""A teacher's head, its pooling and its last linear layer: read, replaced and scaled, whatever the model is built like."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autodistill.errors import ModelError
from autodistill.models.base import StudentModule
from autodistill.models.pooled import PooledClassifier
from autodistill.models.timm import TimmModel
from autodistill.models.transformer import Transformer, head_layer


def head_of(model: StudentModule) -> nn.Linear | nn.Conv2d:
    """The layer that gives the logits; of some image models it is a convolution of one pixel.

    Raises:
        ModelError: the model does not end in such a layer.
    """
    if isinstance(model, TimmModel):
        return model.model.get_classifier()
    assert isinstance(model, Transformer)
    return head_layer(model.model, model.model.config.num_labels)[1]


def set_head(model: StudentModule, weight: Tensor, bias: Tensor) -> None:
    """Give the head these weights (C, D) and biases (C,).

    Raises:
        ModelError: the head has no bias, or reads vectors of another width.
    """
    head = head_of(model)
    if head.bias is None or head.weight.numel() != weight.numel():
        raise ModelError("the teacher's head has no bias, or reads vectors of another width; give teacher.head_init: random")
    with torch.no_grad():
        head.weight.copy_(weight.reshape(head.weight.shape))
        head.bias.copy_(bias)


def scale_logits(model: StudentModule, factor: float, shift: float = 0.0) -> None:
    """Fold logits → logits · factor + shift into the head."""
    head = head_of(model)
    with torch.no_grad():
        head.weight.mul_(factor)
        if head.bias is not None:
            head.bias.mul_(factor).add_(shift)


def pooling_of(model: StudentModule) -> str:
    """`cls` or `mean` of an encoder that we pool; else "model"."""
    inner = model.model
    return inner.pooling if isinstance(inner, PooledClassifier) else "model"


def set_pooling(model: StudentModule, pooling: str) -> None:
    """Pool so from now on; "model" leaves the model as it is."""
    if isinstance(model.model, PooledClassifier):
        model.model.pooling = pooling
