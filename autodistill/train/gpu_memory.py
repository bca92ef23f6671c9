"""How much of a GPU's memory a trial takes, estimated on the CPU, and how many trials therefore share a GPU."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autodistill.limits import Limits
from autodistill.models import build_student, count_params, untrained
from autodistill.models.base import Batch, StudentModule
from autodistill.recipe import Recipe, Teacher
from autodistill.space import Space
from autodistill.teacher.outputs import ensure_outputs
from autodistill.teacher.scored import ScoredOutputs, has_scores
from autodistill.teachers import Teachers
from autodistill.train.data import Opened, read_by_student
from autodistill.train.taps import space_taps

MOST_ON_A_GPU = 8
"""The most trials that share a GPU. More gain little: with 16 on an H100 each was 2 to 4 times slower than alone."""
USABLE = 0.9
"""The share of a GPU's free memory that trials are planned for. The rest is left to the allocator's gaps."""
PROCESS_BYTES = 700_000_000
"""What a process takes on a GPU before it holds a tensor: its context, kernels and workspaces of the libraries (assumed, not measured)."""
WEIGHT_BYTES = 4 * 4 + 2
"""For each parameter: its value, gradient and AdamW's two moments in float32, and its value in bfloat16."""
_TRIED = 64
_ROWS = 4


def share_gpus(trial_bytes: int, free: Sequence[int], processors: int) -> int:
    """How many trials run at a time on each GPU: as many as fit into memory, at most MOST_ON_A_GPU, and at least one.

    trial_bytes: that a trial takes. free: bytes of each GPU. processors: how many trials' processes the CPU can run at a time.
    """
    fit = int(USABLE * min(free) // trial_bytes)
    return max(1, min(MOST_ON_A_GPU, fit, processors // len(free)))


def most_trial_bytes(space: Space, opened: Mapping[Teacher, Opened], teachers: Teachers, limits: Limits, seed: int) -> int:
    """The bytes of a GPU that a trial of the space can take: with the largest student of each family, within the limits, among many that
    the space proposes, and the largest batch.
    """
    tried = [space.defaults(), *itertools.islice(space.spread(seed), _TRIED)]
    batch_size = max(recipe.training.batch_size for recipe in tried)
    largest: dict[str, tuple[int, Recipe]] = {}
    for recipe in tried:
        params = count_params(recipe, read_by_student(opened[recipe.teacher], recipe).context)
        fits = limits.max_params is None or params <= limits.max_params
        if fits and params > largest.get(recipe.student.name, (-1,))[0]:
            largest[recipe.student.name] = params, recipe
    held = max(stored_bytes(one, space) + 4 * (teachers[part].params or 0) for part, one in opened.items())
    students = [
        WEIGHT_BYTES * params + 2 * activation_bytes(recipe, read_by_student(opened[recipe.teacher], recipe), batch_size)
        for params, recipe in largest.values()
    ]
    return PROCESS_BYTES + held + max(students, default=0)


def stored_bytes(opened: Opened, space: Space) -> int:
    """The bytes of the training rows, and of the stored teacher outputs that recipes of the space read from all layers."""
    rows = opened.train.bytes
    if has_scores(opened.folder):
        return rows + ScoredOutputs(opened.folder, opened.train, opened.dataset.modality).bytes
    return rows + ensure_outputs(opened.dataset, "train", opened.train, opened.folder, taps=space_taps(space)).bytes


def activation_bytes(recipe: Recipe, opened: Opened, batch_size: int) -> int:
    """What a student's forward pass keeps for the backward pass, on a batch of the longest training rows.

    A few rows are read on the CPU, in float32, so it is more than what a GPU keeps in bfloat16. In a graph twice as much is planned for.
    """
    student = build_student(untrained(recipe), opened.context).train()
    lengths = opened.train.lengths
    rows = torch.arange(min(_ROWS, len(opened.train))) if lengths is None else torch.argsort(lengths, descending=True)[:_ROWS]
    return saved_bytes(student, opened.train.batch(rows)) * -(-batch_size // len(rows))


def saved_bytes(student: StudentModule, batch: Batch) -> int:
    """The bytes that a forward pass keeps for the backward pass, parameters left out."""
    own = {item.untyped_storage().data_ptr() for item in (*student.parameters(), *student.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = student(batch)  # while they exist, so do the tensors, and no two have the same place
    del outputs
    return sum(kept.values())
