"""The head of a model that was trained for a task before it came here, as a teacher's head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from autodistill.assistant import AS_IT_IS
from autodistill.errors import listed
from autodistill.models.transformer import head_layer
from autodistill.target import UNNAMED, Target

AS_IT_COMES = AS_IT_IS | {"head_init": "own"}
"""Fields of a recipe's teacher with which the model's own head is used, and nothing is trained."""


def labels_differ(model: str, labels: Sequence[str] | None, target: Target) -> str:
    """Says how a model's labels differ from a dataset's. labels: None if it has no trained head."""
    if labels is None:
        return f"the teacher {model!r} has no trained head"
    return f"the labels of the teacher {model!r} ({listed(labels)}) are not the dataset's ({listed(target.output_names)})"


def are_unnamed(labels: Sequence[str]) -> bool:
    """Whether nobody has named the labels of a head."""
    return all(UNNAMED.fullmatch(label.casefold()) for label in labels)


def keep_outputs(model: Any, places: Sequence[int]) -> None:
    """Leave a classifier of transformers only some of its outputs, in this order. The names in its configuration are not changed.

    Raises:
        ModelError: the model does not end in a linear layer.
    """
    name, layer = head_layer(model, model.config.num_labels)
    kept = nn.Linear(layer.in_features, len(places), bias=layer.bias is not None)
    with torch.no_grad():
        kept.weight.copy_(layer.weight[list(places)])
        if layer.bias is not None:
            kept.bias.copy_(layer.bias[list(places)])
    model.set_submodule(name, kept)
