"""Sinkhorn's divergence and wcord against POT, literal loops and closed forms, and where descent on them ends."""

from __future__ import annotations

import math

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from autodistill.losses.tensors import unit
from autodistill.losses.wasserstein import WcordHead, sinkhorn_divergence, transport_value, wcord

ROWS, WIDTH = 10, 6


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def cloud(similarity: float, rows: int = ROWS, width: int = WIDTH) -> Tensor:
    """Unit vectors whose cosines with each other are `similarity` on average."""
    common, own = (unit(torch.randn(count, width, dtype=torch.float64)) for count in (1, rows))
    return unit(math.sqrt(similarity) * common + math.sqrt(1 - similarity) * (own - own.mean(dim=0)))


def collapse(vectors: Tensor) -> Tensor:
    """As many vectors, all of them the given ones' mean at length 1: of all points the one with the lowest costs."""
    return unit(vectors.mean(dim=0)).expand_as(vectors)


def likeness(vectors: Tensor) -> float:
    """The mean cosine of two different vectors."""
    cosines = unit(vectors) @ unit(vectors).T
    return cosines[~torch.eye(len(cosines), dtype=torch.bool)].mean().item()


def pot_value(left: Tensor, right: Tensor, epsilon: float) -> float:
    cost = (1 - left @ right.T).numpy()
    return float(ot.solve(cost, reg=epsilon, reg_type="KL", max_iter=1000, tol=1e-9).value)


def value_by_loops(cost: np.ndarray, epsilon: float, rounds: int) -> float:
    """The dual value after so many rounds: mean of f plus mean of g, exp(f/ε) and exp(g/ε) being Sinkhorn's two scalings."""
    kernel = np.exp(-cost / epsilon)
    u, v = np.ones(len(cost)), np.ones(cost.shape[1])
    for _ in range(rounds):
        u = np.array([1 / np.mean([kernel[i, j] * v[j] for j in range(len(v))]) for i in range(len(u))])
        v = np.array([1 / np.mean([kernel[i, j] * u[i] for i in range(len(u))]) for j in range(len(v))])
    return float(epsilon * (np.log(u).mean() + np.log(v).mean()))


@pytest.mark.parametrize("rounds", [1, 20])
def test_the_transport_value_is_sinkhorns(rounds: int) -> None:
    cost = torch.rand(5, 7, dtype=torch.float64)
    assert transport_value(cost, 0.1, rounds).item() == pytest.approx(value_by_loops(cost.numpy(), 0.1, rounds), abs=1e-12)
    stacked = transport_value(torch.stack([cost, 2 * cost]), 0.1, rounds)
    assert stacked.tolist() == pytest.approx([transport_value(part, 0.1, rounds).item() for part in (cost, 2 * cost)], abs=1e-12)


def test_the_transport_value_between_its_limits() -> None:
    cost = torch.rand(6, 6, dtype=torch.float64)
    rows, columns = linear_sum_assignment(cost.numpy())
    best = cost.numpy()[rows, columns].mean()
    sharp = 1e-3
    assert transport_value(cost, sharp, 500).item() == pytest.approx(best + sharp * math.log(6), abs=1e-4)  # KL of one to one: log 6
    assert transport_value(cost, 1e4, 20).item() == pytest.approx(cost.mean().item(), abs=1e-4)  # no choice at all: every pair alike


@pytest.mark.parametrize("similarity", [0.0, 0.9])
@pytest.mark.parametrize("blur", [0.3, 1.0])
def test_the_divergence_is_pots(similarity: float, blur: float) -> None:
    teacher = cloud(similarity)
    epsilon = blur * (1 - teacher @ teacher.T).mean().item()
    for student in (collapse(teacher), cloud(similarity), unit(teacher + 0.1 * math.sqrt(1 - similarity) * torch.randn_like(teacher))):
        expected = (
            pot_value(teacher, student, epsilon) - 0.5 * pot_value(teacher, teacher, epsilon) - 0.5 * pot_value(student, student, epsilon)
        )
        assert sinkhorn_divergence(teacher, student, blur, 200).item() == pytest.approx(expected, rel=1e-5, abs=1e-8)
        assert sinkhorn_divergence(teacher, student, blur, 20).item() == pytest.approx(expected, rel=0.01, abs=1e-6), "20 rounds are enough"


def test_the_divergence_of_much_blur_is_that_of_the_means() -> None:
    """With cost ½‖x − y‖² it goes to ½‖mean x − mean y‖² (Feydy et al. 2019, theorem 1: a kernel norm, of the kernel −cost)."""
    left, right = cloud(0.5), cloud(0.3)
    expected = 0.5 * (left.mean(dim=0) - right.mean(dim=0)).square().sum().item()
    assert sinkhorn_divergence(left, right, 1e4, 5).item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("rounds", [1, 2, 20])
