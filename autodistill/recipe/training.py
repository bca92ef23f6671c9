"""The part of a recipe that says how the student is trained."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from autodistill.recipe.fields import Count, Fraction, Positive, Stages, UnlabelledChoice
from autodistill.recipe.parts import Part


class Training(Part, use_attribute_docstrings=True):
    """How the student is trained: the optimizer, with linear warm-up and decay of its learning rate."""

    epochs: Count = 6
    batch_size: Count = 32
    learning_rate: Positive = 3e-4
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    warmup: Fraction = 0.1
    """Share of the steps over which the learning rate rises from zero."""
    steps: Annotated[int, Field(ge=0)] = 0
    """The number of optimizer steps, in `epochs` equal parts with an evaluation after each, so that trials cost the same on few and on many
    rows. 0: as many as `epochs` passes over the labelled rows take."""
    passes: Annotated[float, Field(ge=0.0)] = 0.0
    """At least this many passes over the rows that are read, with labels or without: on many rows there are more steps than `steps`."""
    max_steps: Annotated[int, Field(ge=0)] = 0
    """The most steps that `passes` may ask for. 0: no bound."""
    unlabelled_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """The share of unlabelled rows in each batch. On these the student learns only from the teacher. 0: they are not used."""
    unlabelled_choice: UnlabelledChoice = "all"
    """Which unlabelled rows are kept. `confident` and `uncertain` use the largest probability that the teacher gives a row (with the same
    share of each predicted class), `diverse` uses its embeddings (Sener, Savarese 2018, greedy k-centre), and `random` shows what fewer
    rows alone would give."""
    unlabelled_keep: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the unlabelled rows that a choice keeps; `all` keeps all of them."""
    stages: Stages = "mixed"
    """`mixed`: hard labels and teacher together from the first step. `unlabelled-labelled`: first four fifths of the steps, on all rows
    without hard labels; then the rest, only on the labelled rows, with the whole objective."""
    optimizer: Literal["adamw", "sgd", "dot"] = "adamw"
    """`sgd` has momentum. `dot` is SGD in which the gradients of the hard labels and those of the distillation terms have momenta of their
    own, the second a larger one (Zhao et al. 2023, "DOT: A Distillation-Oriented Trainer"). Both want learning rates that are about a
    hundred times AdamW's."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Of `sgd` and `dot`."""
    dot_difference: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.075
    """Of `dot`, the paper's Δ: the momentum is smaller by it for the hard labels, and larger by it for the distillation terms."""

    def steps_per_epoch(self, labelled: int, unlabelled: int = 0) -> int:
        """The number of optimizer steps in each of the `epochs`. labelled, unlabelled: the dataset's training rows."""
        if not self.steps:
            return math.ceil(labelled / self.batch_size)
        read = labelled + (self.unlabelled_keep * unlabelled if self.unlabelled_share else 0)
        steps = max(self.steps, math.ceil(self.passes * read / self.batch_size))
        return math.ceil(min(steps, self.max_steps or steps) / self.epochs)

    @model_validator(mode="after")
    def _steps_agree(self) -> Self:
        if self.passes and not self.steps:
            raise ValueError(f"passes is {self.passes:g}, but steps is 0, which means `epochs` passes; set steps, or passes to 0")
        if self.max_steps and not self.passes:
            raise ValueError(f"max_steps is {self.max_steps}, but passes is 0, so there is nothing to bound; set passes, or max_steps to 0")
        if self.max_steps and self.max_steps < self.steps:
            raise ValueError(f"max_steps is {self.max_steps} and steps {self.steps}; max_steps has to be at least steps")
        return self

    @model_validator(mode="after")
    def _momenta_below_one(self) -> Self:
        lowest, highest = self.momentum - self.dot_difference, self.momentum + self.dot_difference
        if self.optimizer == "dot" and not (lowest >= 0 and highest < 1):
            raise ValueError(
                f"momentum {self.momentum:g} and dot_difference {self.dot_difference:g} make momenta of {lowest:g} and {highest:g}; "
                "both should be at least 0 and below 1"
            )
        return self
