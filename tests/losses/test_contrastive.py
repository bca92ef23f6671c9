from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchdistill.losses.mid_level import CRDLoss

from autodistill.losses.contrastive import ckd, colld, crd, infonce, mcrd, supcon
from autodistill.losses.heads import Heads, StudentHead
from autodistill.losses.memory import CkdHead, CrdHead, MemoryBank, build_ckd_head, build_crd_head
from autodistill.losses.wasserstein import WcordHead, wcord

ROWS = 12
INDEX = torch.tensor([3, 0, 7, 11, 5])
LABELS = torch.tensor([0, 1, 0, 2, 1])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def pair(batch: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 3, dtype=torch.float64), torch.randn(batch, 4, dtype=torch.float64)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def projected(layer: nn.Linear, rows: Tensor) -> np.ndarray:
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return unit_rows(np.stack([weight @ row + bias for row in rows.numpy()]))


def nce_by_loops(anchors: np.ndarray, candidates: np.ndarray, temperature: float) -> float:
    total = 0.0
    for i in range(len(anchors)):
        shares = [math.exp(anchors[i] @ candidates[j] / temperature) for j in range(len(candidates))]
        total -= math.log(shares[i] / sum(shares))
    return total / len(anchors)


def test_infonce_is_the_equation() -> None:
    student, teacher = pair()
    head = Heads(3, 4, 6).double()
    truth = nce_by_loops(projected(head.student, student), projected(head.teacher, teacher), 0.2)
    assert infonce(student, teacher, head, temperature=0.2).item() == pytest.approx(truth, abs=1e-10)


def test_infonce_of_equal_vectors_is_log_b() -> None:
    head = Heads(3, 4, 6).double()
    assert infonce(torch.ones(5, 3).double(), torch.ones(5, 4).double(), head).item() == pytest.approx(math.log(5), abs=1e-12)
    assert infonce(*pair(1), head).item() == 0.0


def test_supcon_is_the_equation() -> None:
    student, teacher = pair()
    head = Heads(3, 4, 6).double()
    z, y = projected(head.student, student), projected(head.teacher, teacher)
    total = 0.0
    for i in range(5):
        everyone = sum(math.exp(z[i] @ y[j] / 0.1) for j in range(5))
        same = [p for p in range(5) if LABELS[p] == LABELS[i]]
        total -= sum(math.log(math.exp(z[i] @ y[p] / 0.1) / everyone) for p in same) / len(same)
    assert supcon(student, teacher, LABELS, head).item() == pytest.approx(total / 5, abs=1e-10)
    one_each = supcon(student, teacher, torch.arange(5), head)
    assert one_each.item() == pytest.approx(infonce(student, teacher, head).item(), abs=1e-12)


def test_crd_in_the_batch_is_the_equation() -> None:
    student, teacher = pair()
    head = CrdHead(3, 4, 6, rows=ROWS, with_bank=False).double()
    s, t = projected(head.student, student), projected(head.teacher, teacher)

    def h(i: int, j: int) -> float:
        share = math.exp(t[i] @ s[j] / 0.5)
        return share / (share + 4 / ROWS)

    total = -sum(math.log(h(i, i)) + sum(math.log(1 - h(j, i)) for j in range(5) if j != i) for i in range(5)) / 5
    assert crd(student, teacher, INDEX, head, negatives="batch", temperature=0.5).item() == pytest.approx(total, abs=1e-10)


def test_crd_of_one_row_in_the_batch_is_zero_with_a_finite_gradient() -> None:
    student = torch.randn(1, 3, requires_grad=True)
    value = crd(student, torch.randn(1, 4), INDEX[:1], CrdHead(3, 4, 6, rows=ROWS, with_bank=False), negatives="batch")
    value.backward()
    assert value.item() == 0
    assert student.grad is not None
    assert student.grad.isfinite().all()


def bank_head(rows: int = ROWS) -> CrdHead:
    return build_crd_head(3, 4, rows=rows, width=6, negatives="bank", temperature=0.07).double()


def bank_of(head: CrdHead) -> MemoryBank:
    assert head.bank is not None
    return head.bank


