"""Targets against closed forms, and the task types that name them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from autodistill import components
from autodistill.errors import RecipeError
from autodistill.modality import Image, Text, modality_of_columns
from autodistill.recipe import Recipe
from autodistill.target import TARGETS, Classes, Labels, Prediction, Scaling, Scores, Target, Vectors
from autodistill.task_types import TASKS, kin, modality_of, standing_for, target_of, task_type

THREE = Classes(("low", "middle", "high"))
LOGITS = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])


@pytest.mark.parametrize(
    ("task", "modality", "target"),
    [
        ("text-classification", Text(), Classes(("a", "b"))),
        ("text-pair-classification", Text(pair=True), Classes(("a", "b"))),
        ("text-regression", Text(), Scores()),
        ("text-pair-regression", Text(pair=True), Scores()),
        ("image-classification", Image(), Classes(("a", "b"))),
        ("text-multilabel", Text(), Labels(("a", "b"))),
        ("text-pair-multilabel", Text(pair=True), Labels(("a", "b"))),
        ("image-multilabel", Image(), Labels(("a", "b"))),
        ("text-embedding", Text(), Vectors()),
    ],
)
def test_a_task_type_names_a_modality_and_a_target(task: str, modality: Text | Image, target: Target) -> None:
    assert modality_of(task) == modality
    assert target_of(task, ["a", "b"]) == target
    assert task_type(modality, target) == task
    assert kin(task) == (task if task == "text-embedding" else modality.name)


def test_a_task_type_that_is_not_recorded_is_stood_for_by_those_of_its_rows() -> None:
    recorded = ("text-classification", "text-regression", "text-pair-regression", "image-classification", "text-embedding", "text-ranking")
    assert standing_for("text-regression", recorded) == {"text-regression"}
    assert standing_for("text-multilabel", recorded) == {"text-classification", "text-regression", "text-ranking"}
    assert standing_for("text-pair-classification", recorded) == {"text-pair-regression"}
    assert standing_for("image-multilabel", recorded) == {"image-classification"}
    assert standing_for("text-pair-multilabel", recorded[:2]) == {"text-classification", "text-regression"}
    assert standing_for("image-multilabel", recorded[:3]) == standing_for("text-embedding", recorded[:3]) == set()


def test_components_name_the_same_task_types() -> None:
    assert components.TEXT_CLASSIFICATION == ("text-classification", "text-pair-classification")
    assert components.TEXT_REGRESSION == ("text-regression", "text-pair-regression")
    assert components.IMAGE == ("image-classification", "image-multilabel")
    assert components.MULTILABEL == ("text-multilabel", "text-pair-multilabel", "image-multilabel")
    assert components.EMBEDDING == ("text-embedding",)
    assert components.TEXT_CLASSIFICATION + components.TEXT_REGRESSION + components.MULTILABEL[:2] + components.EMBEDDING == components.TEXT
    assert components.TEXT_CLASSIFICATION + components.IMAGE[:1] == components.CLASSIFICATION
    assert components.TASKS == TASKS == components.TEXT + components.IMAGE


def test_another_task_type_is_refused_with_what_is_near() -> None:
    with pytest.raises(RecipeError, match="the task type is 'text-clasification'.*Did you mean 'text-classification'"):
        modality_of("text-clasification")
    with pytest.raises(RecipeError, match="image-regression"):
        target_of("image-regression")


def test_columns_of_text_tell_texts_from_images() -> None:
    assert modality_of_columns(["text"]) == Text()
    assert modality_of_columns(["text", "text_b"]) == Text(pair=True)
    assert modality_of_columns([]) == Image()


def test_classes_are_learned_by_cross_entropy_with_smoothed_labels() -> None:
    labels = THREE.to_learn(np.array([0, 2]), THREE.scaling(np.array([0, 2])))
    assert labels.dtype == torch.int64
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    wanted = np.full((2, 3), 0.3 / 3)
    wanted[[0, 1], [0, 2]] += 0.7
    expected = -(wanted * np.log(shares)).sum(axis=1).mean()
    assert THREE.loss(torch.tensor(LOGITS), labels, label_smoothing=0.3).item() == pytest.approx(expected, rel=1e-6)


def test_balanced_classes_count_alike() -> None:
    labels = np.array([0, 0, 0, 2])
    weights = THREE.balanced_weights(labels)
    np.testing.assert_allclose(weights, [4 / (2 * 3), 1.0, 4 / 2])
    assert weights[labels].mean() == pytest.approx(1.0)
    logits = np.random.default_rng(0).normal(size=(4, 3))
    losses = -np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))[np.arange(4), labels]
    expected = 0.5 * (losses[:3].mean() + losses[3])  # the mean over the classes that have rows
    found = THREE.loss(torch.tensor(logits), torch.tensor(labels), class_weights=torch.tensor(weights))
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_scores_are_learned_standardised_and_answered_in_their_units() -> None:
    scores = np.array([1.0, 2.0, 3.0, 6.0], dtype=np.float32)
    scaling = Scores().scaling(scores)
    assert (scaling.mean, scaling.scale) == (3.0, pytest.approx(math.sqrt(3.5)))
    learned = Scores().to_learn(scores, scaling)
    assert learned.tolist() == pytest.approx([(value - 3) / math.sqrt(3.5) for value in scores])
    head = nn.Linear(5, 1)
    rows = torch.randn(4, 5)
    before = head(rows)
    scaling.fold_into(head)
    torch.testing.assert_close(scaling.apply(head(rows)), before, rtol=1e-5, atol=1e-5)
    logits = torch.tensor([[0.5], [0.0], [-1.0], [2.0]])
    assert Scores().loss(logits, learned).item() == pytest.approx(float(np.square(logits[:, 0].numpy() - learned.numpy()).mean()))
    assert Scores().scaling(np.full(3, 2.5, dtype=np.float32)) == Scaling(2.5, 1.0)  # a constant is only moved


def test_the_plain_scale_changes_nothing() -> None:
    values, head = torch.randn(3), nn.Linear(2, 2, bias=False)
    weight = head.weight.clone()
    Scaling().fold_into(head)
    assert Scaling().apply(values) is values
    assert torch.equal(head.weight, weight)


@pytest.mark.parametrize(
    ("target", "labels", "partners"),
    [
        (THREE, torch.tensor([0, 1]), torch.tensor([2, 2])),
        (Scores(), torch.tensor([0.5, -1.0]), torch.tensor([2.0, 0.0])),
    ],
)
def test_mixed_rows_count_for_both_labels_by_their_share(target: Target, labels: torch.Tensor, partners: torch.Tensor) -> None:
    logits = torch.tensor(LOGITS[:, : target.width])
    own, other = (target.loss(logits, item).item() for item in (labels, partners))
    assert target.mixed_loss(logits, labels, partners, 0.7).item() == pytest.approx(0.7 * own + 0.3 * other, rel=1e-6)
    assert target.mixed_loss(logits, labels, None, 0.7).item() == own


def test_predictions() -> None:
    first, second = THREE.predictions(LOGITS)
    assert (first.label, second.label) == ("low", "middle")
    assert first.probabilities == {
        name: pytest.approx(math.exp(value) / (math.exp(2) + 1 + math.exp(1))) for name, value in zip(THREE.classes, LOGITS[0], strict=True)
    }
    assert first.probability == first.probabilities["low"]
    assert list(Scores().predictions(np.array([[1.5], [-2.0]]))) == [Prediction(score=1.5), Prediction(score=-2.0)]


def test_a_model_card_says_what_logits_mean() -> None:
    assert THREE.logits_note == "Labels: 0 low, 1 middle, 2 high."
    many = Classes(tuple("abcdefghijklmnopqrstu"))  # 21
    assert many.logits_note.startswith("Labels: 0 a, 1 b, ")
    assert many.logits_note.endswith("19 t, … (config.json has all).")
    assert Scores().logits_note == "The logit is the score, in the units of the data."


def test_metrics_are_those_of_the_target() -> None:
    assert THREE.evaluate("accuracy", LOGITS, np.array([0, 0])) == {"accuracy": 0.5}
    assert THREE.evaluate("macro_f1", LOGITS, np.array([0, 1])) == {"macro_f1": 1.0, "accuracy": 1.0}
    ranks = Scores().evaluate("spearman", np.array([[1.0], [2.0], [9.0]]), np.array([0.1, 0.2, 0.3]))
    assert ranks["spearman"] == pytest.approx(1.0)
    assert set(ranks) == {"spearman", "pearson"}
    with pytest.raises(ValueError, match="metric is 'spearman'; allowed for classification: accuracy, macro_f1, weighted_f1"):
        THREE.evaluate("spearman", LOGITS, np.array([0, 1]))


def test_what_linear_models_are_fitted_to() -> None:
    assert THREE.regressed(np.array([0, 2])).tolist() == [[1.0, -1.0, -1.0], [-1.0, -1.0, 1.0]]
    assert Scores().regressed(np.array([0.5, 2.0], dtype=np.float32)).tolist() == [[0.5], [2.0]]


@pytest.mark.parametrize("kind", TARGETS)
def test_the_soft_loss_is_an_objective_that_fits_every_task_of_the_target(kind: type[Target]) -> None:
    tasks = [task for task in TASKS if isinstance(target_of(task), kind)]
    assert tasks
    for task in tasks:
        student = {"family": "timm:resnet10t" if modality_of(task) == Image() else "cnn"}
        parts = {"task": task, "teacher": {"model": "m"}, "student": student, "objective": target_of(task).plain_objective}
        assert "prediction" in Recipe.parse(parts).objective.terms


def test_smoothing_labels_is_refused_where_there_are_none_to_smooth() -> None:
    recipe = {"task": "text-regression", "teacher": {"model": "m"}, "student": {"family": "cnn"}, "objective": {"label_smoothing": 0.1}}
    with pytest.raises(RecipeError, match="label_smoothing has no meaning for text-regression"):
        Recipe.parse(recipe)
