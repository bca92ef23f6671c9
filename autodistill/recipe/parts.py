"""The parts of a recipe that name a component, and classes for the fields that they have beside the component's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from autodistill.components import Spec, specs


class Part(BaseModel):
    """Base of a recipe's parts: frozen, and no key beyond the declared ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Component(Part):
    """A part whose fields depend on its kind."""

    slot: ClassVar[str] = ""
    tag: ClassVar[str] = "kind"
    own_names: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """The kind (a student's family), as the recipe says it."""
        return str(getattr(self, self.tag))

    @property
    def active(self) -> bool:
        """Whether the part does anything."""
        return self.name != "none"

    @property
    def own(self) -> dict[str, Any]:
        """The component's own fields: the keyword arguments of its function."""
        return {name: getattr(self, name) for name in self.own_names}

    @property
    def variant(self) -> str:
        """The text after the colon, as in `timm:resnet10t`; empty if there is none."""
        return self.name.partition(":")[2]

    @property
    def spec(self) -> Spec:
        """The component that this part names (not for `none`)."""
        return specs(self.slot)[self.name.partition(":")[0]]


# The shared fields of a part depend on its slot, and on which of them its component drops. Each class here stands for fields that come
# together: a part that has the fields derives from the class. The fields themselves are declared in fields.SHARED, which also orders them.


class Weighted(Component):
    """A term of the objective's sum."""

    if TYPE_CHECKING:
        weight: float

    @property
    def active(self) -> bool:
        """Whether the part does anything: it has a kind, and a weight above zero."""
        return super().active and self.weight > 0


class LayerMapped(Component):
    """Is computed for pairs of the student's and the teacher's layers."""

    if TYPE_CHECKING:
        layer_map: str
        layers: int | None


class TokenReading(Component):
    """Reads the layers' states in one of several forms."""

    if TYPE_CHECKING:
        tokens: str


class Projected(Component):
    """Maps the student's states to the teacher's width."""

    if TYPE_CHECKING:
        projection: str


class Viewed(Component):
    """Shows the rows in several views."""

    if TYPE_CHECKING:
        copies: int


class Mixing(Component):
    """May mix rows."""

    if TYPE_CHECKING:
        mixup: float
        mixing: str


FORMS: dict[type[Component], set[str]] = {
    Weighted: {"weight"},
    LayerMapped: {"layer_map", "layers"},
    TokenReading: {"tokens"},
    Projected: {"projection"},
    Viewed: {"copies"},
    Mixing: {"mixup", "mixing"},
}


def bases(fields: Iterable[str]) -> tuple[type[Component], ...]:
    """The classes of a part with these fields beside its own.

    Raises:
        TypeError: the part has some of the fields that come together, but not all.
    """
    present = set(fields)
    for names in FORMS.values():
        if names & present and not names <= present:
            raise TypeError(f"the fields {', '.join(sorted(names))} come together; a component drops all of them or none")
    return tuple(form for form, names in FORMS.items() if names <= present) or (Component,)