def test_crd_with_the_bank_is_the_equation() -> None:
    student, teacher = pair()
    head = bank_head()
    memory_s, memory_t = bank_of(head).student.numpy().copy(), bank_of(head).teacher.numpy().copy()
    value = crd(student, teacher, INDEX, head, negatives="bank", temperature=0.3, bank_negatives=1000)  # all 11 others
    total = 0.0
    for anchors, memory in (
        (projected(head.student, student), memory_t),
        (projected(head.teacher, teacher), memory_s),
    ):
        raw = np.array([[math.exp(anchor @ entry / 0.3) for entry in memory] for anchor in anchors])
        scaled = raw / (ROWS * raw.mean())
        h = scaled / (scaled + 11 / ROWS)
        for i, row in enumerate(INDEX.tolist()):
            total -= math.log(h[i, row]) + sum(math.log(1 - h[i, other]) for other in range(ROWS) if other != row)
    assert value.item() == pytest.approx(total / 5, abs=1e-9)


def test_crd_with_the_bank_is_torchdistills_over_two_steps() -> None:
    head = bank_head()
    bank = bank_of(head)
    theirs = CRDLoss("norm", "empty", "norm", 6, ROWS, num_negative_samples=ROWS - 1, num_samples=ROWS, temperature=0.07, momentum=0.5)
    theirs.double()
    theirs.memory_v1.copy_(bank.student)
    theirs.memory_v2.copy_(bank.teacher)
    for _ in range(2):
        student, teacher = pair()
        chosen = (INDEX.unsqueeze(1) + torch.arange(ROWS)) % ROWS
        s, t = head(student, teacher)
        supplement = {"pos_idx": INDEX, "contrast_idx": chosen}
        expected = theirs({"norm": {"output": s}, "empty": {"input": supplement}}, {"norm": {"output": t}})
        value = crd(student, teacher, INDEX, head, negatives="bank", bank_negatives=ROWS - 1, momentum=0.5)
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)
        assert torch.allclose(bank.student, theirs.memory_v1)
        assert torch.allclose(bank.teacher, theirs.memory_v2)


def test_the_bank_moves_the_batchs_rows_by_momentum_and_keeps_unit_length() -> None:
    student, teacher = pair()
    head = bank_head()
    before = copy.deepcopy(bank_of(head))
    crd(student, teacher, INDEX, head, negatives="bank", momentum=0.8)
    after = bank_of(head)
    for old, new, fresh in (
        (before.student, after.student, projected(head.student, student)),
        (before.teacher, after.teacher, projected(head.teacher, teacher)),
    ):
        assert torch.allclose(new.norm(dim=1), torch.ones(ROWS).double())
        untouched = [row for row in range(ROWS) if row not in INDEX.tolist()]
        assert torch.equal(new[untouched], old[untouched])
        for place, row in enumerate(INDEX.tolist()):
            assert new[row].numpy() == pytest.approx(unit_rows(0.8 * old[row].numpy() + 0.2 * fresh[place]), abs=1e-10)


def test_the_bank_sets_its_normaliser_once_and_evaluation_changes_nothing() -> None:
    head = bank_head().eval()
    before = copy.deepcopy(head.state_dict())
    crd(*pair(), INDEX, head, negatives="bank")
    assert all(torch.equal(before[name].nan_to_num(), value.nan_to_num()) for name, value in head.state_dict().items())
    head.train()
    crd(*pair(), INDEX, head, negatives="bank")
    first = bank_of(head).log_z.clone()
    assert first.isfinite().all()
    crd(*pair(), INDEX, head, negatives="bank")
    assert torch.equal(bank_of(head).log_z, first)


def test_the_bank_goes_on_from_a_state_dict() -> None:
    head, other = bank_head(), bank_head()
    crd(*pair(), INDEX, head, negatives="bank")
    other.load_state_dict(head.state_dict())
    student, teacher = pair()
    values = [crd(student, teacher, INDEX, one, negatives="bank", bank_negatives=ROWS).item() for one in (head, other)]
    assert values[0] == values[1]


