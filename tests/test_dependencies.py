"""What the package imports is declared in pyproject.toml, and what is declared is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN = {"autodistill"}
SCRIPTS = {ROOT / "dashboards" / "gallery.py"}
"""Installed, but run from a checkout: these may use what the extra `dev` brings."""
NOT_IMPORTED = {
    "onnxscript": "torch.onnx imports it",
    "tensorboard": "people look at what tensorboardx writes with it",
    "mkdocs-material": "`make docs`",
    "mkdocstrings": "`make docs`",
}


def name(requirement: str) -> str:
    """A requirement's distribution, as the index spells it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[ \[<>=!~;]", requirement)[0]).lower()


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
    return names - set(sys.stdlib_module_names) - OWN


FILES = [path for folder in ("autodistill", "dashboards", "studies") for path in (ROOT / folder).rglob("*.py")]
ALWAYS = {name(item) for item in PROJECT["dependencies"]}
EXTRAS = {name(item) for extra, items in PROJECT["optional-dependencies"].items() if extra != "dev" for item in items}
DEV = {name(item) for item in PROJECT["optional-dependencies"]["dev"]}


INSTALLED = packages_distributions()


def providers(package: str) -> set[str]:
    """The distributions that install a package; its own name where it is not installed here."""
    return {name(item) for item in INSTALLED.get(package, [package])}


def test_what_is_imported_is_declared() -> None:
    undeclared = [
        f"{path.relative_to(ROOT)} imports {package}, of {' or '.join(sorted(providers(package)))}"
        for path in FILES
        for package in sorted(imported(path))
        if not providers(package) & (ALWAYS | EXTRAS | (DEV if path in SCRIPTS else set()))
    ]
    assert undeclared == []


def test_what_is_declared_is_imported() -> None:
    used = {item for path in FILES for package in imported(path) for item in providers(package)}
    assert sorted((ALWAYS | EXTRAS) - used - set(NOT_IMPORTED)) == []


def test_every_package_is_installed() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {folder: package for package, folder in setuptools["package-dir"].items()}
    there = set(folders.values())
    for path in (ROOT / "autodistill").rglob("__init__.py"):
        there.add(".".join(path.parent.relative_to(ROOT).parts))
    assert sorted(setuptools["packages"]) == sorted(there)
