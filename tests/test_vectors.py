"""Sentence embeddings as a target: its metrics against SciPy, its loss and objective against torch, and what recipes may ask."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from made import record
from scipy.spatial.distance import cosine as cosine_distance
from scipy.stats import spearmanr
from torch import nn
from torch.nn.functional import cosine_embedding_loss

from autodistill.errors import RecipeError
from autodistill.limits import Limits
from autodistill.losses.vectors import cosine
from autodistill.recipe import Recipe, without_teacher
from autodistill.report.leaderboard import verdict
from autodistill.space import Space
from autodistill.target import Prediction, Vectors
from autodistill.task_types import target_of
from autodistill.tasks.metrics import AGREED

RNG = np.random.default_rng(0)
RATINGS = np.array([4.0, 1.0, 2.5, 0.0, 5.0], dtype=np.float32).repeat(2)[:, None]
TEACHER, STUDENT = (RNG.normal(size=(10, width)).astype(np.float32) for width in (6, 4))
TARGET = Vectors(6)


def test_rated_pairs_are_ranked_by_their_cosines() -> None:
    labels = TARGET.taught(RATINGS, TEACHER)
    assert labels.shape == (10, 7)
    cosines = [1 - cosine_distance(STUDENT[row], STUDENT[row + 1]) for row in range(0, 10, 2)]
    scores = TARGET.evaluate("sts_spearman", STUDENT, labels)
    assert scores["sts_spearman"] == pytest.approx(spearmanr(cosines, RATINGS[::2, 0]).statistic)
    assert scores["teacher_agreement"] == TARGET.evaluate("teacher_agreement", STUDENT, labels)["teacher_agreement"]
    assert math.isnan(TARGET.evaluate("sts_spearman", STUDENT, RATINGS)["teacher_agreement"])  # before a teacher has read the rows


def test_agreement_is_over_all_pairs_of_rows() -> None:
    pairs = [(one, other) for one in range(10) for other in range(one)]
    own, teachers = ([1 - cosine_distance(vectors[one], vectors[other]) for one, other in pairs] for vectors in (STUDENT, TEACHER))
    labels = TARGET.taught(np.full((10, 1), np.nan), TEACHER)
    expected = spearmanr(own, teachers).statistic
    assert TARGET.evaluate("teacher_agreement", STUDENT, labels) == {"teacher_agreement": pytest.approx(expected)}
    rotation = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    assert TARGET.evaluate("teacher_agreement", 3 * TEACHER @ rotation, labels)["teacher_agreement"] == pytest.approx(1.0)


def test_many_rows_are_thinned_evenly() -> None:
    vectors = RNG.normal(size=(4 * AGREED, 3))
    labels, own = TARGET.taught(np.zeros((len(vectors), 1)), vectors), vectors.copy()
    used = np.linspace(0, len(vectors) - 1, AGREED).round().astype(int)
    own[np.setdiff1d(np.arange(len(own)), used)] = 1.0
    assert TARGET.evaluate("teacher_agreement", own, labels)["teacher_agreement"] == pytest.approx(1.0)


@pytest.mark.parametrize("vectors", [np.ones((10, 6)), np.zeros((10, 6)), np.full((10, 6), 0.1) + 1e-9 * RNG.normal(size=(10, 6))])
def test_vectors_that_are_all_alike_know_nothing(vectors: np.ndarray) -> None:
    labels = TARGET.taught(RATINGS, TEACHER)
    assert TARGET.evaluate("sts_spearman", vectors, labels) == {"sts_spearman": 0.0, "teacher_agreement": 0.0}
    assert TARGET.constant(labels).shape == (6,)


def test_the_loss_and_the_objective_are_cosine_distances() -> None:
    own, teachers = torch.randn(5, 6), torch.randn(5, 6)
    expected = cosine_embedding_loss(own, teachers, torch.ones(5))
    torch.testing.assert_close(TARGET.loss(own, teachers), expected)
    torch.testing.assert_close(cosine(own, teachers), expected)
    assert cosine(3 * teachers, teachers).item() == pytest.approx(0.0, abs=1e-6)


def test_vectors_are_learned_with_entries_of_about_one() -> None:
    vectors = TARGET.finished(TEACHER)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-6)
    scaling = TARGET.scaling(RATINGS)
    learned = TARGET.to_learn(TARGET.taught(RATINGS, vectors), scaling)
    assert learned.square().mean().item() == pytest.approx(1.0)
    assert TARGET.to_learn(TARGET.no_labels(3), scaling).shape == (3, 0)
    head, rows = nn.Linear(4, 6), torch.randn(5, 4)
    before = head(rows)
    scaling.fold_into(head)
    torch.testing.assert_close(head(rows) * math.sqrt(6), before)


def test_a_prediction_is_a_vector_of_length_one() -> None:
    (found,) = Vectors(2).predictions(np.array([[3.0, 4.0]]))
    assert found == Prediction(vector=(0.6, 0.8))
    assert found.answer == [0.6, 0.8]
    assert "2 numbers of length 1" in target_of("text-embedding", width=2).logits_note


def a_recipe(**parts: Any) -> dict[str, Any]:
    objective = {"hard_label_weight": 0.0, "prediction": {"kind": "mse"}}
    return {"task": "text-embedding", "teacher": {"model": "m"}, "student": {"family": "static"}, "objective": objective} | parts


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"objective": {"prediction": {"kind": "cosine"}}}, "hard_label_weight is 1, and text-embedding has no labels; set it to 0"),
        ({"teacher": {"model": "m", "members": 2}}, "the teacher of text-embedding is one network"),
        ({"teacher": {"model": "m", "scores": "abc"}}, "leave teacher.scores and teacher.members out"),
        ({"objective": {"hard_label_weight": 0.0, "prediction": {"kind": "kl"}}}, "'kl' does not fit text-embedding; .*: cosine, mse"),
        ({"teacher": {"model": "m", "pooling": "apart"}}, "teacher.pooling is 'apart'"),
        ({"teacher": {"model": "m", "vector_size": 8}, "task": "text-regression"}, "vector_size is 8, and text-regression has no vec"),
    ],
)  # fmt: skip
def test_what_a_recipe_without_labels_cannot_have(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.parse(a_recipe(**parts))


def test_without_a_teacher_a_student_stays_as_it_starts() -> None:
    bare = Recipe.parse(without_teacher(Recipe.parse(a_recipe()).model_dump()))
    assert not bare.objective.teaches
    with pytest.raises(RecipeError, match="nothing to learn from"):
        Recipe.parse(a_recipe(task="text-classification", objective={"hard_label_weight": 0.0}))


def test_the_space_has_what_fits_vectors() -> None:
    space = Space.load("embedding", "text-embedding")
    baselines = space.baselines()
    assert set(baselines) == {"no_kd", "plain_kd", "plain_kd_all", "defaults"}
    assert not baselines["no_kd"].objective.teaches
    assert len({recipe.id for recipe in space.without_unlabelled().baselines().values()}) == 3
    assert baselines["plain_kd"].objective.prediction.weight == 1.0


def test_the_verdict_compares_with_the_same_student_untrained() -> None:
    best = Space.load("embedding", "text-embedding").without_unlabelled().defaults()
    bare = Recipe.parse(without_teacher(best.model_dump()))
    facts = {"task": "text-embedding", "metric": "sts_spearman", "teacher_score": 0.9}
    records = [
        record(number, role, score, recipe=recipe.model_dump(), recipe_id=recipe.id, **facts)
        for number, (role, score, recipe) in enumerate([("search", 0.85, best), ("twin", 0.8, bare)])
    ]
    assert "0.0500 more than the same student untrained (0.8000), 50.0% of the way" in verdict(records, Limits(None, None), 3000, 0.0)
