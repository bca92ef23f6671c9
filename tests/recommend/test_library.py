from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import yaml

from autodistill.cli.main import main
from autodistill.errors import RecipeError, StudyError
from autodistill.recipe import Recipe, migrate
from autodistill.recommender import library
from autodistill.recommender.library import RecordedStudy, find, load, write
from autodistill.records import TrialRecord
from autodistill.space import Space
from autodistill.task_types import modality_of

BRIEF = Path(__file__).parents[2] / "studies" / "brief"
ABOUT = {
    "name": "blue",
    "group": "colours",
    "dataset": {"name": "blue", "fingerprint": "f", "task": "text-classification", "metric": "accuracy", "train_rows": 500},
    "teacher_score": 0.9,
    "features": {"classes": 6, "probe": 0.71},
}


def made_records(number: int) -> list[TrialRecord]:
    recipes = itertools.islice(Space.load("text", "text-classification").spread(0), number)
    return [
        TrialRecord(
            study="blue", trial=index, role="explore", state="complete", recipe_id=recipe.id, recipe_version=1, recipe=recipe.model_dump(),
            dataset="blue", dataset_fingerprint="f", task="text-classification", metric="accuracy", train_rows=500, seed=0, max_epochs=4,
            score=0.5 + index / 100, teacher_score=0.9, seconds=3.0,
        )
        for index, recipe in enumerate(recipes)
    ]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTODISTILL_LIBRARY", str(tmp_path))
    write(tmp_path / "blue", ABOUT, made_records(7))
    return tmp_path


def test_an_entry_comes_back_as_it_was_written(place: Path) -> None:
    study = load(place / "blue")
    assert study == RecordedStudy(
        "blue", "colours", "blue", "f", "text-classification", "accuracy", 500, 0.9, {"classes": 6.0, "probe": 0.71}, made_records(7),
        {"schema": 1, **ABOUT},
    )  # fmt: skip
    write(place / "blue", ABOUT | {"group": "sky"}, made_records(3))
    assert (load(place / "blue").group, len(load(place / "blue").records)) == ("sky", 3)


def test_ones_own_entries_stand_beside_the_shipped_ones(place: Path) -> None:
    assert [study.name for study in library.own()] == ["blue"]
    assert library.library()[0].name == "blue"
    assert {study.name for study in library.library()} == {"blue"} | {study.name for study in library.shipped()}
    with pytest.raises(StudyError, match=r"'blu'.*allowed: .*blue.*Did you mean 'blue'"):
        find("blu")


def test_recorded_entries_hold_recipes_that_validate() -> None:
    for study in [*library.shipped(), *library.entries(BRIEF)]:
        regime = study.name.removeprefix(f"{study.dataset}-")
        few = 10 if modality_of(study.task).texts == 0 else 15  # there are fewer families of students for images
        least = {"few": few, "few-mpnet": 10, "embedding": 15, "all": 5}.get(regime, 60)
        least = 3 if study.name == "cifar10-all" else least  # it was cut short (studies/README.md)
        assert len({record.recipe_id for record in study.records}) >= least, study.name
        for record in study.records:
            assert Recipe.parse(record.recipe).task == study.task
            assert (record.dataset, record.metric) == (study.dataset, study.metric)


@pytest.mark.parametrize("broken", ["study.yaml", "trials.parquet"])
def test_a_broken_entry_is_told(place: Path, broken: str) -> None:
    (place / "blue" / broken).write_bytes(b"nothing of the kind")
    with pytest.raises(StudyError, match=r"blue is not a recorded study|blue/trials\.parquet cannot be read"):
        load(place / "blue")


def test_an_entry_of_a_newer_version_is_refused(place: Path) -> None:
    (place / "blue" / "study.yaml").write_text(yaml.safe_dump({**ABOUT, "schema": 99}))
    with pytest.raises(StudyError, match="schema 99"):
        load(place / "blue")


def test_recorded_recipes_are_migrated_step_by_step() -> None:
    steps = {
        1: lambda data: {**data, "training": {"epochs": data["epochs"]}},
        2: lambda data: {key: value for key, value in data.items() if key != "epochs"},
    }
    old = {"version": 1, "task": "t", "epochs": 3}
    assert migrate(old, steps, newest=3) == {"version": 3, "task": "t", "training": {"epochs": 3}}
    assert old == {"version": 1, "task": "t", "epochs": 3}
    assert migrate({"version": 3, "task": "t"}, steps, newest=3) == {"version": 3, "task": "t"}
    for version in (4, 0):
        with pytest.raises(RecipeError, match=f"version {version}"):
            migrate({"version": version}, steps, newest=3)


def test_the_command_lists_and_shows(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studies", "--json"]) == 0
    listed = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert listed["blue"]["recipes"] == 7
    assert listed["blue"]["best_score"] == pytest.approx(0.56)
    assert listed["blue"]["best_retention"] == pytest.approx(0.56 / 0.9)
    assert main(["studies"]) == 0
    assert "blue" in capsys.readouterr().out
    assert main(["studies", "show", "blue"]) == 0
    shown = capsys.readouterr().out
    assert "colours" in shown
    assert "0.5600" in shown
    assert main(["studies", "show", "green"]) == 2
    assert "allowed:" in capsys.readouterr().err


def test_adding_what_is_no_study_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studies", "add", str(tmp_path)]) == 2
    assert "is not a study" in capsys.readouterr().err
