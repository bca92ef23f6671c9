"""JSON Schemas of recipe files and space files, for editors: both are made from the recipe's own fields.

They say which keys there are, and which values each can have. What the fields mean together (a temperature for a task with scores) is
checked when a file is read, not by its schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from autodistill.components import check
from autodistill.recipe import Recipe
from autodistill.space.domain import NONE
from autodistill.space.file import VERSION
from autodistill.task_types import TASKS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
COMMENT = "# yaml-language-server: $schema="
"""An editor with a YAML language server reads the schema that this line of a file names."""
RECIPE_FILE, SPACE_FILE = "recipe.schema.json", "space.schema.json"
"""The names of schemas beside the files that we write."""

Schema = dict[str, Any]


def recipe_schema() -> Schema:
    """The schema of a recipe file. Components of installed packages are in it.

    Raises:
        ComponentError: an installed package has components that cannot be used.
    """
    check()
    schema = Recipe.model_json_schema()
    for part in schema["$defs"].values():
        for tag in ("kind", "family"):
            if tag in part["properties"] and part["properties"][tag].get("const") != NONE:
                part["required"] = [tag, *(name for name in part.get("required", ()) if name != tag)]  # what has no kind is `none`
    return {"$schema": DIALECT, **_without_titles(schema), "title": "A recipe of autodistill"}


def space_schema() -> Schema:
    """The schema of a space file: the domains that each key path of a recipe can have. Components of installed packages are in it.

    Raises:
        ComponentError: an installed package has components that cannot be used.
    """
    recipe = recipe_schema()
    values: dict[str, list[Schema]] = {}
    for path, value in _paths(recipe, recipe["$defs"], ""):
        if path not in ("version", "task") and value not in values.setdefault(path, []):
            values[path].append(value)
    allowed = {path: _either(kinds) for path, kinds in values.items()}
    domains = {f"domain-of-{path}": _domain(path, value) for path, value in allowed.items()}
    paths = {}
    for path, value in allowed.items():
        about = {"description": value["description"]} if "description" in value else {}
        domain = {"$ref": f"#/$defs/domain-of-{path}"}
        paths[path] = about | {"anyOf": [domain, {"type": "array", "minItems": 1, "items": domain}]}
    scalar = {"type": ["string", "number", "boolean"]}
    condition = {"anyOf": [scalar, {"type": "array", "items": scalar}]}
    when = {
        "description": "The values of parameters above this one with which the domain applies; some: any kind but none.",
        "type": ["object", "null"],
        "propertyNames": {"enum": ["task", *paths]},
        "additionalProperties": condition,
    }
    return {
        "$schema": DIALECT,
        "title": "A search space of autodistill",
        "type": "object",
        "required": ["version", "name", "about", "tasks", "parameters"],
        "additionalProperties": False,
        "properties": {
            "version": {"const": VERSION},
            "name": {"type": "string"},
            "about": {"type": "string", "description": "The space in a few words."},
            "tasks": {"type": "array", "items": {"enum": list(TASKS)}},
            "parameters": {"type": "object", "additionalProperties": False, "properties": paths},
        },
        "$defs": {
            "when": when,
            "bounds": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
            **allowed,
            **domains,
        },
    }


SCHEMAS: dict[str, Callable[[], Schema]] = {"recipe": recipe_schema, "space": space_schema}
"""By what they describe."""


def _paths(schema: Schema, parts: dict[str, Schema], path: str) -> Iterator[tuple[str, Schema]]:
    """Every field of a schema by its key path. A field of several components occurs several times."""
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        inside = [parts[item["$ref"].rpartition("/")[2]] for item in (field, *field.get("oneOf", ())) if "$ref" in item]
        for part in inside:
            yield from _paths(part, parts, here)
        if not inside:
            yield here, {key: value for key, value in field.items() if key != "default"}


def _domain(path: str, value: Schema) -> Schema:
    """A domain of a key path: one kind of domain, and what belongs to it."""
    allowed = {"$ref": f"#/$defs/{path}"}
    choices = {"type": "array", "minItems": 1, "items": allowed}
    kinds: Schema = {"choice": choices, "value": allowed}
    more: Schema = {"default": allowed, "when": {"$ref": "#/$defs/when"}}
    if path.endswith(".kind"):
        kinds["optional"] = choices
    if {"integer", "number"} & set(_types(value)):
        kinds |= {kind: {"$ref": "#/$defs/bounds"} for kind in ("float", "int")}
        more |= {"log": {"type": "boolean"}, "step": {"type": "integer", "minimum": 1}}
    one = [{"required": [kind]} for kind in kinds]
    return {"type": "object", "additionalProperties": False, "oneOf": one, "properties": kinds | more}


def _types(value: Schema) -> Iterator[str]:
    """The types that a value can have."""
    if "type" in value:
        yield value["type"]
    for item in value.get("anyOf", ()):
        yield from _types(item)


def _either(values: list[Schema]) -> Schema:
    """A value that one of the components allows."""
    about = next(({"description": value["description"]} for value in values if "description" in value), {})
    bare = [{name: item for name, item in value.items() if name != "description"} for value in values]
    names = [value["const"] for value in bare if "const" in value]
    kinds = [{"enum": names}] if names else []
    kinds += [value for number, value in enumerate(bare) if "const" not in value and value not in bare[:number]]
    return about | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def _without_titles(schema: Any) -> Any:
    """The schema without the titles that only repeat names."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _without_titles(item) for name, item in schema.items() if not (name == "title" and isinstance(item, str))}


def as_text(schema: Schema) -> str:
    """A schema as JSON, with each of its parts in a line of its own."""

    def dump(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    entries = []
    for name, value in schema.items():
        parts = value if isinstance(value, dict) else {}
        inside = ",\n".join(f"  {dump(part)}: {dump(item)}" for part, item in parts.items())
        entries.append(f" {dump(name)}: " + (f"{{\n{inside}\n }}" if parts else dump(value)))
    return "{\n" + ",\n".join(entries) + "\n}\n"
