"""What is wrong with plain data that should be a recipe, in words."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from autodistill.yamlfile import YamlFile


def explain(file: YamlFile, cause: ValidationError) -> list[str]:
    """A line for each problem: place, key path, value, and what is wrong."""
    lines = []
    for problem in cause.errors():
        key, value = [], file.data
        for step in problem["loc"]:  # pydantic's path also names union members, which are not in the file
            if isinstance(value, Mapping) and step in value:
                value = value[step]
                key.append(step)
            elif step is problem["loc"][-1] and problem["type"] == "missing":
                key.append(step)
        path = ".".join(map(str, key)) or "recipe"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "union_tag_invalid":
            context = problem["ctx"]
            tag = "family" if path == "student" else "kind"
            value = value.get(tag) if isinstance(value, Mapping) else value
            path, message = f"{path}.{tag}", f"allowed: {context['expected_tags']}".replace("'", "")
            key = [*key, tag]
        shown = "" if problem["type"] in ("missing", "value_error") else f" is {value!r}"
        lines.append(f"{file.where(tuple(key))}: {path}{shown}: {message}")
    return lines
