"""A study: the folder that a search writes, as an object to read. `study_folder` lists its files."""

from __future__ import annotations

import dataclasses
import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autodistill.errors import StudyError, not_allowed
from autodistill.facts import TeacherRef, study_limits
from autodistill.limits import Limits
from autodistill.ranking import best_of, count, was_interrupted
from autodistill.recipe import Recipe
from autodistill.records import BASELINES, Role, TrialRecord, read_records, to_frame
from autodistill.report.answer import answer
from autodistill.settings import SearchSettings
from autodistill.storage import user_path
from autodistill.study_folder import default_storage, is_study, read_about, study_names
from autodistill.teachers import Teachers

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    import plotly.graph_objects as go

    from autodistill.report.frontier import Model


_PARTS: dict[str, type] = {"study": str, "settings": dict, "dataset": dict, "teachers": list}
"""What every study.json has."""


class Study:
    """A study's folder, read only. `open` it, or get it from a search. A recorded study's folder can be opened, too."""

    def __init__(self, folder: Path, about: dict[str, Any], storage: str | None = None) -> None:
        self.folder = folder
        self.about = about
        self._storage = storage

    @classmethod
    def open(cls, folder: str | Path, storage: str | None = None) -> Study:
        """Open a study. storage: needed if its URL has a password, which a study's folder does not store.

        Raises:
            StudyError: the folder is not a study's.
        """
        place = user_path(folder, StudyError).resolve()
        about = read_about(place)
        if about is None:
            raise StudyError(f"{place} is not a study: it has no study.json. A study is a folder that `autodistill search` made.")
        missing = [name for name, kind in _PARTS.items() if not isinstance(about.get(name), kind)]
        if missing:
            raise StudyError(f"study.json in {place} is damaged: it has no {' and no '.join(missing)}; restore it")
        return cls(place, about, storage)

    @classmethod
    def find(cls, name: str, studies_dir: str | Path = "studies", storage: str | None = None) -> Study:
        """Open a study by its name in a folder of studies, or by its own folder.

        Raises:
            StudyError: there is no such study. The message lists those that exist.
        """
        home = user_path(studies_dir, StudyError)
        if name and is_study(home / name):
            return cls.open(home / name, storage)
        if name and is_study(user_path(name, StudyError)):
            return cls.open(name, storage)
        way_out = f"They are those in {home.absolute()}; --studies-dir names another folder."
        raise StudyError(not_allowed("the study", name, study_names(home), way_out))

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self.about["study"])

    @property
    def settings(self) -> SearchSettings:
        """The settings of the last session."""
        return SearchSettings.from_dict(self.about["settings"])

    @property
    def teacher_score(self) -> float | None:
        """The best teacher's score on the validation split."""
        return self.about["teacher_score"]

    @property
    def teacher(self) -> TeacherRef:
        """The best teacher."""
        return self.teachers.best

    @property
    def teachers(self) -> Teachers:
        """All teachers, by the `teacher` part of the recipes."""
        return Teachers.of_study(self.about)

    @property
    def storage(self) -> str:
        """The Optuna storage: a journal's path, or a database's URL."""
        return self._storage or self.settings.storage or default_storage(self.folder)

    @property
    def trial_records(self) -> list[TrialRecord]:
        """Every trial that has ended, by number.

        Raises:
            StudyError: their table is damaged or lost.
        """
        path = self.folder / "trials.parquet"
        if not path.exists() and (self.folder / "recommended.yaml").exists():  # which is written after the table
            raise StudyError(f"the study {self.folder} has lost its trials.parquet; resuming the search (--resume) writes it again")
        return read_records(path) if path.exists() else []

    @property
    def records(self) -> pd.DataFrame:
        """Every trial that has ended, with a row for each."""
        return to_frame(self.trial_records)

    @property
    def best(self) -> TrialRecord | None:
        """The best complete trial within the limits, which may be a baseline; of equal scores the smaller student."""
        return best_of(self.trial_records, self.limits)

    @property
    def limits(self) -> Limits:
        """The limits on students."""
        return study_limits(self.about)

    @property
    def baselines(self) -> dict[Role, TrialRecord]:
        """The baselines that have ended, by role."""
        return {record.role: record for record in self.trial_records if record.role in BASELINES and not was_interrupted(record)}

    @property
    def recommended(self) -> Recipe:
        """The recipe in recommended.yaml.

        Raises:
            RecipeError: there is none, because no trial is complete.
        """
        return Recipe.load(self.folder)

    @property
    def counts(self) -> dict[str, int]:
        """How many trials ended complete, pruned, fail, infeasible and interrupted."""
        return count(self.trial_records)

    @property
    def best_folder(self) -> Path | None:
        """The best student's folder, None if no student was kept."""
        folder = self.folder / "best"
        return folder if folder.is_dir() else None

    def leaderboard(self) -> pd.DataFrame:
        """The teachers, the best trials and all baselines, best first: the table that a search prints, with columns as in `Row`."""
        import pandas as pd  # a second, which most commands need not wait

        from autodistill.report.leaderboard import Row, rows

        constant_score = self.about["dataset"].get("constant_score")
        lines = rows(self.trial_records, self.limits, self.teachers, None, constant_score)
        return pd.DataFrame([dataclasses.asdict(row) for row in lines], columns=[field.name for field in dataclasses.fields(Row)])

    def frontier(self) -> pd.DataFrame:
        """The best student of each family beside the teachers and the linear models, best score first: the table that a search prints.

        Its columns are described in `report.frontier.Model`.

        The latencies, for 1 row and for 32, were measured at the end of the search; they are missing where that was not done.
        """
        import pandas as pd

        from autodistill.report.frontier import Model

        models = self.frontier_models
        return pd.DataFrame([dataclasses.asdict(model) for model in models], columns=[field.name for field in dataclasses.fields(Model)])

    @property
    def frontier_models(self) -> list[Model]:
        """The rows of `frontier`."""
        from autodistill.report.frontier import frontier

        return frontier(self.trial_records, self.limits, self.settings.prefer, self.about)

    @property
    def verdict(self) -> str:
        """The gain of distillation in a few sentences, which a search prints at its end."""
        from autodistill.report.leaderboard import verdict

        data = self.about["dataset"]
        return verdict(self.trial_records, self.limits, data.get("validation_rows"), data.get("constant_score"))

    def __repr__(self) -> str:
        """The study's name and folder, and its result in a sentence if its table can be read."""
        try:
            result = answer(self.trial_records, self.limits, self.settings.prefer)
        except Exception as cause:  # a repr is shown where something else has failed already
            result = f"its trials cannot be read ({type(cause).__name__})"
        return f"<Study {self.name!r} in {self.folder}: {result}>"

    def _repr_html_(self) -> str:
        """The study in a notebook: its name, the verdict and the leaderboard."""
        title, verdict = (html.escape(text) for text in (self.name, self.verdict))
        return f"<h4>{title}</h4><p>{verdict}</p>{self.leaderboard().to_html(index=False, na_rep='–', float_format='{:.4g}'.format)}"

    def plot(self, figure: str) -> go.Figure:
        """A figure of the study, to be shown in a notebook: frontier, pareto, latency, curves, importance and others.

        Raises:
            StudyError: there is no figure of that name. The message lists those that exist.
        """
        from autodistill.dashboards import FIGURES, draw_figure

        if figure not in FIGURES:
            raise StudyError(not_allowed("the figure", figure, FIGURES))
        return draw_figure(figure, self.trial_records, self.limits, self.about)

    def optuna_study(self) -> optuna.Study:
        """The Optuna study, from the storage.

        Raises:
            StudyError: the storage cannot be reached or does not hold the study.
        """
        from autodistill.optuna_storage.open import load_study  # Optuna: half a second

        return load_study(self.folder, self.name, self.storage)
