"""Trackers: log a running search to TensorBoard, MLflow or Weights & Biases, in the driver, from the search's events.

Each trial is a run of its own: score and losses by epoch, the recipe as parameters, costs, and how it ended. A tracker that fails never
stops the search: it is reported once, and the tracker is not used any more.
"""

from __future__ import annotations

import importlib.util
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, Protocol

from autodistill.errors import UsageError, not_allowed
from autodistill.events import Event, Listen, SearchFinished, SearchMessage, SearchStarted, TrialFinished, TrialReported
from autodistill.records import TrialRecord

Values = dict[str, float]


class Tracker(Protocol):
    """Logs one search."""

    def start(self, study: str) -> None:
        """The search begins, or is resumed."""

    def epoch(self, trial: int, epoch: int, values: Values) -> None:
        """A trial has finished an epoch."""

    def end(self, record: TrialRecord) -> None:
        """A trial has ended."""

    def close(self) -> None:
        """The search is over."""


class TensorBoard:
    """Event files in the study's folder, in tensorboard/TRIAL; `tensorboard --logdir` reads them, also while the search runs."""

    def __init__(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self._open: Callable[[str], Any] = lambda name: SummaryWriter(str(folder / "tensorboard" / name))
        self._writers: dict[int, Any] = {}

    def start(self, study: str) -> None:
        pass

    def _writer(self, trial: int) -> Any:
        if trial not in self._writers:
            self._writers[trial] = self._open(f"trial-{trial:04d}")
        return self._writers[trial]

    def epoch(self, trial: int, epoch: int, values: Values) -> None:
        for name, value in values.items():
            self._writer(trial).add_scalar(name, value, epoch)
        self._writer(trial).flush()

    def end(self, record: TrialRecord) -> None:
        writer = self._writer(record.trial)
        for name, value in results(record).items():
            writer.add_scalar(f"result/{name}", value, 0)
        lines = [f"    {name}: {value}" for name, value in (parameters(record) | facts(record)).items()]
        writer.add_text("recipe", "\n".join(lines), 0)
        writer.close()
        del self._writers[record.trial]

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


class MLflow:
    """An experiment named after the study, with a run for each trial, in MLFLOW_TRACKING_URI (default: a SQLite file in its folder)."""

    def __init__(self, folder: Path) -> None:
        from mlflow.tracking import MlflowClient

        folder.mkdir(parents=True, exist_ok=True)
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}")
        self._artifacts = None if os.environ.get("MLFLOW_TRACKING_URI") else (folder / "mlruns").as_uri()
        self._experiment = ""
        self._runs: dict[int, str] = {}

    def start(self, study: str) -> None:
        experiment = self._client.get_experiment_by_name(study)
        self._experiment = self._client.create_experiment(study, self._artifacts) if experiment is None else experiment.experiment_id

    def _run(self, trial: int) -> str:
        if trial not in self._runs:
            self._runs[trial] = self._client.create_run(self._experiment, run_name=f"trial {trial}").info.run_id
        return self._runs[trial]

    def epoch(self, trial: int, epoch: int, values: Values) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run(trial), name, value, step=epoch)

    def end(self, record: TrialRecord) -> None:
        run = self._run(record.trial)
        for name, value in parameters(record).items():
            self._client.log_param(run, name, value)
        for name, value in results(record).items():
            self._client.log_metric(run, f"result/{name}", value)
        for name, text in facts(record).items():
            self._client.set_tag(run, name, text)
        self._client.set_terminated(run, {"complete": "FINISHED", "fail": "FAILED"}.get(record.state, "KILLED"))
        del self._runs[record.trial]

    def close(self) -> None:
        for run in self._runs.values():
            self._client.set_terminated(run, "KILLED")
        self._runs.clear()


class WandB:
    """A group named after the study, with a run for each trial. WANDB_MODE=offline keeps it in the study's folder until `wandb sync`."""

    def __init__(self, folder: Path) -> None:
        import wandb

        self._wandb: Any = wandb
        self._folder = folder
        self._study = ""
        self._runs: dict[int, Any] = {}

    def start(self, study: str) -> None:
        self._study = study
        self._folder.mkdir(parents=True, exist_ok=True)

    def _run(self, trial: int) -> Any:
        if trial not in self._runs:
            project = os.environ.get("WANDB_PROJECT", "autodistill")
            settings = self._wandb.Settings(silent=True, console="off", x_disable_stats=True)
            self._runs[trial] = self._wandb.init(
                project=project,
                group=self._study,
                name=f"{self._study} {trial}",
                dir=str(self._folder),
                reinit="create_new",
                settings=settings,
            )
        return self._runs[trial]

    def epoch(self, trial: int, epoch: int, values: Values) -> None:
        self._run(trial).log(values, step=epoch)

    def end(self, record: TrialRecord) -> None:
        run = self._run(record.trial)
        run.config.update(parameters(record) | facts(record))
        run.summary.update({f"result/{name}": value for name, value in results(record).items()})
        run.finish(exit_code=1 if record.state == "fail" else 0)
        del self._runs[record.trial]

    def close(self) -> None:
        for run in self._runs.values():
            run.finish(exit_code=1)
        self._runs.clear()


