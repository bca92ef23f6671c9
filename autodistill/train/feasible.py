"""What an untrained student costs, measured in the search's own process before a trial is started."""

from __future__ import annotations

from collections.abc import Mapping

from autodistill.limits import Feasibility, Limits
from autodistill.models import build_student, count_params, untrained
from autodistill.models.base import StudentModule, pick_device, to_device
from autodistill.recipe import Recipe, Teacher
from autodistill.train.cost import count_parameters, measure_latency
from autodistill.train.data import Opened, read_by_student

ROUNDS = 3


def model_cost(model: StudentModule, opened: Opened, device: str = "auto") -> tuple[int, float]:
    """Parameters, and milliseconds for the validation row of median length: one CPU thread, or the GPU.

    The smallest median of a few rounds, because other work on the machine can only make latency larger.
    """
    place = pick_device(device)
    model = model.to(place).eval()
    batch = to_device(opened.validation.batch(opened.validation.median_row()), place)
    return count_parameters(model), min(measure_latency(model, batch) for _ in range(ROUNDS))


class Feasibilities:
    """Checks students against limits. Each architecture is measured once.

    Latency (see `model_cost`) is measured only if the parameters are within their limit.
    """

    def __init__(self, limits: Limits, opened: Mapping[Teacher, Opened], device: str = "auto") -> None:
        self.limits, self.opened, self.device = limits, opened, device
        self._latencies: dict[tuple[Teacher, str], float] = {}

    def __call__(self, recipe: Recipe) -> Feasibility:
        """Measure a recipe's student."""
        opened = read_by_student(self.opened[recipe.teacher], recipe)
        params = count_params(recipe, opened.context)
        if self.limits.max_params is not None and params > self.limits.max_params:
            return self.limits.check(params, None)
        blank = untrained(recipe)  # latency does not depend on the weights, which take time to load
        key = recipe.teacher, blank.student.model_dump_json()
        if key not in self._latencies:
            _, self._latencies[key] = model_cost(build_student(blank, opened.context), opened, self.device)
        return self.limits.check(params, self._latencies[key])