def test_drawn_rows_are_other_rows_all_of_them_alike() -> None:
    bank = MemoryBank(6, 2)
    drawn = bank.draw(torch.tensor([4, 0]), 4)
    assert drawn.shape == (2, 5)
    many = bank.draw(torch.full((4000,), 4), 3)
    assert (many[:, 0] == 4).all()
    share = torch.bincount(many[:, 1:].flatten(), minlength=6) / 12000
    assert share.tolist() == pytest.approx([0.2, 0.2, 0.2, 0.2, 0.0, 0.2], abs=0.02)
    assert sorted(bank.draw(torch.tensor([4]), 5)[0].tolist()) == [0, 1, 2, 3, 4, 5]


def test_a_head_without_a_bank_has_no_memory() -> None:
    head = build_crd_head(3, 4, rows=10**9, width=6, negatives="batch")
    assert head.bank is None
    assert head.rows == 10**9


def test_mcrd_is_infonce_over_regions_of_every_scale() -> None:
    student, teacher = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 4, 8, 8, dtype=torch.float64)
    head = Heads(3, 4, 6).double()
    values = []
    for grid in (1, 2, 4):
        regions = []
        for maps in (student, teacher):
            step = maps.shape[2] // grid
            regions.append(
                torch.stack(
                    [
                        maps[b, :, i * step : (i + 1) * step, j * step : (j + 1) * step].mean(dim=(1, 2))
                        for b in range(2)
                        for i in range(grid)
                        for j in range(grid)
                    ]
                )
            )
        values.append(nce_by_loops(projected(head.student, regions[0]), projected(head.teacher, regions[1]), 0.1))
    assert mcrd(student, teacher, head, scales=3).item() == pytest.approx(float(np.mean(values)), abs=1e-10)
    assert mcrd(student, teacher, head, scales=1).item() == pytest.approx(values[0], abs=1e-10)


def test_mcrd_on_a_map_of_one_place_is_infonce_of_it() -> None:
    student, teacher = torch.randn(3, 3, 1, 1, dtype=torch.float64), torch.randn(3, 4, 2, 2, dtype=torch.float64)
    head = Heads(3, 4, 6).double()
    plain = infonce(student.flatten(1), teacher.mean(dim=(2, 3)), head, temperature=0.1)
    assert mcrd(student, teacher, head, scales=4).item() == pytest.approx(plain.item(), abs=1e-12)


def ckd_by_loops(anchors: np.ndarray, teacher: np.ndarray, queue: list[tuple[int, np.ndarray]], temperature: float) -> float:
    total = 0.0
    for i, row in enumerate(INDEX.tolist()):
        own = math.exp(anchors[i] @ teacher[i] / temperature)
        batch = sum(math.exp(anchors[i] @ other / temperature) for other in teacher)
        waiting = sum(math.exp(anchors[i] @ vector / temperature) for queued, vector in queue if queued != row)
        total -= math.log(own / (batch + waiting))
    return total / len(INDEX)


def test_ckd_is_the_equation_and_its_queue_is_first_in_first_out() -> None:
    head = CkdHead(3, 4, size=7).double()
    queue: list[tuple[int, np.ndarray]] = []
    for step in range(4):
        student, teacher = pair()
        if step == 3:
            head.eval()
        y = unit_rows(teacher.numpy())
        truth = ckd_by_loops(projected(head.student, student), y, queue, 0.2)
        assert ckd(student, teacher, INDEX, head, temperature=0.2).item() == pytest.approx(truth, abs=1e-10)
        if step < 3:
            queue = [*queue, *zip(INDEX.tolist(), y, strict=True)][-7:]
    assert sorted(head.queue_rows.tolist()) == sorted(row for row, _ in queue)


def test_ckds_queue_is_no_longer_than_the_split_and_takes_a_batch_longer_than_itself() -> None:
    head = build_ckd_head(3, 4, rows=2, queue=4096)
    assert head.queue.shape == (2, 4)
    teacher = torch.nn.functional.normalize(torch.randn(5, 4))
    head.enqueue(teacher, INDEX)
    assert sorted(head.queue_rows.tolist()) == sorted(INDEX[-2:].tolist())
    head.train()
    student = torch.randn(5, 3, requires_grad=True)
    ckd(student, teacher, INDEX, head).backward()  # the queue is written between forward and backward
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_ckds_queue_goes_on_from_a_state_dict() -> None:
    head, other = CkdHead(3, 4, size=7).double(), CkdHead(3, 4, size=7).double()
    ckd(*pair(), INDEX, head)
    other.load_state_dict(head.state_dict())
    student, teacher = pair()
    assert ckd(student, teacher, INDEX, head).item() == ckd(student, teacher, INDEX, other).item()


