"""The last layer of a bert student, computed for the first token alone where nothing else of it is read."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from autodistill.models.transformer import Transformer
from autodistill.recipe import Recipe
from autodistill.train.taps import reads_single_tokens, student_taps


class FirstToken:
    """Trains a bert student without those states of its last layer that neither its head nor an objective reads.

    The head reads the first token. Of the last layer the others only need keys and values (and queries, where an objective on attention
    reads them), so its remaining work, at the usual widths 10/12 of the multiplications, is done for one token of each text. The
    outputs are the same; the last entry of their states has one token. Other students are left alone.
    """

    def __init__(self, student: nn.Module, recipe: Recipe) -> None:
        self._layer: Any = None
        if isinstance(student, Transformer) and not reads_single_tokens(recipe):
            self._layer = student.model.bert.encoder.layer[-1]
            self._layer.forward = partial(_forward, self._layer, "attention" in student_taps(recipe))

    def restore(self) -> None:
        """Give the student its whole layer back."""
        if self._layer is not None:
            del self._layer.forward
            self._layer = None


def _forward(layer: Any, all_queries: bool, states: Tensor, mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    """What transformers' BertLayer makes of the first token: states (B, T, D), mask (B, 1, T, T) or None → (B, 1, D)."""
    attention, first = layer.attention.self, states[:, :1]
    query, key, value = (
        projection(given).unflatten(2, (-1, attention.attention_head_size)).transpose(1, 2)
        for projection, given in (
            (attention.query, states if all_queries else first),
            (attention.key, states),
            (attention.value, states),
        )
    )
    read = F.scaled_dot_product_attention(
        query[:, :, :1],
        key,
        value,
        attn_mask=None if mask is None else mask[:, :, :1],
        dropout_p=attention.dropout.p if layer.training else 0.0,
    )
    return layer.feed_forward_chunk(layer.attention.output(read.transpose(1, 2).flatten(2), first))
