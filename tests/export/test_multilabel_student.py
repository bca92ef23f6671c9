"""Several labels per row from a file to a student that is asked: teacher, distillation, thresholds, folder, card, ONNX and predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import f1_score
from world import LABELS, ImageWorld, World

from autodistill.cli.main import main
from autodistill.export.distill import Distilled
from autodistill.export.onnx import export
from autodistill.export.student import Student, load_student
from autodistill.target.thresholds import best_thresholds
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef

NAMES = ("bad", "film", "good")
MIXED: dict[str, Any] = {
    "teacher": {"head_init": "probe", "calibration": "temperature", "class_weights": "balanced"},
    "objective": {"hard_label_weight": 0.5, "class_weights": "balanced", "prediction": {"kind": "binary_kl", "weight": 0.5}},
    "augmentation": {"mixup": 0.2},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Distilled]:
    """A student that has learned from a calibrated teacher, balanced labels, mixed rows and unlabelled ones."""
    world = World(tmp_path_factory.mktemp("several"))
    world.task = "text-multilabel"
    frame = pd.read_parquet(world.data)
    frame["label"] = [[name for name in NAMES if name in text.split()] for text in frame["text"]]
    frame.to_parquet(world.data)
    world.teacher |= MIXED["teacher"]
    recipe = world.recipe(objective=MIXED["objective"], augmentation=MIXED["augmentation"], student={"init": "random"})
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"unlabelled_share": 0.5})})
    return world, world.distill(recipe, unlabelled=[f"the {word} lovely music" for word in ("good", "bad", "film", "plot")])


@pytest.mark.slow
def test_thresholds_are_those_of_the_validation_split_and_decide_on_the_test_split(made: tuple[World, Distilled]) -> None:
    world, distilled = made
    student = distilled.open()
    data = load_dataset(DatasetRef(world.data), with_test=True)
    assert student.classes == data.classes == NAMES
    shares = student.predict_proba(data.validation.texts)
    np.testing.assert_allclose(student.target.thresholds, best_thresholds(shares, data.validation.labels, "micro_f1"), atol=1e-4)
    test = data.open_test()
    decided = student.predict_proba(test.texts) > np.array(student.target.thresholds)
    assert distilled.score == pytest.approx(f1_score(test.labels, decided, average="micro", zero_division=0.0))
    expected = [{name for name, has in zip(NAMES, row, strict=True) if has} for row in decided]
    assert [set(labels) for labels in student.predict(test.texts)] == expected


@pytest.mark.slow
def test_the_folder_says_what_its_logits_mean(made: tuple[World, Distilled], capsys: pytest.CaptureFixture[str]) -> None:
    _, distilled = made
    thresholds = json.loads((distilled.folder / "student.json").read_text())["thresholds"]
    card = (distilled.folder / "README.md").read_text()
    assert f"0 bad ({thresholds[0]:.3f}), 1 film ({thresholds[1]:.3f}), 2 good ({thresholds[2]:.3f})" in card
    assert "micro_f1" in card
    student = distilled.open()
    assert main(["predict", str(distilled.folder), "good film", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["labels"] == student.predict("good film")
    assert list(answer["probabilities"]) == list(NAMES)
    out = distilled.folder.parent / "answers.csv"
    assert main(["predict", str(distilled.folder), "good film", "bad plot", "--out", str(out)]) == 0
    assert [json.loads(cell) for cell in pd.read_csv(out)["labels"]] == student.predict(["good film", "bad plot"])


@pytest.mark.slow
def test_the_onnx_file_has_the_same_thresholds(made: tuple[World, Distilled]) -> None:
    _, distilled = made
    (exported,) = export(distilled.folder)
    assert exported.facts["validation"]["onnx"] == exported.facts["validation"]["torch"]
    assert load_student(exported.folder).target == distilled.open().target


def test_answers_follow_thresholds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"task": "text-multilabel", "classes": ["sea", "sun"], "thresholds": [0.3, 0.9], "inputs": []}
    monkeypatch.setattr("autodistill.modality.text.Text.row_reader", lambda self, folder, about: None)
    student = Student(tmp_path, about, lambda arrays: np.empty((0, 2)), None)
    answers = list(student.target.predictions(np.array([[0.0, 1.0], [-1.0, 4.0]])))
    assert [answer.answer for answer in answers] == [["sea"], ["sun"]]


@pytest.mark.slow
def test_images_of_several_labels_go_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of images, as bytes, with a column of lists: teacher, distillation, thresholds, card, ONNX and predictions."""
    world = ImageWorld(tmp_path, 28)
    pictures = world.pictures(60)
    labels = [[name for name, has in (("film", pixels.mean() > 110), (picture.parent.name, True)) if has]
              for picture in pictures for pixels in [np.asarray(Image.open(picture))]]  # fmt: skip
    world.data, world.task = str(tmp_path / "a.parquet"), "image-multilabel"
    pd.DataFrame({"image": [picture.read_bytes() for picture in pictures], "labels": labels}).to_parquet(world.data)
    world.teacher |= {"calibration": "temperature"}
    distilled = world.distill(world.recipe(objective={"hard_label_weight": 0.5, "prediction": {"kind": "binary_kl", "weight": 0.5}}))
    data = load_dataset(DatasetRef(world.data), with_test=True)
    assert (data.task, data.classes, data.metric) == ("image-multilabel", ("film", *sorted(LABELS)), "micro_f1")
    student, test = distilled.open(), data.open_test()
    shares = student.predict_proba(list(test.images))
    decided = shares > np.array(student.target.thresholds)
    assert distilled.score == pytest.approx(f1_score(test.labels, decided, average="micro", zero_division=0.0))
    assert f"0 film ({student.target.thresholds[0]:.3f})" in (distilled.folder / "README.md").read_text()
    (exported,) = export(distilled.folder)
    expected = [set(labels) for labels in student.predict(pictures[:3])]
    assert [set(labels) for labels in load_student(exported.folder).predict(pictures[:3])] == expected
    assert main(["predict", str(distilled.folder), *map(str, pictures[:3]), "--json"]) == 0
    assert [set(item["labels"]) for item in json.loads(capsys.readouterr().out)] == expected
