"""Recipe: one knowledge-distillation pipeline, the object that passes through the whole product.

A space makes it, a trial trains it, records keep it, a recommender ranks it, export retrains it. Where and how fast
something runs (devices, workers, paths, seeds) is never part of it.

The parts with a `kind` (a student's is `family`) are components (components.py): their fields are the keyword-only
parameters of the component's function, so a recipe is checked in full without importing torch.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import html
import json
import operator
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Discriminator, Field, SerializeAsAny, Tag, ValidationError, create_model, model_validator
from pydantic.fields import FieldInfo

from autodistill.components import Spec, check, refuse, specs
from autodistill.errors import RecipeError
from autodistill.families import fitting_families
from autodistill.parts import Component, Part, TokenReading, Weighted, bases
from autodistill.storage import user_path
from autodistill.task_types import TASKS, TaskType, modality_of, target_of
from autodistill.yamlfile import YamlFile, load_yaml

VERSION = 1
SLOTS = ("prediction", "intermediate", "contrastive", "attention", "relation")
"""The slots of objectives that a recipe mixes, beside the hard labels."""

ADDED: dict[tuple[str, str], Any] = {
    ("teacher", "min_steps"): 0,
    ("teacher", "pooling"): "model",
    ("teacher", "head_init"): "random",
    ("teacher", "max_steps"): None,
    ("teacher", "patience"): 100,
    ("teacher", "head_learning_rate"): None,
    ("teacher", "calibration"): "none",
    ("teacher", "image_size"): None,
    ("teacher", "scores"): None,
    ("teacher", "members"): 1,
    ("teacher", "class_weights"): "none",
    ("student", "vocabulary"): "full",
    ("student", "pooling"): "model",
    ("objective", "class_weights"): "none",
    ("objective.intermediate", "layers"): None,
    ("objective.attention", "layers"): None,
    ("training", "steps"): 0,
    ("training", "unlabelled_share"): 0.0,
    ("training", "unlabelled_choice"): "all",
    ("training", "unlabelled_keep"): 1.0,
    ("training", "stages"): "mixed",
    ("training", "optimizer"): "adamw",
    ("training", "momentum"): 0.9,
    ("training", "dot_difference"): 0.075,
}
"""Fields that were added later, by part and name, with the value that older recipes imply. A field with that value is left out of the
canonical text, so that a recipe keeps its id when fields are added."""

Weight = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
LayerMap = Literal["skip", "last", "first", "emd", "all"]
Layers = Annotated[int, Field(ge=1)] | None
Tokens = Literal["cls", "mean", "tokens"]
Projection = Literal["linear", "mlp", "orthogonal", "none"]
MixingKind = Literal["mixup", "cutmix"]
UnlabelledChoice = Literal["all", "confident", "uncertain", "diverse", "random"]
BY_EMBEDDINGS: UnlabelledChoice = "diverse"
"""The choice of unlabelled rows that needs the teacher's embeddings."""
Stages = Literal["mixed", "unlabelled-labelled"]
ClassWeights = Literal["none", "balanced"]
"""`balanced`: the loss on hard labels weights a row by the inverse frequency of its class in the training rows (King and Zeng 2001)."""

SHARED: dict[str, dict[str, Any]] = {
    "student": {},
    "augmentation": {"copies": (Annotated[int, Field(ge=1, le=16)], 1), "mixup": (Fraction, 0.0), "mixing": (MixingKind, "mixup")},
    "objective.prediction": {"weight": (Weight, 1.0)},
    "objective.intermediate": {
        "weight": (Weight, 1.0),
        "layer_map": (LayerMap, "skip"),
        "layers": (Layers, None),
        "tokens": (Tokens, "cls"),
        "projection": (Projection, "linear"),
    },
    "objective.contrastive": {"weight": (Weight, 1.0)},
    "objective.attention": {"weight": (Weight, 1.0), "layer_map": (LayerMap, "last"), "layers": (Layers, None)},
    "objective.relation": {"weight": (Weight, 1.0)},
}
"""The fields that every component of a slot has beside its own. A component's option `drop` names those that it does not need.

`layers` is how many of the student's layers learn: the last ones of those in the layer map; None for all.

`copies` is the number of seeded views of each row. The first is the original, and each epoch reads the next one.
`mixup` is both parameters of the Beta distribution from which a row's share in its mix is drawn (Zhang et al. 2018); 0 for no mixing.
`mixing` is how rows are mixed: as weighted sums or, for images, by pasting a box of the partner (CutMix, Yun et al. 2019)."""


