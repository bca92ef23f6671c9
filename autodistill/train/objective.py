"""From a recipe to what the student minimises: its weighted terms, and the projections and critics that they learn with.

A term's function names the tensors it wants as its positional parameters (components.py); `Side` finds them in what the
student and the teacher gave.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autodistill.components import Spec
from autodistill.losses.layer_map import PairWeights
from autodistill.losses.projection import build_projection, normalise
from autodistill.models.base import Outputs
from autodistill.recipe import Component, Recipe
from autodistill.train.taps import term_layers, term_tokens


@dataclass
class Targets:
    """What is known of a batch's rows. labels: (B,) int64 classes, or float scaled scores. index: (B,) rows of the train split.

    Mixed rows (mixup) also have the labels of their partners, and the share of each row itself, in (0, 1].
    """

    labels: Tensor
    index: Tensor
    partner_labels: Tensor | None = None
    share: float = 1.0


@dataclass
class Side:
    """One model's outputs, as the objectives ask for them. Layers are numbered from 1; an image model's are its stages."""

    outputs: Outputs
    mask: Tensor | None

    @property
    def layers(self) -> int:
        """Number of layers whose states are there."""
        count = max(len(self.outputs.states), len(self.outputs.sentences), len(self.outputs.means))
        return count if self.is_image else count - 1

    @property
    def attention_layers(self) -> int:
        """Number of layers whose queries, keys and values are there."""
        return len(self.outputs.queries)

    @property
    def is_image(self) -> bool:
        """Whether the states are feature maps."""
        return self.mask is None

    def state(self, layer: int, tokens: str) -> Tensor:
        """A layer's states: (B, D) for cls and mean, (B, T, D) for tokens (an image's positions, row by row)."""
        if self.is_image:
            if tokens == "mean" and self.outputs.means:
                return self.outputs.means[layer - 1]
            maps = self.outputs.states[layer - 1]
            return maps.mean(dim=(2, 3)) if tokens == "mean" else maps.flatten(2).transpose(1, 2)
        if tokens == "cls":
            return self.outputs.sentences[layer]
        if tokens == "mean" and self.outputs.means:
            return self.outputs.means[layer]
        states = self.outputs.states[layer]
        return masked_mean(states, self.mask) if tokens == "mean" else states

    def maps(self, stage: int) -> Tensor:
        """A stage's feature maps (B, C, H, W)."""
        return self.outputs.states[stage - 1]


def masked_mean(states: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over a text's tokens: (B, T, D) and (B, T) → (B, D)."""
    if mask is None:
        return states.mean(dim=1)
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1.0)


Known = Mapping[str, Callable[[], Any]]
"""What is known of the training split, looked up only by the modules that ask for it by name: classes and rows (int), labels (N,),
teacher_embeddings (N, D_t), teacher_logits (N, C)."""


