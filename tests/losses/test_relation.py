from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchdistill.losses.mid_level import CCKDLoss, RKDLoss

from autodistill.losses.heads import StudentHead
from autodistill.losses.relation import cc, rkd, sp, trg


def pair(batch: int = 6, seed: int = 0, student_width: int = 5, teacher_width: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, student_width, generator=generator, dtype=torch.float64),
        torch.randn(batch, teacher_width, generator=generator, dtype=torch.float64),
    )


def outputs(value: Tensor) -> dict[str, dict[str, Tensor]]:
    return {"layer": {"output": value}}


def huber(gap: float) -> float:
    return 0.5 * gap * gap if abs(gap) <= 1 else abs(gap) - 0.5


def rkd_by_loops(student: np.ndarray, teacher: np.ndarray) -> tuple[float, float]:
    """Equations 5 to 10 of Park et al. 2019, pair by pair and triple by triple."""
    count = len(student)

    def psi(rows: np.ndarray, i: int, j: int) -> float:
        mean = np.mean([np.linalg.norm(rows[a] - rows[b]) for a in range(count) for b in range(count) if a != b])
        return float(np.linalg.norm(rows[i] - rows[j]) / mean)

    def cosine(rows: np.ndarray, i: int, j: int, k: int) -> float:
        left, right = rows[i] - rows[j], rows[k] - rows[j]
        lengths = np.linalg.norm(left) * np.linalg.norm(right)
        return float(left @ right / lengths) if lengths > 0 else 0.0

    distance = sum(huber(psi(student, i, j) - psi(teacher, i, j)) for i in range(count) for j in range(count))
    triples = [(i, j, k) for i in range(count) for j in range(count) for k in range(count)]
    angle = sum(huber(cosine(student, *ijk) - cosine(teacher, *ijk)) for ijk in triples)
    return distance / count**2, angle / count**3


def test_rkd_is_the_equations() -> None:
    student, teacher = pair()
    distance, angle = rkd_by_loops(student.numpy(), teacher.numpy())
    assert rkd(student, teacher, distance_weight=1.0, angle_weight=0.0).item() == pytest.approx(distance, abs=1e-10)
    assert rkd(student, teacher, distance_weight=0.0, angle_weight=1.0).item() == pytest.approx(angle, abs=1e-10)
    assert rkd(student, teacher, distance_weight=25.0, angle_weight=50.0).item() == pytest.approx(25 * distance + 50 * angle, abs=1e-9)


def test_rkd_is_torchdistills() -> None:
    student, teacher = pair(batch=9)
    theirs = RKDLoss("layer", "layer", dist_factor=1.0, angle_factor=2.0, reduction="mean")
    assert torch.allclose(rkd(student, teacher), theirs(outputs(student), outputs(teacher)), atol=1e-6)


def test_rkd_knows_neither_place_turn_nor_scale() -> None:
    student, teacher = pair()
    turn, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))
    assert torch.allclose(rkd(student, teacher), rkd(3.0 * student @ turn + 4.0, teacher), atol=1e-10)
    assert rkd(0.1 * teacher, teacher).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("rows", [[[1.0, 2.0]], [[1.0, 2.0]] * 4, [[1.0, 2.0], [1.0, 2.0], [0.0, 1.0]]])
def test_rkd_stays_finite_on_one_row_and_on_equal_rows(rows: list[list[float]]) -> None:
    student = torch.tensor(rows, requires_grad=True)
    value = rkd(student, torch.randn(len(rows), 3))
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 1e3


def test_sp_is_the_equations() -> None:
    student, teacher = pair()

    def rows(vectors: np.ndarray) -> np.ndarray:
        similar = vectors @ vectors.T
        return np.stack([row / np.linalg.norm(row) for row in similar])

    by_hand = np.sum((rows(teacher.numpy()) - rows(student.numpy())) ** 2) / 6**2
    assert sp(student, teacher).item() == pytest.approx(by_hand, abs=1e-12)  # torchdistill's rows have L1 norm 1, the paper's L2
    assert sp(7.0 * student, teacher).item() == pytest.approx(by_hand, abs=1e-12)  # rows have length 1 whatever the scale


def test_cc_is_the_equations() -> None:
    student, teacher = pair()

    def kernel(vectors: np.ndarray) -> np.ndarray:
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.array(
            [[math.exp(-0.8) * sum(0.8**p / math.factorial(p) * float(x @ y) ** p for p in range(3)) for y in vectors] for x in vectors]
        )

    by_hand = np.sum((kernel(teacher.numpy()) - kernel(student.numpy())) ** 2) / 6**2
    assert cc(student, teacher, gamma=0.4, order=2).item() == pytest.approx(by_hand, abs=1e-12)


def test_cc_has_torchdistills_kernel() -> None:
    student, teacher = (torch.nn.functional.normalize(vectors) for vectors in pair())
    config = {"type": "gaussian", "gamma": 0.4, "max_p": 2}
    distance = CCKDLoss("layer", "layer", config, reduction="none")(outputs(student), outputs(teacher))
    assert cc(student, teacher).item() == pytest.approx(distance.item() ** 2 / 36, abs=1e-10)  # theirs leaves the norm unsquared


def test_ccs_series_goes_to_the_gaussian_kernel() -> None:
    student, teacher = (torch.nn.functional.normalize(vectors) for vectors in pair())
    gaussian = (torch.exp(-0.4 * torch.cdist(student, student) ** 2) - torch.exp(-0.4 * torch.cdist(teacher, teacher) ** 2)).square().mean()
    assert cc(student, teacher, gamma=0.4, order=8).item() == pytest.approx(gaussian.item(), abs=1e-6)


