"""`autodistill.search`: the main job, from a dataset's name to a study."""

from __future__ import annotations

import dataclasses
import itertools
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from autodistill.errors import RecipeError, StudyError, UsageError
from autodistill.events import Listen, SearchMessage, StageFinished, StageStarted
from autodistill.facts import DatasetFacts
from autodistill.limits import Feasible, Limits, ratio
from autodistill.recipe import Recipe
from autodistill.recommend_api import warm_recipes
from autodistill.records import Role
from autodistill.space import Space
from autodistill.stages import Stage, match_scores, read_teacher_scores, store_outputs, tell_of_rows, train_teacher
from autodistill.study import Study
from autodistill.study_folder import read_about
from autodistill.study_report import write_report
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef
from autodistill.tasks.unlabelled import Unlabelled, places_of
from autodistill.teacher.load import load_teacher
from autodistill.train.data import open_inputs
from autodistill.train.feasible import Feasibilities, model_cost
from autodistill.train.taps import space_taps
from autodistill.train.trial import run_trial
from autodistill.tuning.run import SearchInterrupted, run_search
from autodistill.tuning.settings import SearchSettings, check_existence, default_name
from autodistill.tuning.stage_times import StageTimes

_STUDENTS_TRIED = 200


def search(
    dataset: str,
    *,
    space: str | None = None,
    teacher: str | None = None,
    teacher_scores: str | None = None,
    trials: int = 20,
    time_budget: float | None = None,
    max_epochs: int | None = None,
    max_params: int | str | None = None,
    max_latency_ms: float | str | None = None,
    limit_train: int | None = None,
    unlabelled: Unlabelled = (),
    limit_unlabelled: int | None = None,
    workers: int | None = None,
    cpus_per_trial: int = 1,
    gpus_per_trial: float | None = None,
    address: str | None = None,
    study: str | None = None,
    studies_dir: str = "studies",
    resume: bool = False,
    seed: int = 0,
    explore: bool = False,
    repeats: int = 1,
    data_curve: bool = False,
    recipes: Sequence[str | Path | Recipe] = (),
    cold: bool = False,
    storage: str | None = None,
    text_columns: tuple[str, ...] | None = None,
    label_column: str | None = None,
    listen: Listen | None = None,
) -> Study:
    """Search for the best distillation pipeline of a dataset.

    Args:
        dataset: a name (`autodistill datasets`), a Hugging Face id or a path.
        space: a shipped space (`autodistill spaces`) or a space file; by default the one for the dataset's modality.
        teacher: a transformers encoder or `timm:<name>`, in place of the space's; `random` for the space's with random weights, a
            control: what its students gain is not knowledge.
        teacher_scores: a file of scores in place of a teacher network: a column of texts, and a column for each class (probabilities or
            logits), or `label` with an optional `confidence`. Texts of it that stand in no split are unlabelled rows.
        trials: how many, the baselines on top.
        time_budget: seconds for the trials; the teacher's training is not in it.
        max_epochs: of a trial, in place of the space's.
        max_params, max_latency_ms: limits on the student: numbers, or a share of the teacher's own, `"1/7.5"`. Latency is for one row
            of median length.
        limit_train: use at most so many training rows (a seeded, stratified subset).
        unlabelled: rows without labels, on which students learn from the teacher: a path, a list of texts or of pairs, a DataFrame, or
            several of these in a tuple; "rest" is the training rows that limit_train leaves out. What lies in the dataset's folder under
            the name `unlabelled` is read by itself.
        limit_unlabelled: use at most so many of them (a seeded subset).
        workers: trials at once; by default as many as there are cores or GPUs for.
        cpus_per_trial, gpus_per_trial: what a trial gets; a GPU may be shared, 0.25.
        address: of a running Ray cluster; by default Ray is started on this machine, on loopback alone.
        study, studies_dir: the study's folder is studies_dir/study; its name is the dataset's by default.
        resume: go on with a study that was stopped.
        seed: of the splits, the subset, the teacher, the trials and the sampler.
        explore: spread the trials evenly over the whole space and stop none early, to record what works where.
        repeats: train the baselines and the best five recipes with so many seeds each; the best mean wins.
        data_curve: train the best recipe with a quarter and with half of the unlabelled rows too, to see what more of them would give.
        recipes: of your own (a Recipe, a file, or a study's folder), to stand beside the baselines: trained in full, and on top of the
            trials. Their teacher is the search's. A resumed search has those that it was given before.
        cold: do not begin with the recipes that recorded studies recommend.
        storage: an Optuna storage URL; by default a SQLite file in the study's folder.
        text_columns, label_column: names of a file's columns, where they cannot be guessed.
        listen: is told what happens while it runs (autodistill.events).

    Returns:
        The study: `.best`, `.records` (pandas), `.recommended` (a Recipe), `.folder`.

    Raises:
        UserError: something that was asked or given cannot work: see its subclasses.
        RunError: the search failed.
        KeyboardInterrupt: Ctrl-C; what ran is recorded and the study can be resumed.
    """
    tell = StageTimes(listen or (lambda event: None))
    own = [recipe if isinstance(recipe, Recipe) else Recipe.load(recipe) for recipe in recipes]
    ref = DatasetRef(dataset, limit_train, seed, text_columns, label_column, places_of(unlabelled), limit_unlabelled, teacher_scores)
    settings = SearchSettings(
        dataset=ref,
        study=study or default_name(dataset),
        space=space,
        teacher=teacher,
        trials=trials,
        time_budget=time_budget,
        params_ratio=ratio(max_params, "max_params"),
        latency_ratio=ratio(max_latency_ms, "max_latency_ms"),
        max_params=None if isinstance(max_params, str) else max_params,
        max_latency_ms=None if isinstance(max_latency_ms, str) else max_latency_ms,
        workers=workers,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        address=address,
        studies_dir=studies_dir,
        seed=seed,
        explore=explore,
        repeats=repeats,
        data_curve=data_curve,
        storage=storage,
        resume=resume,
        **({} if max_epochs is None else {"max_epochs": max_epochs}),
    )
    check_existence(settings)
    if teacher_scores is not None and (settings.params_ratio or settings.latency_ratio):
        raise UsageError("a limit is a share of the teacher's, and a file of scores has no size; give limits as numbers")

    with Stage(tell, "data", f"reading {dataset}") as stage:
        data = load_dataset(ref)
        stage.end(f"{data.name}: {data.task}, {len(data.train):,} training and {len(data.validation):,} validation rows, {data.metric}")
    tell_of_rows(data, tell)
    points = Space.load(space or ("image" if data.is_image else "text"), data.task)
    if data.unlabelled is None:
        points = points.without_unlabelled()
    if teacher == "random":
        points = points.with_random_teacher()
    elif teacher is not None:
        points = points.fixed("teacher.model", teacher)
    if max_epochs is not None:
        points = points.fixed("training.epochs", max_epochs)
    scores = None if teacher_scores is None else read_teacher_scores(data, teacher_scores, tell)
    if scores is not None:
        left_out = points.needing_states()
        points = points.with_teacher_scores(scores.fingerprint)
        tell(SearchMessage(f"left out, as they read a teacher's states, which a file of scores does not have: {', '.join(left_out)}"))
    settings = dataclasses.replace(settings, max_epochs=_longest(points))

    if scores is None:
        teachers = {part: train_teacher(data, part, seed, tell) for part in points.teachers()}
    else:
        teachers = {part: match_scores(data, part, scores, tell) for part in points.teachers()}
    opened = {part: open_inputs(data, part, found.folder) for part, found in teachers.items()}
    costs = {}
    if scores is None:  # a file of scores is stored, and has no size
        for part in opened:
            store_outputs(opened[part], part, space_taps(points), tell)
        costs = {part: model_cost(load_teacher(found.folder)[0], opened[part]) for part, found in teachers.items()}
        teachers = {part: dataclasses.replace(found, params=costs[part][0], latency_ms=costs[part][1]) for part, found in teachers.items()}
    limits = Limits.asked(max_params, _measured_before(settings) or max_latency_ms, list(costs.values()))
    settings = dataclasses.replace(settings, max_params=limits.max_params, max_latency_ms=limits.max_latency_ms)
    if settings.params_ratio or settings.latency_ratio:
        tell(SearchMessage(f"limits on the student: {limits.text()}"))
    feasible = Feasibilities(limits, opened)
    facts = DatasetFacts(data.name, data.rows_fingerprint, data.task, data.metric, len(data.train), data.unlabelled_rows)
    baselines = feasible_baselines(points, feasible, settings)
    given = [check_given(recipe, points, feasible, limits, data.unlabelled_rows) for recipe in own]
    if explore:
        warm = spread_recipes(points, feasible, settings)
    else:  # a resumed search has its recommendations in its queue
        warm = [] if cold or resume else warm_recipes(data, points, feasible, trials, seed, tell)
    began = time.monotonic()
    tell(StageStarted("trials", f"{trials} trials and {len(baselines)} baselines"))
    try:
        result = run_search(
            settings,
            space=points,
            dataset=facts,
            teachers=teachers,
            runner=run_trial,
            feasible=feasible,
            baselines=baselines,
            given=given,
            warm=warm,
            listen=tell,
        )
    except SearchInterrupted as stopped:
        tell.keep(stopped.study)
        write_report(stopped.study)
        raise
    tell(StageFinished("trials", time.monotonic() - began, ""))
    tell.keep(result)
    write_report(result)
    return result


