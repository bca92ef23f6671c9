"""Teachers that were trained for the task before they came here: their own heads, compared with what transformers computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from tiny_teacher import ENCODERS, save_encoder, text_dataset
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from autodistill.errors import ModelError, RecipeError
from autodistill.events import SearchMessage
from autodistill.facts import TeacherRef
from autodistill.models.base import StudentModule
from autodistill.models.fitting import all_logits
from autodistill.models.sources import head_labels
from autodistill.prepare import keep_own_heads, open_space, read_data
from autodistill.recipe import Recipe, Teacher
from autodistill.settings import SearchSettings
from autodistill.stages import train_teacher
from autodistill.target import Classes, Labels, Scores, Target
from autodistill.tasks.base import Dataset
from autodistill.teacher.finetune import finetune_teacher
from autodistill.teacher.load import encode, load_teacher
from autodistill.teacher.own_head import AS_IT_COMES


def as_it_comes(folder: Path, **fields: Any) -> Teacher:
    return Teacher(**AS_IT_COMES | {"model": str(folder), "max_length": 32} | fields)


def save_trained(folder: Path, labels: dict[int, str] | None = None, family: str = "Bert", num_labels: int = 2) -> Path:
    """A classifier whose weights are random, but large enough to tell texts apart, with the labels' names in its configuration."""
    save_encoder(folder, family)
    names = {} if labels is None else {"id2label": labels, "label2id": {name: place for place, name in labels.items()}}
    config = AutoConfig.from_pretrained(folder, **names or {"num_labels": num_labels})
    torch.manual_seed(1)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def reference(folder: Path, texts: list[str] | None) -> np.ndarray:
    """The logits (N, C) by transformers alone."""
    assert texts is not None
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        rows = tokenizer(texts, truncation=True, max_length=32, padding=True, return_tensors="pt")
        logits: np.ndarray = model(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"]).logits.numpy()
    return logits


def logits_of(folder: Path, data: Dataset, teacher: Teacher) -> tuple[StudentModule, np.ndarray]:
    model, tokenizer = load_teacher(folder)
    return model, all_logits(model, encode(data, data.validation, tokenizer, teacher), data.num_outputs, torch.device("cpu")).numpy()


@pytest.mark.parametrize(
    ("labels", "target", "places"),
    [
        (("POSITIVE", "Negative "), Classes(("negative", "positive")), (1, 0)),
        (("a", "b", "c", "d"), Classes(("d", "b")), (3, 1)),  # a head may know more classes
        (("a", "b"), Classes(("a", "b", "c")), None),
        (("LABEL_0", "LABEL_1"), Classes(("1", "0")), (1, 0)),
        (("LABEL_0", "LABEL_1"), Classes(("negative", "positive")), None),  # which is which?
        (("LABEL_0", "0"), Classes(("0", "1")), None),
        (("a", "A", "b"), Classes(("a", "b")), None),
        (("a", "b"), Classes(("a", "A")), None),
        (("joy", "anger", "fear"), Labels(("fear", "joy")), (2, 0)),
        (("LABEL_0",), Scores(), (0,)),
        (("LABEL_0", "LABEL_1"), Scores(), None),
    ],
)
def test_places_are_found_by_name(labels: tuple[str, ...], target: Target, places: tuple[int, ...] | None) -> None:
    assert target.places_among(labels) == places


@pytest.mark.parametrize("family", ENCODERS)
def test_the_teacher_computes_what_transformers_does(tmp_path: Path, family: str) -> None:
    folder = save_trained(tmp_path / family, {0: "GOOD", 1: "so so", 2: "BAD"}, family)
    data, teacher = text_dataset(64), as_it_comes(folder, calibration="temperature")  # bad, good
    kept = finetune_teacher(data, teacher, seed=0, device="cpu")
    model, logits = logits_of(kept.folder, data, teacher)
    expected = reference(folder, data.validation.texts)[:, [2, 0]]
    assert (kept.step, kept.probe_score, kept.linear_score is not None) == (0, None, True)
    assert kept.temperature != 1.0
    np.testing.assert_allclose(logits * kept.temperature, expected, atol=1e-4, rtol=1e-4)
    assert kept.score == pytest.approx(np.mean(expected.argmax(axis=1) == data.validation.labels))
    assert model.model.config.id2label == {0: "bad", 1: "good"}  # type: ignore[union-attr]
    np.testing.assert_allclose(reference(kept.folder, data.validation.texts), logits, atol=1e-4, rtol=1e-4)


def test_scores_come_to_the_units_of_the_data(tmp_path: Path) -> None:
    folder = save_trained(tmp_path / "scores", num_labels=1)
    data, teacher = text_dataset(64, regression=True), as_it_comes(folder)
    kept = finetune_teacher(data, teacher, seed=0, device="cpu")
    own, labels = reference(folder, data.validation.texts)[:, 0], data.validation.labels
    slope, intercept = np.polyfit(own, labels, 1)
    np.testing.assert_allclose(logits_of(kept.folder, data, teacher)[1][:, 0], slope * own + intercept, atol=1e-2)
    assert kept.score == pytest.approx(spearmanr(own, labels).statistic)


def test_training_may_start_from_the_own_head(tmp_path: Path) -> None:
    folder = save_trained(tmp_path / "own", {0: "good", 1: "bad"})
    data = text_dataset(96)
    teacher = as_it_comes(folder, epochs=9, max_steps=30, patience=30, learning_rate=1e-3, batch_size=16)
    at_once = finetune_teacher(data, as_it_comes(folder), seed=0, device="cpu")
    trained = finetune_teacher(data, teacher, seed=0, device="cpu")
    assert trained.step
    assert trained.score > at_once.score


def test_a_head_without_the_classes_is_refused(tmp_path: Path) -> None:
    folder = save_trained(tmp_path / "own", {0: "happy", 1: "sad"})
    with pytest.raises(ModelError, match=r"own'? \(happy, sad\)|\(happy, sad\) are not the dataset's \(bad, good\); name them alike"):
        finetune_teacher(text_dataset(16), as_it_comes(folder), seed=0, device="cpu")
    encoder = save_encoder(tmp_path / "encoder", "Bert")
    assert head_labels(encoder) is None
    with pytest.raises(ModelError, match="has no trained head"):
        finetune_teacher(text_dataset(16), as_it_comes(encoder), seed=0, device="cpu")
    with pytest.raises(RecipeError, match="head_init is 'own', the head that the model brings, but pooling is 'mean'"):
        Recipe.parse(
            {"task": "text-classification", "teacher": {"model": "m", "head_init": "own", "pooling": "mean"}, "student": {"family": "cnn"}}
        )


def test_students_without_a_teacher_know_nothing_of_its_training(tmp_path: Path) -> None:
    folder = save_trained(tmp_path / "own", {0: "good", 1: "bad"})
    data, told = text_dataset(32), list[Any]()
    ref: TeacherRef = train_teacher(data, as_it_comes(folder), 0, told.append)
    assert ref.score is not None
    assert ref.linear_score is not None
    (warning,) = [event.text for event in told if isinstance(event, SearchMessage)]  # its weights are random
    assert ref.score < ref.linear_score
    assert warning.endswith("if its head was trained for something else, teacher.head_init: probe in a space file trains a new one")
    before, after = (AutoModelForSequenceClassification.from_pretrained(place).state_dict() for place in (ref.untaught, folder))
    matrices = [name for name, tensor in after.items() if tensor.ndim == 2 and name in before and before[name].shape == tensor.shape]
    assert len(matrices) > 10
    for name in matrices:
        close = np.corrcoef(before[name].numpy().ravel(), after[name].numpy().ravel())[0, 1]
        assert abs(close) < 0.2, name


def asked_space(tmp_path: Path, teacher: Path, names: tuple[str, str] = ("bad", "good")) -> tuple[Teacher, list[SearchMessage]]:
    """The default teacher of a search with --teacher, and what is said of it."""
    data = text_dataset(60)
    rows = tmp_path / "rows.csv"
    pd.DataFrame({"text": data.train.texts, "label": [names[label] for label in data.train.labels]}).to_csv(rows, index=False)
    settings = SearchSettings(dataset=str(rows), teacher=(str(teacher),))
    told: list[Any] = []
    rows_read = read_data(settings, lambda _: None)
    space = keep_own_heads(settings, open_space(settings, rows_read, told.append), rows_read, told.append)
    return space.defaults().teacher, [event for event in told if "teacher" in getattr(event, "text", "")]


def test_a_search_takes_a_trained_teacher_as_it_comes(tmp_path: Path) -> None:
    folder = save_trained(tmp_path / "own", {0: "Good", 1: "Bad"})
    teacher, (told,) = asked_space(tmp_path, folder)
    assert {name: getattr(teacher, name) for name in AS_IT_COMES} == AS_IT_COMES
    assert (teacher.calibration, told.level) == ("temperature", "info")
    assert told.text == f"the teacher {folder} brings a head for this task, so it teaches as it comes, without further training"


def test_a_search_says_that_a_head_has_other_labels(tmp_path: Path) -> None:
    folder = save_trained(tmp_path / "own")
    assert head_labels(folder) == ("LABEL_0", "LABEL_1")
    teacher, (told,) = asked_space(tmp_path, folder)
    assert (teacher.head_init, teacher.pooling) == ("probe", "auto")
    numbered, (said,) = asked_space(tmp_path, folder, ("0", "1"))
    assert numbered.head_init == "own"
    assert said.text.endswith(
        "without further training (LABEL_0 is taken for 0, and so on; if they mean something else, name them in its "
        "config.json, under id2label)"
    )
    assert told.level == "warning"
    assert "(LABEL_0, LABEL_1) are not the dataset's (bad, good), so a new head is trained" in told.text
    encoder = save_encoder(tmp_path / "encoder", "Bert")
    assert asked_space(tmp_path, encoder)[1] == []
