"""What teachers and students have in common: what goes in, what comes out, in which shapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn


@dataclass
class TextBatch:
    """A batch of token ids, padded on the right to its longest row.

    ids: (B, T) int64, the teacher tokenizer's ids. mask: (B, T) bool, True on tokens. segments: (B, T) int64, 1 on the
    second text of a pair.
    """

    ids: Tensor
    mask: Tensor
    segments: Tensor


@dataclass
class ImageBatch:
    """A batch of images. pixels: (B, 3, H, W) float, normalised as the teacher wants it."""

    pixels: Tensor


Batch = TextBatch | ImageBatch


@dataclass
class Outputs:
    """What a forward pass gives. Lists go from the input to the output, one entry for each tapped layer.

    logits: (B, C); C = 1 for regression.
    embedding: (B, D), the vector that the classification head reads.
    states: text (B, T, D_l) for the embeddings (entry 0) and each layer; images (B, C_l, H_l, W_l) for each stage.
    sentences: text only, (B, D_l) per entry of `states`: the CLS state of a transformer, the pooled vector of a cnn or bilstm.
    queries, keys, values: transformers only, (B, heads, T, D_head) for each layer.
    """

    logits: Tensor
    embedding: Tensor
    states: list[Tensor] = field(default_factory=list)
    sentences: list[Tensor] = field(default_factory=list)
    queries: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)


class Model(Protocol):
    """A teacher or a student: an `nn.Module` with this forward."""

    def __call__(self, batch: Batch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        """Run the model. `taps` ⊆ {"states", "attention"}: which lists of the outputs to fill."""
        ...


class StudentModule(nn.Module):
    """Base class of students and wrapped teachers, so that a checker sees `Outputs` come out."""

    def __call__(self, batch: Batch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        return super().__call__(batch, taps=taps)