def _measured_before(settings: SearchSettings) -> float | None:
    """Milliseconds that the same share of the teacher's latency came to when the resumed study began: no two measurements are equal."""
    before = (read_about(settings.folder) or {}) if settings.resume else {}
    asked = before.get("settings", {})
    return asked["max_latency_ms"] if settings.latency_ratio and asked.get("latency_ratio") == settings.latency_ratio else None


def feasible_baselines(space: Space, feasible: Feasible, settings: SearchSettings) -> Mapping[Role, Recipe]:
    """The baselines with the defaults' student, or where that is over a limit, with the largest that is not, of those the space proposes.

    Raises:
        StudyError: none of many proposals keeps the limits.
    """
    found = feasible(space.defaults())
    if found.feasible:
        return space.baselines()
    rng = random.Random(settings.seed)
    tried = [space.sample(rng) for _ in range(_STUDENTS_TRIED)]
    costs = {recipe.student: feasible(recipe) for recipe in tried}
    fitting = [student for student, cost in costs.items() if cost.feasible]
    if not fitting:
        params = min(cost.params for cost in costs.values() if cost.params is not None)
        latencies = [cost.latency_ms for cost in costs.values() if cost.latency_ms is not None]
        fastest = f", the fastest {min(latencies):.3g} ms" if latencies else ""
        raise StudyError(
            f"no student of the space {space.name!r} keeps the limits (max_params {settings.max_params}, max_latency_ms "
            f"{settings.max_latency_ms}): the smallest of {_STUDENTS_TRIED} has {params:,} parameters{fastest}; "
            "raise them, or give another --space"
        )
    return space.baselines(student=max(fitting, key=lambda student: costs[student].params or 0))


