"""The order of rows in batches that mix labelled and unlabelled ones, and which unlabelled rows are kept."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autodistill.train.choice import chosen_rows, spread_rows
from autodistill.train.order import POOL, MixedBatches, RowStream


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 30), counts=st.lists(st.integers(1, 40), min_size=1, max_size=10))
def test_a_stream_gives_every_row_equally_often(rows: int, counts: list[int]) -> None:
    stream = RowStream(torch.arange(100, 100 + rows), generator())
    drawn = torch.cat([stream.take(count) for count in counts]).tolist()
    assert len(drawn) == sum(counts)
    seen = Counter(drawn)
    assert set(seen) <= set(range(100, 100 + rows))
    every = [seen[row] for row in range(100, 100 + rows)]
    assert max(every) - min(every) <= 1


def test_each_batch_has_its_share_of_unlabelled_rows() -> None:
    batches = MixedBatches(torch.arange(40), torch.arange(40, 240), 32, 0.8, None, generator())
    for batch in islice(iter(batches), 2 * POOL):
        assert len(batch) == 32
        assert int((batch >= 40).sum()) == 26  # 0.8 · 32 = 25.6


def test_at_least_one_row_of_a_batch_is_labelled_and_without_unlabelled_rows_all_are() -> None:
    one = next(iter(MixedBatches(torch.arange(5), torch.arange(5, 50), 4, 0.99, None, generator())))
    assert int((one < 5).sum()) == 1
    all_of_them = next(iter(MixedBatches(torch.arange(5), torch.arange(0), 4, 0.99, None, generator())))
    assert len(all_of_them) == 4
    assert int(all_of_them.max()) < 5


def test_rows_of_a_batch_are_of_like_length() -> None:
    lengths = torch.randint(3, 60, (5000,), generator=generator(1))
    batches = list(islice(iter(MixedBatches(torch.arange(1000), torch.arange(1000, 5000), 32, 0.5, lengths, generator())), POOL))
    spans = [int(lengths[batch].max() - lengths[batch].min()) for batch in batches]
    at_random = [int(lengths[rows].max() - lengths[rows].min()) for rows in torch.randperm(5000).split(32)]
    assert max(spans) < min(at_random)
    order = [int(lengths[batch].float().mean()) for batch in batches]
    assert order != sorted(order)  # short texts do not come first


def test_equal_seeds_give_equal_orders() -> None:
    first, again, other = (
        torch.stack(list(islice(iter(MixedBatches(torch.arange(40), torch.arange(40, 90), 8, 0.5, None, generator(seed))), 20)))
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


LOGITS = torch.tensor([[4.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.1, 0.0], [0.0, 0.3], [0.0, 0.2]])


@pytest.mark.parametrize(
    ("choice", "keep", "rows"),
    [("all", 1.0, [0, 1, 2, 3, 4, 5]), ("confident", 0.5, [0, 2, 4]), ("uncertain", 0.5, [1, 3, 5]), ("confident", 0.01, [0, 4])],
)
def test_rows_by_the_teachers_confidence_class_by_class(choice: str, keep: float, rows: list[int]) -> None:
    assert chosen_rows(choice, keep, LOGITS, torch.zeros(6, 3), 0).tolist() == rows


def test_diverse_rows_cover_the_clusters() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    points = centres.repeat_interleave(25, dim=0) + 0.1 * torch.randn(100, 2, generator=generator())
    for seed in range(5):
        rows = spread_rows(points, 4, seed)
        assert sorted((rows // 25).tolist()) == [0, 1, 2, 3]


def test_diverse_rows_are_the_greedy_ones_of_their_definition() -> None:
    points = torch.randn(30, 5, generator=generator())
    first = int(torch.randint(30, (1,), generator=generator(3)))
    taken = [first]
    while len(taken) < 10:
        taken.append(int(torch.cdist(points, points[taken]).min(dim=1).values.argmax()))
    assert spread_rows(points, 10, 3).tolist() == sorted(taken)


def test_equal_rows_are_taken_once_each() -> None:
    assert spread_rows(torch.zeros(6, 40), 6, 0).tolist() == [0, 1, 2, 3, 4, 5]
