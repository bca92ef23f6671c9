"""How many trials share a GPU, on GPUs that are made up."""

from __future__ import annotations

import itertools
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_teacher import save_bert, text_dataset
from torch import Tensor, nn

from autodistill import api
from autodistill.events import Event, SearchMessage
from autodistill.facts import TeacherRef
from autodistill.limits import Limits
from autodistill.models import count_params
from autodistill.models.base import Outputs, StudentModule, TextBatch
from autodistill.settings import SearchSettings
from autodistill.space import Space
from autodistill.teachers import Teachers
from autodistill.train.data import open_inputs
from autodistill.train.gpu_memory import MOST_ON_A_GPU, PROCESS_BYTES, WEIGHT_BYTES, most_trial_bytes, saved_bytes, share_gpus

GB = 10**9


@pytest.mark.parametrize(
    ("need", "free", "processors", "trials"),
    [
        (2 * GB, (80 * GB,), 64, MOST_ON_A_GPU),
        (20 * GB, (80 * GB,), 64, 3),  # 0.9 · 80 / 20 = 3.6
        (20 * GB, (80 * GB, 24 * GB), 64, 1),  # the smaller one counts
        (200 * GB, (80 * GB,), 64, 1),
        (2 * GB, (80 * GB,), 4, 4),
        (2 * GB, (80 * GB,) * 8, 32, 4),
        (2 * GB, (80 * GB,) * 8, 4, 1),
    ],
)
def test_as_many_trials_share_a_gpu_as_fit(need: int, free: tuple[int, ...], processors: int, trials: int) -> None:
    assert share_gpus(need, free, processors) == trials


class Small(StudentModule):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 10), nn.Linear(10, 2)

    def forward(self, batch: TextBatch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        hidden = self.first(batch.ids.float()).tanh()
        return Outputs(self.second(hidden), hidden)


def test_what_a_forward_pass_keeps_is_counted_once() -> None:
    ids: Tensor = torch.ones(5, 6, dtype=torch.int64)
    kept = saved_bytes(Small(), TextBatch(ids, ids > 0, ids))
    assert kept == 4 * (5 * 6 + 5 * 10)  # the input, and the hidden values, which both tanh and the second layer need


SPACE = """
version: 1
name: small
about: two sizes of one student
tasks: [text-classification]
parameters:
  teacher.model: {value: a-teacher}
  student.family: {value: cnn}
  student.channels: {choice: [8, 512], default: 8}
  student.vocabulary: {value: trimmed}
  training.batch_size: {choice: [16, 64], default: 16}
"""


@pytest.fixture
def ready(tmp_path: Path) -> Any:
    """What a search starts from: a space with a small and a large student, and a teacher of a known size."""
    (tmp_path / "space.yaml").write_text(SPACE)
    dataset, teacher = text_dataset(60), save_bert(tmp_path / "bert")
    space = Space.load(str(tmp_path / "space.yaml"), dataset.task)
    (part,) = space.teachers()
    opened = {part: open_inputs(dataset, part, teacher)}
    teachers = Teachers({part: TeacherRef(str(teacher), 0.9, params=1_000_000)})
    return types.SimpleNamespace(space=space, opened=opened, teachers=teachers, limits=Limits())


def test_the_largest_student_counts(ready: Any) -> None:
    sizes = [count_params(recipe, ready.opened[recipe.teacher].context) for recipe in itertools.islice(ready.space.spread(0), 40)]
    small, large = min(sizes), max(sizes)
    need = most_trial_bytes(ready.space, ready.opened, ready.teachers, Limits(), 0)
    held = PROCESS_BYTES + 4 * 1_000_000
    assert need > held + WEIGHT_BYTES * large
    within = most_trial_bytes(ready.space, ready.opened, ready.teachers, Limits(max_params=small), 0)
    assert held + WEIGHT_BYTES * small < within < need - WEIGHT_BYTES * (large - small)  # the smaller one's activations are smaller too


@pytest.mark.parametrize("asked", [{}, {"gpus_per_trial": 0.5}, {"address": "auto"}])
def test_a_search_shares_gpus_by_what_its_trials_need(ready: Any, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]) -> None:
    told: list[Event] = []
    monkeypatch.setattr(api, "cores", lambda: 16)
    monkeypatch.setattr(api, "gpu_free_bytes", lambda: (24 * GB,))
    share = api.gpu_share_of(ready, SearchSettings(dataset="d", **asked), told.append)
    if asked:
        assert share is None
        assert not told
        return
    assert share == 1 / MOST_ON_A_GPU
    (message,) = told
    assert isinstance(message, SearchMessage)
    assert "8 trials at a time on each GPU: a trial takes up to 0." in message.text
    assert "24.0 GB are free; --gpus-per-trial overrides" in message.text
    monkeypatch.setattr(api, "gpu_free_bytes", tuple)
    assert api.gpu_share_of(ready, SearchSettings(dataset="d"), told.append) is None
