"""MI-alpha: its two limits, a literal loop over equation 12, what Poole et al. 2019 show of it on Gaussians, and its critics."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from autodistill.losses.mutual_information import MAX_SCALE, build_scorer, mi, mutual_information_bound

CRITICS = ("inner", "bilinear", "mlp", "joint")


def gaussian_scores(pairs: int, rho: float, dimensions: int = 20) -> Tensor:
    """Scores (K, K) of the optimal critic f(x, y) = log p(y|x) / p(y) for pairs of correlated standard Gaussians; rows are y."""
    x = torch.randn(pairs, dimensions, dtype=torch.float64)
    y = rho * x + math.sqrt(1 - rho**2) * torch.randn(pairs, dimensions, dtype=torch.float64)
    conditional = -((y[:, None] - rho * x[None]) ** 2) / (2 * (1 - rho**2)) - 0.5 * math.log(1 - rho**2)
    return (conditional + y[:, None] ** 2 / 2).sum(-1)


def correlation(nats: float, dimensions: int = 20) -> float:
    """The correlation at which I(X; Y) = −d/2 log(1 − ρ²) is so many nats."""
    return math.sqrt(1 - math.exp(-2 * nats / dimensions))


@pytest.mark.parametrize("pairs", [2, 16, 64])
def test_at_one_it_is_infonce(pairs: int) -> None:
    scores = torch.randn(pairs, pairs, dtype=torch.float64) * 3
    infonce = math.log(pairs) + scores.log_softmax(dim=1).diagonal().mean()
    assert mutual_information_bound(scores, 1.0).item() == pytest.approx(infonce.item(), abs=1e-6)
    assert mutual_information_bound(scores.float(), 1.0, torch.randn(pairs)).item() == pytest.approx(infonce.item(), abs=1e-5)


@pytest.mark.parametrize("pairs", [2, 16, 64])
def test_at_zero_it_is_nwj(pairs: int) -> None:
    """I_NWJ = E_joint[f] − e⁻¹ E_independent[e^f], and TUBA where q is another one."""
    scores = torch.randn(pairs, pairs, dtype=torch.float64)
    others = ~torch.eye(pairs, dtype=torch.bool)
    nwj = scores.diagonal().mean() - math.exp(-1) * scores[others].exp().mean()
    assert mutual_information_bound(scores, 0.0).item() == pytest.approx(nwj.item(), abs=1e-6)
    log_q = torch.randn(pairs, dtype=torch.float64)
    tuba = 1 + (scores.diagonal() - log_q).mean() - (scores - log_q[:, None])[others].exp().mean()
    assert mutual_information_bound(scores, 0.0, log_q).item() == pytest.approx(tuba.item(), abs=1e-6)


@pytest.mark.parametrize("mi_alpha", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_it_is_equation_12(mi_alpha: float) -> None:
    """A literal loop: a row with its own pair for the joint expectation, without it for the independent one."""
    pairs = 5
    scores, log_q = torch.randn(pairs, pairs, dtype=torch.float64) * 2, torch.randn(pairs, dtype=torch.float64)
    f, q = scores.tolist(), log_q.exp().tolist()
    joint = independent = 0.0
    for i in range(pairs):
        m = sum(math.exp(f[i][k]) for k in range(pairs)) / pairs
        joint += math.log(math.exp(f[i][i]) / (mi_alpha * m + (1 - mi_alpha) * q[i])) / pairs
        others = [k for k in range(pairs) if k != i]
        m = sum(math.exp(f[i][k]) for k in others) / len(others)
        for k in others:
            independent += math.exp(f[i][k]) / (mi_alpha * m + (1 - mi_alpha) * q[i]) / (pairs * len(others))
    assert mutual_information_bound(scores, mi_alpha, log_q).item() == pytest.approx(1 + joint - independent, rel=1e-10)


def test_it_goes_to_its_limits_without_a_jump() -> None:
    scores = torch.randn(8, 8, dtype=torch.float64)
    for end, near in ((0.0, 1e-9), (1.0, 1 - 1e-9)):
        assert mutual_information_bound(scores, near).item() == pytest.approx(mutual_information_bound(scores, end).item(), abs=1e-6)


@pytest.mark.parametrize("mi_alpha", [0.05, 0.5, 1.0])
def test_scores_of_any_size_stay_finite(mi_alpha: float) -> None:
    scores = torch.tensor([[1e4, -1e4], [1e4, -1e4]], dtype=torch.float32, requires_grad=True)
    bound = mutual_information_bound(scores, mi_alpha)
    bound.backward()
    assert bound.isfinite()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_infonce_never_passes_log_k_and_one_pair_says_nothing() -> None:
    assert mutual_information_bound(torch.eye(8) * 1e3, 1.0).item() == pytest.approx(math.log(8), abs=1e-4)
    alone = torch.tensor([[3.0]], requires_grad=True)
    bound = mutual_information_bound(alone, 0.5)
    bound.backward()
    assert (bound.item(), alone.grad.item()) == (0.0, 0.0)  # type: ignore[union-attr]


@pytest.mark.parametrize("nats", [2.0, 4.0, 10.0])
def test_on_gaussians_it_trades_bias_for_variance(nats: float) -> None:
    """Poole et al. 2019, section 3: 20 dimensions, the optimal critic (q = 1 goes with it), batches of 64."""
    torch.manual_seed(0)
    batches = [gaussian_scores(64, correlation(nats)) for _ in range(200)]
    alphas = (0.0, 0.01, 0.5, 1.0)
    bounds = {mi_alpha: torch.stack([mutual_information_bound(scores, mi_alpha, 0.0) for scores in batches]) for mi_alpha in alphas}
    mean = {mi_alpha: values.mean().item() for mi_alpha, values in bounds.items()}
    spread = {mi_alpha: values.std().item() for mi_alpha, values in bounds.items()}
    error = spread[0.0] / math.sqrt(200)
    assert mean[0.0] == pytest.approx(nats, abs=4 * error), "α = 0 is unbiased"
    assert mean[0.0] + 4 * error > mean[0.01] > mean[0.5] > mean[1.0], "bias grows with α"
    assert spread[0.0] > spread[0.01] > spread[0.5] > spread[1.0], "variance falls with it"
    assert bounds[1.0].max() <= math.log(64)
    if nats == 10:
        assert mean[1.0] == pytest.approx(math.log(64), abs=0.1), "α = 1 saturates at log K"
        assert spread[0.0] > 20 * spread[1.0]
        assert math.log(64) + 1 < mean[0.5] < mean[0.01] < nats, "between them the bound passes log K"


@pytest.mark.parametrize("critic", CRITICS)
@pytest.mark.parametrize("baseline", ["constant", "learned"])
def test_scores_start_near_unit_variance_whatever_the_states_scale(critic: str, baseline: str) -> None:
    torch.manual_seed(0)
    scorer = build_scorer(96, 192, critic=critic, critic_width=128, baseline=baseline)
    for scale in (0.01, 100.0):
        scores, log_q = scorer(torch.randn(64, 96) * scale, torch.randn(64, 192) * scale)
        assert scores.shape == (64, 64)
        assert 0.2 < scores.std() < 3.0
        assert torch.as_tensor(log_q).float().mean().item() == pytest.approx(1.0)


def test_the_scale_of_a_critic_is_held_where_exp_is_finite() -> None:
    scorer = build_scorer(8, 8, critic="inner", critic_width=8, baseline="constant")
    torch.nn.init.constant_(scorer.critic.log_scale, 20.0)
    student = torch.randn(16, 8)
    scores, _log_q = scorer(student, torch.randn(16, 8))
    assert scores.abs().max() <= MAX_SCALE
    assert mutual_information_bound(scores, 0.0).isfinite()


@pytest.mark.parametrize("critic", CRITICS)
@pytest.mark.parametrize("mi_alpha", [0.0, 0.5, 1.0])
def test_a_student_that_learns_finds_the_information(critic: str, mi_alpha: float) -> None:
    """The loss falls below 0, its value without information, when student and critic are trained on it."""
    torch.manual_seed(0)
    inputs, mixing = torch.randn(256, 8), torch.randn(8, 12)
    teacher = (inputs @ mixing).tanh()
    student = torch.nn.Linear(8, 6)
    options = {"critic": critic, "critic_width": 32, "baseline": "learned"}
    scorer = build_scorer(6, 12, **options)
    optimizer = torch.optim.Adam([*student.parameters(), *scorer.parameters()], lr=0.01)
    values = []
    for step in range(150):
        rows = torch.arange(step * 32, step * 32 + 32) % 256
        loss = mi(student(inputs[rows]), teacher[rows], None, scorer, mi_alpha=mi_alpha, **options)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert sum(values[-10:]) / 10 < -0.7
    assert sum(values[-10:]) / 10 < sum(values[:10]) / 10 - 0.5


def test_tokens_are_thinned_to_a_fixed_number_of_positions() -> None:
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, float]:
            seen.append((len(student), len(teacher)))
            return student @ teacher.T, 1.0

    mask = torch.arange(100) < torch.tensor([[100], [70], [5], [40]] * 2)
    mi(torch.randn(8, 100, 3), torch.randn(8, 100, 3), mask, Spy(), mi_alpha=1.0)
    mi(torch.randn(8, 100, 3), torch.randn(8, 100, 3), None, Spy(), mi_alpha=1.0)
    mi(torch.randn(300, 3), torch.randn(300, 3), None, Spy(), mi_alpha=1.0)
    assert seen == [(2 * (32 * 3 + 5),) * 2, (256, 256), (300, 300)]
