"""The part of a recipe that says which teacher there is, and how it is trained."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from autodistill.recipe.fields import ClassWeights, Count, Positive
from autodistill.recipe.parts import Part

SELF = "self"
"""The `init` of no teacher."""


class Teacher(Part, use_attribute_docstrings=True):
    """The teacher: a transformers encoder or `timm:<name>`, trained once on the dataset."""

    model: Annotated[str, Field(min_length=1)]
    """A hub id or a folder for text; a timm name for images."""
    init: Literal["pretrained", "scratch", "random", "self"] = "pretrained"
    """`scratch` trains from random weights, if there are no pretrained ones or none are wanted. `random` keeps random weights and trains
    nothing (so the fields of training and calibration have no effect). It is a control: what a student gains from such a teacher is not
    knowledge. `self`: there is no teacher, and a student learns from its labels and its own past predictions
    (`objective.self_distillation`); `model` only gives students their tokenizer and initial weights."""
    pooling: Literal["model", "cls", "mean", "apart", "auto"] = "model"
    """What the head reads. `model`: the input of the model's own classification head (for BERT the first token, through a tanh layer;
    for images always). `cls` and `mean`: the first token, or the mean of all tokens, read by one linear layer. `apart`, for pairs: the
    encoder reads each text alone, and the layer reads both vectors, their absolute difference and their product (Reimers, Gurevych
    2019, "Sentence-BERT"). `auto`: the pooling in the model's own files (as in those of sentence-transformers), else the better of `cls`
    and `mean` on the validation split; for pairs, the better of that and `apart`, both trained."""
    head_init: Literal["random", "probe", "own"] = "random"
    """`probe`: a regularised linear model of the frozen encoder's vectors. Fine-tuning starts there, and never ends below it. `own`: the
    head of a text model that was trained for this task, whose labels are the dataset's; with `max_steps` 0 it teaches as it comes. It needs
    pooling `model` and init `pretrained`."""
    epochs: Annotated[int, Field(ge=0)] = 2
    min_steps: Annotated[int, Field(ge=0)] = 0
    """If `epochs` give fewer steps than this, as on a few hundred rows, there are more epochs (Mosbach et al. 2021)."""
    max_steps: Annotated[int, Field(ge=0)] | None = None
    """If `epochs` or `min_steps` give more steps than this, there are only this many, and training ends early if the validation score does
    not rise for `patience` steps. 0 leaves the encoder frozen: the probe is the teacher. None: whole epochs, all of them."""
    patience: Count = 100
    """How many steps training continues without a gain on the validation split; it has no effect if `max_steps` is None."""
    batch_size: Count = 32
    learning_rate: Positive | Literal["auto"] = 5e-5
    """`auto`: by the width of an encoder of texts, 1e-4 up to 384, 3e-5 at 768 (teacher/training.py); for images 1e-4."""
    head_learning_rate: Positive | None = None
    """The learning rate of the head's last layer; None for that of the encoder."""
    calibration: Literal["none", "temperature"] = "none"
    """`temperature`: the logits are divided by the number that makes the validation labels most likely (Guo et al. 2017)."""
    max_length: Annotated[int, Field(ge=8)] = 128
    """Texts are cut to this many tokens; the student reads the same tokens. It has no effect for images."""
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Images with fewer pixels a side are enlarged to this size, only for the teacher; None leaves them as they are. It has no effect for
    texts."""
    batch_norm: Literal["trained", "frozen"] = "trained"
    """`frozen`: the layers of batch normalisation of a pretrained network keep their statistics in fine-tuning, which those of few small
    batches would spoil; their weights are trained. It has no effect for networks from random weights and those without such layers."""
    scores: str | None = None
    """The fingerprint of a file of scores that replaces the teacher. Then no network is trained or run, and `model` only gives students
    their tokenizer and initial weights. Such a file has only logits, so no objective may read the teacher's states."""
    members: Annotated[int, Field(ge=1, le=16)] | Annotated[tuple[str, ...], Field(min_length=2, max_length=16)] = 1
    """An ensemble: a number of seeds of `model`; or the members' models, `model` first (a model that occurs again has another seed). Each
    member is trained as this part says. The ensemble's logits are those of the mean of the members' probabilities (for scores, the mean
    score); its tokens, states and attention are the first member's (Lakshminarayanan et al. 2017)."""
    class_weights: ClassWeights = "none"
    """The weights of the classes in fine-tuning and in the probe."""

    vector_size: Annotated[int, Field(ge=2)] | None = None
    """For sentence embeddings, the width of the vectors that students learn and give: the teacher's, reduced to that many principal
    directions of its training texts. None leaves them as they are."""

    @model_validator(mode="after")
    def _members_fit(self) -> Self:
        if self.member_models[0] != self.model:
            raise ValueError(f"members begins with {self.member_models[0]!r}, but model is {self.model!r}; model must be the first member")
        if self.max_steps == 0 and self.init == "pretrained" and len(set(self.member_models)) < len(self.member_models):
            raise ValueError("members asks for several seeds of a model, but max_steps is 0, and a probe is the same for every seed")
        if self.is_self and (self.scores is not None or self.members != 1):
            raise ValueError("init is 'self', which means no teacher, but scores or members asks for one; leave them out")
        if self.head_init == "own" and (self.pooling, self.init) != ("model", "pretrained"):
            raise ValueError(
                f"head_init is 'own', the head that the model brings, but pooling is {self.pooling!r} and init is {self.init!r}; "
                "set pooling to 'model' and init to 'pretrained'"
            )
        if self.model == SELF:
            raise ValueError(
                "model is 'self'; for students that learn from themselves set init to 'self', and model to the encoder whose tokenizer "
                "they take"
            )
        if self.scores is not None and self.members != 1:
            raise ValueError("members makes an ensemble of networks, but the teacher is a file of scores; leave members out")
        return self

    @property
    def is_self(self) -> bool:
        """Whether there is no teacher: students learn from themselves."""
        return self.init == SELF

    @property
    def member_models(self) -> tuple[str, ...]:
        """The model of each member; only `model` for a single teacher."""
        return (self.model,) * self.members if isinstance(self.members, int) else self.members

    @property
    def title(self) -> str:
        """Its name for people: its model, `3 × model`, or `model + another`."""
        counts = Counter(self.member_models)
        return " + ".join(model if count == 1 else f"{count} × {model}" for model, count in counts.items())
