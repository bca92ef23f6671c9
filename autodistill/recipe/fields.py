"""The types of recipe fields, and the fields that all components of a slot have."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

SLOTS = ("prediction", "intermediate", "contrastive", "attention", "relation")
"""The slots of objectives that a recipe mixes, beside the hard labels."""

Weight = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
LayerMap = Literal["skip", "last", "first", "emd", "all"]
Layers = Annotated[int, Field(ge=1)] | None
Tokens = Literal["cls", "mean", "texts", "tokens"]
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
