"""Domain: the values that one parameter of a search space can have, and the conditions under which it applies."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Scalar = str | int | float | bool
NONE, SOME = "none", "some"
"""The two answers to the first question about an optional parameter: whether there is one."""


@dataclass(frozen=True)
class Domain:
    """The values of one parameter. `when` maps earlier key paths to the values with which this domain applies.

    kind choice: `choices`. An `optional` one is sampled in two steps, first whether it is `none`, then which of the others it is,
    so that `none` is as likely as all others together. kind float, int: `low` to `high`, both included, `log` for a logarithmic scale,
    `step` for int. kind value: one fixed value, `default`.
    """

    kind: Literal["choice", "float", "int", "value"]
    default: Any
    choices: tuple[Scalar, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: int = 1
    optional: bool = False
    when: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()

    @property
    def values(self) -> tuple[Scalar, ...]:
        """The values of a choice, or the fixed value; for a range only its default."""
        return self.choices or (self.default,)

    @property
    def largest(self) -> Any:
        """The largest value of a parameter whose values are numbers."""
        return max(self.values) if self.kind in ("choice", "value") else self.high

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether its conditions hold if the earlier parameters have these values."""
        return all(holds(values.get(path), allowed) for path, allowed in self.when)

    def allows(self, path: str, value: Scalar) -> bool:
        """Whether its conditions on an earlier parameter, if it has any, can hold with this value."""
        return all(holds(value, allowed) for other, allowed in self.when if other == path)

    def contains(self, value: Any) -> bool:
        """Whether a value is in the domain."""
        if self.kind == "value":
            return _same(value, self.default)
        if self.kind == "choice":
            return any(_same(value, choice) for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.kind == "float" or (float(value).is_integer() and (int(value) - int(self.low)) % self.step == 0)

    def at(self, share: float) -> Scalar:
        """The value at a share of the domain, on the domain's scale; share: at least 0, below 1."""
        if self.kind == "value":
            return self.default
        if self.kind == "choice":
            return self.choices[int(share * len(self.choices))]
        if self.kind == "int" and not self.log:
            return int(self.low) + self.step * int(share * ((int(self.high) - int(self.low)) // self.step + 1))
        if not self.log:
            return self.low + share * (self.high - self.low)
        value = min(max(self.low * (self.high / self.low) ** share, self.low), self.high)
        return round(value) if self.kind == "int" else value

    def without(self, left_out: Collection[Scalar], instead: Scalar) -> Domain:
        """The domain without some of its values. If only one is left it is fixed to that; if none is left, to `instead`."""
        choices = [value for value in self.values if value not in left_out] or [instead]
        default = self.default if self.default in choices else choices[0]
        if len(choices) == 1:
            return Domain("value", default, when=self.when)
        return replace(self, choices=tuple(choices), default=default)

    def at_most(self, most: int) -> Domain | None:
        """The domain without numbers above `most`; None if nothing is left."""
        if self.kind == "int":
            high = most - (most - int(self.low)) % self.step
            return None if self.low > most else replace(self, high=min(self.high, high), default=min(self.default, high))
        too_large = {value for value in self.values if isinstance(value, int | float) and not isinstance(value, bool) and value > most}
        return None if too_large >= set(self.values) else self.without(too_large, self.default)

    def scaled(self, share: float, whole: bool) -> Domain:
        """The domain of numbers with each multiplied by `share`. whole: they are rounded, to at least 1; 0 stays 0, and none none."""

        def changed(value: Any) -> Any:
            if not value:
                return value
            return max(1, round(value * share)) if whole else value * share

        choices = tuple(dict.fromkeys(map(changed, self.choices)))
        if len(choices) == 1:
            return Domain("value", choices[0], when=self.when)
        scaled = replace(self, default=changed(self.default), choices=choices, low=changed(self.low), high=changed(self.high))
        if self.kind != "int":
            return scaled
        if not whole:
            return replace(scaled, kind="float", step=1)
        step = max(1, round(self.step * share))
        return scaled if step == 1 else replace(scaled, default=scaled.low + step * round((scaled.default - scaled.low) / step), step=step)

    def describe(self) -> str:
        """The domain as a text for people."""
        if self.kind == "value":
            return f"fixed to {self.default!r}"
        if self.optional:
            return "none, or as often one of " + ", ".join(map(str, self.choices[1:]))
        if self.kind == "choice":
            return "one of " + ", ".join(map(str, self.choices))
        return f"{self.kind} from {self.low:g} to {self.high:g}" + (", log" if self.log else "")


def holds(value: Any, allowed: tuple[Scalar, ...]) -> bool:
    """Whether a value is one of a condition's; `some` is any kind but `none`."""
    return value in allowed or (SOME in allowed and value not in (None, NONE))


def reachable(domains: Iterable[Domain], allowed: tuple[Scalar, ...]) -> bool:
    """Whether the domains can give any of the values. If kinds that do not fit the task are left out, some conditions never hold."""
    values = [value for domain in domains for value in domain.values]
    return any(domain.contains(value) for domain in domains for value in allowed) or any(holds(value, allowed) for value in values)


def questions(path: str, name: str, domain: Domain, values: Mapping[str, Any]) -> Iterator[tuple[str, str, Domain]]:
    """The questions to a sampler for one value. For an optional value, first whether there is one (under the slot's name), then which."""
    if not domain.optional:
        yield path, name, domain
        return
    yield path, name.replace(".kind", ""), Domain("choice", NONE if domain.default == NONE else SOME, choices=(NONE, SOME))
    if values[path] != NONE:
        kinds = domain.choices[1:]
        yield path, name, Domain("choice", kinds[0] if domain.default == NONE else domain.default, choices=kinds)


def _same(value: Any, other: Any) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)
