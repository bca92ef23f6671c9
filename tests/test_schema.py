"""The JSON Schemas accept what the readers accept, and refuse mistyped keys and values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from autodistill.cli.main import main
from autodistill.components import specs
from autodistill.errors import RecipeError
from autodistill.recipe import SLOTS, Recipe
from autodistill.schema import COMMENT, SPACE_FILE, recipe_schema, space_schema

ROOT = Path(__file__).parent.parent
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
RECIPES = sorted(path for folder in ("recorded", "brief") for path in (ROOT / "studies" / folder).glob("*/recommended.yaml"))


def data(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}"[:300] for error in Draft202012Validator(schema).iter_errors(value)]


@pytest.fixture(scope="module")
def of_recipes() -> dict[str, Any]:
    return recipe_schema()


@pytest.fixture(scope="module")
def of_spaces() -> dict[str, Any]:
    return space_schema()


def test_both_are_schemas(of_recipes: dict[str, Any], of_spaces: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(of_recipes)
    Draft202012Validator.check_schema(of_spaces)


def test_shipped_spaces_and_recorded_recipes_are_valid(of_recipes: dict[str, Any], of_spaces: dict[str, Any]) -> None:
    assert len(SPACES) >= 3
    assert len(RECIPES) >= 15
    assert {path.name: problems(of_spaces, data(path)) for path in SPACES} == {path.name: [] for path in SPACES}
    assert {path.parent.name: problems(of_recipes, data(path)) for path in RECIPES} == {path.parent.name: [] for path in RECIPES}


def test_every_component_can_be_named(of_recipes: dict[str, Any]) -> None:
    start = data(ROOT / "studies" / "recorded" / "sst2-all" / "recommended.yaml")
    for slot in SLOTS:
        for kind in specs(f"objective.{slot}"):
            recipe = start | {"objective": {slot: {"kind": kind}}}
            assert problems(of_recipes, recipe) == [], kind


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (("student", "layer"), 3, "$.student"),
        (("training", "epochs"), 0, "$.training.epochs"),
        (("training", "lerning_rate"), 0.1, "$.training"),
        (("objective", "prediction"), {"kind": "kl", "temprature": 2.0}, "$.objective.prediction"),
        (("objective", "prediction"), {"weight": 1.0}, "$.objective.prediction"),
        (("teacher", "pooling"), "max", "$.teacher.pooling"),
        (("task",), "text", "$.task"),
    ],
)
def test_a_mistake_in_a_recipe_is_marked_at_its_place(of_recipes: dict[str, Any], path: tuple[str, ...], value: Any, place: str) -> None:
    recipe = data(RECIPES[0])
    part = recipe
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    (problem,) = problems(of_recipes, recipe)
    assert problem.startswith(f"{place}: ")
    with pytest.raises(RecipeError):
        Recipe.parse(recipe)


@pytest.mark.parametrize(
    "line",
    [
        {"training.lerning_rate": {"value": 0.1}},
        {"training.batch_size": {"choice": [16, 0]}},
        {"training.batch_size": {"choices": [16, 32]}},
        {"training.learning_rate": {"float": [0.1]}},
        {"training.learning_rate": {"float": [0.1, 1.0], "value": 0.1}},
        {"student.family": {"choice": ["cnnn"]}},
        {"student.family": {"choice": ["cnn"], "when": {"teacher.name": "x"}}},
        {"objective.prediction.kind": {"optional": ["kll"]}},
        {"training.batch_size": {"optional": [16]}},
    ],
)
def test_a_mistake_in_a_space_is_marked(of_spaces: dict[str, Any], line: dict[str, Any]) -> None:
    space = data(SPACES[-1])
    space["parameters"] |= line
    (problem,) = problems(of_spaces, space)
    assert problem.partition(":")[0] in ("$.parameters", f"$.parameters['{next(iter(line))}']")


def test_the_shipped_spaces_name_the_schema_that_lies_beside_them(of_spaces: dict[str, Any]) -> None:
    assert {path.name: path.read_text(encoding="utf-8").splitlines()[0] for path in SPACES} == {
        path.name: f"{COMMENT}{SPACE_FILE}" for path in SPACES
    }
    kept = json.loads((ROOT / "search_spaces" / SPACE_FILE).read_text(encoding="utf-8"))
    assert kept == json.loads(json.dumps(of_spaces)), "write it again: autodistill schema space --out search_spaces/space.schema.json"


def test_the_command_prints_or_writes_a_schema(tmp_path: Path, of_recipes: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "recipe"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(of_recipes))
    assert main(["schema", "recipe", "--out", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["title"] == "A recipe of autodistill"
    assert main(["schema", "space", "--out", str(tmp_path)]) == 2
    assert "cannot be written" in capsys.readouterr().err
