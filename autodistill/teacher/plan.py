"""Which outputs of a teacher are needed, their size on the disk, and which of them are stored."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from autodistill.errors import RunError, UsageError
from autodistill.modality import Modality

BUDGET = 4_000_000_000
BUDGET_VARIABLE = "AUTODISTILL_STORE_BYTES"


@dataclass(frozen=True)
class Taps:
    """Which outputs are needed beside the logits and the embedding. Layers are indices into the lists of `Outputs`.

    pooled: "cls" (text), "mean" and "texts" (pairs); they are stored for every entry of `states`. entries: those that are read.
    tokens: entries of `states` that are needed token by token (text).
    attention: layers whose queries, keys and values are needed (text). maps: stages whose feature maps are needed (images).
    """

    pooled: frozenset[str] = frozenset()
    entries: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    attention: tuple[int, ...] = ()
    maps: tuple[int, ...] = ()

    def __or__(self, other: Taps) -> Taps:
        """Both together."""
        return Taps(
            self.pooled | other.pooled,
            tuple(sorted({*self.entries, *other.entries})),
            tuple(sorted({*self.tokens, *other.tokens})),
            tuple(sorted({*self.attention, *other.attention})),
            tuple(sorted({*self.maps, *other.maps})),
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the files that hold them."""
        wanted = {"tokens": self.tokens, "attention": self.attention, "maps": self.maps}
        layers = [f"{name}-{layer}" for name, numbers in wanted.items() for layer in numbers]
        return ("logits", "embedding", *sorted(self.pooled), *layers)


@dataclass(frozen=True)
class TeacherShape:
    """What one row of a teacher's outputs looks like. modality: of the row.

    num_outputs, embedding: widths. states: for each entry (D,), or (C, H, W) for an image model. attention: (heads, D_head) for each
    layer, empty if they cannot be tapped.
    """

    modality: Modality
    num_outputs: int
    embedding: int
    states: tuple[tuple[int, ...], ...]
    attention: tuple[tuple[int, int], ...] = ()


Arrays = dict[str, tuple[str, tuple[int, ...]]]


def arrays_of(kind: str, rows: int, tokens: int, shape: TeacherShape) -> Arrays:
    """The arrays of a kind's file: name → (dtype, shape). Token arrays are ragged: the tokens of all rows, one after the other.

    Raises:
        RunError: the teacher has no such output.
    """
    name, _, number = kind.partition("-")
    if name == "logits":
        return {"logits": ("float32", (rows, shape.num_outputs))}
    if name == "embedding":
        return {"embedding": ("float16", (rows, shape.embedding))}
    if name in shape.modality.pooled_forms:
        vectors = (shape.modality.texts,) if name == "texts" else ()
        return {str(layer): ("float16", (rows, *vectors, state[0])) for layer, state in enumerate(shape.states)}
    layers = shape.attention if name == "attention" else shape.states
    layer = int(number) if number else -1
    if name not in (shape.modality.whole_form, "attention") or not 0 <= layer < len(layers):
        raise RunError(
            f"teacher output {kind!r} is wanted, but this {shape.modality.name} teacher has {len(shape.states)} states and "
            f"{len(shape.attention)} attention layers, counted from 0"
        )
    if name == "tokens":
        return {"tokens": ("float16", (tokens, shape.states[layer][0]))}
    if name == "maps":
        return {"maps": ("float16", (rows, *shape.states[layer]))}
    return {part: ("float16", (tokens, math.prod(shape.attention[layer]))) for part in ("queries", "keys", "values")}


@dataclass(frozen=True)
class StoragePlan:
    """What is stored and what is computed live, batch by batch. bytes: the size of each kind. message: for people, "" if all is stored."""

    stored: tuple[str, ...]
    live: tuple[str, ...]
    bytes: dict[str, int]
    message: str


def plan_outputs(
    rows: int, tokens: int, taps: Taps, shape: TeacherShape, budget_bytes: int, taken: int = 0, present: frozenset[str] = frozenset()
) -> StoragePlan:
    """Decide what is stored: logits and embedding first, then the smallest kinds, as long as the budget lasts.

    Args:
        rows: number of rows of the split.
        tokens: number of tokens of all rows together; 0 for images.
        taps: the outputs that are needed.
        shape: the teacher's.
        budget_bytes: for everything stored of this teacher and dataset.
        taken: bytes of the budget that are already in use, by this or other splits, views and kinds.
        present: kinds that are already stored, whatever the budget.
    """
    sizes = {
        kind: sum(math.prod(extent) * (4 if dtype == "float32" else 2) for dtype, extent in arrays_of(kind, rows, tokens, shape).values())
        for kind in taps.kinds
    }
    stored: list[str] = sorted(present & set(sizes))
    live: list[str] = []
    for kind in sorted(set(sizes) - present, key=lambda kind: (kind not in ("logits", "embedding"), sizes[kind], kind)):
        fits = taken + sizes[kind] <= budget_bytes
        taken += sizes[kind] if fits else 0
        (stored if fits else live).append(kind)
    message = ""
    if live:
        listing = ", ".join(f"{kind} ({_size(sizes[kind])})" for kind in live)
        message = (
            f"over the budget of {_size(budget_bytes)} for stored teacher outputs, so computed live for every batch: {listing}; "
            f"{BUDGET_VARIABLE} sets the budget in bytes"
        )
    return StoragePlan(tuple(stored), tuple(live), sizes, message)


def store_budget(budget_bytes: int | None = None) -> int:
    """The budget in bytes: the argument, else AUTODISTILL_STORE_BYTES, else 4 GB.

    Raises:
        UsageError: the variable is not a number of bytes.
    """
    if budget_bytes is not None:
        return budget_bytes
    text = os.environ.get(BUDGET_VARIABLE, str(BUDGET))
    if not text.isdecimal():
        raise UsageError(f"{BUDGET_VARIABLE} is {text!r}; allowed: a number of bytes, such as {BUDGET}")
    return int(text)


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
