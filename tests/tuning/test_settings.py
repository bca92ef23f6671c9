from __future__ import annotations

import json

import pytest
from fakes import make_settings

from autodistill.errors import UsageError
from autodistill.limits import Limits
from autodistill.tuning.settings import SearchSettings, without_password


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("study", "../other"),
        ("study", ""),
        ("trials", -1),
        ("trials", 2.5),
        ("max_epochs", 0),
        ("workers", 0),
        ("keep", 0),
        ("time_budget", 0),
        ("time_budget", float("nan")),
        ("max_latency_ms", -1.0),
        ("max_params", 0),
        ("gpus_per_trial", 1.5),
        ("gpus_per_trial", -0.25),
        ("cpus_per_trial", 0),
        ("address", "ray://head:10001"),
        ("address", "head"),
    ],
)
def test_values_that_cannot_be_meant_are_named(tmp_path, name, value):
    with pytest.raises(UsageError, match=r"'s name is|is .*; it should be|; allowed: auto"):
        make_settings(tmp_path, **{name: value})


def test_settings_survive_json_and_lose_passwords(tmp_path):
    settings = make_settings(tmp_path, storage="postgresql://me:secret@host:5432/db", time_budget=60.0, gpus_per_trial=0.25)
    data = json.loads(json.dumps(settings.to_dict()))
    assert "secret" not in json.dumps(data)
    read = SearchSettings.from_dict(data)
    assert read.storage == "postgresql://me:***@host:5432/db"
    assert read.dataset == settings.dataset
    assert read.folder == settings.folder == tmp_path / "s"
    assert without_password("sqlite:////a/b@c.db") == "sqlite:////a/b@c.db"


def test_a_share_of_the_teachers_is_of_the_smallest_and_of_the_fastest():
    teachers = [(22_700_000, 9.4), (110_000_000, 30.0)]
    assert Limits.asked("1/7.5", "1/9.4", teachers) == Limits(3_026_666, 1.0)
    assert Limits.asked(5_000_000, None, teachers) == Limits(5_000_000, None)
    for asked in ("1/0.5", "2/3", "a tenth", "5M", "1/"):
        with pytest.raises(UsageError, match=rf"max_latency_ms is '{asked}'.*like 1/7.5"):
            Limits.asked(None, asked, teachers)


def test_limits_say_by_how_much_they_are_broken():
    limits = Limits(max_params=1000, max_latency_ms=2.0)
    found = limits.check(1500, 1.0)
    assert found.violations == {"max_params": 0.5, "max_latency_ms": -0.5}
    assert not found.feasible
    assert limits.describe(found) == "1,500 parameters, max_params is 1,000"
    assert limits.check(1000, 2.0).feasible
    assert limits.check(None, None).feasible
    assert "3 ms, max_latency_ms is 2" in limits.describe(limits.check(1, 3.0))
