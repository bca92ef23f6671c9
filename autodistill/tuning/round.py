"""A round: one run of Ray Tune. Tune's hooks (tune_hooks.py) call it, and it calls the ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autodistill.errors import DiskError, RunError
from autodistill.events import Event, TrialStarted
from autodistill.records import Point
from autodistill.train.assignment import TrialResult
from autodistill.tuning.ledger import Ledger

SLICE = 1.0
"""The most seconds for which infeasible proposals may delay the messages of running trials."""


class Halt(BaseException):
    """Leaves Tune's loop at once. It is not an Exception, because then Tune would wait for its workers first."""


@dataclass
class Round:
    """One run of a Tuner, as its hooks see it.

    graceful: on a halt, let Tune clean up instead of leaving its loop. workers: how many trials run at once. numbers: our trials'
    numbers by Tune's id. trials: Tune's trials by our number. notes: those of trials that are in the log. nodes_gone: how many nodes
    have left the cluster.
    """

    ledger: Ledger
    emit: Callable[[Event], None]
    log: Callable[[str], None]
    halted: Callable[[], bool]
    graceful: bool
    workers: int
    nodes_gone: Callable[[], int] = lambda: 0
    numbers: dict[str, int] = field(default_factory=dict)
    trials: dict[int, Any] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)
    error: Exception | None = None

    def must_stop(self) -> bool:
        """Whether to stop now, without waiting for running trials: the search is halted, or they cannot write their files."""
        return self.halted() or isinstance(self.error, DiskError)

    def suggest(self, tune_id: str) -> dict[str, Any] | str | None:
        """The next trial's config; "FINISHED" if there will be no more; None if there may be one later."""
        until = time.monotonic() + SLICE
        ledger = self.ledger
        while not self.must_stop() and self.error is None and ledger.wants_more():
            try:
                run = ledger.propose()
            except Exception as cause:  # raised after the loop, so that running trials may end first
                self.error = cause
                break
            if run is not None:
                self.numbers[tune_id] = run.trial.number
                return {"trial": run.trial.number, "assignment": run.assignment, "cwd": str(Path.cwd())}
            if ledger.running and time.monotonic() > until:
                return None
        return None if ledger.running else "FINISHED"  # a running trial may still come back into the queue

    def started(self, tune_id: str) -> None:
        """A worker has begun the trial."""
        run = self.ledger.running.get(self.numbers[tune_id])
        if run is not None:
            costs = run.costs
            self.emit(
                TrialStarted(run.trial.number, run.role, run.recipe.id, run.recipe.student.name, run.epochs, costs.params, costs.latency_ms)
            )

    def message(self, tune_id: str, text: str) -> bool:
        """Handle a worker's message. Returns True if its trial should stop."""
        number = self.numbers[tune_id]
        if number not in self.ledger.running:
            return True
        message = json.loads(text)
        if message["kind"] == "started":
            self.ledger.running[number].environment = message["environment"]
        elif message["kind"] == "point":
            if self.ledger.report(number, Point.model_validate(message["point"])):
                self.ledger.prune(number)
                return True
        elif message["kind"] == "result":
            result = TrialResult(**message["result"])
            for note in result.notes:
                if note not in self.notes:
                    self.notes.add(note)
                    self.log(f"trial {number}, and maybe others: {note}")
            self.ledger.complete(number, result, message["seconds"])
        elif message["kind"] == "disk":
            self.log(f"trial {number} could not write a file\n{message['traceback']}")
            self.error = DiskError(f"the search stops, because its trials cannot write their files: {message['reason']}")
            self.ledger.interrupt(number, "a file could not be written")
        else:
            self.log(f"trial {number} failed\n{message['traceback']}")
            self.ledger.fail(number, message["reason"], message["seconds"])
        return False

    def lost(self, tune_id: str, detail: str, cause: str | None) -> None:
        """A worker process is gone. With a cause: workers cannot run trials at all (a trial's own failure comes as a message)."""
        number = self.numbers[tune_id]
        if number not in self.ledger.running:
            return
        self.log(f"trial {number} lost its worker\n{detail}")
        if cause is None:
            self.ledger.worker_died(number, self.nodes_gone())
        else:
            self.ledger.interrupt(number, cause)
            self.error = RunError(f"the workers cannot run trials: {cause}; see {self.ledger.folder / 'search.log'}")