def check_given(recipe: Recipe, space: Space, feasible: Feasible, limits: Limits, unlabelled_rows: int = 0) -> Recipe:
    """A recipe of the user's, with the search's teacher.

    Raises:
        RecipeError: it is for another task, does not go with this teacher, or uses unlabelled rows where there are none.
        UsageError: its student is over a limit.
    """
    if recipe.task != space.task:
        raise RecipeError(f"the recipe {recipe.id} is for {recipe.task}, and the search is of {space.task}; leave it out")
    if recipe.training.unlabelled_share > 0 and not unlabelled_rows:
        raise RecipeError(f"the recipe {recipe.id} uses unlabelled rows, and the dataset has none; give some with --unlabelled")
    if recipe.teacher not in space.teachers():
        recipe = Recipe.parse(recipe.model_dump() | {"teacher": space.defaults().teacher.model_dump()})
    cost = feasible(recipe)
    if not cost.feasible:
        raise UsageError(f"the recipe {recipe.id} breaks the limits ({limits.describe(cost)}); raise them, or leave it out")
    return recipe


def spread_recipes(space: Space, feasible: Feasible, settings: SearchSettings) -> list[Recipe]:
    """As many recipes as there are trials, spread over the space, each within the limits.

    Raises:
        StudyError: too few of them keep the limits.
    """
    tried = itertools.islice(space.spread(settings.seed), _STUDENTS_TRIED + 20 * settings.trials)
    found = list(itertools.islice((recipe for recipe in tried if feasible(recipe).feasible), settings.trials))
    if len(found) < settings.trials:
        number = _STUDENTS_TRIED + 20 * settings.trials
        raise StudyError(f"of {number} recipes of the space {space.name!r}, {len(found)} keep the limits; raise them")
    return found


def _longest(space: Space) -> int:
    """The most epochs that a recipe of the space can have."""
    domains = space.parameters.get("training.epochs")
    if domains is None:
        return space.defaults().training.epochs
    return int(max(max(domain.choices) if domain.choices else domain.high or domain.default for domain in domains))
