from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchdistill.losses.mid_level import ATLoss

from autodistill.errors import RecipeError
from autodistill.losses.attention import at, kl, minilm, minilmv2, mse, resplit

LENGTHS = [4, 2, 5]


def side(heads: int, width: int, longest: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values; what stands beyond a text's end is other noise for every `longest`."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(3):
        vectors = torch.zeros(len(LENGTHS), heads, longest, width)
        for row, length in enumerate(LENGTHS):
            vectors[row, :, :length] = 1.5 * torch.randn(heads, length, width, generator=generator)
        made.append(vectors)
    beyond = ~mask_of(longest)[:, None, :, None]
    filled = [vectors + beyond * torch.randn(vectors.shape, generator=generator) for vectors in made]
    return filled[0].to(dtype), filled[1].to(dtype), filled[2].to(dtype)


def mask_of(longest: int = 5) -> Tensor:
    return torch.arange(longest) < torch.tensor(LENGTHS).unsqueeze(1)


def softmax(values: np.ndarray) -> np.ndarray:
    shares = np.exp(values - values.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def text_scores(left: Tensor, right: Tensor, row: int, head: int) -> np.ndarray:
    x, y = left[row, head, : LENGTHS[row]].numpy(), right[row, head, : LENGTHS[row]].numpy()
    return np.array([[float(q @ k) / math.sqrt(x.shape[1]) for k in y] for q in x])


def divergence_by_loops(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> float:
    """1/(A_h |x|) Σ_a Σ_t KL(teacher ‖ student), text by text; distributions averaged over heads where their numbers differ."""
    totals = []
    for row, length in enumerate(LENGTHS):
        own = np.stack([softmax(text_scores(*student, row, head)) for head in range(student[0].shape[1])])
        target = np.stack([softmax(text_scores(*teacher, row, head)) for head in range(teacher[0].shape[1])])
        if len(own) != len(target):
            own, target = own.mean(axis=0, keepdims=True), target.mean(axis=0, keepdims=True)
        divergences = [np.sum(target[a, t] * np.log(target[a, t] / own[a, t])) for a in range(len(own)) for t in range(length)]
        totals.append(sum(divergences) / (len(own) * length))
    return float(np.mean(totals))


@pytest.mark.parametrize("teacher_heads", [2, 3])
def test_mse_is_the_equation(teacher_heads: int) -> None:
    student, teacher = side(2, 4, seed=1), side(teacher_heads, 6, seed=2)
    totals = []
    for row in range(len(LENGTHS)):
        own = np.stack([text_scores(student[0], student[1], row, head) for head in range(2)])
        target = np.stack([text_scores(teacher[0], teacher[1], row, head) for head in range(teacher_heads)])
        if teacher_heads != 2:
            own, target = own.mean(axis=0), target.mean(axis=0)
        totals.append(np.mean((own - target) ** 2))
    value = mse(student[0], student[1], teacher[0], teacher[1], mask_of())
    assert value.item() == pytest.approx(float(np.mean(totals)), abs=1e-10)


@pytest.mark.parametrize("teacher_heads", [2, 3])
def test_kl_and_minilm_are_the_equations(teacher_heads: int) -> None:
    student, teacher = side(2, 4, seed=1), side(teacher_heads, 6, seed=2)
    attention = divergence_by_loops(student[:2], teacher[:2])
    values = divergence_by_loops((student[2], student[2]), (teacher[2], teacher[2]))
    assert kl(student[0], student[1], teacher[0], teacher[1], mask_of()).item() == pytest.approx(attention, abs=1e-10)
    assert minilm(*student, *teacher, mask_of()).item() == pytest.approx(attention + values, abs=1e-10)


def test_minilmv2_is_the_equation_with_heads_cut_anew() -> None:
    student, teacher = side(2, 6, seed=1), side(3, 8, seed=2)  # 12 and 24 wide, 4 relation heads of 3 and 6

    def cut(vectors: Tensor, pieces: int) -> Tensor:
        wide = torch.cat(vectors.unbind(dim=1), dim=-1)
        return torch.stack(wide.split(wide.shape[-1] // pieces, dim=-1), dim=1)

    truth = sum(
        divergence_by_loops((cut(own, 4), cut(own, 4)), (cut(target, 4), cut(target, 4)))
        for own, target in zip(student, teacher, strict=True)
    )
    assert minilmv2(*student, *teacher, mask_of(), relation_heads=4).item() == pytest.approx(truth, abs=1e-10)


def test_resplit_keeps_heads_that_are_not_changed_and_joins_them_in_order() -> None:
    vectors = torch.arange(2 * 4 * 3 * 2.0).view(2, 4, 3, 2)
    assert torch.equal(resplit(vectors, 4), vectors)
    joined = resplit(vectors, 1)
    assert joined.shape == (2, 1, 3, 8)
    assert torch.equal(joined[1, 0, 2], torch.cat([vectors[1, head, 2] for head in range(4)]))
    assert torch.equal(resplit(joined, 4), vectors)


def test_minilmv2_refuses_relation_heads_that_do_not_divide_the_widths() -> None:
    with pytest.raises(RecipeError, match=r"relation_heads is 5.*12 of the student and 24 of the teacher; allowed: 1, 2, 3, 4, 6, 12"):
        minilmv2(*side(2, 6), *side(3, 8), mask_of(), relation_heads=5)


def test_a_student_equal_to_its_teacher_loses_nothing() -> None:
    same, mask = side(2, 4), mask_of()
    assert mse(same[0], same[1], same[0], same[1], mask).item() == 0
    for value in (kl(same[0], same[1], same[0], same[1], mask), minilm(*same, *same, mask), minilmv2(*same, *same, mask, relation_heads=4)):
        assert value.item() == pytest.approx(0.0, abs=1e-12)


def each(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], mask: Tensor) -> list[Tensor]:
    return [
        mse(student[0], student[1], teacher[0], teacher[1], mask),
        kl(student[0], student[1], teacher[0], teacher[1], mask),
        minilm(*student, *teacher, mask),  # type: ignore[arg-type]
        minilmv2(*student, *teacher, mask, relation_heads=4),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("teacher_heads", [2, 4])
def test_padding_and_batch_order_do_not_matter(teacher_heads: int) -> None:
    short = each(side(2, 4, seed=1), side(teacher_heads, 4, seed=2), mask_of())
    long = each(side(2, 4, longest=8, seed=1), side(teacher_heads, 4, longest=8, seed=2), mask_of(8))
    assert torch.allclose(torch.stack(short), torch.stack(long), atol=1e-10)
    order = torch.tensor([2, 0, 1])
    student, teacher = (tuple(part[order] for part in one) for one in (side(2, 4, seed=1), side(teacher_heads, 4, seed=2)))
    assert torch.allclose(torch.stack(short), torch.stack(each(student, teacher, mask_of()[order])), atol=1e-10)


@pytest.mark.parametrize("place", range(4))
def test_gradients_reach_the_student_alone_and_no_padding(place: int) -> None:
    student = tuple(part.requires_grad_() for part in side(2, 4, seed=1))
    teacher = tuple(part.requires_grad_() for part in side(2, 4, seed=2))
    assert torch.autograd.gradcheck(lambda *parts: each(parts, teacher, mask_of())[place], student, fast_mode=True)
    each(student, teacher, mask_of())[place].backward()
    assert all(part.grad is None for part in teacher)
    for part in student[: 2 if place < 2 else 3]:
        assert part.grad is not None
        assert part.grad.abs().sum() > 0
        assert part.grad.transpose(1, 2)[~mask_of()].abs().sum() == 0


def test_a_text_without_tokens_and_bfloat16_are_finite() -> None:
    mask = mask_of()
    mask[1] = False
    student = tuple(part.requires_grad_() for part in side(2, 4, seed=1, dtype=torch.bfloat16))
    values = each(student, side(2, 4, seed=2, dtype=torch.bfloat16), mask)
    torch.stack(values).sum().backward()
    assert all(value.dtype == torch.float32 and value.isfinite() for value in values)
    assert all(part.grad is not None and part.grad.isfinite().all() for part in student)


def test_at_is_equation_2_and_torchdistills() -> None:
    student, teacher = torch.randn(3, 4, 5, 6, dtype=torch.float64), torch.randn(3, 7, 5, 6, dtype=torch.float64)
    gaps = []
    for own, target in zip(student.numpy(), teacher.numpy(), strict=True):
        maps = [np.sum(np.abs(part) ** 2, axis=0).ravel() for part in (own, target)]
        gaps.append(np.linalg.norm(maps[0] / np.linalg.norm(maps[0]) - maps[1] / np.linalg.norm(maps[1])))
    assert at(student, teacher).item() == pytest.approx(float(np.mean(gaps)), abs=1e-12)
    theirs = ATLoss({"pair": {"student": {"io": "output", "path": "x"}, "teacher": {"io": "output", "path": "x"}}}, mode="paper")
    assert at(student, teacher).item() == pytest.approx(theirs({"x": {"output": student}}, {"x": {"output": teacher}}).item(), abs=1e-10)


def test_ats_exponent() -> None:
    student, teacher = torch.randn(2, 3, 2, 2, dtype=torch.float64), torch.randn(2, 3, 2, 2, dtype=torch.float64)
    maps = [part.abs().pow(4).sum(1).flatten(1) for part in (student, teacher)]
    gap = (maps[0] / maps[0].norm(dim=1, keepdim=True) - maps[1] / maps[1].norm(dim=1, keepdim=True)).norm(dim=1).mean()
    assert at(student, teacher, exponent=4.0).item() == pytest.approx(gap.item(), abs=1e-12)


def test_at_pools_the_larger_map_to_the_smaller() -> None:
    student, teacher = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 5, 2, 2, dtype=torch.float64)
    pooled = student.square().sum(dim=1)
    pooled = torch.stack([pooled[:, i : i + 2, j : j + 2].mean(dim=(1, 2)) for i in (0, 2) for j in (0, 2)], dim=1)
    target = teacher.square().sum(dim=1).flatten(1)
    gap = (pooled / pooled.norm(dim=1, keepdim=True) - target / target.norm(dim=1, keepdim=True)).norm(dim=1).mean()
    assert at(student, teacher).item() == pytest.approx(gap.item(), abs=1e-12)
    assert at(teacher, student).item() == pytest.approx(gap.item(), abs=1e-12)


def test_ats_gradients_scale_teacher_and_bfloat16() -> None:
    student, teacher = torch.randn(2, 3, 3, 3, dtype=torch.float64), torch.randn(2, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert at(student, teacher).item() == pytest.approx(at(5 * student, 0.1 * teacher).item(), abs=1e-12)
    assert torch.autograd.gradcheck(lambda maps: at(maps, teacher.detach()), student.requires_grad_())
    at(student, teacher).backward()
    assert teacher.grad is None
    zero = torch.zeros(2, 3, 3, 3, requires_grad=True)
    at(zero, teacher.float()).backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()
    assert at(student.detach().bfloat16(), teacher.bfloat16()).isfinite()