@pytest.mark.parametrize("similarity", [0.0, 0.9, 0.99])
def test_equal_sets_are_the_optimum_after_any_number_of_rounds(similarity: float, rounds: int) -> None:
    teacher = cloud(similarity)
    student = teacher.flip(0).requires_grad_()
    value = sinkhorn_divergence(teacher, unit(student), 0.1, rounds)
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-12)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-10
    costs = (1 - teacher @ teacher.T).mean().item()
    assert sinkhorn_divergence(teacher, collapse(teacher), 0.1, rounds).item() > 0.25 * costs
    for noise in (0.01, 0.1, 1.0):
        for _ in range(5):
            other = unit(teacher + noise * math.sqrt(costs) * torch.randn_like(teacher))
            assert sinkhorn_divergence(teacher, other, 0.1, rounds).item() > 0


@pytest.mark.parametrize("start", ["teacher", "random", "collapse"])
@pytest.mark.parametrize("similarity", [0.0, 0.9, 0.99])
def test_descent_does_not_end_at_a_collapse(similarity: float, start: str) -> None:
    teacher = cloud(similarity).float()
    begin = {"teacher": teacher, "random": torch.randn(ROWS, WIDTH), "collapse": collapse(teacher) + 0.01 * torch.randn(ROWS, WIDTH)}
    student = nn.Parameter(begin[start].clone())
    optimizer = torch.optim.Adam([student], lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        sinkhorn_divergence(teacher, unit(student), 0.1, 20).backward()
        optimizer.step()
    end = unit(student.detach())
    worst = sinkhorn_divergence(teacher, collapse(teacher), 0.1, 20).item()
    assert sinkhorn_divergence(teacher, end, 0.1, 20).item() < 0.1 * worst
    assert 1 - likeness(end) > 0.5 * (1 - likeness(teacher))


@pytest.mark.parametrize("start", ["teacher", "random"])
def test_wcord_with_its_head_does_not_end_at_a_collapse(start: str) -> None:
    """Dual and primal, critic and map learned with the student, on teacher vectors that are close together."""
    teacher = cloud(0.9).float()
    head = WcordHead(WIDTH, WIDTH, 16)
    student = nn.Parameter(teacher.clone() if start == "teacher" else torch.randn(ROWS, WIDTH))
    if start == "teacher":
        nn.init.eye_(head.student.weight)
        nn.init.zeros_(head.student.bias)
    optimizer = torch.optim.Adam([student, *head.parameters()], lr=0.01)
    for _ in range(250):
        optimizer.zero_grad()
        wcord(student, teacher, head).backward()
        optimizer.step()
    mapped, _ = head(student.detach(), teacher)
    assert 1 - likeness(mapped.detach()) > 0.5 * (1 - likeness(teacher))


def test_wcords_primal_is_the_divergence_of_the_mapped_student() -> None:
    student, teacher = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    head = WcordHead(3, 4, 8).double()
    t, s = unit(teacher).numpy(), unit(head.student(student)).detach().numpy()
    epsilon = 0.2 * float(np.mean(1 - t @ t.T))
    between = [value_by_loops(1 - a @ b.T, epsilon, 3) for a, b in ((t, s), (s, t), (t, t), (s, s))]
    expected = 0.5 * (between[0] + between[1] - between[2] - between[3])
    value = wcord(student, teacher, head, dual_weight=0.0, primal_weight=2.0, sinkhorn_epsilon=0.2, sinkhorn_iterations=3)
    assert value.item() == pytest.approx(2 * expected, abs=1e-10)


def test_the_divergence_of_equal_teacher_vectors_is_finite() -> None:
    teacher = torch.ones(4, 3)
    student = torch.randn(4, 3, requires_grad=True)
    value = sinkhorn_divergence(unit(teacher), unit(student), 0.1, 20)
    value.backward()
    assert value.item() > 0
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_wcords_dual_is_the_difference_of_the_critics_means() -> None:
    student, teacher = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    head = WcordHead(3, 4, 8).double().eval()
    s, t = unit(head.student(student)).detach().numpy(), unit(teacher).numpy()
    first, second = head.critic.hidden, head.critic.out

    def g(i: int, j: int) -> float:
        inside = np.maximum(first.weight.detach().numpy() @ np.concatenate([t[i], s[j]]) + first.bias.detach().numpy(), 0)
        return float((second.weight.detach().numpy() @ inside + second.bias.detach().numpy())[0])

    truth = np.mean([g(i, j) for i in range(5) for j in range(5)]) - np.mean([g(i, i) for i in range(5)])
    assert wcord(student, teacher, head, dual_weight=3.0, primal_weight=0.0).item() == pytest.approx(3 * truth, abs=1e-10)


def test_wcords_critic_stays_1_lipschitz_while_it_learns() -> None:
    head = WcordHead(3, 4, 8)
    student, teacher = torch.randn(6, 3), torch.randn(6, 4)
    for _ in range(40):
        gradients = torch.autograd.grad(wcord(student, teacher, head, primal_weight=0.0), list(head.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(head.parameters(), gradients, strict=True):
                parameter -= 5.0 * gradient
    with torch.no_grad():  # power iteration runs behind the weights; let it catch up
        for _ in range(100):
            head.critic(teacher, teacher)
    head.eval()
    for layer in (head.critic.hidden, head.critic.out):
        assert torch.linalg.matrix_norm(layer.weight.detach(), 2).item() == pytest.approx(1.0, abs=1e-3)
    assert wcord(student, teacher, head, primal_weight=0.0).item() < -0.1  # and it has learned to tell pairs from non-pairs
