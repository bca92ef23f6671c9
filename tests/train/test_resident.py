"""Steps on rows that lie on the device: that they are the usual steps, and which of them can be recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_trial import STUDENTS, World
from tiny_teacher import text_dataset
from torch import nn

from autodistill.errors import UsageError
from autodistill.models import build_student
from autodistill.models.base import each_tensor
from autodistill.models.fitting import warmup_and_decay
from autodistill.models.image import EncodedImages
from autodistill.recipe import Recipe
from autodistill.tasks import load_dataset
from autodistill.train.assignment import Assignment
from autodistill.train.data import open_data
from autodistill.train.device_steps import EAGER_STEPS
from autodistill.train.resident import LENGTHS, ResidentView, ResidentViews, bytes_of, padded_lengths, resident_budget
from autodistill.train.schedule import Schedule
from autodistill.train.trial import Trainer

CPU = torch.device("cpu")
PLENTY = 10**9
MIX = {"hard_label_weight": 0.5, "prediction": {"kind": "kl", "weight": 0.5}, "intermediate": {"kind": "mi", "weight": 0.1}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """With 200 unlabelled rows."""
    folder = tmp_path_factory.mktemp("world")
    made = World(folder, "text-classification")
    texts = text_dataset(200, seed=5).train.texts or []
    pd.DataFrame({"text": [f"{text} film" for text in texts]}).drop_duplicates().to_parquet(folder / "more.parquet")
    made.ref = dataclasses.replace(made.ref, unlabelled=(str(folder / "more.parquet"),))
    made.dataset = load_dataset(made.ref)
    return made


def recipe(world: World, student: str = "cnn", objective: dict[str, Any] = MIX, **training: Any) -> Recipe:
    """A batch of each length and of each number of labelled rows."""
    options = {"epochs": 2, "batch_size": 16, "learning_rate": 3e-3}
    return world.recipe(student, objective=objective, training=options | training)


def trainer(world: World, one: Recipe, **options: Any) -> Trainer:
    """Without dropout: on rows with more padding it draws other numbers."""
    data = open_data(Assignment(one, world.ref, 0, 9, world.folder, device="cpu"))
    torch.manual_seed(0)
    student = build_student(one, data.context)
    for module in student.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return Trainer(one, student, data, CPU, one.training.epochs, 0, **options)


def trained(world: World, one: Recipe, **options: Any) -> tuple[list[dict[str, float]], dict[str, torch.Tensor], Trainer]:
    """The losses of each epoch, and the weights after the last."""
    made = trainer(world, one, **options)
    torch.manual_seed(1)
    losses = [made.train_epoch(epoch) for epoch in range(1, one.training.epochs + 1)]
    return losses, made.form.copy_weights(), made


class Repeats:
    """A recorder that takes the step again when it is replayed, and counts."""

    def __init__(self) -> None:
        self.replayed = self.recorded = 0

    def session(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            step()

        return replay


if __name__ == "__main__":
    import tempfile, sys, time
    class F:
        def mktemp(self, n): return Path(tempfile.mkdtemp())
    w = world.__wrapped__(F()) if hasattr(world,"__wrapped__") else world._fixture_function(F())
    for student in STUDENTS:
        for share in (0.0, 0.75):
            one = recipe(w, student, unlabelled_share=share)
            t=time.process_time()
            a = trained(w, one); t1=time.process_time(); b = trained(w, one, resident_bytes=PLENTY); t2=time.process_time(); r=Repeats(); c=trained(w, one, resident_bytes=PLENTY, recorder=r); 
            print(student, share, "losses", a[0], max(abs(x[k]-y[k]) for x,y in zip(a[0],b[0]) for k in x), max(abs(x[k]-y[k]) for x,y in zip(a[0],c[0]) for k in x), "w", max(float((a[1][k]-b[1][k]).abs().max()) for k in a[1] if a[1][k].is_floating_point()), max(float((a[1][k]-c[1][k]).abs().max()) for k in a[1] if a[1][k].is_floating_point()), t1-t, t2-t1, r.recorded, r.replayed, c[2].device_steps.refusal, len(c[2].device_steps._steps))
