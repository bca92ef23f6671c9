"""Packages with components of their own. They are found through entry points and read as source, without being imported.

A package's metadata (pyproject.toml) names its modules or subpackages with components:

    [project.entry-points."autodistill.components"]
    extras = "kd_extras"
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

from autodistill.errors import ComponentError

GROUP = "autodistill.components"
"""The group of the entry points."""


@dataclass(frozen=True)
class Extension:
    """An entry point. distribution: name and version of its installed package. module: what it points to."""

    distribution: str
    module: str
    attribute: str = ""

    def error(self, problem: str) -> ComponentError:
        """An error with the problem and the way out."""
        name = self.distribution.partition(" ")[0]
        return ComponentError(
            f"the package {self.distribution} says that {self.module} has components of autodistill, but {problem}. "
            f"Install a correct version, or remove it: pip uninstall {name}"
        )

    def sources(self) -> Iterator[tuple[str, Path]]:
        """The name and the file of the module, or of every module of the package.

        Raises:
            ComponentError: there is no such module, or it is no Python source.
        """
        if self.attribute:
            raise self.error(f"it points to {self.module}:{self.attribute}; it should point to a module or package")
        spec = _find(self.module)
        if spec is None:
            raise self.error("there is no such module")
        if not spec.submodule_search_locations:
            if spec.origin is None or not Path(spec.origin).is_file() or not spec.origin.endswith(".py"):
                raise self.error(f"it is no Python file ({spec.origin})")
            yield self.module, Path(spec.origin)
            return
        for folder in map(Path, spec.submodule_search_locations):
            if not folder.is_dir():
                raise self.error(f"{folder} is no folder; packages in zip files are not read")
            for path in sorted(folder.rglob("*.py")):
                inside = path.relative_to(folder).with_suffix("").parts
                yield ".".join((self.module, *(part for part in inside if part != "__init__"))), path


def extensions() -> list[Extension]:
    """Every entry point of the group, sorted."""
    packages = []
    for point in importlib.metadata.entry_points(group=GROUP):
        name = f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.name
        packages.append(Extension(name, point.module, point.attr))
    return sorted(packages, key=lambda item: (item.distribution, item.module))


def _find(module: str) -> ModuleSpec | None:
    """Find a module without importing its parent packages, which `importlib.util.find_spec` would do."""
    places, name, spec = None, "", None
    for part in module.split("."):
        name = f"{name}.{part}".strip(".")
        spec = next((one for finder in sys.meta_path if (one := finder.find_spec(name, places)) is not None), None)
        if spec is None:
            return None
        places = spec.submodule_search_locations
        if places is None and name != module:
            return None
    return spec
