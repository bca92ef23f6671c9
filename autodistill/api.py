"""`autodistill.search`: the main job, from a dataset's name to a study."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Unpack

from autodistill.environment import cores, gpu_free_bytes
from autodistill.errors import AutodistillError, RecipeError, StudyError, UsageError
from autodistill.events import Listen, SearchMessage, Stage
from autodistill.export.frontier import measure_frontier
from autodistill.facts import study_limits
from autodistill.keywords import SearchKeywords
from autodistill.limit_fit import STUDENTS_TRIED
from autodistill.limits import Feasible, Limits
from autodistill.models.start import check_sizes, check_start
from autodistill.option import takes
from autodistill.prepare import Prepared, prepare
from autodistill.recipe import Recipe
from autodistill.recommending import WARM_SHARE, InTime, Warm, warm_recipes
from autodistill.records import Role
from autodistill.report.frontier import winners
from autodistill.report.leaderboard import short_path
from autodistill.report.texts import duration, percent, plural
from autodistill.settings import SearchSettings
from autodistill.space import Space
from autodistill.study import Study
from autodistill.study_folder import read_about, write_about
from autodistill.study_report import write_report
from autodistill.tasks.in_memory import DatasetLike
from autodistill.terminal.python import search_shown
from autodistill.train.gpu_memory import most_trial_bytes, share_gpus
from autodistill.train.student_tokens import check_tokens
from autodistill.train.trial import run_trial
from autodistill.tuning.checks import check_search
from autodistill.tuning.run import SearchInterrupted, run_search
from autodistill.tuning.stage_times import StageTimes


@takes(SearchSettings)
def search(dataset: DatasetLike, *, listen: Listen | None = None, verbose: int | None = None, **settings: Unpack[SearchKeywords]) -> Study:
    """Search for the best distillation pipeline of a dataset.

    Args:
        dataset: a name (`autodistill datasets`), a Hugging Face id or a path; or rows: see `autodistill.tasks.in_memory.keep_dataset`.
        listen: called with each event of the run (autodistill.events).
        verbose: what is shown: 0 for warnings alone, 1 for the progress, 2 for every step and epoch. Default: 1, and nothing with `listen`.
        {settings}

    A setting that is left out, or None, has its default. The user's own recipes are trained in full, in addition to the trials, with the
    search's teacher (if there are several, the one with the recipe's model, else the first). A resumed search keeps the recipes that it
    had. For limits as shares of the teacher's cost, latency is that of one row of median length; with several teachers, parameters are
    those of the smallest and latency is that of the fastest.

    Returns:
        The study: `.best`, `.records` (pandas), `.recommended` (a Recipe), `.folder`.

    Raises:
        UserError: a setting or an input cannot work: see its subclasses.
        RunError: the search failed.
        KeyboardInterrupt: Ctrl-C; the trials so far are recorded, and the study can be resumed.
    """
    asked = SearchSettings.read({"dataset": dataset, **settings})
    check_search(asked)
    own = asked.load_recipes()
    for recipe in own:
        check_sizes(recipe.student)
    with search_shown(listen, verbose, asked.dataset) as hear:
        study = _search(asked, own, StageTimes(hear))
        if listen is None:  # the command, which listens, shows more than this
            folder = short_path(study.folder)
            way_on = f"autodistill.distill({folder!r}, out=FOLDER) trains its recipe in full"
            hear(SearchMessage(f"{study.verdict} The study is in {folder}; {way_on}"))
        return study


def _search(asked: SearchSettings, own: Sequence[Recipe], tell: StageTimes) -> Study:
    """The search itself, from its settings and the user's own recipes."""
    ready = prepare(asked, tell, earlier=_limits_before(asked))
    study = run_trials(asked, ready, plan_recipes(asked, own, ready, tell), tell)
    if asked.frontier:
        keep_frontier(study, ready, tell)
    write_report(study)
    return study


@dataclass(frozen=True)
class PlannedRecipes:
    """The recipes of a search that are known before its sampler proposes any.

    own: the user's. warm, families: tried first and counted as trials, see `first_recipes`.
    """

    baselines: Mapping[Role, Recipe]
    own: Sequence[Recipe]
    warm: Sequence[Recipe]
    families: Sequence[Recipe] = ()


def plan_recipes(settings: SearchSettings, own: Sequence[Recipe], ready: Prepared, tell: Listen) -> PlannedRecipes:
    """The baselines, the user's own recipes with the search's teachers, and the first ones of the trials.

    Raises:
        UserError: a recipe does not fit this search, or no student keeps the limits.
    """
    baselines = ready.space.baselines(ready.fit.defaults)
    own = [check_own(recipe, ready.space, ready.feasible, ready.limits, ready.data.unlabelled_rows) for recipe in own]
    for recipe in own:
        check_tokens(recipe, ready.opened[recipe.teacher].tokenizer)
        check_start(recipe.student, ready.opened[recipe.teacher].tokenizer, recipe.teacher.model)
    return PlannedRecipes(baselines, own, *first_recipes(ready, settings, tell))


def run_trials(settings: SearchSettings, ready: Prepared, planned: PlannedRecipes, tell: StageTimes) -> Study:
    """Train the planned recipes and those that the sampler proposes. If the search is stopped, the study so far is kept, with its report.

    Raises:
        RunError: the search failed.
        SearchInterrupted: Ctrl-C.
    """
    try:
        with Stage(tell, "trials", f"{settings.trials} trials and {len(planned.baselines)} baselines") as stage:
            study = run_search(
                settings,
                space=ready.space,
                dataset=ready.facts,
                teachers=ready.teachers,
                runner=run_trial,
                feasible=ready.feasible,
                baselines=planned.baselines,
                limits=ready.limits,
                own=planned.own,
                warm=planned.warm,
                families=planned.families,
                listen=tell,
                gpu_share=gpu_share_of(ready, settings, tell),
            )
            stage.end("")
    except SearchInterrupted as stopped:
        tell.keep(stopped.study)
        write_report(stopped.study)
        raise
    tell.keep(study)
    return study


