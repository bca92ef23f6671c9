"""One Optuna storage that shows several studies, each in a storage of its own, and keeps our figures in memory.

optuna-dashboard takes one storage, and saves figures into it, in hundreds of small transactions. A search writes to the same
database, so here they stay in this process: the search's database is only read, but for notes that people write on the page.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping, Sequence
from typing import Any, NoReturn

import optuna
import plotly.graph_objects as go
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, get_storage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from autodistill.errors import StudyError
from autodistill.tuning.storage import open_storage
from autodistill.tuning.study import Study

_MANY = 10_000
"""A trial is known by its own storage's number times this, plus its study's number here."""


class ShownStudies(BaseStorage):
    """Studies in the order in which they were added; their ids count from 1."""

    def __init__(self) -> None:
        self._sources: list[tuple[BaseStorage, int]] = []
        self._figures: dict[int, dict[str, Any]] = {}

    def add(self, study: Study) -> int:
        """Show a study; returns its id here.

        Raises:
            StudyError: its storage cannot be reached or does not hold it.
        """
        study.optuna_study()  # raises what can be said of a storage that is lost
        storage = open_storage(study.storage)
        reader = get_storage(storage) if isinstance(storage, RDBStorage) else storage  # keeps ended trials, so they are read once
        self._sources.append((reader, reader.get_study_id_from_name(study.name)))
        return len(self._sources)

    def show(self, study_id: int, figures: Mapping[str, go.Figure]) -> None:
        """Put figures on a study's page, by id, in place of those that were there: all at once, for pages are read meanwhile."""
        from optuna_dashboard import save_plotly_graph_object

        storage = InMemoryStorage()
        storage.create_new_study([StudyDirection.MAXIMIZE], "figures")
        scratch = optuna.study.Study("figures", storage)
        for name, figure in figures.items():
            save_plotly_graph_object(scratch, figure, graph_object_id=name)
        self._figures[study_id] = storage.get_study_system_attrs(scratch._study_id)

    def _source(self, study_id: int) -> tuple[BaseStorage, int]:
        if not 1 <= study_id <= len(self._sources):
            raise KeyError(f"there is no study {study_id}")
        return self._sources[study_id - 1]

    def _trial(self, trial_id: int) -> tuple[BaseStorage, int]:
        return self._source(trial_id % _MANY)[0], trial_id // _MANY

    def _seen(self, trial: FrozenTrial, study_id: int) -> FrozenTrial:
        seen = copy.copy(trial)
        seen._trial_id = trial._trial_id * _MANY + study_id
        return seen

    # Reading

    def get_all_studies(self) -> list[FrozenStudy]:
        found = []
        for study_id in range(1, len(self._sources) + 1):
            name, directions = self.get_study_name_from_id(study_id), self.get_study_directions(study_id)
            attributes = self.get_study_user_attrs(study_id), self.get_study_system_attrs(study_id)
            found.append(FrozenStudy(name, None, *attributes, study_id, directions=directions))
        return found

    def get_study_id_from_name(self, study_name: str) -> int:
        for study_id in range(1, len(self._sources) + 1):
            if self.get_study_name_from_id(study_id) == study_name:
                return study_id
        raise KeyError(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        storage, known = self._source(study_id)
        return storage.get_study_name_from_id(known)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        storage, known = self._source(study_id)
        return storage.get_study_directions(known)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        storage, known = self._source(study_id)
        return storage.get_study_user_attrs(known)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        storage, known = self._source(study_id)
        return storage.get_study_system_attrs(known) | self._figures.get(study_id, {})

    def get_trial(self, trial_id: int) -> FrozenTrial:
        storage, known = self._trial(trial_id)
        return self._seen(storage.get_trial(known), trial_id % _MANY)

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        storage, known = self._source(study_id)
        return [self._seen(trial, study_id) for trial in storage.get_all_trials(known, deepcopy, states)]

    # Writing: notes into the study; nothing else

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        storage, known = self._source(study_id)
        storage.set_study_system_attr(known, key, value)

    def _refuse(self) -> NoReturn:
        raise StudyError(
            "the dashboard shows studies and does not change them; `autodistill search` makes them, and a folder can be deleted"
        )

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
