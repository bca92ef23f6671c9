"""The learning rate of each step, set on the CPU, or read by the device from a table, so that steps can be replayed there."""

from __future__ import annotations

from collections.abc import Callable

import torch


class Schedule:
    """Gives all groups of an optimizer the learning rate of each step: their first one times `factor(step)`, steps counted from 0.

    factor: such as `warmup_and_decay`. steps: how many are planned. device: None to set the rate as a number before each step. Else the
    rate is a float32 tensor there, and `advance`, which is part of the step, reads it from a table. So nothing is copied to the device
    between steps, and a CUDA graph that holds the step has another rate each time that it is replayed.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, factor: Callable[[int], float], steps: int, device: torch.device | None = None
    ) -> None:
        self.optimizer, self.factor, self.taken = optimizer, factor, 0
        self.first = float(optimizer.param_groups[0]["lr"])
        self._table: torch.Tensor | None = None
        if device is not None:
            rates = [self.first * factor(step) for step in range(steps + 1)]
            self._table = torch.tensor(rates, dtype=torch.float32, device=device)
            self._place = torch.zeros(1, dtype=torch.int64, device=device)
            self._rate = self._table[0].clone()
        self._set()

    @property
    def rate(self) -> float:
        """The rate of the next step."""
        return self.first * self.factor(self.taken)

    def advance(self) -> None:
        """Part of a step, before the optimizer's: on a device, read the rate and move on in the table."""
        if self._table is not None:
            self._rate.copy_(self._table.index_select(0, self._place).squeeze(0))
            self._place.add_(1).clamp_(max=len(self._table) - 1)

    def stepped(self) -> None:
        """After a step, on the CPU."""
        self.taken += 1
        if self._table is None:
            self._set()

    def state_dict(self) -> dict[str, int]:
        """The number of steps that were taken."""
        return {"taken": self.taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after that many steps. Call it after the optimizer's own `load_state_dict`, which brings a rate along."""
        self.taken = state["taken"]
        if self._table is not None:
            self._place.fill_(self.taken)
            self._rate.copy_(self._table[self.taken])
        self._set()

    def _set(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate if self._table is None else self._rate
