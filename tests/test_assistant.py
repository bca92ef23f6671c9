"""A finished student as the teacher of a smaller one."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_teacher import save_bert, save_rows, text_dataset

import autodistill
from autodistill.assistant import STUDENT_WEIGHTS, find_assistant
from autodistill.errors import StudyError, UsageError
from autodistill.models import build_student
from autodistill.models.saved import load_saved_student, save_student
from autodistill.recipe import Recipe, Teacher
from autodistill.settings import SearchSettings
from autodistill.space import Space
from autodistill.study_folder import SCHEMA, write_about
from autodistill.tasks.base import Dataset
from autodistill.teacher.load import encode, load_teacher, teacher_fingerprint
from autodistill.teacher.members import trained_teacher
from autodistill.train.data import open_inputs

BERT = {"family": "bert", "layers": 2, "hidden_size": 16, "heads": 2, "init": "random"}
STATIC = {"family": "static", "embedding_size": 16, "init": "random"}
CNN = {"family": "cnn", "embedding_size": 16, "channels": 8, "init": "random"}


def save_study(folder: Path, dataset: Dataset, student: dict[str, Any]) -> Path:
    """A study with an untrained student, as a search leaves it."""
    bert = save_bert(folder.parent / "bert", layers=1)
    recipe = Recipe.parse({"task": dataset.task, "teacher": {"model": str(bert), "max_length": 32}, "student": student})
    opened = open_inputs(dataset, recipe.teacher, bert)
    torch.manual_seed(0)
    model = build_student(recipe, opened.context)
    facts = {"task": dataset.task, "classes": dataset.classes, "metric": dataset.metric}
    save_student(folder / "best", model.state_dict(), recipe, opened.context, facts)
    write_about(folder, {"schema": SCHEMA, "study": folder.name, "dataset": {"name": "tiny", "fingerprint": dataset.rows_fingerprint}})
    return folder


def as_teacher(study: Path, **fields: Any) -> Teacher:
    assistant = find_assistant(str(study))
    assert assistant is not None
    return Teacher(**{"model": str(study), "calibration": "temperature"} | assistant.fields | fields)


def test_it_reads_as_many_tokens_as_it_learned_with(tmp_path: Path) -> None:
    study = save_study(tmp_path / "study", text_dataset(48), CNN)
    asked = {"dataset": "tiny", "teacher": str(study)}
    allowed = SearchSettings.read(asked | {"max_length": 32}).open_space("text", "text-classification")
    assert {teacher.max_length for teacher in allowed.teachers()} == {32}
    with pytest.raises(UsageError, match="max_length is 64, but .* is a finished student that reads 32 tokens; leave it out"):
        SearchSettings.read(asked | {"max_length": 64}).open_space("text", "text-classification")


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("student", [BERT, CNN, STATIC], ids=lambda student: student["family"])
@pytest.mark.parametrize("regression", [False, True])
def test_it_says_what_the_student_says(tmp_path: Path, student: dict[str, Any], regression: bool) -> None:
    dataset = text_dataset(48, regression=regression)
    study = save_study(tmp_path / "study", dataset, student)
    teacher = as_teacher(study)
    made = trained_teacher(dataset, teacher, 0, device="cpu")
    model, tokenizer = load_teacher(made.folder)
    inputs = encode(dataset, dataset.validation, tokenizer, teacher)
    rows = torch.arange(len(inputs))
    with torch.no_grad():
        outputs = model(inputs.batch(rows), taps=frozenset({"states"}))
        alone = load_saved_student(study / "best").model(inputs.batch(rows), taps=frozenset({"states"}))
    if regression:
        labels = dataset.train.labels
        wanted = alone.logits * float(labels.std()) + float(labels.mean())  # a student learns standardised scores
    else:
        wanted = alone.logits / made.temperature
    np.testing.assert_allclose(outputs.logits.numpy(), wanted.numpy(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs.states, alone.states)
    assert made.metrics == dataset.target.evaluate(dataset.metric, alone.logits.numpy(), dataset.validation.labels)
    assert (made.step, made.probe_score) == (0, None)
    assert teacher_fingerprint(made.folder) == teacher_fingerprint(trained_teacher(dataset, as_teacher(study / "best"), 0).folder)
    assert model.attention_layers == (2 if student is BERT else 0)


def test_it_is_not_trained_on_nor_used_with_other_rows(tmp_path: Path) -> None:
    dataset = text_dataset(48)
    study = save_study(tmp_path / "study", dataset, CNN)
    with pytest.raises(StudyError, match=r"is used as it is; the recipe needs teacher\.head_init: random, teacher\.max_steps: 0"):
        trained_teacher(dataset, as_teacher(study, head_init="probe", epochs=3, max_steps=5), 0, device="cpu")
    with pytest.raises(StudyError, match="with other rows than 'tiny' has now"):
        trained_teacher(text_dataset(48, seed=1), as_teacher(study), 0, device="cpu")
    assert find_assistant(str(tmp_path / "bert")) is None
    assert find_assistant("sentence-transformers/all-MiniLM-L6-v2") is None
    (tmp_path / "empty").mkdir()
    write_about(tmp_path / "empty", {"schema": SCHEMA, "study": "empty"})
    with pytest.raises(StudyError, match="without a best student"):
        find_assistant(str(tmp_path / "empty"))


def test_the_space_leaves_out_what_it_cannot_give(tmp_path: Path) -> None:
    study = str(save_study(tmp_path / "study", text_dataset(48), CNN))
    assistant = find_assistant(study)
    assert assistant is not None
    assert not assistant.has_attention
    assert assistant.size == pytest.approx(
        sum(tensor.numel() for tensor in load_file(assistant.folder / STUDENT_WEIGHTS).values()), rel=0.2
    )
    both = Space.load("text", "text-classification").with_teacher_models(["another", study])
    space = both.with_assistant(study, assistant.fields, assistant.has_attention)
    rng = random.Random(0)
    recipes = [space.sample(rng) for _ in range(400)]
    taught = [recipe for recipe in recipes if recipe.teacher.model == study]
    others = [recipe for recipe in recipes if recipe.teacher.model != study]
    assert min(len(taught), len(others)) > 100
    for recipe in taught:
        assert recipe.student.init == ("pretrained" if recipe.student.name == "encoder" else "random")
        assert recipe.student.name != "shallow"
        assert not recipe.objective.attention.active
        assert recipe.augmentation.name != "synonyms"
        assert {name: getattr(recipe.teacher, name) for name in assistant.fields} == assistant.fields
    assert {recipe.student.init for recipe in others} >= {"teacher", "random"}
    assert any(recipe.objective.attention.active for recipe in others)
    assert all(recipe.teacher == both.teachers()[0] for recipe in others)
    assert {recipe.teacher for recipe in recipes} == set(space.teachers())


SPACE = """\
version: 1
name: small
about: a test
tasks: [text-classification]
parameters:
  teacher.model: {{value: {teacher}}}
  teacher.max_length: {{value: 32}}
  teacher.max_steps: {{value: 8}}
  student.family: {{value: cnn}}
  student.embedding_size: {{value: 16}}
  student.channels: {{choice: [8, 16, 32]}}
  objective.prediction.kind: {{choice: [kl, mse]}}
  objective.intermediate.kind: {{choice: [mi, none]}}
  training.epochs: {{value: 1}}
  training.learning_rate: {{float: [1.0e-3, 1.0e-2], log: true}}
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_with_the_student_of_another(tmp_path: Path, one_ray: None) -> None:
    rows = save_rows(tmp_path / "rows.parquet")
    (tmp_path / "small.yaml").write_text(SPACE.format(teacher=save_bert(tmp_path / "bert", layers=1)))
    asked: dict[str, Any] = {
        "space": str(tmp_path / "small.yaml"),
        "studies_dir": str(tmp_path / "studies"),
        "cold": True,
        "frontier": False,
    }
    first = autodistill.search(rows, trials=1, study="first", workers=1, **asked)
    assert first.best is not None
    second = autodistill.search(rows, trials=1, study="second", teacher=str(first.folder), max_params="1/1", workers=1, **asked)
    assert second.teacher.score == first.best.score
    assert second.teacher.params == first.best.params
    assert second.counts["fail"] == 0
    recipes = [Recipe.parse(record.recipe) for record in second.trial_records]
    used = {(recipe.teacher.model, recipe.teacher.max_steps, recipe.student.init) for recipe in recipes}
    assert used == {(str(first.folder), 0, "random")}
    with pytest.raises(StudyError, match="with other rows than"):
        autodistill.search(rows, trials=1, study="third", teacher=str(first.folder), limit_train=40, **asked)
