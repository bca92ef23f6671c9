"""The head of a model that was trained for a task: which of its outputs are those of a dataset."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from autodistill.errors import listed
from autodistill.models.transformer import head_layer
from autodistill.target import Scores, Target

AS_IT_COMES: dict[str, Any] = {"init": "pretrained", "pooling": "model", "head_init": "own", "epochs": 0, "min_steps": 0, "max_steps": 0}
"""Fields of a recipe's teacher with which the model's own head is used, and nothing is trained."""
_UNNAMED = re.compile(r"label_(\d+)")
"""What transformers calls labels that nobody has named."""


def own_places(labels: Sequence[str], target: Target) -> tuple[int, ...] | None:
    """The places of a target's outputs among those of a trained head, in the target's order; None if it lacks one.

    A head may have more labels than the dataset has classes. Case and white space do not count. Labels that nobody has named, LABEL_0 and
    so on, are those of classes that are called by their numbers, 0 and so on, and of no others: a guess could swap them.

    labels: of the head, by index.
    """
    if target.kind == Scores.kind:
        return (0,) if len(labels) == 1 else None
    by_name: dict[str, int] = {}
    for place, label in enumerate(labels):
        name = " ".join(label.split()).casefold()
        unnamed = _UNNAMED.fullmatch(name)
        by_name.setdefault(unnamed[1] if unnamed else name, place)
    wanted = [" ".join(name.split()).casefold() for name in target.output_names]
    if len(by_name) < len(labels) or len(set(wanted)) < len(wanted) or not set(wanted) <= set(by_name):
        return None
    return tuple(by_name[name] for name in wanted)


def labels_differ(model: str, labels: Sequence[str] | None, target: Target) -> str:
    """Says how a model's labels differ from a dataset's. labels: None if it has no trained head."""
    if labels is None:
        return f"the teacher {model!r} has no trained head"
    wanted = "one score" if target.kind == Scores.kind else f"the dataset's ({listed(target.output_names)})"
    return f"the labels of the teacher {model!r} ({listed(labels)}) are not {wanted}"


def are_unnamed(labels: Sequence[str]) -> bool:
    """Whether nobody has named the labels of a head."""
    return all(_UNNAMED.fullmatch(label.casefold()) for label in labels)


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
