from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from autodistill.errors import DivergedError, RecipeError
from autodistill.losses.layer_map import EmdWeights, PairWeights, layer_pairs, transport_plan


@pytest.mark.parametrize(
    ("layer_map", "student", "teacher", "pairs"),
    [
        ("skip", 3, 12, [(1, 4), (2, 8), (3, 12)]),
        ("skip", 4, 6, [(1, 2), (2, 3), (3, 5), (4, 6)]),  # 1.5 and 4.5 are rounded up
        ("skip", 1, 6, [(1, 6)]),
        ("skip", 4, 2, [(1, 1), (2, 1), (3, 2), (4, 2)]),
        ("skip", 8, 2, [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 2), (7, 2), (8, 2)]),
        ("last", 3, 12, [(1, 10), (2, 11), (3, 12)]),
        ("last", 5, 2, [(4, 1), (5, 2)]),
        ("first", 3, 12, [(1, 1), (2, 2), (3, 3)]),
        ("first", 5, 2, [(1, 1), (2, 2)]),
        ("all", 2, 3, list(itertools.product((1, 2), (1, 2, 3)))),
        ("emd", 2, 3, list(itertools.product((1, 2), (1, 2, 3)))),
    ],
)
def test_pairs(layer_map: str, student: int, teacher: int, pairs: list[tuple[int, int]]) -> None:
    assert layer_pairs(layer_map, student, teacher) == pairs


@pytest.mark.parametrize(
    ("layer_map", "student", "teacher", "layers", "pairs"),
    [
        ("skip", 3, 12, 2, [(2, 8), (3, 12)]),
        ("skip", 3, 12, 4, [(1, 4), (2, 8), (3, 12)]),
        ("last", 5, 2, 1, [(5, 2)]),
        ("first", 5, 3, 1, [(3, 3)]),
        ("emd", 3, 2, 2, [(2, 1), (2, 2), (3, 1), (3, 2)]),
    ],
)
def test_the_last_layers_of_a_map(layer_map: str, student: int, teacher: int, layers: int, pairs: list[tuple[int, int]]) -> None:
    assert layer_pairs(layer_map, student, teacher, layers) == pairs


def test_skip_ends_at_the_teachers_top_and_never_goes_back() -> None:
    for student, teacher in itertools.product(range(1, 13), repeat=2):
        taken = [layer for _, layer in layer_pairs("skip", student, teacher)]
        assert taken[-1] == teacher
        assert taken == sorted(taken)
        assert taken[0] >= 1


def test_bad_maps_are_refused() -> None:
    with pytest.raises(RecipeError, match="layer_map is 'skipp'; allowed: skip, last, first, emd, all. Did you mean 'skip'"):
        layer_pairs("skipp", 3, 12)
    with pytest.raises(RecipeError, match="at least one layer; they have 0 and 12"):
        layer_pairs("last", 0, 12)
    with pytest.raises(RecipeError, match="allowed: emd, all"):
        PairWeights("skip", 3, 12)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_plan_is_optimal(size: int) -> None:
    """With equal weights an optimal plan is a permutation (Birkhoff), so all of them can be tried."""
    generator = np.random.default_rng(size)
    for scale in (1e-9, 1.0, 1e9):
        cost = generator.random((size, size)) * scale
        even = np.full(size, 1 / size)
        plan = transport_plan(even, even, cost)
        best = min(sum(cost[i, j] for i, j in enumerate(order)) / size for order in itertools.permutations(range(size)))
        assert (plan * cost).sum() == pytest.approx(best, rel=1e-6)


def test_the_plan_has_the_weights_as_its_sums() -> None:
    generator = np.random.default_rng(0)
    supply, demand = generator.dirichlet(np.ones(3)), generator.dirichlet(np.ones(7))
    plan = transport_plan(supply, demand, generator.random((3, 7)))
    assert plan.min() >= 0
    assert plan.sum(axis=1) == pytest.approx(supply)
    assert plan.sum(axis=0) == pytest.approx(demand)
    with pytest.raises(DivergedError, match="not a finite number"):
        transport_plan(supply, demand, np.full((3, 7), np.nan))


def test_emd_is_the_earth_movers_distance_and_its_weights_follow_the_cost() -> None:
    losses = torch.tensor([1.0, 9.0, 9.0, 2.0], dtype=torch.float64, requires_grad=True)
    weights = PairWeights("emd", 2, 2)
    total = weights(losses)
    total.backward()
    assert total.item() == pytest.approx(0.5 * 1 + 0.5 * 2)
    assert losses.grad is not None
    assert losses.grad.tolist() == pytest.approx([0.5, 0, 0, 0.5])
    # unit costs are 1 and 2, so the next weights are softmax(3/1, 3/2)
    expected = torch.tensor([3.0, 1.5], dtype=torch.float64).softmax(0).tolist()
    assert weights.weigh.student_weight.tolist() == pytest.approx(expected)
    assert weights.weigh.teacher_weight.tolist() == pytest.approx(expected)
    weights.eval()
    weights(losses)
    assert weights.weigh.student_weight.tolist() == pytest.approx(expected), "evaluation does not move the weights"


def test_emd_moves_no_weights_by_costs_below_zero() -> None:
    weights = EmdWeights(2, 2)
    plan = weights(torch.tensor([-3.0, 1.0, 2.0, -1.0]))
    assert plan.tolist() == pytest.approx([0.5, 0.0, 0.0, 0.5])
    assert weights.student_weight.tolist() == weights.teacher_weight.tolist() == [0.5, 0.5]


def test_emd_stays_sound_over_many_steps() -> None:
    torch.manual_seed(0)
    weights = EmdWeights(3, 6)
    for step in range(60):
        losses = torch.rand(18) * 10.0 ** (step % 7 - 3) - (5.0 if step % 2 else 0.0)
        losses[torch.randint(18, (3,))] = 0.0
        plan = weights(losses)
        assert plan.isfinite().all()
        assert plan.min() >= 0
        assert plan.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert EmdWeights(2, 2)(torch.zeros(4)).sum().item() == pytest.approx(1.0)
    assert weights.to(torch.bfloat16)(torch.rand(18)).sum().item() == pytest.approx(1.0, abs=0.02)


def test_all_starts_even_and_learns_which_layers_can_be_followed() -> None:
    losses = torch.tensor([1.0, 5.0, 5.0, 1.0])
    weights = PairWeights("all", 2, 2)
    assert weights(losses).item() == pytest.approx(3.0)
    optimizer = torch.optim.SGD(weights.parameters(), lr=1.0)
    for _ in range(50):
        optimizer.zero_grad()
        weights(losses).backward()
        optimizer.step()
    weighed = weights.weigh(losses)
    assert weighed.sum().item() == pytest.approx(1.0)
    assert weighed.view(2, 2).sum(dim=1).tolist() == pytest.approx([0.5, 0.5]), "each layer of the student keeps its share"
    assert weighed[0] > 0.45
