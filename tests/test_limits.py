"""Limits on a student."""

from __future__ import annotations

import pytest

from autodistill.errors import UsageError
from autodistill.limits import Limits


def test_a_share_of_the_teachers_is_of_the_smallest_and_of_the_fastest() -> None:
    teachers = [(22_700_000, 9.4), (110_000_000, 30.0)]
    assert Limits.asked("1/7.5", "1/9.4", teachers) == Limits(3_026_666, 1.0)
    assert Limits.asked(5_000_000, None, teachers) == Limits(5_000_000, None)
    for asked in ("1/0.5", "2/3", "a tenth", "5M", "1/"):
        with pytest.raises(UsageError, match=rf"max_latency_ms is '{asked}'.*like 1/7.5"):
            Limits.asked(None, asked, teachers)


def test_limits_say_by_how_much_they_are_broken() -> None:
    limits = Limits(max_params=1000, max_latency_ms=2.0)
    feasibility = limits.check(1500, 1.0)
    assert feasibility.violations == {"max_params": 0.5, "max_latency_ms": -0.5}
    assert not feasibility.feasible
    assert limits.describe(feasibility) == "1,500 parameters, max_params is 1,000"
    assert limits.check(1000, 2.0).feasible
    assert limits.check(None, None).feasible
    assert "3 ms, max_latency_ms is 2" in limits.describe(limits.check(1, 3.0))
