"""An Optuna study in memory, whose changes are written to a database later, in order.

Optuna's database storage reads every unfinished trial again for each question (a proposal asks a dozen). But a search is the only writer of
its study, because it holds the folder's lock, so it need not ask the database for what it wrote itself. What `save` has
written survives a kill; readers, such as optuna-dashboard, see an ordinary Optuna database.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

CREATE = "create_new_trial"


class Mirror(InMemoryStorage):
    """A copy of studies in another storage. It answers from memory; `save` writes what has changed since the last time.

    A trial that is created and changed between two saves is written once, in its state at the save. Studies and their attributes are
    written immediately.
    """

    def __init__(self, database: BaseStorage, study_name: str | None = None) -> None:
        """Read a study, if the database holds one of that name. Other studies are not visible."""
        super().__init__()
        self.database = database
        self._studies_there: dict[int, int] = {}  # ids in the database, by ids here
        self._trials_there: dict[int, int] = {}  # only of unfinished trials
        self._changes: deque[tuple[int, str, tuple[Any, ...]]] = deque()  # trial, method, arguments
        if study_name is not None and any(study.study_name == study_name for study in database.get_all_studies()):
            self._read(study_name)

    def _read(self, study_name: str) -> None:
        there = self.database.get_study_id_from_name(study_name)
        study = super().create_new_study(self.database.get_study_directions(there), study_name)
        self._studies_there[study] = there
        for key, value in self.database.get_study_user_attrs(there).items():
            super().set_study_user_attr(study, key, value)
        for key, value in self.database.get_study_system_attrs(there).items():
            super().set_study_system_attr(study, key, value)
        for stored in self.database.get_all_trials(there):
            trial = super().create_new_trial(study, stored)
            if not stored.state.is_finished():
                self._trials_there[trial] = self.database.get_trial_id_from_study_id_trial_number(there, stored.number)

    def save(self) -> None:
        """Write all new changes, each in its own transaction. After a failure the next call continues with the rest."""
        while self._changes:
            trial, method, change = self._changes[0]
            if method == CREATE:
                self._trials_there[trial] = self.database.create_new_trial(change[0], self.get_trial(trial))
            else:
                getattr(self.database, method)(self._trials_there[trial], *change)
            self._changes.popleft()
        self._trials_there = {trial: there for trial, there in self._trials_there.items() if not self.get_trial(trial).state.is_finished()}

    def _change(self, trial_id: int, method: str, *change: Any) -> None:
        if trial_id in self._trials_there:  # else its creation is not written yet, and will include this change
            self._changes.append((trial_id, method, change))

    # Studies

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        there = self.database.create_new_study(directions, study_name)
        study = super().create_new_study(directions, self.database.get_study_name_from_id(there))
        self._studies_there[study] = there
        return study

    def delete_study(self, study_id: int) -> None:
        gone = {self.get_trial_id_from_study_id_trial_number(study_id, number) for number in range(self.get_n_trials(study_id))}
        super().delete_study(study_id)
        self._changes = deque(change for change in self._changes if change[0] not in gone)
        self._trials_there = {trial: there for trial, there in self._trials_there.items() if trial not in gone}
        self.database.delete_study(self._studies_there.pop(study_id))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_user_attr(study_id, key, value)
        self.database.set_study_user_attr(self._studies_there[study_id], key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_system_attr(study_id, key, value)
        self.database.set_study_system_attr(self._studies_there[study_id], key, value)

    # Trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        trial = super().create_new_trial(study_id, template_trial)
        self._changes.append((trial, CREATE, (self._studies_there[study_id],)))
        return trial

    def set_trial_param(self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution) -> None:
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self._change(trial_id, "set_trial_param", param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        is_set = super().set_trial_state_values(trial_id, state, values)
        if is_set:
            self._change(trial_id, "set_trial_state_values", state, values)
        return is_set

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._change(trial_id, "set_trial_intermediate_value", step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_user_attr(trial_id, key, value)
        self._change(trial_id, "set_trial_user_attr", key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_system_attr(trial_id, key, value)
        self._change(trial_id, "set_trial_system_attr", key, value)