def _union(slot: str, tag: str = "kind", none: bool = True) -> Any:
    """The type of a slot: one model for each of its components, selected by the tag."""
    shared = SHARED[slot]
    choices: list[Any] = []
    for kind, spec in specs(slot).items():
        try:
            model = _model(spec, tag, shared)
        except (TypeError, ValueError, NameError) as cause:
            refuse(spec, cause)
            continue
        choices.append(Annotated[model, Tag(kind)])
    if none:
        rest = {name: shared[name] for name in ("mixup", "mixing") if name in shared}  # they work without another augmentation
        model = create_model(f"{slot} none", __base__=bases(rest), **{tag: (Literal["none"], "none")}, **rest)  # type: ignore[call-overload]
        model.slot = slot
        choices.append(Annotated[model, Tag("none")])

    def tell(value: Any) -> str:
        name = value.get(tag, "none") if isinstance(value, Mapping) else getattr(value, tag, value)
        return str(name).partition(":")[0]

    union: Any = functools.reduce(operator.or_, choices) if choices else Any
    serialize: Any = SerializeAsAny
    return serialize[Annotated[union, Discriminator(tell)]] if choices else Any


def _model(spec: Spec, tag: str, shared: Mapping[str, Any]) -> type[Component]:
    """The type of a component's part of a recipe.

    Raises:
        TypeError: its fields conflict with those that every component of the slot has.
    """
    slot, kind = spec.slot, spec.kind
    kept = {name: field for name, field in shared.items() if name not in spec.options.get("drop", ())}
    if "weight" in shared and "weight" not in kept:
        raise TypeError(f"{slot} {kind!r} drops its weight, which every term of an objective has")
    own = {name: (_annotation(info), info.default) for name, info in spec.fields.model_fields.items()}
    for name in own:
        if name in kept or name == tag:
            raise TypeError(f"its field {name!r} is one that every component of the slot has")
    named = (Annotated[str, Field(pattern=f"^{kind}:.+")], ...) if "variant" in spec.inputs else (Literal[kind], kind)
    fields: dict[str, Any] = {tag: named, **own, **kept}
    model = create_model(f"{slot} {kind}", __base__=bases(kept), __doc__=spec.summary, **fields)
    model.slot, model.tag, model.own_names = slot, tag, tuple(own)
    return model


def _annotation(info: FieldInfo) -> Any:
    return Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation


