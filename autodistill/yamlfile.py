"""YAML files written by people: plain data, plus the line of every key, so that an error can point at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autodistill.errors import AutodistillError

Key = tuple[str | int, ...]


DEPTH = 50
"""The most levels of nesting."""
NODES = 20_000
"""The most values in a file, counting a value once for each alias of it."""
TAG = "tag:yaml.org,2002:"
"""The prefix of YAML's own tags."""


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
    """Parse YAML text into mappings with texts as keys, lists, texts, finite or infinite numbers, true, false and null.

    source: the name that messages use for the text.

    Raises:
        error: the text is not YAML, has a key twice, holds anything else than plain data (a date, bytes, a set), an alias inside its own
            anchor, more than `DEPTH` levels or more than `NODES` values. The message has the line and the key path.
    """
    loader = None
    try:
        _check_depth(text, source, error)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        walk = _Walk(loader, source, error)
        if node is not None:
            walk(node, (), ())
        data = None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError, OverflowError) as cause:  # ValueError: an escape such as \U00110000, which is no character
        raise error(f"{source} is not valid YAML: {cause}") from None
    finally:
        if loader is not None:
            loader.dispose()
    return YamlFile(source, data, walk.lines)


def _check_depth(text: str, source: str, error: type[AutodistillError]) -> None:
    """Refuse deep nesting event by event, because PyYAML's composer is recursive and its scanner slow on many open brackets."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            place = source if event.start_mark is None else f"{source}:{event.start_mark.line + 1}"
            raise error(f"{place}: more than {DEPTH} levels of nesting; check its brackets and indentation")


class _Walk:
    """Collects the line of each key path, and refuses what is no plain data."""

    def __init__(self, loader: yaml.SafeLoader, source: str, error: type[AutodistillError]) -> None:
        self.loader, self.source, self.error = loader, source, error
        self.lines: dict[Key, int] = {}
        self.nodes = 0

    def __call__(self, node: yaml.Node, key: Key, parents: tuple[yaml.Node, ...]) -> None:
        self.lines.setdefault(key, node.start_mark.line + 1)
        self.nodes += 1
        if self.nodes > NODES:
            raise self.refused(
                node, key, f"more than {NODES:,} values, counting those that aliases (*name) repeat; write it without aliases"
            )
        if any(node is parent for parent in parents):
            raise self.refused(node, key, "an alias (*name) stands inside its own anchor (&name); write the value out")
        if len(parents) > DEPTH:
            raise self.refused(node, key, f"more than {DEPTH} levels of nesting, counting those that aliases (*name) repeat")
        if isinstance(node, yaml.MappingNode):
            self.tagged(node, key, "map")
            for name, value in node.value:
                self(value, self.named(name, key), (*parents, node))
        elif isinstance(node, yaml.SequenceNode):
            self.tagged(node, key, "seq")
            for index, value in enumerate(node.value):
                self(value, (*key, index), (*parents, node))
        else:
            self.scalar(node, key)

    def named(self, name: yaml.Node, key: Key) -> Key:
        """The key path of a mapping's key. A number is read as the text that it is written with: a dataset's name can be 31."""
        if isinstance(name, yaml.ScalarNode) and name.tag in (f"{TAG}int", f"{TAG}float"):
            name.tag = f"{TAG}str"
        if not isinstance(name, yaml.ScalarNode) or name.tag not in (f"{TAG}str", f"{TAG}merge"):
            shown = repr(_short(name.value)) if isinstance(name, yaml.ScalarNode) else "a list or mapping"
            raise self.refused(name, key, f"a key is {shown}, which YAML does not read as text; put it in quotes if it should be a name")
        self.scalar(name, key)
        here = (*key, name.value)
        if here in self.lines:
            raise self.error(
                f"{self.source}:{name.start_mark.line + 1}: key {name.value!r} occurs twice; the first is on line {self.lines[here]}"
            )
        self.lines[here] = name.start_mark.line + 1
        return here

    def tagged(self, node: yaml.Node, key: Key, kind: str) -> None:
        if node.tag != f"{TAG}{kind}":
            raise self.refused(node, key, f"the tag {_short(node.tag)!r} is not allowed here; remove it")

    def scalar(self, node: yaml.Node, key: Key) -> None:
        shown = _short(node.value)
        if node.tag == f"{TAG}merge":
            return
        try:
            value = self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError):
            kind = node.tag.removeprefix(TAG)
            raise self.refused(node, key, f"{shown!r} is not a valid {kind}; correct it, or put it in quotes if it is text") from None
        if not isinstance(value, str | int | float | None):
            raise self.refused(node, key, f"YAML reads {shown!r} as a {type(value).__name__}; put it in quotes if it is text")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise self.refused(node, key, f"{shown} has too many digits; numbers are below 2**63")
        if isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value):
            raise self.refused(node, key, f"{shown!r} has half of a character (\\ud800 to \\udfff); write the character itself")

    def refused(self, node: yaml.Node, key: Key, why: str) -> AutodistillError:
        path = _short(".".join(map(str, key)), 200)
        return self.error(f"{self.source}:{node.start_mark.line + 1}: {path + ': ' if path else ''}{why}")


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