def test_colld_is_the_mean_over_layer_pairs() -> None:
    pairs = [pair() for _ in range(3)]
    head = StudentHead(3, 4).double()
    truth = [nce_by_loops(projected(head.student, student), unit_rows(teacher.numpy()), 0.1) for student, teacher in pairs]
    value = colld([student for student, _ in pairs], [teacher for _, teacher in pairs], head)
    assert value.item() == pytest.approx(float(np.mean(truth)), abs=1e-10)
    with pytest.raises(ValueError, match="longer"):
        colld([pairs[0][0]] * 2, [pairs[0][1]] * 3, head)


def objectives() -> dict[str, tuple[nn.Module, Callable[..., Tensor]]]:
    """Every objective as a function of (student, teacher, index, labels) with its head, for what must hold of all."""
    maps = (4, 4)

    def on_maps(student: Tensor, teacher: Tensor, head: Heads) -> Tensor:
        ramp = torch.arange(16.0, dtype=student.dtype).view(1, 1, *maps).cos()
        return mcrd(student[:, :, None, None] * ramp, teacher[:, :, None, None] * ramp.roll(1), head)

    heads = Heads(3, 4, 6)
    return {
        "infonce": (heads, lambda s, t, i, y, h: infonce(s, t, h)),
        "supcon": (heads, lambda s, t, i, y, h: supcon(s, t, y, h)),
        "crd batch": (CrdHead(3, 4, 6, ROWS, False), lambda s, t, i, y, h: crd(s, t, i, h, negatives="batch")),
        "crd bank": (CrdHead(3, 4, 6, ROWS, True), lambda s, t, i, y, h: crd(s, t, i, h, negatives="bank")),
        "mcrd": (heads, lambda s, t, i, y, h: on_maps(s, t, h)),
        "ckd": (CkdHead(3, 4, 7), lambda s, t, i, y, h: ckd(s, t, i, h)),
        "colld": (StudentHead(3, 4), lambda s, t, i, y, h: colld([s, 2 * s + 1], [t, t.roll(1, 1)], h)),
        "wcord": (WcordHead(3, 4, 8), lambda s, t, i, y, h: wcord(s, t, h)),
    }


@pytest.mark.parametrize("name", list(objectives()))
def test_what_holds_of_all(name: str) -> None:
    head, objective = objectives()[name]
    student, teacher = pair()
    objective(student, teacher, INDEX, LABELS, head.double())  # fills a queue, fixes a normaliser
    head.eval()
    value = objective(student, teacher, INDEX, LABELS, head)
    order = torch.tensor([4, 2, 0, 1, 3])
    mixed = objective(student[order], teacher[order], INDEX[order], LABELS[order], head)
    assert mixed.item() == pytest.approx(value.item(), abs=1e-9)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: objective(rows, teacher, INDEX, LABELS, head), student, fast_mode=True)
    teacher.requires_grad_()
    head.train()
    objective(student, teacher, INDEX, LABELS, head).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in head.parameters())


@pytest.mark.parametrize("whole", [True, False], ids=["bfloat16 module", "float32 module"])
@pytest.mark.parametrize("name", list(objectives()))
def test_bfloat16_is_finite_and_near(name: str, whole: bool) -> None:
    head, objective = objectives()[name]
    head.eval()
    student, teacher = (part.bfloat16() for part in pair())
    exact = objective(student.float(), teacher.float(), INDEX, LABELS, head)
    head.train()
    student.requires_grad_()
    value = objective(student, teacher, INDEX, LABELS, head.bfloat16() if whole else head)
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=0.1, abs=0.05)
    assert student.grad is not None
    assert student.grad.isfinite().all()