TRACKERS: dict[str, tuple[Callable[[Path], Tracker], tuple[str, ...]]] = {
    "tensorboard": (TensorBoard, ("tensorboardX",)),
    "mlflow": (MLflow, ("mlflow",)),
    "wandb": (WandB, ("wandb",)),
}
"""By name: the tracker's class, and the modules that it needs."""


def check_tracker(name: str) -> None:
    """Check, before a search begins, that the tracker exists and is installed, and that Weights & Biases has an API key.

    Raises:
        UsageError: one of these does not hold.
    """
    if name not in TRACKERS:
        raise UsageError(not_allowed("the tracker", name, TRACKERS))
    missing = [module for module in TRACKERS[name][1] if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(f"--track {name} needs {', '.join(missing)}; install it: pip install 'autodistill-kd[{name}]'")
    if name == "wandb" and os.environ.get("WANDB_MODE") in (None, "", "online") and not _wandb_login():
        raise UsageError("--track wandb has no API key: run `wandb login` first, or set WANDB_MODE=offline to keep the runs here")


def _wandb_login() -> bool:
    """Whether there is an API key. It never prompts for one, because the live view uses the terminal."""
    import wandb

    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        return bool(wandb.login(prompt=False))


@contextmanager
def tracked(name: str | None, folder: Path, listen: Listen) -> Iterator[Listen]:
    """A listener that passes events on to `listen` and logs them to the tracker of that name, if there is one."""
    if name is None:
        yield listen
        return
    check_tracker(name)
    listener = TrackingListener(name, lambda: TRACKERS[name][0](folder), listen)
    try:
        yield listener
    finally:
        listener.close()


class TrackingListener:
    """Passes events on and logs them. `open_tracker` is called when the trials begin, because importing a tracker takes seconds."""

    def __init__(self, name: str, open_tracker: Callable[[], Tracker], listen: Listen) -> None:
        self.name, self.listen = name, listen
        self._open = open_tracker
        self._tracker: Tracker | None = None
        self._broken = False

    def __call__(self, event: Event) -> None:
        """Pass the event on, then log it."""
        self.listen(event)
        self._guarded(lambda: self._log(event))

    def close(self) -> None:
        """The search is over, however it ended."""
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            self._guarded(tracker.close)

    def _log(self, event: Event) -> None:
        match event:
            case SearchStarted(study):
                self._tracker = self._open()
                self._tracker.start(study)
            case TrialReported(trial, point) if self._tracker is not None:
                losses = {f"loss/{name}": value for name, value in point.losses.items()}
                scores = {name: getattr(point, name) for name in ("score", "train_loss", "validation_loss")}
                self._tracker.epoch(trial, point.epoch, finite(scores | losses))
            case TrialFinished(record) if self._tracker is not None and record.state != "infeasible":
                self._tracker.end(record)
            case SearchFinished():
                self.close()

    def _guarded(self, act: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # trackers warn about their own versions, and would disturb the live view
                act()
        except Exception as cause:
            self._broken = True
            text = f"logging to {self.name} failed ({type(cause).__name__}: {cause}); the search goes on without it"
            self.listen(SearchMessage(text, "warning"))


def finite(values: Mapping[str, float | None]) -> Values:
    """The values that are finite numbers."""
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}


def results(record: TrialRecord) -> Values:
    """A trial's results: scores and costs."""
    names = ("score", "retention", "params", "latency_ms", "flops", "seconds")
    return finite({name: getattr(record, name) for name in names} | record.metrics)


def facts(record: TrialRecord) -> dict[str, str]:
    """A trial's state, role, recipe id and dataset, and the reason where it failed."""
    tags = {"state": record.state, "role": record.role, "recipe_id": record.recipe_id, "dataset": record.dataset}
    return tags | ({"reason": record.reason} if record.reason else {})


def parameters(record: TrialRecord) -> dict[str, Any]:
    """The recipe's leaves by key path, and the seed."""
    leaves: dict[str, Any] = {"seed": record.seed}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Mapping):
            for key, item in value.items():
                walk(item, f"{path}.{key}" if path else str(key))
        else:
            leaves[path] = value

    walk(record.recipe, "")
    return leaves
