"""Spaces, adapted to the layers and the size of their teachers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_teacher import save_bert, text_dataset
from transformers import AutoModel

from autodistill.errors import SpaceError
from autodistill.events import Event, SearchMessage
from autodistill.models.sources import config_layers, config_size
from autodistill.prepare import fit_to_teachers, open_space
from autodistill.settings import SearchSettings
from autodistill.space import Space
from autodistill.teacher_fit import fit_depths, without_larger

TASK = "text-classification"
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


def space(*teachers: str, task: str = TASK) -> Space:
    return Space.load("text", task).with_teacher_models(list(teachers)).for_its_teachers()


def families(space: Space, teacher: str) -> tuple[object, ...]:
    values = {"teacher.model": teacher}
    return next(domain.values for domain in space.parameters["student.family"] if domain.applies(values))


def layers(space: Space, teacher: str) -> tuple[object, ...]:
    values = {"teacher.model": teacher, "student.family": "shallow"}
    return next(domain.values for domain in space.parameters["student.layers"] if domain.applies(values))


@pytest.mark.parametrize(("depth", "most"), [(24, 12), (22, 8), (12, 6), (6, 3), (4, 2)])
def test_a_shallow_student_has_at_most_half_of_the_layers(depth: int, most: int) -> None:
    fitted = fit_depths(space("x"), {"x": depth})
    assert layers(fitted, "x") == tuple(number for number in (12, 8, 6, 4, 3, 2) if number <= most)
    assert fitted.fixed("student.family", "shallow").defaults().student.own["layers"] == most


@pytest.mark.parametrize("depth", [None, 1, 3])
def test_a_teacher_without_enough_layers_has_no_such_students(depth: int | None) -> None:
    fitted = fit_depths(space("x", "y"), {"x": depth, "y": 12})
    assert "shallow" not in families(fitted, "x")
    assert "shallow" in families(fitted, "y")
    assert layers(fitted, "y") == (6, 4, 3, 2)
    only = space("x").fixed("student.family", "shallow")
    with pytest.raises(SpaceError, match="add a smaller value, or another student.family"):
        fit_depths(only, {"x": depth})


def test_a_range_of_layers_ends_at_half_too(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "version: 1\nname: own\nabout: mine\ntasks: [text-classification]\nparameters:\n  teacher.model: {value: x}\n"
        "  student.family: {value: shallow}\n  student.layers: {int: [1, 12], default: 8}\n"
    )
    fitted = fit_depths(Space.load(str(tmp_path / "own.yaml"), TASK), {"x": 10})
    domain = fitted.parameters["student.layers"][0]
    assert (domain.low, domain.high, domain.default) == (1, 5, 5)


def test_of_pairs_half_of_the_teacher_is_the_default() -> None:
    fitted = fit_depths(space("x", task="text-pair-classification"), {"x": 12})
    assert fitted.defaults().student.own["layers"] == 6
    assert fit_depths(space("x", task="text-pair-classification"), {"x": None}).defaults().student.name == "static"


def test_an_encoder_larger_than_the_teacher_is_left_out() -> None:
    larger, notes = without_larger(space("x", "y"), {"x": 4_400_000, "y": 110_000_000}, {ENCODER: 22_700_000})
    assert "encoder" not in families(larger, "x")
    assert "encoder" in families(larger, "y")
    assert notes == [f"left out: the student {ENCODER}, which has 22,700,000 parameters, more than the teacher x (4,400,000)"]
    same, notes = without_larger(space("x"), {"x": None}, {ENCODER: 22_700_000})
    assert (same, notes) == (space("x"), [])


def test_the_size_of_a_model_is_read_from_its_configuration(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "bert", layers=4, width=64)
    true = AutoModel.from_pretrained(folder, add_pooling_layer=False).num_parameters()
    assert config_layers(folder) == 4
    assert config_size(folder) == pytest.approx(true, rel=0.05)
    for content in ({"hidden_size": 64}, [], {"num_hidden_layers": 12, "num_hidden_groups": 1}):
        (folder / "config.json").write_text(json.dumps(content))
        assert config_layers(folder) is None
        assert config_size(folder) is None
    assert config_layers(tmp_path / "nowhere") is None


def test_a_teachers_short_name_means_the_same_space_as_its_whole_name() -> None:
    """Its learning rate, its students and the studies that had it hang on the name."""

    def opened(model: str) -> Space:
        return open_space(SearchSettings.read({"dataset": "x", "teacher": model}), text_dataset(24), lambda event: None)

    assert opened("all-mpnet-base-v2") == opened("sentence-transformers/all-mpnet-base-v2")
    assert opened("all-mpnet-base-v2").teachers()[0].learning_rate == 3e-5
    assert opened("owner/another").teachers()[0].learning_rate == "auto"


def test_a_search_with_a_small_teacher_has_shallow_students_and_no_larger_encoder(tmp_path: Path) -> None:
    told: list[Event] = []
    teacher = str(save_bert(tmp_path / "bert", layers=4))
    fitted = fit_to_teachers(Space.load("text", TASK).with_teacher_models([teacher]), text_dataset(24), told.append)
    assert families(fitted, teacher) == ("cnn", "bilstm", "bert", "static", "shallow")
    assert layers(fitted, teacher) == (2,)


def test_a_file_of_scores_has_no_size_so_its_students_may_be_any_encoder(tmp_path: Path) -> None:
    """The space's teacher then only names a tokenizer, which may be a small model's."""
    told: list[Event] = []
    teacher = str(save_bert(tmp_path / "bert", layers=4))
    scored = Space.load("text", TASK).with_teacher_models([teacher]).with_teacher_scores("0123")
    fitted = fit_to_teachers(scored, text_dataset(24), told.append)
    assert [domain.values for domain in fitted.parameters["student.family"]] == [("cnn", "bilstm", "bert", "static", "encoder")]
    assert not any("left out" in event.text for event in told if isinstance(event, SearchMessage))
