"""Training a bert student without the states that nothing reads, held against training transformers' own layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_trial import World
from torch import Tensor, nn

from autodistill.models import build_student, family_of, first_token
from autodistill.models.base import TextBatch
from autodistill.models.first_token import FirstToken
from autodistill.models.form import TrialReads
from autodistill.recipe import Recipe
from autodistill.records import Point
from autodistill.train import trial
from autodistill.train.data import open_inputs
from autodistill.train.taps import reads_single_tokens, student_taps

MI = {"kind": "mi", "weight": 0.5, "tokens": "cls", "layer_map": "skip"}
MINILM = {"kind": "minilmv2", "relation_heads": 2}
NARROW: list[dict[str, Any]] = [
    {},
    {"prediction": {"kind": "kl"}, "intermediate": MI},
    {"attention": MINILM},
    {"attention": {"kind": "mse", "layer_map": "skip"}, "contrastive": {"kind": "colld"}},
]
WHOLE: list[dict[str, Any]] = [
    {"intermediate": MI | {"tokens": "mean"}},
    {"intermediate": MI | {"tokens": "tokens"}},
    {"relation": {"kind": "trg"}},
]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, "text-classification")


def trained(world: World, recipe: Recipe, folder: Path) -> tuple[list[Point], dict[str, Tensor]]:
    _, points = world.run(recipe, student_folder=str(folder))
    return points, load_file(folder / "student.safetensors")


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("objective", NARROW + WHOLE, ids=str)
def test_losses_and_weights_are_those_of_training_with_the_whole_layer(
    world: World, objective: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_dropout(*arguments: Any) -> Any:  # it is drawn for fewer numbers, so drawn otherwise
        student = build_student(*arguments)
        for module in student.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return student

    monkeypatch.setattr(trial, "build_student", without_dropout)
    shortened = 0
    original = first_token._forward

    def counted(*arguments: Any, **more: Any) -> Tensor:
        nonlocal shortened
        shortened += 1
        return original(*arguments, **more)

    monkeypatch.setattr(first_token, "_forward", counted)
    recipe = world.recipe("bert", epochs=2, objective=objective)
    points, weights = trained(world, recipe, tmp_path / "narrow")
    assert (shortened > 0) == (objective in NARROW)
    shortened = 0
    monkeypatch.setattr(trial, "reads_single_tokens", lambda recipe: True)
    expected, whole = trained(world, recipe, tmp_path / "whole")
    assert shortened == 0
    assert [point.score for point in points] == [point.score for point in expected]
    for point, other in zip(points, expected, strict=True):
        assert point.losses == pytest.approx(other.losses, rel=1e-4, abs=1e-5)
    for name, value in whole.items():
        if name.endswith("key.bias"):  # the softmax takes no notice of it: its gradient is rounding, which AdamW makes large
            continue
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=2e-4, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_what_is_read_and_its_gradient_are_the_whole_layers(world: World, implementation: str) -> None:
    recipe = world.recipe("bert", objective={"attention": MINILM, "intermediate": MI})
    student = build_student(recipe, open_inputs(world.dataset, recipe.teacher, world.folder).context).eval()
    student.model.config._attn_implementation = implementation  # type: ignore[union-attr]
    mask = torch.tensor([[True] * 7, [True] * 3 + [False] * 4, [True] + [False] * 6])
    ids = torch.randint(5, 20, mask.shape, generator=torch.Generator().manual_seed(0)).masked_fill(~mask, 0)

    def seen() -> list[Tensor]:
        outputs = student(TextBatch(ids, mask, torch.zeros_like(ids)), taps=frozenset({"states", "attention"}))
        student.zero_grad()
        loss = outputs.logits.square().sum() + sum(state.sin().sum() for state in outputs.sentences) + outputs.queries[-1].cos().sum()
        loss.backward()
        gradients = [parameter.grad.clone() for parameter in student.parameters() if parameter.grad is not None]
        return [outputs.logits, outputs.embedding, *outputs.sentences, *outputs.queries, *outputs.keys, *outputs.values, *gradients]

    whole = seen()
    reads = TrialReads(taps=student_taps(recipe), single_tokens=reads_single_tokens(recipe))
    form = family_of(recipe.student).training_form(student, reads)
    assert isinstance(form, FirstToken)
    for part, expected in zip(seen(), whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-5)
    assert len(student(TextBatch(ids, mask, torch.zeros_like(ids)), taps=frozenset({"states"})).states[-1][0]) == 1
    form.restore()
    for part, expected in zip(seen(), whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=0)
    assert len(student(TextBatch(ids, mask, torch.zeros_like(ids)), taps=frozenset({"states"})).states[-1][0]) == 7
