"""Ray Tune as the executor of a search: it starts workers and carries messages; the ledger decides what they mean.

Tune's own searchers, schedulers and restores keep state that is lost in a kill. Here all state is in the Optuna storage, so a killed or
broken run continues with a fresh Tuner over the same study.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodistill.environment import KEEP_MEMORY, cores, gpu_names
from autodistill.errors import RunError, UsageError
from autodistill.settings import SearchSettings
from autodistill.temporary import temporary_folder
from autodistill.train.assignment import Runner
from autodistill.tuning.elsewhere import reachable
from autodistill.tuning.round import Halt, Round
from autodistill.tuning.worker import run_assignment


def run_round(tuner_round: Round, settings: SearchSettings, runner: Runner) -> None:
    """Run trials until the ledger wants no more.

    Raises:
        Halt: the search was halted; trials may be RUNNING.
        Exception: any error of Ray or of the ledger; trials may be RUNNING.
    """
    from ray import tune

    from autodistill.tuning.tune_hooks import Brake, Messages, Proposals, Watch

    gpus = gpu_share(settings)
    anywhere = contextlib.nullcontext(runner) if settings.address is None else reachable(runner, tuner_round.ledger.folder)
    try:
        with temporary_folder("autodistill-tune-") as results, anywhere as runner:
            trainable = tune.with_parameters(run_assignment, runner=runner)
            tune.Tuner(
                tune.with_resources(trainable, {"cpu": settings.cpus_per_trial, "gpu": gpus}),
                tune_config=tune.TuneConfig(
                    num_samples=-1,
                    max_concurrent_trials=tuner_round.workers,
                    search_alg=Proposals(tuner_round),
                    scheduler=Messages(tuner_round),
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                    trial_name_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=str(results),
                    callbacks=[Watch(tuner_round)],
                    stop=Brake(tuner_round),
                    failure_config=tune.FailureConfig(max_failures=0),
                    progress_reporter=_silent_reporter(),
                    verbose=0,
                ),
            ).fit()
    except Halt:
        if tuner_round.error is None:
            raise
    if tuner_round.error is not None:
        raise tuner_round.error


def _silent_reporter() -> Any:
    from ray.tune import ProgressReporter

    class Silent(ProgressReporter):
        def should_report(self, trials: Any, done: bool = False) -> bool:
            return False

        def report(self, trials: Any, done: bool, *sys_info: Any) -> None:
            pass

    return Silent()


def gpu_share(settings: SearchSettings) -> float:
    """GPUs per trial: as set; else one if this machine has a GPU."""
    if settings.gpus_per_trial is not None:
        if settings.gpus_per_trial > 0 and settings.address is None and not gpu_names():
            raise UsageError(f"gpus_per_trial is {settings.gpus_per_trial:g} and this machine shows no GPU; leave it out or set it to 0")
        return settings.gpus_per_trial
    return 1.0 if settings.address is None and gpu_names() else 0.0


def count_workers(settings: SearchSettings, cpus: float, gpus: float) -> int:
    """Trials at once: as set; else as many as fit on the processors (and on the GPUs, if trials use them)."""
    share = gpu_share(settings)
    fit = int(cpus // settings.cpus_per_trial)
    if share > 0:
        fit = min(fit, int(gpus / share + 1e-9)) if settings.address is not None else int(gpus / share + 1e-9)
    if share > 0 and fit < 1:
        raise UsageError(f"gpus_per_trial is {share:g} and there are {gpus:g} GPUs")
    return settings.workers or max(1, fit)


_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Tune's own snapshots are never read
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "600",  # a stopped trial may take a while to release its worker
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # the output of Ray's daemons goes to this process's stdout, even with log_to_driver=False
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # it can take the whole search down; a MemoryError fails one trial
}


_LOCAL = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Without a cluster, Ray stays on the loopback interface."""


def _cluster_token() -> dict[str, str]:
    """Ray 2.60 protects its clusters by a token, but reads it only if the environment says so before Ray is imported."""
    token = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")) or Path("~/.ray/auth_token").expanduser().exists()
    return {"RAY_AUTH_MODE": "token"} if token and "RAY_AUTH_MODE" not in os.environ else {}


@dataclass(frozen=True)
class RunningRay:
    """A running Ray. own: it was started or connected to for this search, and is shut down with it."""

    workers: int
    own: bool

    def dead(self) -> list[str]:
        """Which of its daemons are gone, if it was started for this search on this machine."""
        if not self.own:
            return []
        from autodistill.tuning.ray_inside import dead_daemons

        return dead_daemons()

    def nodes_gone(self) -> int:
        """How many nodes have left the cluster. Ray notices one about 20 s after the node's workers are lost."""
        import ray

        return sum(not node["Alive"] for node in ray.nodes())


