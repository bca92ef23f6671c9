"""Search spaces: which recipes a search may propose.

A space file (search_spaces/*.yaml, or a user's own) lists key paths of the recipe, each with a domain and, as `when:`, the conditions
under which it applies. A recipe is a point of a space: `suggest` makes one by asking for each value in turn, and `encode` turns one back
into values. Kinds that do not fit the task are left out automatically.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from autodistill.components import check, specs
from autodistill.domain import NONE, SOME, Scalar, holds, questions
from autodistill.domain import Domain as Domain
from autodistill.errors import RecipeError, SpaceError, not_allowed
from autodistill.recipe import ADDED, BY_EMBEDDINGS, SLOTS, Component, Recipe, Teacher, without_teacher
from autodistill.records import Role
from autodistill.task_types import TASKS, target_of
from autodistill.yamlfile import Key, YamlFile, load_yaml, parse_yaml

VERSION = 1
TEACHER = "teacher."
"""The prefix of the paths of a teacher's parameters."""
Choose = Callable[[str, "Domain"], Any]
"""A function that chooses a value. Its arguments: the parameter's name for samplers, and its domain."""


@dataclass(frozen=True)
class Space:
    """A search space for one task type. `parameters` keeps the file's order; if a path has several domains, `when` selects one."""

    name: str
    task: str
    about: str
    parameters: Mapping[str, tuple[Domain, ...]] = field(repr=False)
    source: str = ""

    @classmethod
    def load(cls, name_or_path: str, task: str) -> Space:
        """Read a shipped space by name, or a file by path, for one task type.

        Raises:
            SpaceError: there is no such space, it does not validate, or it is not for the task.
            ComponentError: an installed package has components that cannot be used.
        """
        check()
        if task not in TASKS:
            raise SpaceError(not_allowed("the task type", task, TASKS))
        shipped = shipped_spaces()
        if name_or_path in shipped:
            return _read(parse_yaml(shipped[name_or_path], f"search_spaces/{name_or_path}.yaml", SpaceError), task)
        path = Path(name_or_path)
        if not path.suffix and not path.exists():
            raise SpaceError(not_allowed("the space", name_or_path, shipped, "Or give the path of a space file, NAME.yaml."))
        return _read(load_yaml(path, SpaceError), task)

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
            values[path] = value = _at(data, path)
            answer = SOME if SOME in domain.choices and value != NONE else value
            if not domain.contains(answer):
                raise SpaceError(f"recipe {recipe.id}: {path} is {value!r}; in the space {self.name!r} it is {domain.describe()}")
            if domain.kind != "value":
                encoded[name] = answer
        made = self.decode(values)
        if made.id != recipe.id:
            other = made.model_dump()
            paths = [path for path in _leaves(data) if _at(data, path) != _at(other, path)]
            first = paths[0] if paths else "a key"
            raise SpaceError(f"recipe {recipe.id}: {first} is {_at(data, first)!r}; in the space {self.name!r} it is {_at(other, first)!r}")
        return encoded

    def contains(self, recipe: Recipe) -> bool:
        """Whether a recipe is a point of this space."""
        try:
            self.encode(recipe)
        except SpaceError:
            return False
        return True

    def fixed(self, path: str, value: Scalar) -> Space:
        """A copy of the space with one parameter fixed at a value."""
        if path not in self.parameters:
            raise SpaceError(not_allowed("the parameter", path, self.parameters, f"They are those of the space {self.name!r}."))
        domains = tuple(Domain("value", value, when=domain.when) for domain in self.parameters[path])
        return replace(self, parameters={**self.parameters, path: domains})

    def with_teacher_models(self, models: Sequence[str]) -> Space:
        """A copy of the space with these teacher models: one, or a choice of several with the first as default."""
        space = self.fixed("teacher.model", models[0])
        if len(models) == 1:
            return space
        domains = (Domain("choice", models[0], choices=tuple(models), when=domain.when) for domain in space.parameters["teacher.model"])
        return replace(space, parameters={**space.parameters, "teacher.model": tuple(domains)})

    def for_its_teachers(self) -> Space:
        """A copy of the space without the domains that apply to none of its teachers, but only to others that a search may name."""
        parameters: dict[str, tuple[Domain, ...]] = {}
        for path, domains in self.parameters.items():
            kept: list[Domain] = []
            for domain in domains:
                if all(_reachable(parameters.get(other, ()), allowed) for other, allowed in domain.when):
                    kept.append(domain)
                if domain.when and all(self._always(other, allowed) for other, allowed in domain.when):
                    break  # it applies to every teacher, so those after it never apply
            if kept:
                parameters[path] = tuple(kept)
        return replace(self, parameters=parameters)

    def _always(self, path: str, allowed: tuple[Scalar, ...]) -> bool:
        """Whether every teacher of the space meets a condition on its model or on its scores."""
        return path in (f"{TEACHER}model", f"{TEACHER}scores") and all(
            holds(value, allowed) for domain in self.parameters[path] for value in domain.values
        )

    def with_assistant(self, model: str, fields: Mapping[str, Any], has_attention: bool) -> Space:
        """A copy of the space in which a teacher's model is a finished student: used as it is, and without what it cannot provide.

        With this teacher, students start from random weights, nothing reads the attention of a student that has none, and no augmentation
        looks for synonyms among its words, because they are not stored in transformers' format. fields: of its `teacher` part.
        """
        when = ((f"{TEACHER}model", (model,)),)
        fixed = {f"{TEACHER}{name}": value for name, value in fields.items()}
        if not has_attention:
            fixed["objective.attention.kind"] = NONE
        added: dict[str, tuple[Domain, ...]] = {path: (Domain("value", value, when=when),) for path, value in fixed.items()}
        for path, left_out, instead in (
            ("student.init", {"teacher", "input_embeddings"}, "random"),
            ("augmentation.kind", {"synonyms"}, NONE),
        ):
            affected = [domain for domain in self.parameters.get(path, ()) if left_out & set(domain.values)]
            added[path] = tuple(replace(domain, when=(*domain.when, *when)).without(left_out, instead) for domain in affected)
        if "student.init" not in self.parameters:
            starting = tuple(
                family for domain in self.parameters.get("student.family", ()) for family in domain.values if _starts_from_teacher(family)
            )
            added["student.init"] = (Domain("value", "random", when=(*when, ("student.family", starting))),)
        parameters: dict[str, tuple[Domain, ...]] = {}
        for path, domains in self.parameters.items():
            parameters[path] = (*added.pop(path, ()), *domains)
            if path == f"{TEACHER}model":
                parameters |= {name: added.pop(name) for name in fixed if name.startswith(TEACHER) and name not in self.parameters}
        return replace(self, parameters=parameters | {path: domains for path, domains in added.items() if domains})

    def fixed_later(self, part: str, values: Mapping[str, Any]) -> dict[str, Scalar]:
        """Fields of a recipe's part that were added later (`recipe.ADDED`), if the space fixes them at one value for such a part.

        part: `student`, … values: the fields of the part that a recipe has.
        """
        own = replace(self, parameters={path: domains for path, domains in self.parameters.items() if path.startswith(f"{part}.")})
        active = own.active({f"{part}.{name}": value for name, value in values.items()})
        fixed = {path.removeprefix(f"{part}."): domain.default for path, _, domain in active if domain.kind == "value"}
        return {name: value for name, value in fixed.items() if (part, name) in ADDED}

    def with_epochs(self, epochs: int) -> Space:
        """A copy of the space with this many epochs of training. If it has a number of steps, that changes in proportion."""
        before = self.defaults().training
        space = self.fixed("training.epochs", epochs)
        return space.fixed("training.steps", max(1, round(before.steps * epochs / before.epochs))) if before.steps else space

    def with_class_weights(self, weights: str) -> Space:
        """A copy of the space with these class weights for teachers and students.

        Raises:
            SpaceError: its task has no classes.
        """
        if weights != "none" and not target_of(self.task).has_class_weights:
            raise SpaceError(f"class_weights is {weights!r}, but {self.task} has no classes; leave it out")
        paths = (f"{TEACHER}class_weights", "objective.class_weights")
        return replace(self, parameters={**self.parameters, **{path: (Domain("value", weights),) for path in paths}})

    def with_teacher(self, teacher: Teacher) -> Space:
        """A copy of the space with this teacher and no other."""
        usual = Teacher(model=teacher.model).model_dump()
        fields = {name: value for name, value in teacher.model_dump().items() if name == "model" or value != usual[name]}
        own = {f"{TEACHER}{name}": (Domain("value", value),) for name, value in fields.items()}
        return replace(self, parameters=own | {path: domains for path, domains in self.parameters.items() if not path.startswith(TEACHER)})

    def with_random_teacher(self) -> Space:
        """A copy of the space whose teachers keep random weights, as a control for gains that come from regularisation alone."""
        return replace(self, parameters={**self.parameters, "teacher.init": (Domain("value", "random"),)})

    def without_unlabelled(self) -> Space:
        """A copy of the space for a dataset without unlabelled rows."""
        paths = ("training.unlabelled_share", "training.unlabelled_choice", "training.unlabelled_keep", "training.stages")
        return replace(self, parameters={path: domains for path, domains in self.parameters.items() if path not in paths})

    def with_teacher_scores(self, fingerprint: str) -> Space:
        """A copy of the space whose teacher is a file of scores. It has only logits, so nothing that reads states is proposed."""
        parameters = {**self.parameters, "teacher.scores": (Domain("value", fingerprint),)}
        for path, domains in self.parameters.items():
            slot, _, tag = path.rpartition(".")
            if slot in LEARNED and tag == "kind":
                left_out, neutral = {kind for domain in domains for kind in domain.values if _reads_states(slot, kind)}, NONE
            elif path == "training.unlabelled_choice":
                left_out, neutral = {BY_EMBEDDINGS}, "all"
            else:
                continue
            parameters[path] = tuple(domain.without(left_out, neutral) for domain in domains)
        return replace(self, parameters=parameters)

    def needing_states(self) -> list[str]:
        """The objectives of its recipes that need more of a teacher than logits, by name, sorted."""
        needing = set()
        for slot in LEARNED:
            kinds = {kind for domain in self.parameters.get(f"{slot}.kind", ()) for kind in domain.values}
            needing |= {f"{slot.removeprefix('objective.')} {kind}" for kind in kinds if _reads_states(slot, kind)}
        return sorted(needing)

    def teachers(self) -> list[Teacher]:
        """Every teacher that the space can propose. The default teacher is first if the choices list their defaults first.

        Raises:
            SpaceError: a teacher's parameter is a range or depends on other parts of the recipe, so that the teachers cannot be listed and
                trained before the trials; or a teacher does not validate.
        """
        choices: list[dict[str, Any]] = [{}]
        for path, domains in self.parameters.items():
            if not path.startswith(TEACHER):
                continue
            for domain in domains:
                if domain.kind not in ("choice", "value") or not all(key.startswith(TEACHER) for key, _ in domain.when):
                    raise SpaceError(
                        f"space {self.name!r}: {path} must be `choice` or `value`, with conditions only on the teacher: "
                        "every teacher is trained before the trials"
                    )
            choices = [values | chosen for values in choices for chosen in _chosen(path, domains, values)]
        try:
            return [Teacher.model_validate({path.removeprefix(TEACHER): value for path, value in values.items()}) for values in choices]
        except ValidationError as cause:
            problem = cause.errors()[0]
            place = ".".join(["teacher", *map(str, problem["loc"])])
            raise SpaceError(f"space {self.name!r} can make a teacher that does not validate: {place}: {problem['msg']}") from None

    def teacher_of(self, model: str) -> Teacher:
        """The first of the space's teachers with this model; the default teacher if there is none."""
        return next((teacher for teacher in self.teachers() if teacher.model == model), self.defaults().teacher)

    def baselines(self, student: Component | None = None) -> dict[Role, Recipe]:
        """What a search must beat. All have the same student (by default that of the defaults).

        No teacher (without labels: the student as it starts); plain KD (Hinton 2015) on the labelled rows; if the space's recipes use
        unlabelled rows, the teacher's decisions as labels (Lee 2013) and plain KD, both on all rows; and the defaults.
        """
        defaults = self.defaults()
        if student is not None:
            defaults = Recipe.parse(defaults.model_dump() | {"student": student.model_dump()})
        data = defaults.model_dump() | {"augmentation": {"kind": "none"}}
        all_rows = data["training"] | {"unlabelled_choice": "all", "unlabelled_keep": 1.0, "stages": "mixed"}
        data["training"] = all_rows | {"unlabelled_share": 0.0}
        weights = {"class_weights": defaults.objective.class_weights}
        target = target_of(self.task)
        plain = weights | target.plain_objective
        baselines: dict[Role, Recipe] = {
            "no_kd": Recipe.parse(without_teacher(data | {"objective": weights})),
            "plain_kd": Recipe.parse(data | {"objective": plain}),
        }
        if all_rows["unlabelled_share"] > 0:
            if target.decision_loss is not None:
                decisions = weights | {"hard_label_weight": 0.5, "prediction": {**target.decision_loss, "weight": 0.5}}
                baselines["pseudo_labels"] = Recipe.parse(data | {"objective": decisions, "training": all_rows})
            baselines["plain_kd_all"] = Recipe.parse(data | {"objective": plain, "training": all_rows})
        return baselines | {"defaults": defaults}

    def to_dict(self) -> dict[str, Any]:
        """Plain data: equal spaces have equal ones."""
        parameters = {path: [_plain(domain) for domain in domains] for path, domains in self.parameters.items()}
        return {"name": self.name, "task": self.task, "parameters": parameters}