class Term(nn.Module):
    """One objective of the mix: its function, the layer pairs it is taken over, and the modules that it learns with."""

    def __init__(self, part: Component, student: Side, teacher: Side, known: Known) -> None:
        super().__init__()
        self.weight = float(getattr(part, "weight", 1.0))
        self.spec: Spec = part.spec
        self.function: Callable[..., Tensor] = self.spec.load()
        self.own = part.own
        self.tokens = term_tokens(part, student.is_image)
        attends = "student_queries" in self.spec.inputs or "student_values" in self.spec.inputs
        depths = (student.attention_layers, teacher.attention_layers) if attends else (student.layers, teacher.layers)
        self.pairs = term_layers(part, *depths)
        self.per_pair = any(name in _PER_PAIR for name in self.spec.inputs)
        self.projections = nn.ModuleDict()
        self.critics = nn.ModuleDict()
        kind = getattr(part, "projection", None)
        self.normalises = kind == "orthogonal"
        for pair in self.pairs if self.per_pair else self.pairs[:1]:
            widths = self._widths(pair, student, teacher)
            if kind is not None:
                self.projections[_key(pair)] = build_projection(kind, *widths)
            for name, build in getattr(self.function, "modules", {}).items():
                asked = {fact: known[fact]() for fact in known if fact in inspect.signature(build).parameters}
                self.critics[f"{_key(pair)} {name}"] = build(*widths, **asked, **self.own)
        layer_map = getattr(part, "layer_map", "")
        weighted = layer_map in ("emd", "all") and self.per_pair
        self.pair_weights = PairWeights(layer_map, len({layer for layer, _ in self.pairs}), depths[1]) if weighted else None

    def _widths(self, pair: tuple[int, int], student: Side, teacher: Side) -> tuple[int, int]:
        if "student_state" in self.spec.inputs:
            return student.state(pair[0], self.tokens).shape[-1], teacher.state(pair[1], self.tokens).shape[-1]
        if "student_maps" in self.spec.inputs:
            return student.maps(pair[0]).shape[1], teacher.maps(pair[1]).shape[1]
        return student.outputs.embedding.shape[-1], teacher.outputs.embedding.shape[-1]

    def forward(self, student: Side, teacher: Side, targets: Targets) -> Tensor:
        """The term's value, unweighted: the mean over layer pairs, or what emd and all weigh them by. PKD and TinyBERT sum over pairs."""
        if not self.per_pair:
            return self._value(self.pairs[0], student, teacher, targets)
        values = torch.stack([self._value(pair, student, teacher, targets) for pair in self.pairs])
        return values.mean() if self.pair_weights is None else self.pair_weights(values)

    def _value(self, pair: tuple[int, int], student: Side, teacher: Side, targets: Targets) -> Tensor:
        given = {name: self._input(name, pair, student, teacher, targets) for name in self.spec.inputs}
        return self.function(**given, **self.own)

    def _input(self, name: str, pair: tuple[int, int], student: Side, teacher: Side, targets: Targets) -> Any:
        key = f"{_key(pair)} {name}"
        if key in self.critics:
            return self.critics[key]
        if name == "labels":
            return targets.labels
        if name == "index":
            return targets.index
        if name == "mask":
            if self.tokens != "tokens" and "student_state" in self.spec.inputs:
                return None
            if student.mask is None:
                maps = student.maps(pair[0])
                height, width = _grid(maps, teacher.maps(pair[1]))
                return torch.ones(len(maps), height * width, dtype=torch.bool, device=maps.device)
            return student.mask
        side, layer = (student, pair[0]) if name.startswith("student_") else (teacher, pair[1])
        what = name.partition("_")[2]
        if what in ("logits", "embedding"):
            return getattr(side.outputs, what)
        if what in ("queries", "keys", "values"):
            return getattr(side.outputs, what)[layer - 1]
        if what == "maps":
            return side.maps(layer)
        if what == "states":
            layers = [one[0] if side is student else one[1] for one in self.pairs]
            return [side.state(number, self.tokens) for number in layers]
        if what == "state" and side is student:
            state = self._state(side, layer, teacher, pair[1])
            return self.projections[_key(pair)](state) if self.projections else state
        if what == "state":
            state = self._state(side, layer, student, pair[0])
            return normalise(state) if self.normalises else state
        raise TypeError(f"objective {self.spec.kind!r} asks for {name!r}, which no trial has")

    def _state(self, side: Side, layer: int, other: Side, other_layer: int) -> Tensor:
        if self.tokens != "tokens" or not side.is_image:
            return side.state(layer, self.tokens)
        maps = side.maps(layer)  # of both models' grids the smaller, so that positions can be compared
        return F.adaptive_avg_pool2d(maps, _grid(maps, other.maps(other_layer))).flatten(2).transpose(1, 2)


_PER_PAIR = {"student_state", "student_maps", "student_queries", "student_keys", "student_values"}


def _key(pair: tuple[int, int]) -> str:
    return f"{pair[0]}-{pair[1]}"


def _grid(maps: Tensor, other: Tensor) -> tuple[int, int]:
    return min(maps.shape[2], other.shape[2]), min(maps.shape[3], other.shape[3])


class Objective(nn.Module):
    """The weighted sum of a recipe: hard labels and the terms of each slot.

    Built after one dry run of student and teacher, from whose outputs the widths are read.
    """

    def __init__(self, recipe: Recipe, student: Side, teacher: Side | None, known: Known) -> None:
        super().__init__()
        self.hard_label_weight = recipe.objective.hard_label_weight
        self.label_smoothing = recipe.objective.label_smoothing
        self.is_regression = recipe.task.endswith("regression")
        terms = {}
        for slot, part in recipe.objective.terms.items():
            assert teacher is not None, "a recipe with objectives is run with a teacher's outputs"
            terms[slot] = Term(part, student, teacher, known)
        self.terms = nn.ModuleDict(terms)

    def hard(self, logits: Tensor, targets: Targets) -> Tensor:
        """Cross-entropy on the labels, or squared error on the scaled scores; mixed rows count for both labels by their shares."""

        def against(labels: Tensor) -> Tensor:
            if self.is_regression:
                return F.mse_loss(logits.squeeze(-1).float(), labels.float())
            return F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)

        if targets.partner_labels is None:
            return against(targets.labels)
        return targets.share * against(targets.labels) + (1.0 - targets.share) * against(targets.partner_labels)

    def forward(self, student: Side, teacher: Side | None, targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and each weighted term, detached, by slot."""
        parts: dict[str, Tensor] = {}
        if self.hard_label_weight > 0:
            parts["hard_label"] = self.hard_label_weight * self.hard(student.outputs.logits, targets)
        for slot, term in self.terms.items():
            parts[slot] = term.weight * term(student, teacher, targets)
        return torch.stack(list(parts.values())).sum(), {slot: value.detach() for slot, value in parts.items()}
