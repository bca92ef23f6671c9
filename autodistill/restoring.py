"""From an entry of the library back to a search's folder, with its Optuna study."""

from __future__ import annotations

import datetime
from pathlib import Path

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from autodistill.errors import StudyError
from autodistill.facts import DatasetFacts, study_epochs, study_limits
from autodistill.limits import Limits
from autodistill.optuna_storage.open import close_storage, open_storage
from autodistill.recipe import Recipe
from autodistill.recommender.library import RecordedStudy
from autodistill.records import TrialRecord, write_records
from autodistill.rows_fit import fit_rows
from autodistill.settings import SearchSettings
from autodistill.space import Space
from autodistill.study import Study
from autodistill.study_folder import default_storage, write_about
from autodistill.task_types import modality_of, target_of
from autodistill.teachers import Teachers
from autodistill.tuning.run import about_search
from autodistill.tuning.sampler import chooser
from autodistill.tuning.translate import StudyPlan

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "infeasible": TrialState.PRUNED, "fail": TrialState.FAIL}

_COUNTS = ("unlabelled_rows", "validation_rows", "constant_score")
"""What newer entries say of their datasets."""


def restore(entry: RecordedStudy, work: Path) -> Study:
    """The entry as a study in `work` that has its name, so that `studies/record.py` goes on with it.

    Raises:
        StudyError: there is already a study of that name.
    """
    epochs, limits = study_epochs(entry.about), study_limits(entry.about)
    assert epochs is not None, "every recorded study has a number of epochs"
    recipes = [Recipe.parse(record.recipe) for record in entry.records]
    teacher, steps = recipes[0].teacher, recipes[0].training.steps
    space = Space.load(target_of(entry.task).space or modality_of(entry.task).name, entry.task)
    if teacher not in space.teachers():
        space = space.with_teacher(teacher)
    space = space.fixed("training.epochs", epochs)
    if any(space.length_for(recipe.model_dump())["steps"] != recipe.training.steps for recipe in recipes):  # of an earlier space
        bounds = {} if steps else {name: 0 for name in ("passes", "max_steps") if f"training.{name}" in space.parameters}
        for name, value in {"steps": steps, **bounds}.items():
            space = space.fixed(f"training.{name}", value)
    space, _ = fit_rows(space.for_its_teachers(), entry.train_rows, entry.about["dataset"].get("unlabelled_rows", 0))
    place = {"dataset": entry.dataset, "study": entry.name, "studies_dir": str(work)}
    settings = SearchSettings.from_dict({**entry.about["settings"], **place})
    if settings.folder.exists():
        raise StudyError(f"{settings.folder} exists; a study is restored only into a new folder")
    counts = {name: entry.about["dataset"][name] for name in _COUNTS if name in entry.about["dataset"]}
    facts = DatasetFacts(entry.dataset, entry.fingerprint, entry.task, entry.metric, entry.train_rows, **counts)
    teachers = Teachers.of_study(entry.about)
    parts = dict.fromkeys(recipe.teacher for recipe in recipes)
    plan = StudyPlan(settings, facts, Teachers({part: teachers.get(part, teachers.best) for part in parts}), {}, limits, epochs)
    settings.folder.mkdir(parents=True)
    storage = open_storage(default_storage(settings.folder))
    study = optuna.create_study(study_name=settings.study, storage=storage, direction="maximize")
    study.add_trials([stored(record, space, limits) for record in entry.records])
    close_storage(storage)
    write_records(entry.records, settings.folder / "trials.parquet")
    write_about(settings.folder, about_search(plan, space) | {"sessions": entry.about["sessions"]})
    return Study.open(settings.folder)


def stored(record: TrialRecord, space: Space, limits: Limits) -> FrozenTrial:
    """The Optuna trial of a record: the inverse of `translate.record_of`."""
    training = record.recipe["training"]  # recorded before these fields, which change nothing on the rows of an entry
    bounds = {name: value for name, value in space.length_for(record.recipe).items() if name in ("passes", "max_steps")}
    recipe = Recipe.parse(record.recipe | {"training": bounds | training})
    inside = space.contains(recipe)  # a baseline or a user's recipe need not be in the space
    point = FixedTrial(space.encode(recipe) if inside else {})
    if inside:
        space.suggest(chooser(point))
    outcome = {
        "curve": [item.model_dump() for item in record.curve],
        "reason": record.reason,
        "verdict": "infeasible" if record.state == "infeasible" else None,
        **{name: getattr(record, name) for name in ("metrics", "params", "flops", "seconds", "seconds_by_stage", "environment")},
    }
    proposal = {name: getattr(record, name) for name in ("role", "recipe_id", "seed", "recipe", "params", "latency_ms")}
    trial = create_trial(
        state=STATES[record.state],
        value=record.rank_score if record.state == "complete" else None,
        params=point.params,
        distributions=point.distributions,
        constraints=limits.check(record.params, record.latency_ms).violations,
        intermediate_values={item.epoch: item.rank_score for item in record.curve},
        user_attrs={"proposal": proposal, "outcome": outcome},
    )
    if record.started is not None:
        trial.datetime_start = datetime.datetime.fromtimestamp(record.started)
    return trial
