"""Reading ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from autodistill.models.base import Outputs, TextBatch
from autodistill.train.reading import AHEAD, ReadBatch, ahead, read_batches


def test_results_come_in_order_and_from_one_thread() -> None:
    threads: set[int] = set()

    def slow_at_first(item: int) -> int:
        threads.add(threading.get_ident())
        time.sleep(0.02 / (1 + item))
        return item * item

    assert list(ahead(slow_at_first, range(10))) == [item * item for item in range(10)]
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert list(ahead(slow_at_first, [])) == []


def test_it_is_a_few_items_ahead_and_no_more() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for item in range(20):
            asked.append(item)
            yield item

    reading = ahead(lambda item: item, items())
    assert next(reading) == 0
    assert len(asked) == AHEAD + 1
    assert next(reading) == 1
    assert len(asked) == AHEAD + 2
    reading.close()  # type: ignore[attr-defined]
    assert len(asked) == AHEAD + 2


def test_an_error_is_raised_at_its_item() -> None:
    def picky(item: int) -> int:
        if item == 2:
            raise ValueError("not two")
        return item

    reading = ahead(picky, range(5))
    assert [next(reading), next(reading)] == [0, 1]
    with pytest.raises(ValueError, match="not two"):
        next(reading)


def _given(rows: torch.Tensor) -> ReadBatch:
    return ReadBatch(rows, rows % 2, TextBatch(rows[:, None], rows[:, None] >= 0, rows[:, None]), Outputs(rows.float(), rows.float()))


def test_a_cpu_reads_each_batch_at_its_turn() -> None:
    batches = list(torch.arange(12).split(4))
    read: list[int] = []
    reading = read_batches(lambda rows: (read.append(int(rows[0])), _given(rows))[1], batches, torch.device("cpu"))
    assert torch.equal(next(reading).rows, batches[0])
    assert read == [0]
    assert [int(batch.rows[0]) for batch in reading] == [4, 8]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gets_pinned_batches() -> None:
    batches = list(torch.arange(12).split(4))
    read = list(read_batches(_given, batches, torch.device("cuda")))
    assert [batch.rows.tolist() for batch in read] == [rows.tolist() for rows in batches]
    assert all(
        batch.labels.is_pinned() and batch.teacher_outputs is not None and batch.teacher_outputs.logits.is_pinned() for batch in read
    )
