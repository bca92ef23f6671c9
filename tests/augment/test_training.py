"""Augmentations in training: through the trial's data, its stored outputs and its steps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_teacher import image_dataset, save_bert, save_masked_lm, text_dataset

from autodistill.augment.mixup import ImageMix
from autodistill.models import build_student
from autodistill.models.base import ImageBatch
from autodistill.recipe import Recipe
from autodistill.tasks.base import Dataset
from autodistill.teacher.finetune import finetune_teacher
from autodistill.train.data import TrialData, open_inputs
from autodistill.train.trial import Trainer


def _trainer(dataset: Dataset, folder: Path, recipe: Recipe) -> Trainer:
    data = TrialData(open_inputs(dataset, recipe.teacher, folder), recipe, device="cpu")
    torch.manual_seed(0)
    return Trainer(recipe, build_student(recipe, data.context), data, torch.device("cpu"), recipe.training.epochs, 0)


def test_students_train_on_views_of_every_text_augmentation(tmp_path: Path) -> None:
    dataset = text_dataset(48)
    assert dataset.train.texts is not None
    model = str(save_masked_lm(tmp_path / "lm"))  # a teacher whose checkpoint has the head that `contextual` wants
    table = tmp_path / "said.parquet"
    pd.DataFrame({"text": dataset.train.texts, "paraphrase": [text + " end" for text in dataset.train.texts]}).to_parquet(table)
    kinds: list[dict[str, Any]] = [
        {"kind": kind, "strength": 0.3} for kind in ("random", "token_dropout", "span_cutoff", "synonyms", "contextual")
    ]
    folder = save_bert(tmp_path / "bert")
    for fields in [*kinds, {"kind": "paraphrase", "path": str(table)}]:
        recipe = Recipe.parse(
            {
                "task": dataset.task,
                "teacher": {"model": model, "max_length": 32},
                "student": {"family": "cnn", "embedding_size": 16, "channels": 8},
                "objective": {"prediction": {"kind": "kl"}},
                "augmentation": {**fields, "mixup": 0.2},
                "training": {"epochs": 2, "batch_size": 16},
            }
        )
        trainer = _trainer(dataset, folder, recipe)
        original, view = trainer.data.view(0), trainer.data.view(1)
        assert original.teacher_outputs is not None
        assert view.teacher_outputs is not None
        assert not torch.equal(original.teacher_outputs.column("logits"), view.teacher_outputs.column("logits")), fields
        for epoch in (1, 2):
            assert all(math.isfinite(value) for value in trainer.train_epoch(epoch).values())


def test_students_train_on_cut_images_whose_targets_are_mixed_by_area(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = image_dataset(24)
    teacher = {"model": "timm:resnet10t", "init": "scratch", "epochs": 0}
    recipe = Recipe.parse(
        {
            "task": dataset.task,
            "teacher": teacher,
            "student": {"family": "timm:resnet10t"},
            "objective": {"prediction": {"kind": "kl"}, "intermediate": {"kind": "mse", "tokens": "tokens", "weight": 0.1}},
            "augmentation": {"kind": "selfmix", "mixup": 1.0, "mixing": "cutmix"},
            "training": {"epochs": 2, "batch_size": 12},
        }
    )
    trainer = _trainer(dataset, finetune_teacher(dataset, recipe.teacher, 0, device="cpu").folder, recipe)
    mixes: list[tuple[ImageMix, ImageBatch]] = []
    passed: list[Any] = []
    cut = ImageMix.batch

    def batch(mix: ImageMix, rows: ImageBatch) -> Any:
        mixes.append((mix, rows))
        return cut(mix, rows)

    monkeypatch.setattr(ImageMix, "batch", batch)
    trainer.objective.register_forward_pre_hook(lambda _, inputs: passed.append(inputs))
    rows = torch.arange(12)
    parts = trainer.step(rows, 2)
    (mix, before), (_, teacher_side, targets, _) = mixes[0], passed[0]
    assert mix.box is not None
    top, bottom, left, right = mix.box
    assert mix.share == targets.share == pytest.approx(1 - (bottom - top) * (right - left) / 16**2)
    assert torch.equal(targets.partner_labels, trainer.data.train_labels[rows][mix.partner])
    stored = trainer.data.view(1).teacher_batch(rows)
    assert stored is not None
    torch.testing.assert_close(teacher_side.outputs.logits, mix.share * stored.logits + (1 - mix.share) * stored.logits[mix.partner])
    assert before.pixels.shape == (12, 3, 16, 16)
    assert set(parts) == {"hard_label", "prediction", "intermediate"}
    assert all(value.isfinite() for value in parts.values())
