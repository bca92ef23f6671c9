"""Every non-public part of Ray that this project uses. pyproject.toml bounds Ray's version, and a test fails if one changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray._private import ray_constants, worker
from ray.exceptions import RayActorError
from ray.tune.experiment import Trial


def stay_on_loopback() -> None:
    """Make a Ray without a cluster listen on loopback only. Its environment variable is read when Ray is imported, maybe too early."""
    ray_constants.ENABLE_RAY_CLUSTER = False


def dead_daemons() -> list[str]:
    """Which daemons of the Ray that this process has started are gone: `raylet`, `gcs_server`."""
    node = worker._global_node
    return [] if node is None else [str(kind) for kind, _ in node.dead_processes()]


def write_one_snapshot(tune_controller: Any) -> None:
    """Tune needs one snapshot of itself. Further ones are never read, and each takes 10 ms for every trial so far."""
    tune_controller.checkpoint(force=True)
    tune_controller.checkpoint = _no_snapshot


def _no_snapshot(force: bool = False, wait: bool = False) -> None:
    pass


def keep_workers(tune_controller: Any, trial: Trial, workers: int) -> None:
    """Keep all free workers. Tune keeps only one and starts the others again, which takes seconds of imports each."""
    tune_controller._actor_cache.increase_max(trial.placement_group_factory, workers)


def error_of(trial: Trial) -> tuple[str, str | None]:
    """The text of a trial's error; and its one-line cause, None if the worker process itself is gone."""
    path = trial.error_file
    text = Path(path).read_text(encoding="utf-8", errors="replace") if path and Path(path).exists() else "no error text"
    pickled = trial.pickled_error_file
    try:
        error = cloudpickle.loads(Path(pickled).read_bytes()) if pickled else None
    except Exception as unreadable:  # its class may be unknown here
        error = unreadable
    if error is None or isinstance(error, RayActorError):
        return text, None
    cause = getattr(error, "cause", None) or error
    return text, f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
