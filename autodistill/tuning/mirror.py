"""The Optuna study in memory, and in the database what is written of it, in one transaction each time.

Optuna's own database storage reads every unfinished trial again at each question (a proposal asks a dozen) and writes each
parameter in a transaction of its own: a few hundred milliseconds a trial. But a search is the only writer of its study, it
holds the folder's lock, so it need not ask the database for what it wrote itself. What `save` has written survives a kill;
readers, such as optuna-dashboard, see an ordinary Optuna database.
"""

from __future__ import annotations

import copy
import datetime
import json
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, delete, insert, update


def open_study(database: RDBStorage, name: str) -> optuna.Study:
    """A study of the database, over a `Mirror`; a new one where it holds none of that name."""
    optuna.create_study(study_name=name, storage=database, direction="maximize", load_if_exists=True)
    return optuna.load_study(study_name=name, storage=Mirror(database, name))


class Mirror(InMemoryStorage):
    """One study of a database. Answers from memory; `save` writes what has changed since the last time.

    The rows are written here and not by Optuna's storage, which looks each one up first. Its tables are versioned (a
    database of another version is refused when it is opened), and what is written here is read by Optuna in the tests.
    """

    def __init__(self, database: RDBStorage, study_name: str) -> None:
        """Read a study.

        Raises:
            KeyError: the database does not hold it.
        """
        super().__init__()
        self.database = database
        self._database_study = database.get_study_id_from_name(study_name)
        self._study = super().create_new_study(database.get_study_directions(self._database_study), study_name)
        for key, value in database.get_study_user_attrs(self._database_study).items():
            super().set_study_user_attr(self._study, key, value)
        for key, value in database.get_study_system_attrs(self._database_study).items():
            super().set_study_system_attr(self._study, key, value)
        self._ids: list[int] = []  # of the saved trials in the database, by number
        self._open: dict[int, FrozenTrial] = {}  # those that have not finished, as they were saved
        for trial in database.get_all_trials(self._database_study):
            self.create_new_trial(self._study, trial)
            self._ids.append(trial._trial_id)
        for trial in self.get_all_trials(self._study, deepcopy=False):
            if not trial.state.is_finished():
                self._open[trial.number] = trial

    def get_trial(self, trial_id: int) -> FrozenTrial:
        # A copy, as a database gives: Optuna's Trial writes into what it is handed, and `save` has to see what has changed.
        trial = copy.copy(super().get_trial(trial_id))
        for name in ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values"):
            setattr(trial, name, dict(getattr(trial, name)))
        return trial

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_user_attr(study_id, key, value)
        self.database.set_study_user_attr(self._database_study, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_system_attr(study_id, key, value)
        self.database.set_study_system_attr(self._database_study, key, value)

    def save(self) -> None:
        """Write all that is new, in one transaction: after a failure nothing is written, and the next call tries all of it again."""
        trials = self.get_all_trials(self._study, deepcopy=False)
        # A change puts another object in a trial's place, so what is the same object is the same trial.
        changed = [trials[number] for number, old in self._open.items() if trials[number] is not old]
        new = trials[len(self._ids) :]
        if not changed and not new:
            return
        with self.database.engine.begin() as connection:
            for trial in changed:
                _update(connection, self._ids[trial.number], trial, self._open[trial.number])
            ids = [_create(connection, self._database_study, trial) for trial in new]
        self._ids += ids
        for trial in changed + new:
            self._open.pop(trial.number, None)
            if not trial.state.is_finished():
                self._open[trial.number] = trial


def _create(connection: Connection, study: int, trial: FrozenTrial) -> int:
    row = {"study_id": study, "number": trial.number, **_state(trial)}
    trial_id = int(connection.execute(insert(models.TrialModel.__table__).values(row)).inserted_primary_key[0])  # type: ignore[index]
    _write_parts(connection, trial_id, trial, None)
    return trial_id


def _update(connection: Connection, trial_id: int, trial: FrozenTrial, old: FrozenTrial) -> None:
    if trial.state != old.state:
        table = models.TrialModel.__table__
        connection.execute(update(table).where(table.c.trial_id == trial_id).values(_state(trial)))
    _write_parts(connection, trial_id, trial, old)


def _write_parts(connection: Connection, trial_id: int, trial: FrozenTrial, old: FrozenTrial | None) -> None:
    """Write the rows in which a trial differs from what it was."""

    def put(model: Any, key: str, rows: dict[Any, dict[str, Any]]) -> None:
        if rows and old is not None:
            table = model.__table__
            connection.execute(delete(table).where(table.c.trial_id == trial_id, table.c[key].in_(list(rows))))
        if rows:
            connection.execute(insert(model.__table__), [{"trial_id": trial_id, key: item, **row} for item, row in rows.items()])

    def changes(name: str) -> dict[Any, Any]:
        before = {} if old is None else getattr(old, name)
        return {key: value for key, value in getattr(trial, name).items() if key not in before or before[key] is not value}

    put(models.TrialParamModel, "param_name", {name: _param(trial.distributions[name], value) for name, value in changes("params").items()})
    put(models.TrialUserAttributeModel, "key", {key: {"value_json": json.dumps(value)} for key, value in changes("user_attrs").items()})
    put(models.TrialSystemAttributeModel, "key", {key: {"value_json": json.dumps(value)} for key, value in changes("system_attrs").items()})
    put(models.TrialIntermediateValueModel, "step", {step: _point(value) for step, value in changes("intermediate_values").items()})
    if old is None or old.values is None:
        put(models.TrialValueModel, "objective", {number: _value(value) for number, value in enumerate(trial.values or [])})


def _param(distribution: BaseDistribution, value: Any) -> dict[str, Any]:
    return {"param_value": distribution.to_internal_repr(value), "distribution_json": distribution_to_json(distribution)}


def _point(score: float) -> dict[str, Any]:
    value, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(score)
    return {"intermediate_value": value, "intermediate_value_type": kind}


def _value(score: float) -> dict[str, Any]:
    value, kind = models.TrialValueModel.value_to_stored_repr(score)
    return {"value": value, "value_type": kind}


def _state(trial: FrozenTrial) -> dict[str, Any]:
    return {"state": trial.state, "datetime_start": _utc(trial.datetime_start), "datetime_complete": _utc(trial.datetime_complete)}


def _utc(time: datetime.datetime | None) -> datetime.datetime | None:
    return None if time is None else time.astimezone(datetime.UTC).replace(tzinfo=None)
