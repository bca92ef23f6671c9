"""What a search is asked to do, and on what: plain data."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodistill.errors import StudyError, UsageError
from autodistill.study_folder import study_names
from autodistill.tasks.base import DatasetRef


@dataclass(frozen=True)
class SearchSettings:
    """What was asked for.

    trials: search trials that end complete, pruned or failed; the baselines come on top, interrupted and infeasible ones
    do not count. time_budget: seconds for the trials (not for teachers). max_epochs: of a trial, and what early stopping
    divides into rungs. max_params, max_latency_ms: limits on the student, checked before training. params_ratio, latency_ratio:
    how many times smaller and faster than the teacher that is, where it was asked for so. workers: trials at
    once. gpus_per_trial: may be a fraction; None is one GPU where there is one. address: of a Ray cluster; None starts
    Ray on this machine, on loopback alone. keep: students kept on disk. storage: an Optuna storage URL; None is a SQLite
    file in the study's folder. resume: go on with a study that exists. explore: spread the trials over the whole space, and
    stop none early, in place of optimising. repeats: seeds of the baselines and of the best few recipes. data_curve: train
    the best recipe on a quarter and on half of the unlabelled rows too.

    Raises:
        UsageError: a value that cannot be meant.
    """

    dataset: DatasetRef
    study: str
    space: str | None = None
    teacher: str | None = None
    trials: int = 20
    time_budget: float | None = None
    max_epochs: int = 8
    max_params: int | None = None
    max_latency_ms: float | None = None
    params_ratio: float | None = None
    latency_ratio: float | None = None
    workers: int | None = None
    cpus_per_trial: int = 1
    gpus_per_trial: float | None = None
    address: str | None = None
    studies_dir: str = "studies"
    seed: int = 0
    keep: int = 3
    storage: str | None = None
    resume: bool = False
    explore: bool = False
    repeats: int = 1
    data_curve: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w][\w.+@ -]*", self.study):
            raise UsageError(f"the study's name is {self.study!r}; allowed: letters, digits and . _ + @ - (it names a folder)")
        lowest = {"trials": 0, "max_epochs": 1, "max_params": 1, "workers": 1, "cpus_per_trial": 1, "seed": 0, "keep": 1, "repeats": 1}
        for name, low in lowest.items():
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < low):
                raise UsageError(f"{name} is {value!r}; it should be a whole number from {low}")
        for name in ("time_budget", "max_latency_ms"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is {value!r}; it should be a number above 0")
        if self.address is not None and not re.fullmatch(r"auto|[^/]+:\d+", self.address):
            raise UsageError(f"address is {self.address!r}; allowed: auto (the cluster that this machine is part of), HOST:PORT")
        share = self.gpus_per_trial
        if share is not None and not (share >= 0 and math.isfinite(share) and (share <= 1 or float(share).is_integer())):
            raise UsageError(f"gpus_per_trial is {share!r}; it should be a fraction from 0 to 1, or a whole number of GPUs")

    @property
    def folder(self) -> Path:
        """The study's folder, absolute."""
        return Path(self.studies_dir).expanduser().resolve() / self.study

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a password in the storage's URL is left out."""
        data = dataclasses.asdict(self)
        return data | {"storage": None if self.storage is None else without_password(self.storage)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SearchSettings:
        """The settings that `to_dict` wrote down."""
        dataset = dict(data["dataset"])
        for name in ("text_columns", "unlabelled"):
            if dataset.get(name) is not None:
                dataset[name] = tuple(dataset[name])
        return cls(**{**data, "dataset": DatasetRef(**dataset)})


def default_name(dataset: str) -> str:
    """A study's name from its dataset's: the last part of a path or id, without what a folder's name had better not hold."""
    name = re.sub(r"[^\w.+@-]+", "-", Path(dataset.rstrip("/")).name.partition(".")[0]).strip("-.")
    return name or "study"


def check_existence(settings: SearchSettings) -> None:
    """A new study must not exist, and one that is to be resumed must.

    Raises:
        StudyError: it is the other way round.
    """
    exists = (settings.folder / "study.json").exists()
    if exists and not settings.resume:
        raise StudyError(f"the study {settings.folder} exists; go on with it with --resume, or start another with --study NAME")
    if settings.resume and not exists:
        raise StudyError(no_study(settings))


def no_study(settings: SearchSettings) -> str:
    """The sentence for a study that is not there to be resumed, with those that are."""
    there = study_names(settings.folder.parent)
    return f"there is no study {settings.study!r} in {settings.folder.parent} to resume; studies there: {', '.join(there) or 'none'}"


def without_password(url: str) -> str:
    """A URL with `***` for its password."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", url)
