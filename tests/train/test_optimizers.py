from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_teacher import save_bert, text_dataset
from torch import nn

from autodistill.errors import RecipeError
from autodistill.recipe import Recipe
from autodistill.train.optimizers import Dot, training_optimizer


def recipe(**training: object) -> Recipe:
    return Recipe.parse({"task": "text-classification", "teacher": {"model": "t"}, "student": {"family": "cnn"}, "training": training})


def test_dot_is_its_formula_on_two_quadratics() -> None:
    """min ½‖θ − a‖² + ½‖Bθ − c‖², the second as the teacher's loss, against the authors' rule in numpy.

    In step 5 only the teacher's loss is there, in step 7 only the task's: then its velocity has momentum μ, and the other one rests.
    """
    random = np.random.default_rng(0)
    start, goal, matrix, values = (random.normal(size=shape) for shape in ((3,), (3,), (2, 3), (2,)))
    rate, decay, momentum, difference = 0.05, 0.1, 0.9, 0.075
    theta = nn.Parameter(torch.tensor(start))
    dot = Dot([{"params": [theta], "lr": rate, "weight_decay": decay}], momentum, difference)
    ours, of_task, of_teacher = start.copy(), np.zeros(3), np.zeros(3)
    for step in range(12):
        task = 0.5 * (theta - torch.tensor(goal)).square().sum()
        teacher = 0.5 * (torch.tensor(matrix) @ theta - torch.tensor(values)).square().sum()
        dot.backward(None if step == 5 else task, None if step == 7 else teacher)
        dot.step()
        gradients = ours - goal, matrix.T @ (matrix @ ours - values)
        ours = ours * (1 - rate * decay)
        apart = 0.0 if step in (5, 7) else difference
        if step != 5:
            of_task = (momentum - apart) * of_task + gradients[0]
            ours = ours - rate * of_task
        if step != 7:
            of_teacher = (momentum + apart) * of_teacher + gradients[1]
            ours = ours - rate * of_teacher
        np.testing.assert_allclose(theta.detach().numpy(), ours, rtol=1e-12)


def test_sgd_is_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    mine = training_optimizer([ours], recipe(optimizer="sgd", learning_rate=0.1, weight_decay=0.0, momentum=0.8).training)
    reference = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.8)
    for rows in torch.randn(6, 5, 3):
        for model, optimizer in ((ours, mine), (theirs, reference)):
            optimizer.zero_grad()
            model(rows).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    assert isinstance(training_optimizer([ours], recipe().training), torch.optim.AdamW)


def test_momenta_that_are_none_are_refused_and_old_recipes_keep_their_ids() -> None:
    with pytest.raises(RecipeError, match=r"momenta of 0.85 and 1.05; both should be at least 0 and below 1"):
        recipe(optimizer="dot", momentum=0.95, dot_difference=0.1)
    assert recipe(optimizer="adamw").id == recipe().id != recipe(optimizer="dot").id


def test_a_trial_learns_with_dot_and_without_a_difference_as_with_sgd(tmp_path: Path) -> None:
    from autodistill.models import build_student
    from autodistill.recipe import Teacher
    from autodistill.train.data import TrialData, open_inputs
    from autodistill.train.trial import Trainer  # torch

    data, folder = text_dataset(60), save_bert(tmp_path / "teacher")
    weights = {}
    for name, difference in (("sgd", 0.5), ("dot", 0.0), ("dot", 0.05)):
        training = {
            "optimizer": name,
            "dot_difference": difference,
            "learning_rate": 0.3,
            "weight_decay": 0.1,
            "epochs": 1,
            "momentum": 0.5,
        }
        parsed = Recipe.parse(
            {
                "task": data.task,
                "teacher": {"model": str(folder), "max_length": 16},
                "student": {"family": "cnn", "embedding_size": 16, "channels": 8, "dropout": 0.0},
                "objective": {"hard_label_weight": 0.5, "prediction": {"kind": "mse", "weight": 0.5}},
                "training": training,
            }
        )
        assert isinstance(parsed.teacher, Teacher)
        rows = TrialData(open_inputs(data, parsed.teacher, folder), parsed, device="cpu")
        torch.manual_seed(0)
        trainer = Trainer(parsed, build_student(parsed, rows.context), rows, torch.device("cpu"), 1, 0)
        losses = trainer.train_epoch(1)
        assert set(losses) == {"hard_label", "prediction"}
        weights[name, difference] = torch.cat(
            [value.flatten() for value in trainer.form.copy_weights().values() if value.is_floating_point()]
        )
    torch.testing.assert_close(weights["sgd", 0.5], weights["dot", 0.0], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(weights["dot", 0.05], weights["dot", 0.0], atol=1e-3)
