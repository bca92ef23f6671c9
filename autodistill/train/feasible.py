"""What an untrained student costs, measured in the search's own process before a trial is started."""

from __future__ import annotations

import torch
from torch import Tensor

from autodistill.models import build_student, count_params
from autodistill.models.base import StudentContext, pick_device, to_device
from autodistill.models.image import EncodedImages
from autodistill.models.text import EncodedText
from autodistill.recipe import Recipe
from autodistill.search.constraints import Feasibility, Limits
from autodistill.train.cost import measure_latency

ROUNDS = 3


class Feasibilities:
    """Measures students against limits, each architecture once.

    Latency is that of one row, the one of median length, with one CPU thread (or on the GPU): the quietest of a few rounds'
    medians, because other trials' work on the same machine only ever adds to it. It is measured where the parameters are
    within their limit.
    """

    def __init__(self, limits: Limits, contexts: dict[str, StudentContext], rows: dict[str, EncodedText | EncodedImages], device: str = "auto") -> None:
        self.limits, self.contexts, self.rows, self.device = limits, contexts, rows, pick_device(device)
        self._latencies: dict[tuple[str, str], float] = {}

    def __call__(self, recipe: Recipe) -> Feasibility:
        """Measure a recipe's student. Contexts and rows are by the teacher's model, whose tokenizer they are of."""
        context = self.contexts[recipe.teacher.model]
        params = count_params(recipe, context)
        if self.limits.max_params is not None and params > self.limits.max_params:
            return self.limits.check(params, None)
        blank = recipe.model_copy(update={"student": recipe.student.model_copy(update={"init": "random"})})  # weights cost time, not latency
        key = recipe.teacher.model, blank.student.model_dump_json()
        if key not in self._latencies:
            rows = self.rows[recipe.teacher.model]
            model = build_student(blank, context).to(self.device).eval()
            batch = to_device(rows.batch(median_row(rows)), self.device)
            self._latencies[key] = min(measure_latency(model, batch) for _ in range(ROUNDS))
        return self.limits.check(params, self._latencies[key])


def median_row(rows: EncodedText | EncodedImages) -> Tensor:
    """The row of median length, as a batch of one row number."""
    if isinstance(rows, EncodedImages):
        return torch.tensor([0])
    return torch.argsort(rows.lengths, stable=True)[len(rows) // 2 : len(rows) // 2 + 1]
