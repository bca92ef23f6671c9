"""The objectives on logits against literal loops over their equations, and against torchdistill where it has them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchdistill.losses.mid_level import DISTLoss, KDLoss

from autodistill.errors import RecipeError
from autodistill.losses.prediction import build_subclasses, dist, dkd, kl, lelp, mse, nkd, soft_ce


@pytest.fixture(params=[2, 5])
def logits(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(request.param)
    student, teacher = (torch.randn(6, request.param, generator=generator, dtype=torch.float64) * 2 for _ in range(2))
    return student, teacher, torch.randint(request.param, (6,), generator=generator)


def softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def without(row: list[float], index: int) -> list[float]:
    return row[:index] + row[index + 1 :]


def io(student: Tensor, teacher: Tensor) -> tuple[dict, dict]:
    return {".": {"output": student}}, {".": {"output": teacher}}


PATHS = {"student_module_path": ".", "student_module_io": "output", "teacher_module_path": ".", "teacher_module_io": "output"}


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kl_is_hintons(logits: tuple[Tensor, Tensor, Tensor], temperature: float) -> None:
    student, teacher, labels = logits
    total = 0.0
    for z, v in zip(student.tolist(), teacher.tolist(), strict=True):
        q, p = softmax(z, temperature), softmax(v, temperature)
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert kl(student, teacher, temperature=temperature).item() == pytest.approx(temperature**2 * total / len(student), rel=1e-12)
    # torchdistill's alpha is the weight of the hard labels; at 0 it leaves T² out
    reference = KDLoss(**PATHS, temperature=temperature, alpha=0.5, beta=1.0, reduction="batchmean")(*io(student, teacher), labels)
    hard = 0.5 * torch.nn.functional.cross_entropy(student, labels)
    assert kl(student, teacher, temperature=temperature).item() == pytest.approx((reference - hard).item(), rel=1e-10)


def test_soft_ce_is_kl_plus_the_teachers_entropy(logits: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, labels = logits
    p = (teacher / 3).softmax(-1)
    entropy = -(p * p.log()).sum(-1).mean()
    assert soft_ce(student, teacher, temperature=3.0).item() == pytest.approx((kl(student, teacher, temperature=3.0) + 9 * entropy).item())
    sure = torch.nn.functional.one_hot(labels, student.shape[1]).double() * 1e3
    assert soft_ce(student, sure, temperature=1.0).item() == pytest.approx(torch.nn.functional.cross_entropy(student, labels).item())


def test_mse_is_a_mean_over_rows_and_classes() -> None:
    student, teacher = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    assert mse(student, teacher).item() == pytest.approx((1 + 4 + 0 + 9) / 4)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dkd_is_equation_7(logits: tuple[Tensor, Tensor, Tensor], temperature: float) -> None:
    student, teacher, labels = logits
    total = 0.0
    for z, v, t in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        q, p = softmax(z, temperature), softmax(v, temperature)
        tckd = p[t] * math.log(p[t] / q[t]) + (1 - p[t]) * math.log((1 - p[t]) / (1 - q[t]))
        rest = zip(without(p, t), without(q, t), strict=True)
        nckd = sum(a / (1 - p[t]) * math.log((a / (1 - p[t])) / (b / (1 - q[t]))) for a, b in rest)
        total += 1.5 * tckd + 6.0 * nckd
    loss = dkd(student, teacher, labels, dkd_target_weight=1.5, dkd_nontarget_weight=6.0, temperature=temperature)
    assert loss.item() == pytest.approx(temperature**2 * total / len(student), rel=1e-10)


def test_dkd_with_the_teachers_own_weight_is_kl() -> None:
    """Equation 6: KD = TCKD + (1 − p_t) NCKD, here on one row."""
    student, teacher = torch.randn(1, 7, dtype=torch.float64), torch.randn(1, 7, dtype=torch.float64)
    rest = 1 - (teacher / 2).softmax(-1)[0, 3].item()
    loss = dkd(student, teacher, torch.tensor([3]), dkd_target_weight=1.0, dkd_nontarget_weight=rest, temperature=2.0)
    assert loss.item() == pytest.approx(kl(student, teacher, temperature=2.0).item(), rel=1e-10)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dist_is_the_paper_and_torchdistill(logits: tuple[Tensor, Tensor, Tensor], temperature: float) -> None:
    student, teacher, _labels = logits
    q, p = (student / temperature).softmax(-1), (teacher / temperature).softmax(-1)
    inter = sum(1 - torch.corrcoef(torch.stack([a, b]))[0, 1].item() for a, b in zip(q, p, strict=True)) / len(q)
    intra = sum(1 - torch.corrcoef(torch.stack([a, b]))[0, 1].item() for a, b in zip(q.T, p.T, strict=True)) / q.shape[1]
    loss = dist(student, teacher, dist_inter_weight=2.0, dist_intra_weight=0.5, temperature=temperature).item()
    assert loss == pytest.approx(temperature**2 * (2.0 * inter + 0.5 * intra), rel=1e-9)
    reference = DISTLoss(**PATHS, beta=2.0, gamma=0.5, tau=temperature)(*io(student, teacher))
    assert loss == pytest.approx(reference.item(), rel=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_nkd_is_the_paper(logits: tuple[Tensor, Tensor, Tensor], temperature: float) -> None:
    student, teacher, labels = logits
    total = 0.0
    for z, v, t in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        rest = zip(softmax(without(v, t), temperature), softmax(without(z, t), temperature), strict=True)
        total += -softmax(v)[t] * math.log(softmax(z)[t]) - 1.5 * temperature**2 * sum(a * math.log(b) for a, b in rest)
    loss = nkd(student, teacher, labels, nkd_nontarget_weight=1.5, temperature=temperature)
    assert loss.item() == pytest.approx(total / len(student), rel=1e-10)


@pytest.mark.parametrize("objective", [kl, soft_ce, mse, dist])
def test_very_sure_models_give_finite_losses(objective: Callable[..., Tensor]) -> None:
    student, teacher = torch.tensor([[1e4, -1e4, 0.0], [0.0, 1e4, 1e4]], requires_grad=True), torch.tensor([[-1e4, 1e4, 0.0]] * 2)
    value = objective(student, teacher)
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("objective", [dkd, nkd])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_very_sure_models_give_finite_losses_with_labels(objective: Callable[..., Tensor], label: int) -> None:
    student, teacher = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True), torch.tensor([[-1e4, 1e4, 0.0]])
    value = objective(student, teacher, torch.tensor([label]))
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def lelp_teacher() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Embeddings whose spread within a class lies along known axes, outside of what the output weights read (the first two axes)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    embeddings = torch.randn(400, 8, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 1, 9, 4, 0.1, 0.1, 0.1, 0.1])
    embeddings[:, 0] += labels * 6.0
    weights = torch.zeros(2, 8, dtype=torch.float64)
    weights[0, :2], weights[1, :2] = torch.tensor([1.0, 0.5]), torch.tensor([-1.0, 0.3])
    return embeddings, embeddings @ weights.T + 0.7, labels, weights


def test_lelp_finds_the_directions_that_the_logits_do_not_show() -> None:
    embeddings, logits, labels, weights = lelp_teacher()
    splitter = build_subclasses(
        6, 8, classes=2, rows=400, subclasses=2, teacher_embeddings=embeddings, teacher_logits=logits, labels=labels
    )
    directions = splitter.directions.double()
    assert torch.allclose(directions @ weights.T, torch.zeros(2, 2, 2, dtype=torch.float64), atol=1e-5)
    outside = directions.clone()
    outside[:, :, 2:4] = 0  # the two wide axes are all that the directions use
    assert outside.abs().max() < 0.02 * directions.abs().max()
    for index in range(2):
        scores = embeddings[labels == index] @ directions[index].T - splitter.offsets[index].double()
        assert scores.mean(0).abs().max() < 1e-4
        assert scores.var(dim=0, correction=0).mean().item() == pytest.approx(1.0, rel=1e-4)


def test_lelp_is_cross_entropy_over_all_subclasses() -> None:
    embeddings, all_logits, labels, _weights = lelp_teacher()
    fit = {"teacher_embeddings": embeddings, "teacher_logits": all_logits, "labels": labels}
    splitter = build_subclasses(6, 8, classes=2, rows=400, subclasses=3, **fit).double()
    student, hidden = torch.randn(5, 2, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    a = splitter.head(hidden).view(5, 2, 3)
    total = 0.0
    for b in range(5):
        p, q = softmax(all_logits[b].tolist(), 2.0), softmax(student[b].tolist(), 2.0)
        for c in range(2):
            u = [(splitter.directions[c, s] @ embeddings[b] - splitter.offsets[c, s]).item() for s in range(3)]
            for share, guess in zip(softmax(u, 0.5), softmax(a[b, c].tolist(), 2.0), strict=True):
                total -= p[c] * share * math.log(q[c] * guess)
    options = {"subclasses": 3, "subclass_temperature": 0.5, "temperature": 2.0}
    loss = lelp(student, all_logits[:5], hidden, embeddings[:5], splitter, **options)
    assert loss.item() == pytest.approx(4.0 * total / 5, rel=1e-6)


def test_lelp_gives_a_class_of_one_row_the_directions_of_all_rows() -> None:
    """Such a class has no variance, and what its one row leaves less its mean is rounding noise, if anything."""
    embeddings, _logits, labels, weights = lelp_teacher()
    labels = labels.clone()
    labels[7], labels[8:10] = 2, 3  # class 2 has one row, class 3 has two, class 4 has none
    embeddings[9] = embeddings[8] + torch.tensor([0.0, 0, 0, 0, 2, 0, 0, 0], dtype=torch.float64)
    fit = {"teacher_embeddings": embeddings, "teacher_logits": embeddings @ weights.T, "labels": labels}
    splitter = build_subclasses(6, 8, classes=5, rows=400, subclasses=2, **fit)
    directions, offsets = splitter.directions.double(), splitter.offsets.double()
    for index in (2, 4):
        outside = directions[index].clone()
        outside[:, 2:4] = 0  # the two wide axes of all rows
        assert outside.abs().max() < 0.05 * directions[index].abs().max()
        scores = embeddings @ directions[index].T - offsets[index]
        assert scores.var(dim=0, correction=0).mean().item() == pytest.approx(1.0, rel=1e-3)
    assert torch.allclose(embeddings[7] @ directions[2].T, offsets[2], atol=1e-4), "about its own row"
    along = directions[3] / directions[3].norm(dim=1, keepdim=True)
    assert torch.allclose(along[:, 4].abs(), torch.ones(2, dtype=torch.float64), atol=1e-4), "two rows have one direction"


def test_lelp_of_a_teacher_that_says_the_same_of_every_row_splits_nothing() -> None:
    same = {"teacher_embeddings": torch.ones(20, 8), "teacher_logits": torch.ones(20, 2), "labels": torch.arange(20) % 2}
    splitter = build_subclasses(6, 8, classes=2, rows=20, subclasses=3, **same)
    assert not splitter.directions.any()
    student = torch.randn(4, 2, requires_grad=True)
    value = lelp(student, torch.ones(4, 2), torch.randn(4, 6), torch.ones(4, 8), splitter)
    value.backward()
    assert value.isfinite()


def test_lelp_refuses_more_subclasses_than_dimensions() -> None:
    embeddings, logits, labels, _weights = lelp_teacher()
    fit = {"teacher_embeddings": embeddings, "teacher_logits": logits, "labels": labels}
    with pytest.raises(RecipeError, match="subclasses is 9; allowed: at most 8"):
        build_subclasses(6, 8, classes=2, rows=400, subclasses=9, **fit)
