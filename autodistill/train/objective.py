"""From a recipe to what the student minimises: its weighted terms, with their learned projections and critics.

A term's function names the tensors that it needs as its positional parameters (components.py). `Side` (models/sides.py) gets them from
the outputs of the student and the teacher.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from autodistill.components import Spec
from autodistill.losses.layer_map import PairWeights
from autodistill.losses.projection import build_projection, normalise
from autodistill.losses.self_distillation import PastPredictions
from autodistill.modality import Modality
from autodistill.models.sides import Side
from autodistill.recipe import Recipe
from autodistill.recipe.parts import LayerMapped, Projected, Weighted
from autodistill.task_types import modality_of, target_of
from autodistill.train.taps import term_layers, term_tokens


@dataclass
class BatchLabels:
    """The labels of a batch's rows. labels: (B,), as `Target.loss` expects them. index: (B,) int64, rows of the train split.

    Mixed rows (mixup) also have the labels of their partners, and the row's own share of the mix, in (0, 1]. Which rows of the batch have
    what is said by their places in it, int64, so that shapes follow from counts: labelled (L,), those with a label; partner_labelled, of
    mixed rows those whose partner has one; scored, those with teacher outputs; complete, those with both. None: all rows do.
    """

    labels: Tensor
    index: Tensor
    partner_labels: Tensor | None = None
    share: float = 1.0
    labelled: Tensor | None = None
    partner_labelled: Tensor | None = None
    scored: Tensor | None = None
    complete: Tensor | None = None

    def __post_init__(self) -> None:
        if self.complete is None and self.scored is not None:
            is_complete = None if self.labelled is None else torch.isin(self.scored, self.labelled)
            self.complete = self.scored if is_complete is None else self.scored[is_complete]
        elif self.complete is None:
            self.complete = self.labelled

    def to(self, device: torch.device) -> BatchLabels:
        """On a device."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved: dict[str, Any] = {name: value.to(device, non_blocking=True) for name, value in tensors.items()}
        return replace(self, **moved)


SplitFacts = Mapping[str, Callable[[], Any]]
"""Facts of the training split, computed only for the modules that ask for them by name: classes and rows (int), labels (N,),
teacher_embeddings (N, D_t), teacher_logits (N, C)."""


class Term(nn.Module):
    """One objective of the mix: its function, its layer pairs, and its learned modules."""

    def __init__(self, part: Weighted, modality: Modality, student: Side, teacher: Side, facts: SplitFacts) -> None:
        super().__init__()
        self.weight = part.weight
        self.spec: Spec = part.spec
        self.function: Callable[..., Tensor] = self.spec.load()
        self.own = part.own
        self.tokens = term_tokens(part, modality)
        attends = "student_queries" in self.spec.inputs or "student_values" in self.spec.inputs
        depths = (student.attention_layers, teacher.attention_layers) if attends else (student.layers, teacher.layers)
        self.pairs = term_layers(part, *depths)
        self.per_pair = any(name in _PER_PAIR for name in self.spec.inputs)
        self.projections = nn.ModuleDict()
        self.critics = nn.ModuleDict()
        kind = part.projection if isinstance(part, Projected) else None
        self.normalises = kind == "orthogonal"
        for pair in self.pairs if self.per_pair else self.pairs[:1]:
            widths = self._widths(pair, student, teacher)
            if kind is not None:
                self.projections[_key(pair)] = build_projection(kind, *widths)
            for name, build in self.spec.builders().items():
                asked = {fact: facts[fact]() for fact in facts if fact in inspect.signature(build).parameters}
                self.critics[f"{_key(pair)} {name}"] = build(*widths, **asked, **self.own)
        self.pair_weights = None
        if isinstance(part, LayerMapped) and part.layer_map in ("emd", "all") and self.per_pair:
            self.pair_weights = PairWeights(part.layer_map, len({layer for layer, _ in self.pairs}), depths[1])

    def _widths(self, pair: tuple[int, int], student: Side, teacher: Side) -> tuple[int, int]:
        if "student_state" in self.spec.inputs or "student_states" in self.spec.inputs:
            return student.state(pair[0], self.tokens).shape[-1], teacher.state(pair[1], self.tokens).shape[-1]
        if "student_maps" in self.spec.inputs:
            return student.maps(pair[0]).shape[1], teacher.maps(pair[1]).shape[1]
        return student.outputs.embedding.shape[-1], teacher.outputs.embedding.shape[-1]

    def forward(self, student: Side, teacher: Side, labels: BatchLabels) -> Tensor:
        """The term's unweighted value over the rows that have teacher outputs and, if the term needs labels, also a label.

        Over several layer pairs it is the mean, where PKD and TinyBERT take the sum. The maps emd and all have weights of their own.
        """
        used = labels.complete if "labels" in self.spec.inputs else labels.scored
        if used is not None:
            if not len(used):
                return student.outputs.logits.sum() * 0.0
            student, teacher = student.take(used), teacher.take(used)
            labels = BatchLabels(labels.labels[used], labels.index[used])
        if not self.per_pair:
            return self._value(self.pairs[0], student, teacher, labels)
        values = torch.stack([self._value(pair, student, teacher, labels) for pair in self.pairs])
        return values.mean() if self.pair_weights is None else self.pair_weights(values)

    def _value(self, pair: tuple[int, int], student: Side, teacher: Side, labels: BatchLabels) -> Tensor:
        inputs = {name: self._input(name, pair, student, teacher, labels) for name in self.spec.inputs}
        return self.function(**inputs, **self.own)

    def _input(self, name: str, pair: tuple[int, int], student: Side, teacher: Side, labels: BatchLabels) -> Any:
        key = f"{_key(pair)} {name}"
        if key in self.critics:
            return self.critics[key]
        if name == "labels":
            return labels.labels
        if name == "index":
            return labels.index
        if name == "mask":
            pooled = self.tokens != "tokens" and "student_state" in self.spec.inputs
            return None if pooled else student.mask_beside(pair[0], teacher, pair[1])
        of, _, what = name.partition("_")
        if what == "states":  # the states of all the term's layers
            place, side = (0, student) if of == "student" else (1, teacher)
            return [side.state(one[place], self.tokens) for one in self.pairs]
        if of == "student":
            value = self._output(what, student, pair[0], teacher, pair[1])
            return self.projections[_key(pair)](value) if what == "state" and self.projections else value
        value = self._output(what, teacher, pair[1], student, pair[0])
        return normalise(value) if what == "state" and self.normalises else value

    def _output(self, what: str, side: Side, layer: int, other: Side, other_layer: int) -> Any:
        """An output of one layer of a side. other_layer is the layer that it is paired with."""
        match what:
            case "logits":
                return side.outputs.logits
            case "embedding":
                return side.outputs.embedding
            case "queries":
                return side.outputs.queries[layer - 1]
            case "keys":
                return side.outputs.keys[layer - 1]
            case "values":
                return side.outputs.values[layer - 1]
            case "maps":
                return side.maps(layer)
            case "state":
                return side.state_beside(layer, self.tokens, other, other_layer)
        raise TypeError(f"objective {self.spec.kind!r} asks for {what!r} of a model, which no trial has")


