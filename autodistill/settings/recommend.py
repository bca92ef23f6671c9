"""The settings of a recommendation."""

from __future__ import annotations

from typing import Annotated, ClassVar

from autodistill.option import WHAT, setting
from autodistill.settings.space import SpaceSettings
from autodistill.values import many, text, whole


class RecommendSettings(SpaceSettings):
    """The settings of `autodistill recommend`."""

    command: ClassVar[str] = "recommend"
    teacher: Annotated[
        tuple[str, ...], many(text("a model that has learned something, for a recommendation", r"(?!(random|self)$).*\S.*"))
    ] = setting((), "a transformers model (hub id or folder), or timm:NAME for images; may be repeated", "MODEL", WHAT)
    top: Annotated[int, whole(1)] = setting(5, "number of recipes", "N")