def shipped_spaces() -> dict[str, str]:
    """The texts of the shipped spaces by name."""
    files = [item for item in resources.files("autodistill.search_spaces").iterdir() if item.name.endswith(".yaml")]
    return {Path(item.name).stem: item.read_text(encoding="utf-8") for item in sorted(files, key=lambda item: item.name)}


def space_tasks(text: str) -> tuple[str, str, tuple[str, ...]]:
    """The name, description and task types of a space, without reading it in full."""
    data = parse_yaml(text, "space", SpaceError).data
    return data["name"], data["about"], tuple(data["tasks"])


def _read(file: YamlFile, task: str) -> Space:
    data = file.data
    if not isinstance(data, Mapping):
        raise SpaceError(f"{file.source} should be a mapping with the keys version, name, about, tasks, parameters")
    wanted = ("version", "name", "about", "tasks", "parameters")
    for key in data:
        if key not in wanted:
            raise SpaceError(f"{file.where((key,))}: {not_allowed('a key', key, wanted)}")
    for key in wanted:
        if key not in data:
            raise SpaceError(f"{file.source}: the key {key!r} is missing; needed: {', '.join(wanted)}")
    if data["version"] != VERSION:
        raise SpaceError(f"{file.where(('version',))}: version is {data['version']!r}; this autodistill reads version {VERSION}")
    for key in ("name", "about"):
        if not isinstance(data[key], str):
            raise SpaceError(f"{file.where((key,))}: {key} is {data[key]!r}; it should be a text")
    if not isinstance(data["tasks"], list):
        raise SpaceError(f"{file.where(('tasks',))}: tasks is {data['tasks']!r}; it should be a list of task types")
    if not isinstance(data["parameters"], Mapping):
        raise SpaceError(
            f"{file.where(('parameters',))}: parameters is {data['parameters']!r}; it should map key paths of a recipe to domains, like "
            "training.batch_size: {choice: [16, 32]}"
        )
    for item in data["tasks"]:
        if item not in TASKS:
            raise SpaceError(f"{file.where(('tasks',))}: {not_allowed('a task type', item, TASKS)}")
    if task not in data["tasks"]:
        raise SpaceError(
            f"space {data['name']!r} is for {', '.join(data['tasks'])}, but the dataset is {task}; choose another with --space"
        )
    read: dict[str, tuple[Domain, ...]] = {}
    for path, entry in data["parameters"].items():
        inside = next((other for other in read if path.startswith(f"{other}.") or other.startswith(f"{path}.")), None)
        if inside is not None:
            raise SpaceError(
                f"{file.where(('parameters', path))}: {path} and {inside} contain one another; name only the fields themselves"
            )
        entries = entry if isinstance(entry, list) else [entry]
        domains = []
        for index, item in enumerate(entries):
            place: Key = ("parameters", path, index) if isinstance(entry, list) else ("parameters", path)
            domain = _domain(file, place, path, item, task, read)
            if domain is not None:
                domains.append(domain)
        read[path] = tuple(domains)
    parameters = {path: domains for path, domains in read.items() if domains}
    space = Space(str(data["name"]), task, str(data["about"]), parameters, file.source)
    space.defaults()  # a space whose defaults are no recipe is an error here, not in the middle of a search
    return space