class Teacher(Part):
    """The teacher: a transformers encoder or `timm:<name>`, trained once on the dataset."""

    model: Annotated[str, Field(min_length=1)]
    """A hub id or a folder for text; a timm name for images."""
    init: Literal["pretrained", "scratch", "random"] = "pretrained"
    """`scratch` trains from random weights, if there are no pretrained ones or none are wanted. `random` keeps random weights and trains
    nothing (so the fields of training and calibration have no effect). It is a control: what a student gains from such a teacher is not
    knowledge."""
    pooling: Literal["model", "cls", "mean", "apart", "auto"] = "model"
    """What the head reads. `model`: the input of the model's own classification head (for BERT the first token, through a tanh layer;
    for images always). `cls` and `mean`: the first token, or the mean of all tokens, read by one linear layer. `apart`, for pairs: the
    encoder reads each text alone, and the layer reads both vectors, their absolute difference and their product (Reimers, Gurevych
    2019, "Sentence-BERT"). `auto`: the pooling in the model's own files (as in those of sentence-transformers), else the better of `cls`
    and `mean` on the validation split; for pairs, the better of that and `apart`, both trained."""
    head_init: Literal["random", "probe"] = "random"
    """`probe`: a regularised linear model of the frozen encoder's vectors. Fine-tuning starts there, and never ends below it."""
    epochs: Annotated[int, Field(ge=0)] = 2
    min_steps: Annotated[int, Field(ge=0)] = 0
    """If `epochs` give fewer steps than this, as on a few hundred rows, there are more epochs (Mosbach et al. 2021)."""
    max_steps: Annotated[int, Field(ge=0)] | None = None
    """If `epochs` or `min_steps` give more steps than this, there are only this many, and training ends early if the validation score does
    not rise for `patience` steps. 0 leaves the encoder frozen: the probe is the teacher. None: whole epochs, all of them."""
    patience: Count = 100
    """How many steps training continues without a gain on the validation split; it has no effect if `max_steps` is None."""
    batch_size: Count = 32
    learning_rate: Positive = 5e-5
    head_learning_rate: Positive | None = None
    """The learning rate of the head's last layer; None for that of the encoder."""
    calibration: Literal["none", "temperature"] = "none"
    """`temperature`: the logits are divided by the number that makes the validation labels most likely (Guo et al. 2017)."""
    max_length: Annotated[int, Field(ge=8)] = 128
    """Texts are cut to this many tokens; the student reads the same tokens. It has no effect for images."""
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Images with fewer pixels a side are enlarged to this size, only for the teacher; None leaves them as they are. It has no effect for
    texts."""
    scores: str | None = None
    """The fingerprint of a file of scores that replaces the teacher. Then no network is trained or run, and `model` only gives students
    their tokenizer and initial weights. Such a file has only logits, so no objective may read the teacher's states."""
    members: Annotated[int, Field(ge=1, le=16)] | Annotated[tuple[str, ...], Field(min_length=2, max_length=16)] = 1
    """An ensemble: a number of seeds of `model`; or the members' models, `model` first (a model that occurs again has another seed). Each
    member is trained as this part says. The ensemble's logits are those of the mean of the members' probabilities (for scores, the mean
    score); its tokens, states and attention are the first member's (Lakshminarayanan et al. 2017)."""
    class_weights: ClassWeights = "none"
    """The weights of the classes in fine-tuning and in the probe."""

    @model_validator(mode="after")
    def _members_fit(self) -> Self:
        if self.member_models[0] != self.model:
            raise ValueError(f"members begins with {self.member_models[0]!r}, but model is {self.model!r}; model must be the first member")
        if self.max_steps == 0 and self.init == "pretrained" and len(set(self.member_models)) < len(self.member_models):
            raise ValueError("members asks for several seeds of a model, but max_steps is 0, and a probe is the same for every seed")
        if self.scores is not None and self.members != 1:
            raise ValueError("members makes an ensemble of networks, but the teacher is a file of scores; leave members out")
        return self

    @property
    def member_models(self) -> tuple[str, ...]:
        """The model of each member; only `model` for a single teacher."""
        return (self.model,) * self.members if isinstance(self.members, int) else self.members

    @property
    def title(self) -> str:
        """Its name for people: its model, `3 × model`, or `model + another`."""
        counts = Counter(self.member_models)
        return " + ".join(model if count == 1 else f"{count} × {model}" for model, count in counts.items())


NONE: dict[str, Any] = {"kind": "none"}
Prediction: Any = _union("objective.prediction")
Intermediate: Any = _union("objective.intermediate")
Contrastive: Any = _union("objective.contrastive")
Attention: Any = _union("objective.attention")
Relation: Any = _union("objective.relation")
Student: Any = _union("student", tag="family", none=False)
Augmentation: Any = _union("augmentation")


class Objective(Part):
    """The weighted sum that the student minimises: hard labels, and one objective from each slot."""

    hard_label_weight: Weight = 1.0
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    class_weights: ClassWeights = "none"
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


class Training(Part):
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

    @model_validator(mode="after")
    def _momenta_below_one(self) -> Self:
        lowest, highest = self.momentum - self.dot_difference, self.momentum + self.dot_difference
        if self.optimizer == "dot" and not (lowest >= 0 and highest < 1):
            raise ValueError(
                f"momentum {self.momentum:g} and dot_difference {self.dot_difference:g} make momenta of {lowest:g} and {highest:g}; "
                "both should be at least 0 and below 1"
            )
        return self


