"""One model's outputs on a batch, as objectives read them: token by token for texts, position by position for images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from autodistill.modality import Image, Text
from autodistill.models.base import Outputs, each_tensor


@dataclass
class Side(ABC):
    """The student's or the teacher's side of an objective. Layers are numbered from 1; an image model's are its stages."""

    outputs: Outputs

    @property
    def attention_layers(self) -> int:
        """Number of layers with queries, keys and values."""
        return len(self.outputs.queries)

    @property
    def _entries(self) -> int:
        return max(len(self.outputs.states), len(self.outputs.sentences), len(self.outputs.means), len(self.outputs.texts))

    @property
    @abstractmethod
    def layers(self) -> int:
        """Number of layers with states."""

    def take(self, rows: Tensor) -> Self:
        """Some rows of the batch. rows: (R,) int64."""
        return replace(self, outputs=self._outputs_of(rows))

    def _outputs_of(self, rows: Tensor) -> Outputs:
        return each_tensor(self.outputs, lambda tensor: tensor[rows] if tensor.numel() else tensor)

    @abstractmethod
    def state(self, layer: int, tokens: str) -> Tensor:
        """A layer's states: (B, D) for a pooled form, (B, 2, D) for `texts`, (B, T, D) for `tokens`."""

    @abstractmethod
    def state_beside(self, layer: int, tokens: str, other: Self, other_layer: int) -> Tensor:
        """A layer's states at positions that the other side's layer also has, so that the two can be compared."""

    @abstractmethod
    def mask_beside(self, layer: int, other: Self, other_layer: int) -> Tensor:
        """Which positions of `state_beside` count, (B, T) bool."""

    @abstractmethod
    def maps(self, stage: int) -> Tensor:
        """A stage's feature maps, (B, C, H, W).

        Raises:
            TypeError: the model has none.
        """


@dataclass
class TextSide(Side):
    """A side for texts. mask, segments: of the batch that the model reads, see `TextBatch`. Only `texts` needs segments."""

    mask: Tensor
    segments: Tensor | None = None

    def take(self, rows: Tensor) -> Self:
        segments = None if self.segments is None else self.segments[rows]
        return replace(self, outputs=self._outputs_of(rows), mask=self.mask[rows], segments=segments)

    @property
    def layers(self) -> int:
        return Text().layers(self._entries)

    def state(self, layer: int, tokens: str) -> Tensor:
        """cls, mean, texts or tokens. texts: (B, 2, D), the mean over each text of a pair."""
        entry = Text().entry(layer)
        if tokens == "cls":
            return self.outputs.sentences[entry]
        if tokens == "texts" and self.outputs.texts:
            return self.outputs.texts[entry]
        if tokens == "texts":
            assert self.segments is not None, "the two texts of a pair are told apart by their segments"
            return text_means(self.outputs.states[entry], self.mask, self.segments)
        if tokens == "mean" and self.outputs.means:
            return self.outputs.means[entry]
        states = self.outputs.states[entry]
        return masked_mean(states, self.mask) if tokens == "mean" else states

    def state_beside(self, layer: int, tokens: str, other: Self, other_layer: int) -> Tensor:
        return self.state(layer, tokens)

    def mask_beside(self, layer: int, other: Self, other_layer: int) -> Tensor:
        return self.mask

    def maps(self, stage: int) -> Tensor:
        raise TypeError("models of texts have no feature maps")


@dataclass
class ImageSide(Side):
    """A side for images: feature maps (B, C, H, W), whose positions are numbered row by row."""

    @property
    def layers(self) -> int:
        return Image().layers(self._entries)

    def state(self, layer: int, tokens: str) -> Tensor:
        """Mean or tokens."""
        entry = Image().entry(layer)
        if tokens == "mean" and self.outputs.means:
            return self.outputs.means[entry]
        maps = self.outputs.states[entry]
        return maps.mean(dim=(2, 3)) if tokens == "mean" else maps.flatten(2).transpose(1, 2)

    def state_beside(self, layer: int, tokens: str, other: Self, other_layer: int) -> Tensor:
        """Positions are those of the smaller grid; the larger one is averaged to it."""
        if tokens != "tokens":
            return self.state(layer, tokens)
        maps = self.maps(layer)
        return F.adaptive_avg_pool2d(maps, _grid(maps, other.maps(other_layer))).flatten(2).transpose(1, 2)

    def mask_beside(self, layer: int, other: Self, other_layer: int) -> Tensor:
        """All of them."""
        maps = self.maps(layer)
        height, width = _grid(maps, other.maps(other_layer))
        return torch.ones(len(maps), height * width, dtype=torch.bool, device=maps.device)

    def maps(self, stage: int) -> Tensor:
        return self.outputs.states[Image().entry(stage)]


def _grid(maps: Tensor, other: Tensor) -> tuple[int, int]:
    return min(maps.shape[2], other.shape[2]), min(maps.shape[3], other.shape[3])


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over a text's tokens: (B, T, D) and (B, T) → (B, D)."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1.0)


def text_means(states: Tensor, mask: Tensor, segments: Tensor) -> Tensor:
    """The mean over the tokens of each text of a pair, see `TextBatch`: (B, T, D) → (B, 2, D); zeros for a text without tokens.

    If the tokenizer does not mark the second text (segments all 0, as RoBERTa's), both texts count as the first.
    """
    second = segments == 1
    return torch.stack([masked_mean(states, mask & ~second), masked_mean(states, mask & second)], dim=1)
