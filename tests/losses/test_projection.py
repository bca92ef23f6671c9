from __future__ import annotations

import pytest
import torch

from autodistill.errors import RecipeError
from autodistill.losses.projection import KINDS, build_projection, normalise


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
@pytest.mark.parametrize(("student", "teacher"), [(6, 10), (10, 6), (8, 8)])
def test_widths(kind: str, student: int, teacher: int) -> None:
    projection = build_projection(kind, student, teacher)
    assert projection(torch.randn(3, student)).shape == (3, teacher)
    assert projection(torch.randn(3, 5, student)).shape == (3, 5, teacher)


@pytest.mark.parametrize(("student", "teacher"), [(6, 10), (10, 6), (8, 8)])
def test_orthogonal_stays_orthogonal_while_it_learns(student: int, teacher: int) -> None:
    torch.manual_seed(0)
    projection = build_projection("orthogonal", student, teacher)
    inputs, target = torch.randn(64, student), torch.randn(64, teacher)
    before = projection.weight.detach().clone()
    optimizer = torch.optim.AdamW(projection.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (projection(inputs) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    weight = projection.weight.detach()
    narrow = weight.T @ weight if teacher >= student else weight @ weight.T
    assert torch.allclose(narrow, torch.eye(min(student, teacher)), atol=1e-4)
    assert (weight - before).norm() > 0.5
    assert losses[-1] < losses[0]
    if teacher >= student:  # distances between the student's states are kept
        assert torch.allclose(torch.pdist(projection(inputs)), torch.pdist(inputs), atol=1e-3)


def test_none_needs_equal_widths() -> None:
    states = torch.randn(2, 4)
    assert build_projection("none", 4, 4)(states) is states
    with pytest.raises(RecipeError, match="student's states are 4 wide and the teacher's 6; choose projection linear"):
        build_projection("none", 4, 6)
    with pytest.raises(RecipeError, match="projection is 'liner'; allowed: .* Did you mean 'linear'"):
        build_projection("liner", 4, 6)


def test_standardise_gives_every_vector_mean_zero_and_unit_variance() -> None:
    state = torch.randn(3, 4, 50) * 7 + 2
    done = normalise(state)
    assert done.mean(-1).abs().max() < 1e-5
    assert done.var(-1, correction=0).sub(1).abs().max() < 1e-3


def test_whiten_gives_the_kept_vectors_unit_covariance() -> None:
    torch.manual_seed(0)
    state = torch.randn(40, 10, 6, dtype=torch.float64) @ torch.randn(6, 6, dtype=torch.float64) + 3
    mask = torch.rand(40, 10) < 0.7
    done = normalise(state, mask, how="whiten")
    assert torch.allclose(torch.cov(done[mask].T), torch.eye(6, dtype=torch.float64), atol=2e-3)
    assert torch.equal(normalise(state.masked_fill(~mask[..., None], 99.0), mask, how="whiten")[mask], done[mask])
    assert normalise(torch.ones(1, 6), how="whiten").isfinite().all()
    with pytest.raises(RecipeError, match="allowed: standardise, whiten"):
        normalise(state, how="whitening")  # type: ignore[arg-type]