class Recipe(Part):
    """One validated distillation pipeline, identified by `id`."""

    version: Literal[1] = 1
    task: TaskType
    teacher: Teacher
    student: Student
    objective: Objective = Objective()
    augmentation: Augmentation = Field(default=NONE, validate_default=True)
    training: Training = Training()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        parts: dict[str, Component] = {"student": self.student, "augmentation": self.augmentation}
        parts |= {f"objective.{slot}": part for slot, part in self.objective.slots.items()}
        modality, target = modality_of(self.task), target_of(self.task)
        family = self.student.name.partition(":")[0]
        for path, part in parts.items():
            if part.name == "none":
                continue
            if self.task not in part.spec.tasks:
                fitting = sorted(specs(part.slot, self.task))
                raise ValueError(f"{path}: {part.name!r} does not fit {self.task}; fitting ones: {', '.join(fitting) or 'none'}")
            families = fitting_families(part.spec, self.task)
            if families is not None and family not in families:
                raise ValueError(f"{path}: {part.name!r} needs a student of family {' or '.join(families)}, but this one is {family!r}")
        if (pooling := self.teacher.pooling) not in modality.allowed_poolings:
            raise ValueError(f"teacher.pooling is {pooling!r}; for {self.task} it can be {', '.join(modality.allowed_poolings)}")
        if self.augmentation.mixing not in modality.mixings:
            raise ValueError(f"augmentation.mixing is 'cutmix', which cuts images; for {self.task} only 'mixup' is allowed")
        intermediate = self.objective.intermediate
        if isinstance(intermediate, TokenReading) and intermediate.tokens not in modality.token_forms:
            raise ValueError("objective.intermediate.tokens is 'cls' (its default), which images do not have; set it to 'mean' or 'tokens'")
        training = self.training
        if not target.has_labels:
            self._learns_from_one_network()
        if self.teacher.scores is not None:
            self._reads_logits_alone()
        if training.unlabelled_share > 0 and not self.objective.terms:
            raise ValueError(
                f"training.unlabelled_share is {training.unlabelled_share}, but no objective uses the teacher, and on rows without labels "
                "a student learns only from it; give an objective a weight above 0, or set unlabelled_share to 0"
            )
        if training.unlabelled_share == 0 and (training.unlabelled_choice != "all" or training.stages != "mixed"):
            raise ValueError("training.unlabelled_choice and training.stages say how unlabelled rows are used, but unlabelled_share is 0")
        if training.unlabelled_choice == "all" and training.unlabelled_keep < 1:
            raise ValueError("training.unlabelled_keep is below 1, but unlabelled_choice 'all' keeps every row; set it to 1, or choose")
        if training.unlabelled_choice not in target.row_choices:
            allowed = ", ".join(target.row_choices)
            raise ValueError(f"training.unlabelled_choice is {training.unlabelled_choice!r}; for {self.task} allowed: {allowed}")
        if training.stages != "mixed" and self.objective.hard_label_weight == 0:
            raise ValueError("training.stages ends on the labelled rows with hard labels, but objective.hard_label_weight is 0; raise it")
        if not self.objective.teaches and target.has_labels:
            raise ValueError("objective: the student has nothing to learn from; give hard_label_weight or an objective a weight above 0")
        if self.objective.label_smoothing > 0 and not target.has_label_smoothing:
            raise ValueError(f"objective.label_smoothing has no meaning for {self.task}; remove it or set it to 0")
        weighted = [name for name, part in (("teacher", self.teacher), ("objective", self.objective)) if part.class_weights != "none"]
        if weighted and not target.has_class_weights:
            raise ValueError(f"{weighted[0]}.class_weights has no meaning for {self.task}; remove it or set it to 'none'")
        return self

    def _learns_from_one_network(self) -> None:
        """Check a recipe for a task without labels. If it has no objective, its student stays as it starts."""
        if self.objective.hard_label_weight > 0:
            raise ValueError(
                f"objective.hard_label_weight is {self.objective.hard_label_weight:g}, and {self.task} has no labels; set it to 0, and "
                "give objective.prediction a kind (mse, cosine)"
            )
        if self.teacher.scores is not None or self.teacher.members != 1:
            raise ValueError(f"the teacher of {self.task} is one network; leave teacher.scores and teacher.members out")

    def _reads_logits_alone(self) -> None:
        for slot, part in self.objective.terms.items():
            if part.spec.reads_states:
                raise ValueError(
                    f"objective.{slot}: {part.name!r} reads the teacher's states or embeddings, but a file of scores (teacher.scores) has "
                    "only logits; set it to 'none', or use a teacher network"
                )
        if self.training.unlabelled_choice == BY_EMBEDDINGS:
            raise ValueError(
                f"training.unlabelled_choice is {BY_EMBEDDINGS!r}, which needs the teacher's embeddings, but a file of scores "
                "(teacher.scores) has none; give 'all', 'confident', 'uncertain' or 'random'"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as plain data, because the components' classes are made from signatures and are in no module."""
        return Recipe.parse, (self.model_dump(),)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits of the canonical JSON's SHA-256."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:12]

    def canonical_json(self) -> str:
        """All fields (those in `ADDED` only if they differ from its value), keys sorted, no white space. Equal recipes have equal texts."""
        data = self.model_dump()
        for (path, name), before in ADDED.items():
            part = functools.reduce(operator.getitem, path.split("."), data)
            if part.get(name, ...) == before:
                del part[name]
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    def _repr_html_(self) -> str:
        """The recipe in a notebook."""
        return f"<pre>{html.escape(self.to_yaml())}</pre>"

    def to_yaml(self) -> str:
        """The recipe as YAML, for people."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, default_flow_style=False, allow_unicode=True)

    @classmethod
    def parse(cls, data: Any) -> Recipe:
        """Validate plain data.

        Raises:
            RecipeError: something does not validate. Each problem has its key path and value.
            ComponentError: an installed package has components that cannot be used.
        """
        return _validate(cls, YamlFile("recipe", data, {}))

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a recipe file (YAML, or JSON, which is YAML too), or the recommended recipe in a study's folder.

        Raises:
            RecipeError: something cannot be read or does not validate. Each problem has its file, line, key path and value.
            ComponentError: an installed package has components that cannot be used.
        """
        path = user_path(path, RecipeError)
        return _validate(cls, load_yaml(path / "recommended.yaml" if path.is_dir() else path, RecipeError))


def without_teacher(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without its teacher, both as plain data: the same student and training, with only hard labels and labelled rows.

    If its task has no labels, the student stays as it starts.
    """
    own = recipe.get("objective", {})
    task = recipe.get("task")
    objective = {
        "hard_label_weight": 1.0 if task not in TASKS or target_of(task).has_labels else 0.0,
        "label_smoothing": own.get("label_smoothing", 0.0),
        "class_weights": own.get("class_weights", "none"),
    }
    labelled_rows = {"unlabelled_share": 0.0, "unlabelled_choice": "all", "unlabelled_keep": 1.0, "stages": "mixed"}
    return {**recipe, "objective": objective, "training": recipe.get("training", {}) | labelled_rows}


Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: dict[int, Migration] = {}
"""By version: each takes that version's plain data and returns the next version's."""


def migrate(data: Mapping[str, Any], steps: Mapping[int, Migration] = MIGRATIONS, newest: int = VERSION) -> dict[str, Any]:
    """A recorded recipe's plain data, converted to the newest version one step at a time.

    Raises:
        RecipeError: a newer autodistill wrote it, or there is no conversion from its version.
    """
    migrated = copy.deepcopy(dict(data))
    while (version := migrated.get("version", 1)) != newest:
        if version not in steps:
            raise RecipeError(f"the recipe is of version {version!r}; this autodistill reads up to version {newest}; upgrade autodistill")
        migrated = {**steps[version](migrated), "version": version + 1}
    return migrated


def _validate(cls: type[Recipe], file: YamlFile) -> Recipe:
    check()
    if not isinstance(file.data, Mapping):
        raise RecipeError(f"{file.source} should be a mapping with the keys task, teacher, student, …; it is {type(file.data).__name__}")
    try:
        return cls.model_validate(file.data)
    except ValidationError as cause:
        raise RecipeError("\n".join(explain(file, cause))) from None


def explain(file: YamlFile, cause: ValidationError) -> list[str]:
    """A line for each problem: place, key path, value, and what is wrong."""
    lines = []
    for problem in cause.errors():
        key, value = [], file.data
        for step in problem["loc"]:  # pydantic's path also names union members, which are not in the file
            if isinstance(value, Mapping) and step in value:
                value = value[step]
                key.append(step)
            elif step is problem["loc"][-1] and problem["type"] == "missing":
                key.append(step)
        path = ".".join(map(str, key)) or "recipe"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "union_tag_invalid":
            context = problem["ctx"]
            tag = "family" if path == "student" else "kind"
            value = value.get(tag) if isinstance(value, Mapping) else value
            path, message = f"{path}.{tag}", f"allowed: {context['expected_tags']}".replace("'", "")
            key = [*key, tag]
        shown = "" if problem["type"] in ("missing", "value_error") else f" is {value!r}"
        lines.append(f"{file.where(tuple(key))}: {path}{shown}: {message}")
    return lines
