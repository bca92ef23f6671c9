"""The parts of the loop, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autodistill.augment.mixup import TextMix
from autodistill.models.base import Outputs, TextBatch
from autodistill.models.fitting import evaluation_batches, make_optimizer, training_batches, warmup_and_decay
from autodistill.models.sides import TextSide, masked_mean
from autodistill.recipe import Recipe
from autodistill.train.cost import count_flops, count_parameters, measure_latency
from autodistill.train.objective import BatchLabels, Objective


def _recipe(task: str = "text-classification", **objective: object) -> Recipe:
    return Recipe.parse({"task": task, "teacher": {"model": "m"}, "student": {"family": "cnn"}, "objective": objective})


def _side(num_outputs: int = 3, seed: int = 0) -> TextSide:
    torch.manual_seed(seed)
    states = [torch.randn(4, 5, 8) for _ in range(3)]
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 0, 0, 0]]).bool()
    return TextSide(Outputs(torch.randn(4, num_outputs), torch.randn(4, 8), states, [state[:, 0] for state in states]), mask)


LABELS = BatchLabels(torch.tensor([0, 2, 1, 1]), torch.arange(4))
KNOWN = {"classes": lambda: 3, "rows": lambda: 4}


def test_the_objective_is_the_weighted_sum_of_its_terms() -> None:
    student, teacher = _side(seed=1), _side(seed=2)
    recipe = _recipe(
        hard_label_weight=0.3,
        label_smoothing=0.1,
        prediction={"kind": "kl", "weight": 0.7, "temperature": 3.0},
        intermediate={"kind": "mse", "weight": 2.0, "projection": "none", "layer_map": "last", "tokens": "mean"},
    )
    total, parts = Objective(recipe, student, teacher, KNOWN)(student, teacher, LABELS)
    hard = F.cross_entropy(student.outputs.logits, LABELS.labels, label_smoothing=0.1)
    p, q = (F.softmax(side.outputs.logits.double() / 3, dim=-1) for side in (teacher, student))
    soft = 9 * (p * (p / q).log()).sum(-1).mean()
    means = [[masked_mean(side.outputs.states[layer], side.mask) for layer in (1, 2)] for side in (student, teacher)]
    apart = torch.stack([(one - other).square().mean() for one, other in zip(*means, strict=True)]).mean()
    assert total.item() == pytest.approx((0.3 * hard + 0.7 * soft + 2.0 * apart).item(), rel=1e-5)
    assert parts["prediction"].item() == pytest.approx(0.7 * soft.item(), rel=1e-5)
    assert set(parts) == {"hard_label", "prediction", "intermediate"}


def test_a_weight_of_zero_is_no_term() -> None:
    recipe = _recipe(prediction={"kind": "kl", "weight": 0.0})
    _, parts = Objective(recipe, _side(), None, KNOWN)(_side(), None, LABELS)
    assert set(parts) == {"hard_label"}


def test_mixed_rows_count_for_both_labels() -> None:
    student = _side()
    labels = BatchLabels(LABELS.labels, LABELS.index, partner_labels=LABELS.labels.flip(0), share=0.7)
    total, _ = Objective(_recipe(), student, None, KNOWN)(student, None, labels)
    logits = student.outputs.logits
    expected = 0.7 * F.cross_entropy(logits, LABELS.labels) + 0.3 * F.cross_entropy(logits, LABELS.labels.flip(0))
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)


def test_scores_are_learned_by_squared_error() -> None:
    student = _side(num_outputs=1)
    scores = torch.tensor([0.5, -1.0, 2.0, 0.0])
    total, _ = Objective(_recipe("text-regression"), student, None, KNOWN)(student, None, BatchLabels(scores, LABELS.index))
    assert total.item() == pytest.approx((student.outputs.logits[:, 0] - scores).square().mean().item(), rel=1e-6)


def test_mix_is_linear_in_rows_and_keeps_the_larger_part() -> None:
    rng = np.random.default_rng(0)
    shares = [TextMix.draw(0.2, 8, rng).share for _ in range(200)]
    assert min(shares) >= 0.5
    assert max(shares) <= 1.0
    mix = TextMix(torch.tensor([1, 0, 2]), 0.75)
    values = torch.tensor([[4.0], [8.0], [1.0]])
    assert mix.tensor(values).tolist() == [[5.0], [7.0], [1.0]]
    table = nn.Embedding(5, 2)
    ids = torch.tensor([[1], [2], [3]])
    with mix.embeddings(table):
        mixed = table(ids)
    torch.testing.assert_close(mixed[0], 0.75 * table.weight[1:2] + 0.25 * table.weight[2:3])
    torch.testing.assert_close(table(ids)[0], table.weight[1:2])  # and not afterwards
    mask = torch.tensor([[True, True], [True, False], [True, False]])
    batch = mix.batch(TextBatch(torch.zeros(3, 2, dtype=torch.int64), mask, torch.zeros(3, 2, dtype=torch.int64)))
    assert isinstance(batch, TextBatch)
    assert batch.mask.tolist() == [[True, True], [True, True], [True, False]]


@pytest.mark.parametrize("rows", [2, 15, 16, 33, 1000])
def test_batches_hold_every_row_once_and_rows_of_like_length(rows: int) -> None:
    lengths = torch.randint(1, 100, (rows,), generator=torch.Generator().manual_seed(0))
    batches = training_batches(lengths, rows, 16, torch.Generator().manual_seed(1))
    seen = torch.cat(batches)
    assert len(set(seen.tolist())) == len(seen)
    assert len(seen) == rows - (1 if rows % 16 == 1 else 0)  # a batch of a single row is left out of this epoch
    assert max(len(batch) for batch in batches) <= 16
    if rows == 1000:
        spread = np.mean([lengths[batch].max() - lengths[batch].min() for batch in batches])
        assert spread < 5  # of 99
        again = training_batches(lengths, rows, 16, torch.Generator().manual_seed(2))
        assert [batch.tolist() for batch in again] != [batch.tolist() for batch in batches]
    assert sorted(torch.cat(list(evaluation_batches(lengths, rows, 7))).tolist()) == list(range(rows))


def test_the_learning_rate_rises_and_falls_in_straight_lines() -> None:
    factor = warmup_and_decay(100, 0.1)
    assert [factor(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert [factor(step) for step in (10, 55, 99, 100)] == pytest.approx([1.0, 0.5, 1 / 90, 0.0])
    assert warmup_and_decay(1, 0.0)(0) == 1.0


def test_only_matrices_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    decayed, kept = make_optimizer([model], 1e-3, 0.5).param_groups
    assert [tuple(item.shape) for item in decayed["params"]] == [(4, 3)]
    assert decayed["weight_decay"] == 0.5
    assert len(kept["params"]) == 3
    assert kept["weight_decay"] == 0.0


class _Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(20, 30)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.layer(batch)


def test_costs_of_a_linear_layer() -> None:
    model, batch = _Linear(), torch.zeros(7, 20)
    assert count_parameters(model) == 20 * 30 + 30
    assert count_flops(model, batch) == 2 * 7 * 20 * 30  # type: ignore[arg-type]
    before = torch.get_num_threads()
    latency = measure_latency(model, batch)  # type: ignore[arg-type]
    assert 0 < latency < 1000
    assert torch.get_num_threads() == before
    assert math.isfinite(latency)
