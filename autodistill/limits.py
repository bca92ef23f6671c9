"""Limits on a student. They are checked on the untrained student before a trial."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from autodistill.errors import UsageError
from autodistill.recipe import Recipe


def ratio(limit: float | str | None, name: str) -> float | None:
    """The R of a limit that is a share of the teacher's cost, `1/R`; None for a limit in numbers, and for no limit.

    Raises:
        UsageError: the text is no such share, or R is below 1.
    """
    if not isinstance(limit, str):
        return None
    match = re.fullmatch(r"\s*1\s*/\s*([0-9]*\.?[0-9]+)\s*", limit, re.ASCII)
    if match is None or not (float(match.group(1)) >= 1 and math.isfinite(float(match.group(1)))):
        raise UsageError(f"{name} is {limit!r}; it should be a number, or a share of the teacher's own, like 1/7.5")
    return float(match.group(1))


@dataclass(frozen=True)
class Feasibility:
    """The costs of an untrained student, and by how much it breaks each limit.

    violations: by limit, (value − limit) / limit, which is above 0 if the student is over the limit. Optuna gets them as constraints.
    """

    params: int | None = None
    latency_ms: float | None = None
    violations: dict[str, float] = field(default_factory=dict)

    @property
    def feasible(self) -> bool:
        """Whether every limit is kept."""
        return all(value <= 0 for value in self.violations.values())


Feasible = Callable[[Recipe], Feasibility]
"""Measures a recipe's untrained student."""


@dataclass(frozen=True)
class Limits:
    """The limits of a search; None for no limit."""

    max_params: int | None = None
    max_latency_ms: float | None = None

    @classmethod
    def asked(cls, max_params: int | str | None, max_latency_ms: float | str | None, teachers: Sequence[tuple[int, float]]) -> Limits:
        """The limits in numbers.

        Args:
            max_params, max_latency_ms: numbers, or `1/R` for a share of the teacher's cost (`ratio`).
            teachers: parameters and milliseconds of each, only for shares; with several, those of the smallest and of the fastest count.
        """
        smaller, faster = ratio(max_params, "max_params"), ratio(max_latency_ms, "max_latency_ms")
        return cls(
            max_params if smaller is None else int(min(params for params, _ in teachers) / smaller),  # type: ignore[arg-type]
            max_latency_ms if faster is None else min(latency for _, latency in teachers) / faster,  # type: ignore[arg-type]
        )

    def check(self, params: int | None, latency_ms: float | None) -> Feasibility:
        """Compare a student's parameters and latency with the limits."""
        violations = {}
        if self.max_params is not None and params is not None:
            violations["max_params"] = (params - self.max_params) / self.max_params
        if self.max_latency_ms is not None and latency_ms is not None:
            violations["max_latency_ms"] = (latency_ms - self.max_latency_ms) / self.max_latency_ms
        return Feasibility(params, latency_ms, violations)

    def text(self) -> str:
        """The limits, for people."""
        parts = [] if self.max_params is None else [f"at most {self.max_params:,} parameters"]
        parts += [] if self.max_latency_ms is None else [f"at most {self.max_latency_ms:g} ms for one row"]
        return ", ".join(parts) or "none"

    def describe(self, feasibility: Feasibility) -> str:
        """Which limits a student breaks, for people."""
        parts = []
        if feasibility.violations.get("max_params", 0) > 0:
            parts.append(f"{feasibility.params:,} parameters, max_params is {self.max_params:,}")
        if feasibility.violations.get("max_latency_ms", 0) > 0:
            parts.append(f"{feasibility.latency_ms:.3g} ms, max_latency_ms is {self.max_latency_ms:g}")
        return "; ".join(parts) or ", ".join(f"{name} broken by {value:.2g}" for name, value in feasibility.violations.items() if value > 0)
