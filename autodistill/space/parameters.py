"""The parameters of a space, and how they become a recipe and a recipe becomes their values."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from autodistill.errors import RecipeError, SpaceError, not_allowed
from autodistill.recipe import Recipe
from autodistill.space.domain import NONE, SOME, Domain, Scalar, questions

Choose = Callable[[str, Domain], Any]
"""A function that chooses a value. Its arguments: the parameter's name for samplers, and its domain."""


@dataclass(frozen=True)
class Parameters:
    """Key paths of a recipe with their domains, for one task type. `parameters` keeps the file's order; if a path has several domains,
    `when` selects one. source: the file that they come from.
    """

    name: str
    task: str
    about: str
    parameters: Mapping[str, tuple[Domain, ...]] = field(repr=False)
    source: str = ""

    def active(self, values: Mapping[str, Any]) -> Iterator[tuple[str, str, Domain]]:
        """Walk the parameters that apply: path, name for samplers, domain. `values` may grow while walking."""
        for path, domains in self.parameters.items():
            for index, domain in enumerate(domains):
                if domain.applies(values):
                    yield from questions(path, path if len(domains) == 1 else f"{path}#{index}", domain, values)
                    break

    def suggest(self, choose: Choose) -> Recipe:
        """The recipe from asking `choose` for every value that applies."""
        values: dict[str, Any] = {}
        for path, name, domain in self.active(values):
            values[path] = domain.default if domain.kind == "value" else choose(name, domain)
        return self.decode(values)

    def sample(self, rng: random.Random) -> Recipe:
        """A random recipe, with each value uniform on its domain's scale."""
        return self.suggest(lambda _, domain: domain.at(rng.random()))

    def spread(self, seed: int) -> Iterator[Recipe]:
        """An endless stream of recipes that fill the space: Latin hypercube sampling (McKay et al. 1979), in blocks of twelve.

        Each parameter takes one value from every twelfth of its domain, counted over the recipes in which it applies.
        """
        shares: dict[str, Iterator[float]] = {}

        def choose(name: str, domain: Domain) -> Scalar:
            if name not in shares:
                shares[name] = _strata(random.Random(f"{seed} {name}"))
            return domain.at(next(shares[name]))

        while True:
            yield self.suggest(choose)

    def defaults(self) -> Recipe:
        """The recipe of all defaults."""
        return self.suggest(lambda _, domain: domain.default)

    def decode(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with these values at these key paths; other fields have the recipe's own defaults."""
        data: dict[str, Any] = {"task": self.task}
        for path, value in values.items():
            *parents, last = path.split(".")
            place = data
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        try:
            return Recipe.parse(data)
        except RecipeError as cause:
            raise SpaceError(f"space {self.name!r} ({self.source}) made a recipe that does not validate:\n{cause}") from None

    def encode(self, recipe: Recipe) -> dict[str, Scalar]:
        """The values of a recipe by the parameters' names for samplers, without fixed ones.

        Raises:
            SpaceError: the recipe is not a point of this space. The message says where it differs.
        """
        data = recipe.model_dump()
        if recipe.task != self.task:
            raise SpaceError(f"the recipe is for {recipe.task}, the space {self.name!r} for {self.task}")
        values: dict[str, Any] = {}
        encoded: dict[str, Scalar] = {}
        for path, name, domain in self.active(values):
            values[path] = value = at(data, path)
            answer = SOME if SOME in domain.choices and value != NONE else value
            if not domain.contains(answer):
                raise SpaceError(f"recipe {recipe.id}: {path} is {value!r}; in the space {self.name!r} it is {domain.describe()}")
            if domain.kind != "value":
                encoded[name] = answer
        made = self.decode(values)
        if made.id != recipe.id:
            other = made.model_dump()
            paths = [path for path in _leaves(data) if at(data, path) != at(other, path)]
            first = paths[0] if paths else "a key"
            raise SpaceError(f"recipe {recipe.id}: {first} is {at(data, first)!r}; in the space {self.name!r} it is {at(other, first)!r}")
        return encoded

    def contains(self, recipe: Recipe) -> bool:
        """Whether a recipe is a point of this space."""
        try:
            self.encode(recipe)
        except SpaceError:
            return False
        return True

    def fixed(self, path: str, value: Scalar) -> Self:
        """A copy of the space with one parameter fixed at a value."""
        if path not in self.parameters:
            raise SpaceError(not_allowed("the parameter", path, self.parameters, f"They are those of the space {self.name!r}."))
        domains = tuple(Domain("value", value, when=domain.when) for domain in self.parameters[path])
        return replace(self, parameters={**self.parameters, path: domains})

    def with_first(self, path: str, domains: Sequence[Domain]) -> Self:
        """A copy of the space with more domains of a parameter that it has, which are looked at before the others."""
        return replace(self, parameters={**self.parameters, path: (*domains, *self.parameters[path])})

    def to_dict(self) -> dict[str, Any]:
        """Plain data: equal spaces have equal ones."""
        parameters = {path: [_plain(domain) for domain in domains] for path, domains in self.parameters.items()}
        return {"name": self.name, "task": self.task, "parameters": parameters}


def _strata(rng: random.Random, number: int = 12) -> Iterator[float]:
    """An endless stream of shares: one from each of `number` equal intervals in random order, then again one from each, and so on."""
    while True:
        yield from ((stratum + rng.random()) / number for stratum in rng.sample(range(number), number))


def _plain(domain: Domain) -> dict[str, Any]:
    values: dict[str, Any] = {"default": domain.default, "when": {path: list(allowed) for path, allowed in domain.when}}
    if domain.optional:
        return values | {"optional": list(domain.choices[1:])}
    if domain.kind == "choice":
        return values | {"choice": list(domain.choices)}
    if domain.kind == "value":
        return values | {"value": domain.default}
    return values | {domain.kind: [domain.low, domain.high], "log": domain.log, "step": domain.step}


def at(data: Any, path: str) -> Any:
    """The value at a key path of plain data; None if there is none."""
    for step in path.split("."):
        if not isinstance(data, Mapping) or step not in data:
            return None
        data = data[step]
    return data


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
