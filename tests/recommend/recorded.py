"""Recorded studies made up for tests: recipes of the text space whose retention is a known function of recipe and dataset."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np

from autodistill.recipe import Recipe
from autodistill.recommender.library import RecordedStudy
from autodistill.records import Point, TrialRecord
from autodistill.space import Space
from autodistill.task_types import target_of

FEATURES = ("log_rows", "probe_score", "mean_tokens")


def dataset_facts(number: int) -> dict[str, float]:
    """Features of the numbered dataset, spread evenly."""
    rng = np.random.default_rng(number)
    return {"log_rows": 2.5 + 0.2 * number, "probe_score": float(rng.uniform(0.5, 0.9)), "mean_tokens": float(rng.uniform(5, 60))}


def true_retention(recipe: Recipe, facts: dict[str, float]) -> float:
    """Without noise: best near a learning rate, better started from the teacher, and for the CNN the more so the fewer the rows."""
    usual = 3e-4 if recipe.student.name == "bert" else 2e-3
    value = 0.9 - 0.02 * math.log(recipe.training.learning_rate / usual) ** 2
    value += 0.04 * (recipe.student.init == "teacher")
    value += {"kl": 0.02, "mse": 0.01}.get(recipe.objective.prediction.name, 0.0)
    return value + {"cnn": 0.02 * (4 - facts["log_rows"]), "bert": 0.0}.get(recipe.student.name, -0.02)


def trial(study: str, number: int, recipe: Recipe, score: float, **changes: Any) -> TrialRecord:
    """A complete trial of eight epochs, whose curve climbs to the score."""
    curve = [
        Point(epoch=epoch, score=score * (1 - 0.3 / 2**epoch) if epoch < 8 else score, train_loss=1 / epoch, seconds=float(epoch))
        for epoch in range(1, 9)
    ]
    values: dict[str, Any] = {
        "study": study, "trial": number, "role": "explore", "state": "complete", "recipe_id": recipe.id, "recipe_version": 1,
        "recipe": recipe.model_dump(), "dataset": study, "dataset_fingerprint": study, "task": recipe.task, "metric": "accuracy",
        "train_rows": 1000, "seed": 0, "max_epochs": 8, "score": score, "teacher_score": 0.9, "curve": curve, "seconds": 9.0,
    }  # fmt: skip
    return TrialRecord.model_validate(values | changes)


def study(number: int, recipes: int = 25, task: str = "text-classification", noise: float = 0.002) -> RecordedStudy:
    """The study of the numbered dataset: its baselines, and recipes at random."""
    space = Space.load(target_of(task).space or "text", task).without_unlabelled()
    rng, facts, name = random.Random(number), dataset_facts(number), f"set{number}"
    if not target_of(task).has_labels:
        del facts["probe_score"]
    tried = [(role, recipe) for role, recipe in space.baselines().items()]
    tried += [("explore", space.sample(rng)) for _ in range(recipes)]
    records = []
    for place, (role, recipe) in enumerate(tried):
        score = 0.9 * (true_retention(recipe, facts) + noise * rng.gauss(0, 1))
        records.append(trial(name, place, recipe, score, role=role))
    return RecordedStudy(name, name, name, name, task, "accuracy", 1000, 0.9, facts, records)
