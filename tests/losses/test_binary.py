"""Objectives on several labels per row against independent implementations."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence
from torch.nn.functional import binary_cross_entropy_with_logits

from autodistill.losses.binary import binary_ce, binary_kl, binary_pseudo_label

STUDENT, TEACHER = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)) * 2


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_divergence_and_cross_entropy_of_each_label(temperature: float) -> None:
    own, other = (Bernoulli(logits=logits / temperature) for logits in (STUDENT, TEACHER))
    expected = kl_divergence(other, own).sum(1).mean() * temperature**2
    torch.testing.assert_close(binary_kl(STUDENT, TEACHER, temperature=temperature), expected)
    entropy = other.entropy().sum(1).mean() * temperature**2
    torch.testing.assert_close(binary_ce(STUDENT, TEACHER, temperature=temperature), expected + entropy)
    assert binary_kl(TEACHER, TEACHER, temperature=temperature).item() == pytest.approx(0.0, abs=1e-6)


def test_certain_logits_stay_finite() -> None:
    student = torch.tensor([[500.0, -500.0]], requires_grad=True)
    loss = binary_kl(student, -student.detach())
    loss.backward()
    assert torch.isfinite(loss)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_decisions_as_labels() -> None:
    decided = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = binary_pseudo_label(STUDENT[:2, :2], torch.tensor([[0.1, -3.0], [-0.1, 8.0]]))
    expected = binary_cross_entropy_with_logits(STUDENT[:2, :2], decided, reduction="none").sum(1).mean()
    torch.testing.assert_close(found, expected)