_KEYS = ("choice", "optional", "float", "int", "value", "default", "log", "step", "when")


def _domain(file: YamlFile, key: Key, path: str, item: Any, task: str, above: Mapping[str, tuple[Domain, ...]]) -> Domain | None:
    """One domain; None if it never applies to the task."""
    place = f"{file.where(key)}: {path}"
    if not isinstance(item, Mapping):
        raise SpaceError(
            f"{place} is {item!r}; it should be like {{choice: [a, b]}}, {{optional: [a, b]}}, {{float: [0.1, 1.0]}}, {{int: [1, 4]}} or "
            "{value: a}"
        )
    for name in item:
        if name not in _KEYS:
            raise SpaceError(f"{place}: {not_allowed('a key', name, _KEYS)}")
    kinds = [kind for kind in ("choice", "optional", "float", "int", "value") if kind in item]
    if len(kinds) != 1:
        raise SpaceError(f"{place} has {' and '.join(kinds) or 'no kind of domain'}; give one of choice, optional, float, int, value")
    conditions = item.get("when") or {}
    if not isinstance(conditions, Mapping):
        raise SpaceError(f"{place}: when is {conditions!r}; it should map parameters above it to values, like {{augmentation.kind: some}}")
    when = []
    for other, values in conditions.items():
        if other != "task" and other not in above:
            raise SpaceError(f"{place}: when names {other!r}, which is not a parameter above it")
        allowed = tuple(values) if isinstance(values, list) else (values,)
        if not all(isinstance(value, Scalar) for value in allowed):
            raise SpaceError(f"{place}: when.{other} is {values!r}; it should be a value or a list of values")
        if other == "task":
            if task not in allowed:
                return None
            continue
        if not other.startswith(TEACHER) and not _reachable(above[other], allowed):  # a search may name another teacher
            return None
        when.append((other, allowed))
    kind = kinds[0]
    if kind == "value":
        value = item["value"]
        return Domain("value", tuple(value) if isinstance(value, list) else value, when=tuple(when))
    if kind in ("choice", "optional"):
        choices = item[kind]
        if not isinstance(choices, list) or not choices or not all(isinstance(choice, Scalar) for choice in choices):
            raise SpaceError(f"{place}: {kind} is {choices!r}; it should be a list of values")
        if kind == "optional":
            if not path.endswith(".kind") or NONE in choices:
                raise SpaceError(f"{place}: optional is {choices!r}; it is only for a `kind`, and lists the kinds other than {NONE!r}")
            choices = [NONE, *choices]
        fitting = tuple(choice for choice in choices if _fits(file, (*key, kind), path, choice, task))
        if not fitting or (kind == "optional" and fitting == (NONE,)):
            return None
        default = item.get("default", fitting[0])
        if default not in choices:
            raise SpaceError(f"{place}: {not_allowed('default', default, choices)}")
        return Domain(
            "choice", default if default in fitting else fitting[0], choices=fitting, optional=kind == "optional", when=tuple(when)
        )
    bounds = item[kind]
    log = item.get("log", False)
    if not isinstance(log, bool):
        raise SpaceError(f"{place}: log is {log!r}; it should be true or false")
    if not (isinstance(bounds, list) and len(bounds) == 2 and all(_is_number(bound) for bound in bounds)):
        raise SpaceError(f"{place}: {kind} is {bounds!r}; it should be two numbers, [low, high] (1.0e-3, not 1e-3)")
    low, high = bounds
    if low > high or (log and low <= 0):
        raise SpaceError(f"{place}: {kind} is {bounds!r}; low must not be above high{', nor be 0 or less on a log scale' if log else ''}")
    if kind == "int" and not (float(low).is_integer() and float(high).is_integer()):
        raise SpaceError(f"{place}: int is {bounds!r}; it should be two whole numbers")
    middle = math.sqrt(low * high) if log else (low + high) / 2
    step = item.get("step", 1)
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        raise SpaceError(f"{place}: step is {step!r}; it should be a whole number above 0")
    default = item.get("default", low + (int(middle) - low) // step * step if kind == "int" else middle)
    number: Literal["float", "int"] = "int" if kind == "int" else "float"
    domain = Domain(number, default, low=low, high=high, log=log, step=step, when=tuple(when))
    if not domain.contains(default):
        raise SpaceError(f"{place}: default is {default!r}; it should be {domain.describe()}")
    return domain


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _reachable(domains: Iterable[Domain], allowed: tuple[Scalar, ...]) -> bool:
    """Whether the domains can give any of the values. If kinds that do not fit the task are left out, some conditions never hold."""
    values = [value for domain in domains for value in domain.values]
    return any(domain.contains(value) for domain in domains for value in allowed) or any(holds(value, allowed) for value in values)


def _fits(file: YamlFile, key: Key, path: str, choice: Any, task: str) -> bool:
    """Whether a kind or family fits the task. A name that is no component is an error."""
    slot, _, tag = path.rpartition(".")
    if tag not in ("kind", "family") or choice == "none":
        return True
    components = specs(slot)
    name = str(choice).partition(":")[0]
    if name not in components:
        raise SpaceError(f"{file.where(key)}: {path}: {not_allowed('a choice', choice, ['none', *components])}")
    return task in components[name].tasks


LEARNED = tuple(f"objective.{slot}" for slot in SLOTS)
"""The slots of a recipe whose objectives compare the student with its teacher."""


def _chosen(path: str, domains: Iterable[Domain], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each value that a path can have together with these, as a mapping; only an empty mapping if none of its domains applies."""
    for domain in domains:
        if domain.applies(values):
            return [{path: value} for value in domain.values]
    return [{}]


def _starts_from_teacher(family: Scalar) -> bool:
    """Whether the students of a family start from their teacher by default."""
    init = specs("student")[str(family).partition(":")[0]].fields.model_fields.get("init")
    return init is not None and init.default == "teacher"


def _reads_states(slot: str, kind: Scalar) -> bool:
    """Whether an objective of this kind needs more of a teacher than logits."""
    return kind != NONE and specs(slot)[str(kind)].reads_states


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


def _at(data: Any, path: str) -> Any:
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
