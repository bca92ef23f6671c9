"""One Optuna storage that shows several studies, each from its own storage, and keeps our figures in memory.

optuna-dashboard takes one storage, and saves figures in it, in hundreds of small transactions. A search writes to the same storage, so
the figures stay in this process instead. The search's storage is only read, except for notes that people write on the page.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import optuna
import plotly.graph_objects as go
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autodistill.errors import StudyError
from autodistill.optuna_storage.open import load_study, open_storage

_MANY = 10_000
"""A trial's id here is its number times this, plus its study's id."""
READ_ONLY = "the dashboard shows studies and does not change them; make one with `autodistill search`, or remove one by deleting its folder"
_NOTE = "dashboard:note_"
"""The first letters of a study's note among its attributes, as optuna-dashboard stores it."""


class ShownStudies(InMemoryStorage):
    """Studies in the order in which they were added. Trials and attributes are read from the studies' own storages at each request."""

    def __init__(self) -> None:
        super().__init__()
        self._sources: dict[int, tuple[optuna.Study, BaseStorage, int]] = {}  # by id here; the last is its id there
        self._figures: dict[int, dict[str, Any]] = {}

    def add(self, folder: Path, name: str, url: str) -> int:
        """Show a study; returns its id here.

        Raises:
            StudyError: its storage cannot be reached or does not hold it, or another study of its name is shown.
        """
        study = load_study(folder, name, url)  # it reads ended trials of a database once
        storage = open_storage(url)
        try:
            shown = super().create_new_study(study.directions, name)
        except DuplicatedStudyError:
            raise StudyError(f"a study of the name {name!r} is shown already") from None
        self._sources[shown] = study, storage, storage.get_study_id_from_name(name)
        return shown

    def show(self, study_id: int, figures: Mapping[str, go.Figure], metric: str, note: str) -> None:
        """Replace the figures on a study's page, by id. All are replaced at once, because pages are read meanwhile.

        metric: the name of the score. note: the study's note, until somebody writes another one.
        """
        from optuna_dashboard import save_note, save_plotly_graph_object

        storage = InMemoryStorage()
        scratch = storage.create_new_study([StudyDirection.MAXIMIZE], "figures")
        study = optuna.load_study(study_name="figures", storage=storage)
        for name, figure in figures.items():
            save_plotly_graph_object(study, figure, graph_object_id=name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([metric])
        save_note(study, note)
        self._figures[study_id] = storage.get_study_system_attrs(scratch)

    def _source(self, study_id: int) -> tuple[optuna.Study, BaseStorage, int]:
        if study_id not in self._sources:
            raise KeyError(f"there is no study {study_id}")
        return self._sources[study_id]

    # Reading. Names and directions do not change, so they are kept here

    def get_all_studies(self) -> list[Any]:
        studies = super().get_all_studies()
        for study_id, study in zip(self._sources, studies, strict=True):
            study.user_attrs, study.system_attrs = self.get_study_user_attrs(study_id), self.get_study_system_attrs(study_id)
        return studies

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        _, storage, there = self._source(study_id)
        return storage.get_study_user_attrs(there)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        _, storage, there = self._source(study_id)
        own, ours = storage.get_study_system_attrs(there), self._figures.get(study_id, {})
        if any(name.startswith(_NOTE) for name in own):
            ours = {name: value for name, value in ours.items() if not name.startswith(_NOTE)}
        return ours | own

    def get_trial(self, trial_id: int) -> FrozenTrial:
        number, study_id = divmod(trial_id, _MANY)
        trials = self.get_all_trials(study_id, deepcopy=False)
        if number >= len(trials):
            raise KeyError(f"there is no trial {number} in study {study_id}")
        return trials[number]

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        study, _, _ = self._source(study_id)
        return [_shown(trial, study_id) for trial in study.get_trials(deepcopy, states)]

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return trial_number * _MANY + study_id

    def get_trial_number_from_id(self, trial_id: int) -> int:
        return trial_id // _MANY

    def get_trial_param(self, trial_id: int, param_name: str) -> float:
        trial = self.get_trial(trial_id)
        return trial.distributions[param_name].to_internal_repr(trial.params[param_name])

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return BaseStorage.get_best_trial(self, study_id)

    def has_trial(self, study_id: int, trial_id: int) -> bool:
        """Whether a study has a trial of this id."""
        return trial_id % _MANY == study_id and trial_id // _MANY < len(self.get_all_trials(study_id, deepcopy=False))

    # Writing: only notes are written into the study

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        _, storage, there = self._source(study_id)
        storage.set_study_system_attr(there, key, value)

    def _refuse(self) -> NoReturn:
        raise StudyError(READ_ONLY)

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        self._refuse()

    def delete_study(self, study_id: int) -> None:
        self._refuse()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._refuse()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self._refuse()

    def set_trial_param(self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution) -> None:
        self._refuse()

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        self._refuse()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._refuse()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._refuse()

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._refuse()


def _shown(trial: FrozenTrial, study_id: int) -> FrozenTrial:
    """A copy of the trial with its id in this storage."""
    return FrozenTrial(
        trial.number,
        trial.state,
        None,
        trial.datetime_start,
        trial.datetime_complete,
        trial.params,
        trial.distributions,
        trial.user_attrs,
        trial.system_attrs,
        trial.intermediate_values,
        trial.number * _MANY + study_id,
        values=trial.values,
    )
