"""Self-distillation against its definition: cross-entropy with the target (1 − s t/T) y + s t/T p."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from autodistill.errors import RecipeError
from autodistill.models.base import Outputs
from autodistill.recipe import Recipe
from autodistill.train.objective import BatchLabels, Objective

ROWS, CLASSES, EPOCHS, SHARE = 4, 3, 3, 0.8


def recipe(**objective: object) -> Recipe:
    parts = {"task": "text-classification", "teacher": {"model": "t"}, "student": {"family": "cnn"}}
    return Recipe.parse(parts | {"objective": objective})


def objective(share: float) -> Objective:
    facts = {"rows": lambda: ROWS + 1, "classes": lambda: CLASSES}
    return Objective(recipe(self_distillation=share, hard_label_weight=0.5), None, None, facts)  # type: ignore[arg-type]


def test_the_target_moves_from_the_label_to_the_students_last_prediction() -> None:
    """Three epochs in two batches each, the second with a row without a label, which does not count."""
    random, learned = np.random.default_rng(0), objective(SHARE)
    labels, past = np.array([0, 2, 1, 0, 1]), np.eye(CLASSES)[[0, 2, 1, 0, 1]]
    for epoch in range(1, EPOCHS + 1):
        learned.progress = epoch / EPOCHS
        for rows in ([2, 0], [1, 4, 3]):
            logits = random.normal(size=(len(rows), CLASSES))
            q = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            counted = [place for place, row in enumerate(rows) if row < ROWS]
            share = SHARE * epoch / EPOCHS
            target = (1 - share) * np.eye(CLASSES)[labels[rows]] + share * past[rows]
            expected = 0.5 * -(target * np.log(q)).sum(axis=1)[counted].mean()
            past[rows] = q
            batch = BatchLabels(torch.tensor(labels[rows]), torch.tensor(rows), labelled=torch.tensor([row < ROWS for row in rows]))
            side = type("Side", (), {"outputs": Outputs(torch.tensor(logits), torch.zeros(1))})
            loss, parts = learned(side, None, batch)
            assert set(parts) == {"hard_label"}
            np.testing.assert_allclose(float(loss), expected, rtol=1e-6)
    assert {"past.predictions", "past.visited"} <= set(learned.state_dict())


def test_its_share_is_a_field_that_older_recipes_lack() -> None:
    assert objective(0.0).past is None
    assert isinstance(objective(0.3).past, nn.Module)
    assert recipe().id == recipe(self_distillation=0.0).id != recipe(self_distillation=0.8).id
    with pytest.raises(RecipeError, match=r"self_distillation is 0.8, a share of the loss on hard labels, whose weight is 0"):
        recipe(self_distillation=0.8, hard_label_weight=0.0)
    data = recipe(self_distillation=0.8).model_dump()
    with pytest.raises(RecipeError, match="needs a task with one class per row, and this is text-regression"):
        Recipe.parse(data | {"task": "text-regression"})
    with pytest.raises(RecipeError, match="mixed rows have no past predictions"):
        Recipe.parse(data | {"augmentation": {"kind": "none", "mixup": 0.2}})
