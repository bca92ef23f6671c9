"""The slots of a recipe: for each, the type of its parts, which is made from the signatures of its components."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, SerializeAsAny, Tag, create_model
from pydantic.fields import FieldInfo

from autodistill.components import Spec, refuse, specs
from autodistill.recipe.fields import SHARED
from autodistill.recipe.parts import Component, bases


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


NONE: dict[str, Any] = {"kind": "none"}
Prediction: Any = _union("objective.prediction")
Intermediate: Any = _union("objective.intermediate")
Contrastive: Any = _union("objective.contrastive")
Attention: Any = _union("objective.attention")
Relation: Any = _union("objective.relation")
Student: Any = _union("student", tag="family", none=False)
Augmentation: Any = _union("augmentation")
