"""Space files: reading one, and checking every line of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from autodistill.components import specs
from autodistill.errors import SpaceError, not_allowed
from autodistill.space.domain import NONE, Domain, Scalar, reachable
from autodistill.space.teachers import TEACHER
from autodistill.task_types import TASKS
from autodistill.yamlfile import Key, YamlFile, load_yaml, parse_yaml

VERSION = 1
_KEYS = ("choice", "optional", "float", "int", "value", "default", "log", "step", "when")


def shipped_spaces() -> dict[str, str]:
    """The texts of the shipped spaces by name."""
    files = [item for item in resources.files("autodistill.search_spaces").iterdir() if item.name.endswith(".yaml")]
    return {Path(item.name).stem: item.read_text(encoding="utf-8") for item in sorted(files, key=lambda item: item.name)}


def space_tasks(text: str) -> tuple[str, str, tuple[str, ...]]:
    """The name, description and task types of a space, without reading it in full."""
    data = parse_yaml(text, "space", SpaceError).data
    return data["name"], data["about"], tuple(data["tasks"])


def space_file(name_or_path: str) -> YamlFile:
    """A shipped space's file by name, or another one by path.

    Raises:
        SpaceError: there is no such space, or its file is no YAML.
    """
    shipped = shipped_spaces()
    if name_or_path in shipped:
        return parse_yaml(shipped[name_or_path], f"search_spaces/{name_or_path}.yaml", SpaceError)
    path = Path(name_or_path)
    if not path.suffix and not path.exists():
        raise SpaceError(not_allowed("the space", name_or_path, shipped, "Or give the path of a space file, NAME.yaml."))
    return load_yaml(path, SpaceError)


def read_parameters(file: YamlFile, task: str) -> tuple[str, str, dict[str, tuple[Domain, ...]]]:
    """A space's name, its description, and its parameters for a task type: the domains of each path.

    Raises:
        SpaceError: something does not validate, or the space is not for the task.
    """
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
    return data["name"], data["about"], {path: domains for path, domains in read.items() if domains}


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
        if not other.startswith(TEACHER) and not reachable(above[other], allowed):  # a search may name another teacher
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
