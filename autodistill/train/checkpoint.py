"""A trial's state after an epoch, in a file: a trial that was stopped goes on from it, and ends as if it had not been stopped."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from autodistill.errors import RunError, explained
from autodistill.records import Point
from autodistill.storage import disk_errors


class Resumable(Protocol):
    """A trainer. Its state is made of tensors, numbers and texts."""

    device: torch.device

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on."""
        ...

    def resume(self, state: dict[str, Any], epochs: int) -> None:
        """Go on from a `state` after this many epochs."""
        ...


@dataclass(frozen=True)
class Best:
    """The best epoch so far: its point of the curve, all metrics, the student's weights, and the logits on validation, (N, C)."""

    point: Point
    metrics: dict[str, float]
    weights: dict[str, Tensor]
    logits: Tensor


def write_checkpoint(file: Path, trainer: Resumable, epoch: int, best: Best) -> None:
    """Keep the state after an epoch (from 1), in place of an earlier one.

    Raises:
        DiskError: the disk is full, or the folder cannot be written.
    """
    aside = file.with_name(f"{file.name}.part")
    kept = {"epoch": epoch, "trainer": trainer.state(), "best": {**vars(best), "point": best.point.model_dump()}}
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as stream:
            torch.save(kept, stream)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(file)


def read_checkpoint(file: Path, trainer: Resumable) -> tuple[int, Best | None]:
    """Put a trainer in the state of a file. Returns the epoch after which it was, and the best one until then; 0 and None without a file.

    Raises:
        RunError: the file is damaged, or of another trial.
    """
    if not file.exists():
        return 0, None
    with explained(lambda reason: RunError(f"{file} cannot be read ({reason}); remove it to begin again")):
        kept: dict[str, Any] = torch.load(file, map_location=trainer.device, weights_only=True)
        trainer.resume(kept["trainer"], kept["epoch"])
        best = kept["best"]
        weights = {name: value.cpu() for name, value in best["weights"].items()}
        return kept["epoch"], Best(Point(**best["point"]), best["metrics"], weights, best["logits"].cpu())
