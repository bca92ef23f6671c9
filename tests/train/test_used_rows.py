"""Training the embeddings that the texts use, held against training the whole table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_trial import World
from torch import Tensor

from autodistill.models.family import StudentFamily
from autodistill.models.form import TrainingForm
from autodistill.models.static import StaticFamily
from autodistill.models.text import EncodedText
from autodistill.models.vocabulary import TrimmedEmbedding
from autodistill.train import trial
from autodistill.train.assignment import TrialResult
from autodistill.train.data import open_inputs
from autodistill.train.trial import Trainer

TABLES = {"bert": "word_embeddings.weight", "cnn": "embedding.weight", "bilstm": "embedding.weight", "static": "embedding.weight"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, "text-classification")


def trained(world: World, student: str, folder: Path, **changes: object) -> tuple[TrialResult, dict[str, Tensor]]:
    objective = {"prediction": {"kind": "kl"}, "intermediate": {"kind": "mi", "weight": 0.1}}
    result, _ = world.run(world.recipe(student, epochs=3, objective=objective, **changes), student_folder=str(folder))
    return result, load_file(folder / "student.safetensors")


@pytest.mark.parametrize("mixup", [0.0, 0.3])
@pytest.mark.parametrize("student", TABLES)
def test_the_weights_are_those_of_training_the_whole_table(
    world: World, student: str, mixup: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    original = Trainer.train_epoch

    def watched(self: Trainer, epoch: int) -> dict[str, float]:
        seen.extend(len(module.weight) for module in self.student.modules() if isinstance(module, TrimmedEmbedding))
        return original(self, epoch)

    monkeypatch.setattr(Trainer, "train_epoch", watched)
    augmentation = {"kind": "none", "mixup": mixup}
    result, weights = trained(world, student, tmp_path / "few", augmentation=augmentation)
    assert len(set(seen)) == 1
    assert seen.count(seen[0]) == 3
    for family in (StudentFamily, StaticFamily):
        monkeypatch.setattr(family, "training_form", lambda family, student, reads: TrainingForm(student))
    expected, whole = trained(world, student, tmp_path / "whole", augmentation=augmentation)
    assert len(seen) == 3  # the reference had its whole table
    assert weights.keys() == whole.keys()
    (rows,) = (len(value) for name, value in whole.items() if name.endswith(TABLES[student]))
    assert seen[0] < rows
    for name, value in whole.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    assert (result.score, result.params, result.flops) == (expected.score, expected.params, expected.flops)


def test_unused_rows_have_decayed_and_no_more(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, Tensor] = {}
    original = trial.build_student

    def build(*args: object, **more: object) -> object:
        student = original(*args, **more)  # type: ignore[arg-type]
        started.update({name: value.clone() for name, value in student.state_dict().items()})
        return student

    monkeypatch.setattr(trial, "build_student", build)
    training = {"epochs": 1, "batch_size": 96, "learning_rate": 0.1, "weight_decay": 0.5, "warmup": 0.0}
    _, weights = trained(world, "cnn", tmp_path / "few", training=training)
    shares = weights["embedding.weight"] / started["embedding.weight"]
    opened = open_inputs(world.dataset, world.recipe().teacher, world.folder)
    assert isinstance(opened.train, EncodedText)
    assert isinstance(opened.validation, EncodedText)
    assert len(opened.train) <= 96  # one step
    unused = torch.ones(len(shares), dtype=torch.bool)
    unused[torch.cat([opened.train.ids, opened.validation.ids]).unique().long()] = False
    assert unused.any()
    torch.testing.assert_close(shares[unused].nan_to_num(0.95), torch.full_like(shares[unused], 0.95))


def test_texts_that_an_augmentation_changes_have_the_whole_table(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrimmedEmbedding, "forward", lambda self, input: pytest.fail("a part of the table was trained"))
    trained(world, "cnn", tmp_path / "student", augmentation={"kind": "random", "copies": 1})