def gpu_share_of(ready: Prepared, settings: SearchSettings, tell: Listen) -> float | None:
    """The part of a GPU that a trial gets: as many trials share one as fit, see `share_gpus`. None where there is nothing to decide."""
    if settings.gpus_per_trial is not None or settings.address is not None or not (free := gpu_free_bytes()):
        return None
    need = most_trial_bytes(ready.space, ready.opened, ready.teachers, ready.limits, settings.seed)
    trials = share_gpus(need, free, cores() // settings.cpus_per_trial)
    together = f"{plural(trials, 'trial')} at a time on each GPU" if trials > 1 else "one trial at a time on each GPU"
    why = f"a trial takes up to {need / 1e9:.1f} GB, and {min(free) / 1e9:.1f} GB are free"
    tell(SearchMessage(f"{together}: {why}; --gpus-per-trial overrides"))
    return 1.0 / trials


def keep_frontier(study: Study, ready: Prepared, tell: Listen) -> None:
    """Measure the latencies of the study's frontier, and keep them in study.json. A search is not lost where that fails."""
    students = winners(study.trial_records, study.limits, study.settings.prefer)
    with Stage(tell, "frontier", f"measuring the latency of {plural(len(students), 'student')} and what stands beside them") as stage:
        try:
            kept = measure_frontier(ready.data, ready.opened, ready.teachers, students, study.folder)
        except (AutodistillError, OSError, RuntimeError, ValueError) as cause:
            stage.end("not measured")
            tell(SearchMessage(f"the latencies could not be measured: {type(cause).__name__}: {cause}", "warning"))
            return
        study.about["frontier"] = kept
        write_about(study.folder, study.about)
        stage.end(f"{plural(len(students), 'student')} measured, with {percent(kept['core_share'])} of a core")


def _limits_before(settings: SearchSettings) -> Limits | None:
    """The limits of the study that is resumed, if it has the same share of the teacher's latency as its limit; else None."""
    before = read_about(settings.folder) if settings.resume else None
    if before is None or not isinstance(settings.max_latency_ms, str):
        return None
    asked = SearchSettings.from_dict(before["settings"])
    return study_limits(before) if asked.max_latency_ms == settings.max_latency_ms else None


def check_own(recipe: Recipe, space: Space, feasible: Feasible, limits: Limits, unlabelled_rows: int = 0) -> Recipe:
    """The user's recipe with the search's teacher of the same model, or with its default teacher if no teacher has that model.

    Raises:
        RecipeError: it is for another task, does not fit this teacher, or uses unlabelled rows and there are none.
        UsageError: its student is over a limit.
    """
    if recipe.task != space.task:
        raise RecipeError(f"the recipe {recipe.id} is for {recipe.task}, but the search is for {space.task}; leave it out")
    if recipe.training.unlabelled_share > 0 and not unlabelled_rows:
        raise RecipeError(f"the recipe {recipe.id} uses unlabelled rows, but the dataset has none; give some with --unlabelled")
    if recipe.teacher not in space.teachers():
        recipe = Recipe.parse(recipe.model_dump() | {"teacher": space.teacher_of(recipe.teacher.model).model_dump()})
    cost = feasible(recipe)
    if not cost.feasible:
        raise UsageError(f"the recipe {recipe.id} breaks the limits ({limits.describe(cost)}); raise them, or leave it out")
    return recipe


def first_recipes(ready: Prepared, settings: SearchSettings, tell: Listen) -> tuple[list[Recipe], list[Recipe]]:
    """The recipes that the search tries before those of its sampler.

    Returns:
        recommended ones or, with `explore`, the recipes of all trials; and the defaults of each family of students of which the recorded
        studies say nothing: in a cold search of each.
    """
    if settings.explore:
        return spread_recipes(ready.space, ready.feasible, settings), []
    if settings.resume:  # it has them in its queue
        return [], []
    in_time = None if settings.time_budget is None else InTime(ready.feasible, ready.opened, WARM_SHARE * settings.time_budget)
    warm = Warm()
    if not settings.cold and not settings.has_no_teacher:  # recorded recipes learn from teachers
        warm = warm_recipes(ready.data, ready.space, in_time or ready.feasible, settings.trials, settings.seed, tell, fit=ready.fit)
    unknown = [recipe for recipe in ready.fit.of_families(warm.families) if in_time is None or in_time(recipe).feasible]
    if in_time is not None and in_time.left_out:
        longest = f"over {WARM_SHARE:.0%} of the time budget ({duration(in_time.longest)})"
        tell(SearchMessage(f"not tried first: {plural(in_time.left_out, 'recipe')}, because the training would take {longest}"))
    return list(warm.recipes), unknown


def spread_recipes(space: Space, feasible: Feasible, settings: SearchSettings) -> list[Recipe]:
    """One recipe for each trial, spread over the space, each within the limits.

    Raises:
        StudyError: too few of them keep the limits.
    """
    tried = itertools.islice(space.spread(settings.seed), STUDENTS_TRIED + 20 * settings.trials)
    recipes = list(itertools.islice((recipe for recipe in tried if feasible(recipe).feasible), settings.trials))
    if len(recipes) < settings.trials:
        number = STUDENTS_TRIED + 20 * settings.trials
        raise StudyError(f"of {number} recipes of the space {space.name!r}, {len(recipes)} keep the limits; raise them")
    return recipes
