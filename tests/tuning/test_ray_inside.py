"""What is used of Ray without being public is there, and is what it was when it was first used."""

from __future__ import annotations

import importlib
import inspect

import pytest
import ray

from autodistill.tuning import ray_inside

WAY_OUT = f"Ray {ray.__version__} has changed inside: change autodistill/tuning/ray_inside.py, or bound ray below it in pyproject.toml"


def inside(module: str, path: str) -> object:
    item: object = importlib.import_module(module)
    for name in path.split("."):
        assert hasattr(item, name), f"{module} has no {path}. {WAY_OUT}"
        item = getattr(item, name)
    return item


def test_ray_still_asks_this_constant_whether_to_leave_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    inside("ray._private.ray_constants", "ENABLE_RAY_CLUSTER")
    monkeypatch.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", True)
    ray_inside.stay_on_loopback()
    address = inside("ray._private.services", "get_node_ip_address")
    assert callable(address)
    assert address() in ("127.0.0.1", "::1", "localhost"), WAY_OUT


def test_tunes_controller_still_has_one_method_for_snapshots() -> None:
    checkpoint = inside("ray.tune.execution.tune_controller", "TuneController.checkpoint")
    assert callable(checkpoint)
    assert list(inspect.signature(checkpoint).parameters) == ["self", "force", "wait"], WAY_OUT
    loop = inspect.getsource(inside("ray.tune.execution.tune_controller", "TuneController"))  # type: ignore[arg-type]
    assert "self.checkpoint(" in loop, WAY_OUT  # so that an attribute of that name takes the method's place


def test_tunes_controller_still_keeps_workers_in_a_cache_of_so_many_for_a_resource() -> None:
    cache_class = inside("ray.tune.execution.tune_controller", "_ObjectCache")
    loop = inspect.getsource(inside("ray.tune.execution.tune_controller", "TuneController"))  # type: ignore[arg-type]
    assert "self._actor_cache = _ObjectCache(" in loop, WAY_OUT
    assert callable(cache_class)
    controller, trial = type("Controller", (), {})(), type("Trial", (), {"placement_group_factory": "a processor"})()
    controller._actor_cache = cache_class(may_keep_one=True)
    ray_inside.keep_workers(controller, trial, 3)
    kept = [controller._actor_cache.cache_object("a processor", worker) for worker in range(4)]
    assert kept == [True, True, True, False], WAY_OUT


def test_a_trial_still_names_the_files_of_its_error() -> None:
    for name in ("error_file", "pickled_error_file"):
        inside("ray.tune.experiment", f"Trial.{name}")
    trial = inspect.getsource(inside("ray.tune.experiment", "Trial"))  # type: ignore[arg-type]
    assert "self.placement_group_factory = " in trial, WAY_OUT


def test_ray_still_takes_a_folder_for_its_files() -> None:
    assert "_temp_dir" in inspect.getsource(ray.init), WAY_OUT


def test_rays_node_still_says_which_of_its_daemons_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    inside("ray._private.worker", "_global_node")
    assert callable(inside("ray._private.node", "Node.dead_processes")), WAY_OUT

    class Ended:
        def poll(self) -> int:
            return -9

    class Running:
        def poll(self) -> None:
            return None

    class Info:
        def __init__(self, process: object) -> None:
            self.process = process

    node = object.__new__(inside("ray._private.node", "Node"))  # type: ignore[call-overload]
    node.all_processes = {"raylet": [Info(Ended())], "gcs_server": [Info(Running())]}
    monkeypatch.setattr("ray._private.worker._global_node", node)
    assert ray_inside.dead_daemons() == ["raylet"], WAY_OUT
    monkeypatch.setattr("ray._private.worker._global_node", None)
    assert ray_inside.dead_daemons() == []
