"""Ray Tune's hooks: its searcher, scheduler, stopper and callback. Each passes calls on to the round and has no state of its own.

Tune pickles them into its experiment folder, which is never read, so they pickle as empty.
"""

from __future__ import annotations

from typing import Any

from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from autodistill.tuning.ray_inside import error_of, keep_workers, write_one_snapshot
from autodistill.tuning.round import Halt, Round


class Proposals(Searcher):
    """Tune asks for the next trial."""

    def __init__(self, tuner_round: Round) -> None:
        super().__init__()
        self.round = tuner_round

    def suggest(self, trial_id: str) -> Any:
        return self.round.suggest(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to do: the ledger already knows it from the trial's last message or from `Watch`."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """The study's storage is the only state."""

    def get_state(self) -> dict[str, Any]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Messages(FIFOScheduler):
    """Tune hands over a worker's message, and learns whether to stop its trial."""

    def __init__(self, tuner_round: Round) -> None:
        super().__init__()
        self.round = tuner_round
        self.first = True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(tune_controller, trial)
        self.round.trials[self.round.numbers[trial.trial_id]] = trial
        if self.first:
            write_one_snapshot(tune_controller)
            keep_workers(tune_controller, trial, self.round.workers)
            self.first = False

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        stop = self.round.message(trial.trial_id, result["message"])
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Brake(Stopper):
    """Tune asks whether to stop all trials. This is needed if Ray keeps running afterwards, so that Tune frees its resources."""

    def __init__(self, tuner_round: Round) -> None:
        self.round = tuner_round

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.round.graceful and self.round.must_stop()

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Watch(Callback):
    """Tune reports what happens to workers, and the end of each step of its loop."""

    def __init__(self, tuner_round: Round) -> None:
        self.round = tuner_round

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.round.started(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.round.lost(trial.trial_id, *error_of(trial))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        ledger = self.round.ledger
        ledger.write()
        if self.round.must_stop() and not self.round.graceful:
            raise Halt
        waiting = [self.round.trials[number] for number in ledger.running if number in self.round.trials]
        for trial in waiting:
            if trial.status == Trial.ERROR:  # Tune does not report every error, for example of a worker that cannot be reused
                self.round.lost(trial.trial_id, *error_of(trial))

    def __getstate__(self) -> dict[str, Any]:
        return {}
