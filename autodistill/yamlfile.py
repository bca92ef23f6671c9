"""YAML files written by people: plain data, plus the line of every key, so that an error can point at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autodistill.errors import AutodistillError

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class YamlFile:
    """The data of a file, and the line of each key path."""

    source: str
    data: Any
    lines: dict[Key, int]

    def where(self, key: Key) -> str:
        """`file.yaml:12` for a key path, or for its nearest parent that is in the file."""
        for end in range(len(key), -1, -1):
            if key[:end] in self.lines:
                return f"{self.source}:{self.lines[key[:end]]}"
        return self.source


def load_yaml(path: Path, error: type[AutodistillError]) -> YamlFile:
    """Read a YAML file.

    Raises:
        error: the file cannot be read, is not UTF-8, is not YAML, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"{path} cannot be read as UTF-8 text: {cause}") from None
    return parse_yaml(text, str(path), error)


def parse_yaml(text: str, source: str, error: type[AutodistillError]) -> YamlFile:
    """Parse YAML text; `source` is the name that messages use for it."""
    lines: dict[Key, int] = {}

    def walk(node: yaml.Node | None, key: Key) -> None:
        if node is None:
            return
        lines.setdefault(key, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                here = (*key, str(name.value))
                if here in lines:
                    raise error(f"{source}:{name.start_mark.line + 1}: key {name.value!r} occurs twice; the first is on line {lines[here]}")
                lines[here] = name.start_mark.line + 1
                walk(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                walk(value, (*key, index))

    try:
        walk(yaml.compose(text, Loader=yaml.SafeLoader), ())
        data = yaml.safe_load(text)
    except yaml.YAMLError as cause:
        raise error(f"{source} is not valid YAML: {cause}") from None
    return YamlFile(source, data, lines)