@pytest.mark.parametrize("objective", [rkd, sp, cc])
def test_batch_order_does_not_matter_and_the_teacher_gets_no_gradient(objective) -> None:
    student, teacher = pair()
    order = torch.randperm(6)
    assert torch.allclose(objective(student, teacher), objective(student[order], teacher[order]), atol=1e-12)
    student.requires_grad_()
    teacher.requires_grad_()
    objective(student, teacher).backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@pytest.mark.parametrize("objective", [rkd, sp, cc])
def test_gradients_and_bfloat16(objective) -> None:
    student, teacher = pair()
    assert torch.autograd.gradcheck(lambda vectors: objective(vectors, teacher), student.requires_grad_(), fast_mode=True)
    rough = objective(student.detach().bfloat16(), teacher.bfloat16())
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(objective(student, teacher).item(), rel=0.1)


def states(lengths: list[int], width: int, longest: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """States with what stands beyond a text's end taken from the generator too, so that it must not count."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)
    filled = torch.zeros(len(lengths), longest, width, dtype=torch.float64)
    for row, length in enumerate(lengths):
        filled[row, :length] = torch.randn(length, width, generator=generator, dtype=torch.float64)
    rest = torch.randn(filled.shape, generator=generator, dtype=torch.float64)
    return torch.where(mask.unsqueeze(-1), filled, rest), mask


def trg_by_loops(student: Tensor, teacher: Tensor, mask: Tensor, projected: Tensor, neighbours: int, bandwidth: float, tau: float) -> tuple:
    def softmax(values: np.ndarray) -> np.ndarray:
        shares = np.exp(values - values.max())
        return shares / shares.sum()

    inner = []
    for row in range(len(mask)):
        keep = mask[row].numpy()
        maps = [np.stack([softmax(x @ rows.T / math.sqrt(rows.shape[1])) for x in rows]) for rows in
                (student[row].numpy()[keep], teacher[row].numpy()[keep])]  # fmt: skip
        inner.append(np.mean((maps[0] - maps[1]) ** 2))
    nodes = [part[mask].numpy() for part in (student, teacher, projected)]
    x, y, wx = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in nodes)
    local, everywhere = [], []
    for i in range(len(x)):
        near = sorted((j for j in range(len(x)) if j != i), key=lambda j: np.linalg.norm(y[i] - y[j]))[:neighbours]
        own = softmax(np.array([math.exp(-np.sum((x[i] - x[j]) ** 2) / (2 * bandwidth)) for j in near]))
        target = softmax(np.array([math.exp(-np.sum((y[i] - y[j]) ** 2) / (2 * bandwidth)) for j in near]))
        local.append(np.sum(own * np.log(own / target)))
        everywhere.append(-math.log(softmax(wx[i] @ y.T / tau)[i]))
    return np.mean(inner), np.mean(local), np.mean(everywhere)


def test_trg_is_the_equations() -> None:
    lengths = [4, 2, 5]
    student, mask = states(lengths, 3, 5, seed=1)
    teacher, _ = states(lengths, 6, 5, seed=2)
    head = StudentHead(3, 6).double()
    truth = trg_by_loops(student, teacher, mask, head.student(student).detach(), 3, 0.5, 0.1)
    for place, name in enumerate(("inner_weight", "local_weight", "global_weight")):
        weights = {"inner_weight": 0.0, "local_weight": 0.0, "global_weight": 0.0, name: 1.0}
        assert trg(student, teacher, mask, head, neighbours=3, **weights).item() == pytest.approx(truth[place], abs=1e-10)
    total = 10 * truth[0] + 100 * truth[1] + truth[2]
    assert trg(student, teacher, mask, head, neighbours=3).item() == pytest.approx(total, abs=1e-8)


@pytest.mark.parametrize("nodes", [6, 512])
def test_trg_does_not_see_padding_or_batch_order(nodes: int) -> None:
    lengths = [4, 2, 5]
    head = StudentHead(3, 6).double()
    values = []
    for longest in (5, 9):
        student, mask = states(lengths, 3, longest, seed=1)
        teacher, _ = states(lengths, 6, longest, seed=2)
        values.append(trg(student, teacher, mask, head, nodes=nodes).item())
        order = torch.tensor([2, 0, 1])
        values.append(trg(student[order], teacher[order], mask[order], head, nodes=nodes).item())
    assert values == pytest.approx([values[0]] * 4, abs=1e-9)


def test_trg_of_few_nodes_reads_only_those() -> None:
    student, mask = states([9, 9], 3, 9)
    teacher, _ = states([9, 9], 6, 9, seed=3)
    student.requires_grad_()
    trg(student, teacher, mask, StudentHead(3, 6).double(), nodes=6, inner_weight=0.0).backward()
    assert student.grad is not None
    assert (student.grad.abs().sum(dim=-1) > 0).sum(dim=1).tolist() == [3, 3]


def test_trg_gradients_teacher_and_bfloat16() -> None:
    lengths = [3, 2]
    student, mask = states(lengths, 3, 4, seed=1)
    teacher, _ = states(lengths, 4, 4, seed=2)
    head = StudentHead(3, 4).double()
    assert torch.autograd.gradcheck(lambda state: trg(state, teacher, mask, head, neighbours=2), student.requires_grad_())
    teacher.requires_grad_()
    trg(student, teacher, mask, head).backward()
    assert teacher.grad is None
    rough = trg(student.detach().bfloat16(), teacher.detach().bfloat16(), mask, head.bfloat16())
    assert rough.dtype == torch.float32
    assert rough.isfinite()


def test_trg_of_a_single_token_is_finite() -> None:
    student = torch.randn(1, 3, 4, requires_grad=True)
    value = trg(student, torch.randn(1, 3, 5), torch.tensor([[True, False, False]]), StudentHead(4, 5))
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()
