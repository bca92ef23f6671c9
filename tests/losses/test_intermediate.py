"""The objectives on states against literal loops over their equations, closed forms, and torchdistill where it has them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchdistill.losses.mid_level import VIDLoss

from autodistill.losses.intermediate import Variance, cka, cosine, l1, mse, pkd, vid
from autodistill.losses.tensors import centred, positions, spread, unit


@pytest.fixture
def states() -> tuple[Tensor, Tensor, Tensor]:
    """Ragged tokens: three texts of 4, 1 and 3 tokens."""
    generator = torch.Generator().manual_seed(3)
    student, teacher = (torch.randn(3, 4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    return student, teacher, torch.arange(4) < torch.tensor([[4], [1], [3]])


def vectors(states: tuple[Tensor, Tensor, Tensor]) -> list[tuple[list[float], list[float]]]:
    student, teacher, mask = states
    return [(student[b, t].tolist(), teacher[b, t].tolist()) for b in range(3) for t in range(4) if mask[b, t]]


def norm(vector: list[float]) -> float:
    return math.sqrt(sum(value * value for value in vector))


def test_mse_and_l1_are_means_over_kept_positions_and_dimensions(states: tuple[Tensor, Tensor, Tensor]) -> None:
    gaps = [a - b for s, t in vectors(states) for a, b in zip(s, t, strict=True)]
    assert mse(*states).item() == pytest.approx(sum(gap * gap for gap in gaps) / 40, rel=1e-12)
    assert l1(*states).item() == pytest.approx(sum(abs(gap) for gap in gaps) / 40, rel=1e-12)


def test_cosine_and_pkd_are_means_over_kept_positions(states: tuple[Tensor, Tensor, Tensor]) -> None:
    angles, squares = [], []
    for s, t in vectors(states):
        angles.append(1 - sum(a * b for a, b in zip(s, t, strict=True)) / (norm(s) * norm(t)))
        squares.append(sum((a / norm(s) - b / norm(t)) ** 2 for a, b in zip(s, t, strict=True)))
    assert cosine(*states).item() == pytest.approx(sum(angles) / 8, rel=1e-12)
    assert pkd(*states).item() == pytest.approx(sum(squares) / 8, rel=1e-12)
    assert pkd(*states).item() == pytest.approx(2 * cosine(*states).item(), rel=1e-12)


def test_cka_is_hsic_over_its_norms() -> None:
    """Kornblith et al.: with Gram matrices K, L and the centring matrix H, tr(KHLH) / √(tr(KHKH) tr(LHLH))."""
    x, y = torch.randn(9, 4, dtype=torch.float64), torch.randn(9, 6, dtype=torch.float64)
    h = torch.eye(9, dtype=torch.float64) - 1 / 9
    k, l = x @ x.T, y @ y.T  # noqa: E741
    expected = 1 - torch.trace(k @ h @ l @ h) / (torch.trace(k @ h @ k @ h) * torch.trace(l @ h @ l @ h)).sqrt()
    assert cka(x, y).item() == pytest.approx(expected.item(), rel=1e-10)


def test_cka_does_not_see_rotation_scale_or_shift() -> None:
    x = torch.randn(12, 5, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    assert cka(x, 1e-12 * x @ rotation + 1e-12).item() == pytest.approx(0.0, abs=1e-6)
    assert cka(1e12 * x, x @ rotation).item() == pytest.approx(0.0, abs=1e-12)
    assert cka(torch.randn(1, 5), torch.randn(1, 5)).item() == 1.0


@pytest.mark.parametrize("objective", [mse, l1, cosine, pkd])
def test_no_position_is_no_loss(objective: Callable[..., Tensor]) -> None:
    student = torch.randn(3, 4, 5, requires_grad=True)
    value = objective(student, torch.randn(3, 4, 5), torch.zeros(3, 4, dtype=torch.bool))
    value.backward()
    assert value.item() == 0.0
    assert student.grad is not None
    assert not student.grad.any()


@pytest.mark.parametrize(("objective", "slope"), [(cosine, 1.0), (pkd, 2.0)])
def test_a_zero_vector_is_pushed_along_its_teachers_direction(objective: Callable[..., Tensor], slope: float) -> None:
    """Without a direction it is left as it is: ⟨s, t/‖t‖⟩ has the gradient t/‖t‖."""
    student, teacher = torch.zeros(2, 3, requires_grad=True), torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]])
    objective(student, teacher).backward()
    assert student.grad is not None
    assert student.grad.tolist() == [pytest.approx([-0.6 * slope / 2, 0.0, -0.8 * slope / 2]), [0.0, 0.0, 0.0]]


def test_unit_and_centred_on_what_has_a_direction_and_what_has_none() -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3e-5, 4e-5], [3e-3, 4e-3]])
    assert unit(vectors).tolist() == [pytest.approx(row) for row in ([0.6, 0.8], [0, 0], [3e-5, 4e-5], [0.6, 0.8])]
    assert torch.equal(unit(vectors.bfloat16()[:2]), unit(vectors[:2]))
    rows = torch.tensor([[1.0, 2.0, 3.0], [7.0, 7.0, 7.0], [0.1, 0.1, 0.1], [1e-7, 2e-7, 3e-7]])
    aside = math.sqrt(0.5)
    assert centred(rows, 1)[[0, 3]].tolist() == [pytest.approx([-aside, 0.0, aside], abs=1e-6)] * 2
    assert centred(rows, 1)[1:3].abs().max() < 1e-7


def test_vid_is_the_gaussian_likelihood_and_torchdistill(states: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, mask = states
    variance = Variance(5, 2.0).double()
    torch.nn.init.normal_(variance.raw)
    sigma = [math.log1p(math.exp(value)) + 1e-5 for value in variance.raw.tolist()]
    terms = [0.5 * (math.log(v) + (b - a) ** 2 / v) for s, t in vectors(states) for a, b, v in zip(s, t, sigma, strict=True)]
    loss = vid(student, teacher, mask, variance, initial_variance=2.0).item()
    assert loss == pytest.approx(sum(terms) / 40, rel=1e-10)
    pair = {"teacher": {"io": "output", "path": "t"}, "student": {"io": "output", "path": "s"}, "weight": 1}
    their_inputs = {"s": {"output": (positions(student, mask), variance())}}, {"t": {"output": positions(teacher, mask)}}
    assert loss == pytest.approx(VIDLoss({"pair": pair})(*their_inputs).item(), rel=1e-10)


@pytest.mark.parametrize("initial", [0.1, 1.0, 50.0])
def test_vid_starts_at_its_initial_variance(initial: float) -> None:
    assert Variance(3, initial)().tolist() == pytest.approx([initial + 1e-5] * 3, rel=1e-5)


def test_vid_is_least_where_the_variances_are_those_of_what_is_left() -> None:
    noise = torch.randn(1000, 3, dtype=torch.float64) * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    variance = Variance(3, 1.0).double()
    for factor, sign in ((0.9, -1), (1.0, 0), (1.1, 1)):
        wanted = noise.square().mean(0) * factor - 1e-5
        variance.raw.data = wanted.expm1().log()  # the inverse of softplus
        vid(torch.zeros_like(noise), noise, None, variance, initial_variance=1.0).backward()
        assert variance.raw.grad is not None
        assert torch.equal((variance.raw.grad * (variance.raw.grad.abs() > 1e-9)).sign(), torch.full((3,), float(sign)).double())
        variance.raw.grad = None


@pytest.mark.parametrize("objective", [cosine, pkd, cka])
def test_what_does_not_see_the_states_scale(objective: Callable[..., Tensor], states: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, mask = states
    assert objective(10 * student, 0.1 * teacher, mask).item() == pytest.approx(objective(*states).item(), rel=1e-9)


def test_positions_count_only_where_the_mask_is_true() -> None:
    state = torch.arange(12.0).view(2, 3, 2)
    mask = torch.tensor([[True, False, False], [True, True, False]])
    assert positions(state, mask).tolist() == [[0, 1], [6, 7], [8, 9]]
    assert positions(state, None).shape == (6, 2)
    assert positions(state[:, 0].bfloat16(), None).dtype == torch.float32


def test_spread_thins_each_row_evenly() -> None:
    mask = torch.tensor([[True] * 10, [False, True, True, True, False] * 2, [True] + [False] * 9])
    kept = spread(mask, 12)
    assert kept.sum(dim=1).tolist() == [4, 4, 1]
    assert not (kept & ~mask).any()
    assert kept[0].nonzero().flatten().tolist() == [0, 3, 5, 8]
    assert spread(mask, 2).sum(dim=1).tolist() == [1, 1, 1]
    assert torch.equal(spread(mask, 1000), mask)