@contextlib.contextmanager
def ray_running(settings: SearchSettings) -> Iterator[RunningRay]:
    """Ray, without output. On this machine it listens on the loopback interface only.

    If the process has already initialised Ray, this Ray is used as it is and keeps running.

    Raises:
        RunError: Ray cannot be started or reached.
    """
    threads = str(settings.cpus_per_trial)
    workers_env = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads) | {
        "TOKENIZERS_PARALLELISM": "false"
    }
    workers_env |= {"PYTHONPATH": _import_path()} | {name: os.environ.get(name, value) for name, value in KEEP_MEMORY.items()}
    variables = _QUIET | workers_env | (_cluster_token() if settings.address else _LOCAL)
    with _variables(variables), _loggers_at(logging.CRITICAL, "ray", "ray.tune", "ray.air", "ray.train", "ray.data"):
        import ray
        import ray.tune

        if ray.is_initialized():
            yield RunningRay(_workers_of(settings), own=False)
            return
        on_sigterm = signal.getsignal(signal.SIGTERM)
        with temporary_folder("adr-", _short_folder()) as temporary:
            try:
                try:
                    try:
                        _init(ray, settings, temporary, workers_env)
                    except Exception as cause:
                        if "timed out during startup" not in str(cause):
                            raise
                        ray.shutdown()  # Ray waits 30 s for its daemons, which may be too short on a busy machine; so try once more
                        _init(ray, settings, temporary, workers_env)
                except Exception as cause:
                    where = f"the Ray cluster {settings.address!r} cannot be reached" if settings.address else "Ray cannot be started here"
                    raise RunError(f"{where} ({type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]})") from None
                finally:
                    if on_sigterm is not None and threading.current_thread() is threading.main_thread():
                        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own handler ends the process in the middle of a trial
                yield RunningRay(_workers_of(settings), own=True)
            finally:
                ray.shutdown()


def _init(ray: Any, settings: SearchSettings, temporary: Path, workers_env: dict[str, str]) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if settings.address is not None:
        _knock(settings.address)
        ray.init(address=settings.address, runtime_env={"env_vars": workers_env | _QUIET}, **quiet)
        return
    from autodistill.tuning.ray_inside import stay_on_loopback

    stay_on_loopback()
    gpus = len(gpu_names())
    workers = count_workers(settings, cores(), gpus)
    ray.init(
        address="local",
        num_cpus=workers * settings.cpus_per_trial,
        num_gpus=gpus,
        include_dashboard=False,
        object_store_memory=128 * 2**20,  # arrays are shared through files; the default takes a third of the memory
        _temp_dir=str(temporary),
        **quiet,
    )


def check_resources(settings: SearchSettings) -> None:
    """Check that the search's GPUs and cluster exist, without starting anything.

    Raises:
        UsageError: it asks for GPUs, but there are none.
        RunError: its Ray cluster cannot be reached.
    """
    gpu_share(settings)
    if settings.address is None and not _ray_is_initialised():
        count_workers(settings, cores(), len(gpu_names()))
    if settings.address is not None and not _ray_is_initialised():
        try:
            _knock(settings.address)
        except OSError as cause:
            raise RunError(f"the Ray cluster {settings.address!r} cannot be reached ({type(cause).__name__}: {cause})") from None


def _ray_is_initialised() -> bool:
    """Whether this process has a Ray, which is then used as it is."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _knock(address: str) -> None:
    """Check that something answers at the address. Ray itself would retry for minutes, with much output."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _workers_of(settings: SearchSettings) -> int:
    import ray

    resources = ray.cluster_resources()
    return count_workers(settings, resources.get("CPU", 1.0), resources.get("GPU", 0.0))


def _import_path() -> str:
    """The folders outside the Python installation from which this process imports, so that workers can import the same modules."""
    places = [str(Path(place or ".").absolute()) for place in sys.path]
    return os.pathsep.join(place for place in dict.fromkeys(places) if not place.startswith((sys.prefix, sys.base_prefix)))


def _short_folder() -> str:
    # Ray adds some 75 characters to its folder for the path of a socket, which may have at most 107.
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 20 or not Path("/tmp").is_dir() else "/tmp"


@contextlib.contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _loggers_at(level: int, *names: str) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, old in zip(loggers, before, strict=True):
            logger.setLevel(old)
