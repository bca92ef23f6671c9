"""What an untrained student costs, measured in the search's own process before a trial is started."""

from __future__ import annotations

from collections.abc import Mapping

from autodistill.limits import Feasibility, Limits
from autodistill.models import build_student, count_params
from autodistill.models.base import pick_device, to_device
from autodistill.recipe import Recipe, Teacher
from autodistill.train.cost import measure_latency
from autodistill.train.data import Opened, median_row

ROUNDS = 3


class Feasibilities:
    """Measures students against limits, each architecture once.

    Latency is that of one row, the one of median length, with one CPU thread (or on the GPU): the quietest of a few rounds'
    medians, because other trials' work on the same machine only ever adds to it. It is measured where the parameters are
    within their limit.
    """

    def __init__(self, limits: Limits, opened: Mapping[Teacher, Opened], device: str = "auto") -> None:
        self.limits, self.opened, self.device = limits, opened, pick_device(device)
        self._latencies: dict[tuple[Teacher, str], float] = {}

    def __call__(self, recipe: Recipe) -> Feasibility:
        """Measure a recipe's student."""
        opened = self.opened[recipe.teacher]
        params = count_params(recipe, opened.context)
        if self.limits.max_params is not None and params > self.limits.max_params:
            return self.limits.check(params, None)
        blank = recipe.model_copy(
            update={"student": recipe.student.model_copy(update={"init": "random"})}
        )  # weights cost time, not latency
        key = recipe.teacher, blank.student.model_dump_json()
        if key not in self._latencies:
            model = build_student(blank, opened.context).to(self.device).eval()
            batch = to_device(opened.validation.batch(median_row(opened.validation)), self.device)
            self._latencies[key] = min(measure_latency(model, batch) for _ in range(ROUNDS))
        return self.limits.check(params, self._latencies[key])
