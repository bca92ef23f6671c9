"""The part of a recipe that says what the student minimises."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from autodistill.recipe.fields import SLOTS, ClassWeights, Fraction, Weight
from autodistill.recipe.parts import Component, Part, Weighted
from autodistill.recipe.slots import NONE, Attention, Contrastive, Intermediate, Prediction, Relation


class Objective(Part):
    """The weighted sum that the student minimises: hard labels, and one objective from each slot."""

    hard_label_weight: Weight = 1.0
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    class_weights: ClassWeights = "none"
    self_distillation: Fraction = 0.0
    """The share of the student's own past predictions in the hard labels at the end of training, to which it grows from zero (Kim et al.
    2021, "Self-Knowledge Distillation with Progressive Refinement of Targets"): a baseline without a teacher. 0: labels alone."""
    prediction: Prediction = Field(default=NONE, validate_default=True)
    intermediate: Intermediate = Field(default=NONE, validate_default=True)
    contrastive: Contrastive = Field(default=NONE, validate_default=True)
    attention: Attention = Field(default=NONE, validate_default=True)
    relation: Relation = Field(default=NONE, validate_default=True)

    @property
    def slots(self) -> dict[str, Component]:
        """The component in each slot."""
        return {slot: getattr(self, slot) for slot in SLOTS}

    @property
    def teaches(self) -> bool:
        """Whether there is anything to learn from."""
        return self.hard_label_weight > 0 or bool(self.terms)

    @property
    def terms(self) -> dict[str, Weighted]:
        """The active objectives, by slot."""
        return {slot: part for slot, part in self.slots.items() if isinstance(part, Weighted) and part.active}
