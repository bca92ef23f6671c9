"""Computes the last layer of a BERT-like model only for the first token, if nothing else of it is read."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from autodistill.models.form import TrainingForm


class FirstToken(TrainingForm):
    """Trains a student without computing the states of its last layer that neither its head nor an objective reads.

    The head reads the first token. Of the last layer's other tokens only keys and values are needed (and queries, if an objective on
    attention reads them). The layer's remaining work is 10/12 of its multiplications at the usual widths, and is done for one token of
    each text. The outputs are the same, except that the last entry of their states has one token.

    inner: the form of the rest of the student. last_layer: a BertLayer of transformers. all_queries: whether an objective reads queries.
    """

    def __init__(self, inner: TrainingForm, last_layer: Any, all_queries: bool) -> None:
        super().__init__(inner.student)
        self._inner, self._layer = inner, last_layer
        last_layer.forward = partial(_forward, last_layer, all_queries)

    def stepped(self, decay: float) -> None:
        self._inner.stepped(decay)

    def copy_weights(self) -> dict[str, Tensor]:
        return self._inner.copy_weights()

    def state(self) -> dict[str, float]:
        return self._inner.state()

    def resume(self, state: dict[str, float]) -> None:
        self._inner.resume(state)

    def restore(self) -> None:
        """Give the student its whole layer back, and undo what the inner form changed."""
        self._inner.restore()
        vars(self._layer).pop("forward", None)


def _forward(layer: Any, all_queries: bool, states: Tensor, mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    """The output of transformers' BertLayer for the first token: states (B, T, D), mask (B, 1, T, T) or None → (B, 1, D)."""
    attention, first = layer.attention.self, states[:, :1]
    query, key, value = (
        projection(tokens).unflatten(2, (-1, attention.attention_head_size)).transpose(1, 2)
        for projection, tokens in (
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
