"""Who imports whom: rooms in one order, which is the table in docs/architecture.md; and the plan arm without torch, ray or optuna."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "autodistill": "autodistill",
    "dashboards": "autodistill.dashboards",
    "search_spaces": "autodistill.search_spaces",
    "studies/recorded": "autodistill.recorded",
    "studies": "studies",
}
"""Where the project's modules lie, and the package that each folder is."""


@dataclass(frozen=True)
class Import:
    """An import statement. late: in a function, or for the type checker alone."""

    importer: str
    imported: str
    late: bool
    place: str


def module_files() -> dict[str, Path]:
    """Every module of the project by its name."""
    files = {}
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).glob("*.py") if package == "studies" else (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            files[".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return files


MODULES = module_files()


def imports_of(module: str) -> Iterator[Import]:
    """The project's modules that a module imports, wherever in its file."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]

    def walk(node: ast.AST, late: bool) -> Iterator[Import]:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) + 1 - node.level], node.module or ""]).strip(".") if node.level else node.module or ""
            names = [full if (full := f"{base}.{alias.name}") in MODULES else base for alias in node.names]
        for name in dict.fromkeys(names):
            if name in MODULES and name != module:
                yield Import(module, name, late, f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}")
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in ast.iter_child_nodes(node):
            yield from walk(child, late or typing_only or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    return walk(ast.parse(path.read_text(encoding="utf-8")), False)


IMPORTS = [item for module in MODULES for item in imports_of(module)]


@dataclass(frozen=True)
class Room:
    """A row of the table: the modules that its first cell names, its height in the table, and whether its methods may import upwards."""

    modules: tuple[str, ...]
    row: int
    reaches_up: bool


def rooms() -> list[Room]:
    """The table in docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("## The rooms\n")[2].partition("\n## ")[0]
    listed = []
    for row, line in enumerate(line for line in section.splitlines() if line.startswith("| `")):
        cells = line.strip("|").split(" | ")
        modules = tuple(module_of(name) for name in re.findall(r"`([^`]+)`", cells[0]))
        listed.append(Room(modules, row, "inside methods" in cells[2]))
    return listed


def module_of(name: str) -> str:
    """The module or package that a file or folder of the table is."""
    path = name.rstrip("/").removesuffix(".py").removesuffix("__init__").rstrip("/")
    folder = next((folder for folder in FOLDERS if f"{path}/".startswith(f"{folder}/")), None)
    inside = path if folder is None else path.removeprefix(folder).strip("/")
    return ".".join(part for part in (FOLDERS[folder or "autodistill"], *inside.split("/")) if part)


def room_of(module: str, table: list[Room]) -> Room | None:
    """The room that names a module, or the smallest package around it."""
    while module:
        for room in table:
            if module in room.modules and (module != "autodistill" or room.modules == ("autodistill",)):
                return room
        module = module.rpartition(".")[0]
        if module == "autodistill":
            return None
    return None


def test_every_module_stands_in_the_table_of_rooms() -> None:
    table = rooms()
    named = [name for room in table for name in room.modules]
    assert len(named) == len(set(named))
    assert [name for name in named if name not in MODULES and name != "studies"] == [], "the table names what is not there"
    homeless = [module for module in MODULES if module != "autodistill" and room_of(module, table) is None]
    assert homeless == [], "these stand in no row of the table of rooms in docs/architecture.md"


def test_arrows_go_down_the_table_only() -> None:
    table = rooms()
    upwards = []
    for item in IMPORTS:
        if item.importer == "autodistill" or item.imported == "autodistill":  # the package's own names: imported when they are asked for
            continue
        importer, imported = room_of(item.importer, table), room_of(item.imported, table)
        assert importer is not None
        assert imported is not None
        if imported.row < importer.row and not (item.late and importer.reaches_up):
            upwards.append(f"{item.place}: {item.importer} imports {item.imported}")
    assert upwards == [], "these import from a row above their own in docs/architecture.md"


def test_no_module_imports_itself_by_way_of_others() -> None:
    table = rooms()
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for item in IMPORTS:
        room = room_of(item.importer, table)
        if item.importer != "autodistill" and not (item.late and room is not None and room.reaches_up):
            graph[item.importer].add(item.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cause:
        pytest.fail(f"import cycle: {' → '.join(cause.args[1])}")


PLAN = [
    "autodistill",
    "autodistill.recipe",
    "autodistill.space",
    "autodistill.records",
    "autodistill.models.pretrained",
    "autodistill.target",
    "autodistill.modality",
    "autodistill.task_types",
    "autodistill.settings",
    "autodistill.tasks.base",
    "autodistill.train.assignment",
    "autodistill.recommender.evaluate",
    "autodistill.recommender.foreign",
    "autodistill.recommender.recommender",
    "autodistill.recommender.replay",
    "autodistill.report.importance",
]
HEAVY = ["torch", "ray", "optuna", "transformers", "timm"]


@pytest.mark.parametrize("module", PLAN)
def test_the_plan_arm_imports_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_space_is_read_and_sampled_without_a_heavy_library() -> None:
    code = (
        "import sys, random; from autodistill.space import Space\n"
        "Space.load('text', 'text-classification').sample(random.Random(0))\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_says_its_help_without_a_heavy_library() -> None:
    code = (
        "import sys; from autodistill.cli.main import parser; parser().format_help()\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