_PER_PAIR = {"student_state", "student_maps", "student_queries", "student_keys", "student_values"}


def _key(pair: tuple[int, int]) -> str:
    return f"{pair[0]}-{pair[1]}"


class Objective(nn.Module):
    """The weighted sum of a recipe: the loss on hard labels, and the term of each slot.

    It is built after one dry run of student and teacher, whose outputs give the widths. progress: the share of the epochs, this one
    included, which is set before each epoch.
    """

    class_weights: Tensor | None

    def __init__(self, recipe: Recipe, student: Side, teacher: Side | None, facts: SplitFacts) -> None:
        super().__init__()
        self.hard_label_weight = recipe.objective.hard_label_weight
        self.label_smoothing = recipe.objective.label_smoothing
        self.target = target_of(recipe.task)
        weights = None if recipe.objective.class_weights == "none" else self.target.balanced_weights(facts["labels"]().cpu().numpy())
        share = recipe.objective.self_distillation
        self.past = PastPredictions(facts["rows"](), facts["classes"]()) if share > 0 else None
        self.self_share, self.progress = share, 0.0
        self.register_buffer("class_weights", None if weights is None else torch.from_numpy(weights))
        terms = {}
        for slot, part in recipe.objective.terms.items():
            assert teacher is not None, "a recipe with objectives is run with a teacher's outputs"
            terms[slot] = Term(part, modality_of(recipe.task), student, teacher, facts)
        self.terms = nn.ModuleDict(terms)

    def hard(self, logits: Tensor, labels: BatchLabels) -> Tensor:
        """The target's loss over the rows with a label. A mixed row counts for both its labels, by its share."""
        return self.target.mixed_loss(
            logits,
            labels.labels,
            labels.partner_labels,
            labels.share,
            labelled=labels.labelled,
            partner_labelled=labels.partner_labelled,
            label_smoothing=self.label_smoothing,
            class_weights=self.class_weights,
        )

    def softened(self, hard: Tensor, logits: Tensor, labels: BatchLabels) -> Tensor:
        """The loss on hard labels, with the share of the student's own past predictions that it has by now (PastPredictions)."""
        if self.past is None:
            return hard
        labelled = slice(None) if labels.labelled is None else labels.labelled
        if not len(labels.labels[labelled]):
            return hard
        share = self.self_share * self.progress
        return (1.0 - share) * hard + share * self.past(logits[labelled], labels.labels[labelled], labels.index[labelled])

    def forward(
        self, student: Side, teacher: Side | None, labels: BatchLabels, hard_labels: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum; and each weighted term by slot. hard_labels: whether they count, or only the teacher does."""
        parts: dict[str, Tensor] = {}
        if self.hard_label_weight > 0 and hard_labels:
            logits = student.outputs.logits
            parts["hard_label"] = self.hard_label_weight * self.softened(self.hard(logits, labels), logits, labels)
        for slot, term in self.terms.items():
            parts[slot] = term.weight * term(student, teacher, labels)
        return torch.stack(list(parts.values())).sum(), parts
