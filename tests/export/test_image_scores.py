"""A file of a teacher's scores for images: matched by pixels, whatever the files are called."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_teacher import image_dataset
from world import LABELS

from autodistill.cli.main import main
from autodistill.errors import DataError
from autodistill.export.distill import distill
from autodistill.recipe import Recipe
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.tasks.scores import read_scores

SIZE = 32


class ScoredImages:
    """60 labelled images in a folder for each class; 30 others without labels in another folder; a file of scores of some of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.more = folder, folder / "photos", folder / "more"
        made = image_dataset(90, size=SIZE)
        assert made.train.images is not None
        self.labels = made.train.labels
        self.files = [self.data / LABELS[label] / f"{row}.png" for row, label in enumerate(self.labels)]
        self.files[60:] = [self.more / f"{row}.png" for row in range(60, 90)]
        for pixels, file in zip(made.train.images, self.files, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)

    def scores(self, rows: range, sure: float = 0.9) -> Path:
        """A file of right answers for some images, under other names than the dataset's."""
        table = pd.DataFrame({"file": [f"elsewhere/{row}.png" for row in rows], "note": "a note"})
        for row in rows:
            (self.folder / "elsewhere").mkdir(exist_ok=True)
            shutil.copy(self.files[row], self.folder / "elsewhere" / f"{row}.png")
        for place, name in enumerate(LABELS):
            table[name] = [sure if self.labels[row] == place else 1 - sure for row in rows]
        path = self.folder / "scores.csv"
        table.to_csv(path, index=False)
        return path

    def load(self, scores: Path, *unlabelled: Path) -> Dataset:
        return load_dataset(DatasetRef(str(self.data), teacher_scores=str(scores), unlabelled=tuple(map(str, unlabelled))))


@pytest.fixture
def world(tmp_path: Path) -> ScoredImages:
    return ScoredImages(tmp_path)


def test_images_are_matched_by_their_pixels(world: ScoredImages) -> None:
    path = world.scores(range(40))
    data = world.load(path)
    scores = read_scores(path, data.target, per_row=0, text_columns=None, image_size=data.image_size)
    assert (scores.kind, len(scores.rows)) == ("probabilities", 40)
    assert scores.notes == ("teacher scores: columns not used: note",)
    every = [data.train, data.validation]
    for split in every:
        logits, is_scored = scores.of(data.modality.row_keys(split))
        np.testing.assert_array_equal(logits[is_scored].argmax(axis=1), split.labels[is_scored])
        np.testing.assert_allclose(np.exp(logits[is_scored]).max(axis=1), 0.9, atol=1e-5)
        assert (logits[~is_scored] == 0).all()
    assert data.unlabelled is None  # all of the file are labelled, or in the test split


def test_images_of_the_file_are_unlabelled_rows_and_others_without_scores_are_not(world: ScoredImages) -> None:
    data = world.load(world.scores(range(50, 80)), world.more)
    assert data.unlabelled is not None
    assert data.unlabelled_rows == 20  # 60 to 79
    (note,) = [note for note in data.notes if note.startswith("unlabelled: 20 of 60 images")]
    assert "20 duplicate" in note
    assert "10 without scores" in note


def test_bad_files_are_refused_with_their_rows(world: ScoredImages) -> None:
    path = world.scores(range(40))
    data = world.load(path)
    (world.folder / "elsewhere" / "7.png").write_bytes(b"nothing")
    with pytest.raises(
        DataError, match=r"scores\.csv, column 'file': 1 row whose image cannot be decoded \(cannot identify .*7\.png'\): row 8"
    ):
        read_scores(path, data.target, per_row=0, text_columns=None, image_size=data.image_size)
    shutil.copy(world.files[8], world.folder / "elsewhere" / "7.png")
    pd.read_csv(path).assign(**{LABELS[0]: 0.3, LABELS[1]: 0.7}).to_csv(path, index=False)
    shown = pd.read_csv(path)
    shown.loc[8, list(LABELS)] = [0.6, 0.4]
    shown.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"1 row whose image occurs in an earlier row with other scores: row 9"):
        read_scores(path, data.target, per_row=0, text_columns=None, image_size=data.image_size)
    (world.folder / "texts.csv").write_text(f"text,{','.join(LABELS)}\na text,1,0\n")
    with pytest.raises(DataError, match="texts.csv holds texts, and this task reads images"):
        read_scores(world.folder / "texts.csv", data.target, per_row=0, text_columns=None, image_size=data.image_size)


SPACE = """\
version: 1
name: small
about: a test
tasks: [image-classification]
parameters:
  teacher.model: {value: "timm:resnet10t"}
  teacher.init: {value: scratch}
  student.family: {value: "timm:lcnet_050"}
  objective.prediction.kind: {choice: [kl, mse]}
  objective.intermediate.kind: {choice: [mi, none]}
  objective.intermediate.tokens: {value: mean, when: {objective.intermediate.kind: some}}
  augmentation.mixup: {choice: [0.0, 0.4]}
  training.epochs: {value: 1}
  training.unlabelled_share: {value: 0.5}
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_and_a_distillation(world: ScoredImages, one_ray: None, capsys: pytest.CaptureFixture[str]) -> None:
    path, space = world.scores(range(85)), world.folder / "space.yaml"
    space.write_text(SPACE)
    studies = str(world.folder / "studies")
    words = ["search", "--dataset", str(world.data), "--teacher-scores", str(path), "--space", str(space), "--trials", "2"]
    assert main([*words, "--studies-dir", studies, "--study", "photos", "--no-frontier"]) == 0
    said = capsys.readouterr()
    assert "which a file of scores does not have: intermediate mi" in said.out + said.err
    done = distill(Path(studies) / "photos", str(world.data), world.folder / "out", seeds=1, control=False, teacher_scores=str(path))
    facts = json.loads((done.folder / "distillation.json").read_text(encoding="utf-8"))["teacher"]["scores"]
    assert facts["kind"] == "probabilities"
    assert facts["coverage"]["train"] == pytest.approx(1.0)
    assert facts["coverage"]["unlabelled"] == 1.0
    assert "images" in (done.folder / "README.md").read_text(encoding="utf-8")
    recipe = Recipe.load(Path(studies) / "photos" / "recommended.yaml")
    assert recipe.teacher.scores is not None
    assert recipe.objective.intermediate.name == "none"
