"""What the shipped studies put first, as the documents say. Whoever changes a rule or a study sees here what else changes."""

from __future__ import annotations

from typing import Any

import pytest

from autodistill.recommender.candidates import comparable
from autodistill.recommender.library import find, shipped
from autodistill.recommender.recommender import Recommender, new_dataset
from autodistill.space import Space
from autodistill.task_types import modality_of, target_of

HALF_OF_THE_TEACHER = {"family": "bert", "layers": 3, "hidden_size": 384}
WITH_A_HIDDEN_LAYER = {"family": "static", "embedding_size": 256, "hidden_size": 256}


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("sst2-few", HALF_OF_THE_TEACHER),  # README, docs/recommender.md
        ("sst2-all", HALF_OF_THE_TEACHER),
        ("stsb-few", {"family": "bert", "hidden_size": 384, "pooling": "teacher"}),  # the default of pairs
        ("stsb-embedding", WITH_A_HIDDEN_LAYER),  # docs/embedding.md
        ("sst2-few-mpnet", {"family": "encoder", "model": "sentence-transformers/all-MiniLM-L6-v2"}),
        ("cifar10-all", {"family": "cut:tf_efficientnet_lite0", "stages": 4}),  # the default
    ],
)
def test_the_first_recommendation_for_data_like_those_of_an_entry(name: str, first: dict[str, Any]) -> None:
    entry = find(name, shipped())
    space = Space.load(target_of(entry.task).space or modality_of(entry.task).name, entry.task)
    space = space.fixed("teacher.model", next(iter(entry.teachers)))
    if not entry.unlabelled:
        space = space.without_unlabelled()
    studies = comparable(shipped(), entry.task, entry.teachers)
    [(recipe, _)] = Recommender(studies).choose(new_dataset(space, entry.features), space, top=1)
    assert recipe.student.model_dump().items() >= first.items()


def test_half_of_the_teacher_is_trained_for_as_long_as_it_pays() -> None:
    """docs/recommender.md: with unlabelled rows 500 steps are as good as 1,000."""
    entry = find("trec-few", shipped())
    space = Space.load("text", entry.task)
    studies = comparable([study for study in shipped() if study.group != entry.group], entry.task, entry.teachers)
    [(recipe, _)] = Recommender(studies).choose(new_dataset(space, entry.features), space, top=1)
    assert recipe.student.model_dump().items() >= HALF_OF_THE_TEACHER.items()
    assert recipe.training.steps == 500
