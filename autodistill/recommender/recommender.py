"""`Recommender`: recipes for a dataset without a search on it, and the reasons for them."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from autodistill.errors import StudyError
from autodistill.limit_fit import LimitFit
from autodistill.limits import Feasibility, Feasible
from autodistill.recipe import Recipe
from autodistill.recommender.candidates import PROVEN, alike, nothing_of, recorded_recipes, within
from autodistill.recommender.encoding import RecipeEncoder
from autodistill.recommender.intervals import Predictor
from autodistill.recommender.library import RecordedStudy, library
from autodistill.recommender.methods import METHODS, SHIPPED, Cautious, Committee
from autodistill.recommender.reasons import drivers
from autodistill.recommender.table import NewDataset, Table, from_studies, recipe_frame
from autodistill.space import Space
from autodistill.task_types import kin, rows_of, standing_for

SAMPLED = 1500
"""How many recipes are drawn from the space, beside the recorded ones."""
APART = 0.12
"""Each recommended recipe differs from those before it in at least this share of its fields, if possible."""
ORDER = (
    "try them from the top. What did well on several datasets takes turns with the highest predictions, the space's defaults come first "
    "unless another is clearly better, and near copies are left out, so the retention need not fall from line to line"
)
"""How recommendations are ordered, for people: see `Recommender._order`."""
FEW = 12
"""If fewer studies than this are like the dataset, all proven recipes come before the others: what learns from so few overestimates
recipes that are unlike the recorded ones. In two searches on movie-subjectivity, with six such studies, ten recipes that nobody had
recorded came early: eight were stopped, and the others ended .3 and 1.4 points below the space's defaults."""
BAD = -1.0
"""The merit of a recipe that is as far below a dataset's median as the ninth decile is above it. Worse ones are not proven."""
CLEARLY = 0.002
"""How much better, as a share of the score, a recipe must be than the space's defaults to come before them: with three quarters of
probability, all noise counted. Less is not worth another recipe."""
UNLIKE_TASK = 2.0
"""The factor on the interval if no study of the task type is recorded."""
UNLIKE_MOST = 3.0
"""The largest factor for data that are unlike all recorded ones."""
MORE_TRAINING = 3.0
"""A training that reads more than this many times the rows of the longest recorded training gets a warning."""
UNLIKE_TRAINING = 1.5
"""The factor for such a training, and if no study agrees with the dataset in having unlabelled rows or none."""


@dataclass(frozen=True)
class Recommendation:
    """A recipe with its predicted results.

    retention: the predicted score over the teacher's. interval: its 80% interval. nearest: the recorded datasets most like this one.
    drivers: the parts of the recipe that, compared with the space's default, change the predicted retention most, with the change.
    params, latency_ms: of the untrained student, if they were measured.
    """

    recipe: Recipe
    retention: float
    interval: tuple[float, float]
    nearest: tuple[str, ...]
    drivers: tuple[tuple[str, float], ...]
    params: int | None = None
    latency_ms: float | None = None

    @property
    def reasons(self) -> str:
        """The reason as one line."""
        parts = [f"{name} {gain:+.1%}" for name, gain in self.drivers]
        why = f"; against the defaults: {', '.join(parts)}" if parts else "; close to the defaults"
        return f"like {', '.join(self.nearest)}{why}"


@dataclass(frozen=True)
class Recommendations:
    """The recipes, best first; warnings if the dataset is unlike the recorded ones; and a description of the studies learned from."""

    recipes: list[Recommendation]
    warnings: list[str]
    learnt_from: str


def new_dataset(space: Space, features: Mapping[str, float]) -> NewDataset:
    """The dataset to recommend for, from its features and its space, which uses unlabelled rows if the dataset has some."""
    return NewDataset(space.task, pd.Series(features, dtype=float), space.defaults().training.unlabelled_share > 0)


class Recommender:
    """Fitted once on recorded studies; recommends for any number of datasets."""

    def __init__(self, studies: Sequence[RecordedStudy] | None = None, *, method: str = SHIPPED) -> None:
        """Fit to studies: by default the shipped ones and the user's own. For one task, give the `comparable` ones.

        Raises:
            StudyError: there are none.
        """
        studies = library() if studies is None else list(studies)
        if not studies:
            raise StudyError("there are no recorded studies to learn from; search, then `autodistill studies add FOLDER`")
        self.studies = studies
        self.table: Table = from_studies(studies)
        self.predictor = Predictor(self.table, METHODS[method])
        if not self.predictor.scale.retention:
            raise StudyError("no recorded study has a teacher's score, so retention cannot be predicted; search with a teacher first")

    def candidates(self, space: Space, *, inside: bool, sampled: int = SAMPLED, seed: int = 0) -> list[Recipe]:
        """Recipes to choose from: the space's defaults, then recorded ones for its modality, with its teacher, and some drawn from it.

        inside: leave out recorded recipes that are not points of the space. Recipes that do not fit the task are always left out, and so
        are those that learn from labels alone, which a search has as a baseline.
        """
        return self._candidates(recorded_recipes(self.studies, space), space.defaults(), space, inside, sampled, seed)

    def _candidates(
        self, recorded: Iterable[Recipe], defaults: Recipe, space: Space, inside: bool, sampled: int, seed: int
    ) -> list[Recipe]:
        candidates = {defaults.id: defaults}
        candidates |= {recipe.id: recipe for recipe in recorded if not inside or space.contains(recipe)}
        rng = random.Random(seed)
        for recipe in (space.sample(rng) for _ in range(sampled)):
            candidates.setdefault(recipe.id, recipe)
        first, *others = candidates.values()
        return [first, *(recipe for recipe in others if recipe.objective.terms)]

    def _order(self, candidates: Sequence[Recipe], frame: pd.DataFrame, target: NewDataset, recorded: Counter[Recipe]) -> np.ndarray:
        """The indices of the candidates in the order to try them: alternately the best proven recipe above the median, and the best of all;
        if only a few studies are like the dataset, first all proven ones that are not `BAD`.

        The first candidate, the space's defaults, comes before all of them unless recorded studies show that the recipe in its place is
        clearly better: a lower quantile of the predicted gain on a new dataset is above `CLEARLY`, and the studies agree with the target
        in having unlabelled rows or none.
        """
        order = self.predictor.method.order(frame, target)
        studies = len(alike(self.studies, target.task, target.unlabelled))
        proven = np.array([recorded[recipe] >= min(PROVEN, studies) for recipe in candidates])
        proven &= self.predictor.method.merit(frame, target) > (BAD if studies < FEW else 0)
        first = order[proven[order]]
        turns = first if studies < FEW else np.column_stack([first, order[: len(first)]]).ravel()
        places = list(dict.fromkeys([*turns.tolist(), *order.tolist()]))
        shown = self.of_the_kind(target) and self.cautious.gains(frame.iloc[places[:1]], frame.iloc[[0]], target)[0] > CLEARLY
        return np.array(places if shown else list(dict.fromkeys([0, *places])))

    @functools.cached_property
    def cautious(self) -> Cautious:
        """The cautious portfolio, which says whether a recipe is better than the space's defaults: the committee's, where it has one."""
        method = self.predictor.method
        members = method.members if isinstance(method, Committee) else [method]
        return next((member for member in members if isinstance(member, Cautious)), None) or Cautious(self.table)

    def of_the_kind(self, target: NewDataset) -> bool:
        """Whether there is a recorded study with the target's rows, of its task type if there are any, that agrees with it in having
        unlabelled rows or none.
        """
        about = self.table.about
        tasks = [task for task in standing_for(target.task, about["task"]) if rows_of(task) == rows_of(target.task)]
        return bool((about["task"].isin(tasks) & (about["unlabelled"] == target.unlabelled)).any())

    def recommend(
        self,
        features: dict[str, float],
        space: Space,
        *,
        top: int = 5,
        feasible: Feasible | None = None,
        fit: LimitFit | None = None,
        rows: int | None = None,
        inside: bool = True,
        seed: int = 0,
    ) -> Recommendations:
        """The most promising recipes of a space for a dataset of its task type, with predictions and reasons.

        Args:
            features: the dataset's features by name (autodistill.features).
            space: where recipes come from; the reasons compare with its defaults.
            top: how many recipes.
            feasible: measures untrained students; those over a limit are skipped.
            fit: gives recorded recipes over the limits a smaller student.
            rows: the number of training rows; if given, a training much longer than any recorded one gets a warning.
            inside: recommend nothing outside the space.
            seed: of the recipes drawn.

        Raises:
            StudyError: nothing of this modality is recorded, or no candidate is within the limits.
        """
        target = new_dataset(space, features)
        warnings, widening = self.unlike(target, rows, space.defaults().training.epochs)
        chosen = self.choose(target, space, top=top, feasible=feasible, fit=fit, inside=inside, seed=seed)
        merit = self.predictor.method.merit(recipe_frame(recipe.model_dump() for recipe, _ in chosen), target)
        nearest = self.nearest(target)
        picked = []
        for (recipe, cost), value, low, high in zip(chosen, *self.predictor.intervals(merit, target), strict=True):
            interval = float(value + widening * (low - value)), float(value + widening * (high - value))
            parts = drivers(self.predictor, recipe, space, target, float(value))
            picked.append(Recommendation(recipe, float(value), interval, nearest, parts, cost.params, cost.latency_ms))
        recorded = f"{len(self.table):,} recipes on {len(self.table.names)} datasets"
        return Recommendations(picked, warnings, f"{recorded}, {int((self.table.about['task'] == space.task).sum())} of them {space.task}")

    def choose(
        self,
        target: NewDataset,
        space: Space,
        *,
        top: int,
        feasible: Feasible | None = None,
        fit: LimitFit | None = None,
        inside: bool = True,
        seed: int = 0,
    ) -> list[tuple[Recipe, Feasibility]]:
        """Only the recipes, best first, with the costs of their students; see `recommend`."""
        recorded, defaults = recorded_recipes(self.studies, space), space.defaults() if fit is None else fit.defaults
        if fit is not None:
            recorded = within(recorded, fit)
        candidates = self._candidates(recorded, defaults, space, inside, SAMPLED, seed)
        frame = recipe_frame(recipe.model_dump() for recipe in candidates)
        return self._choose(candidates, frame, self._order(candidates, frame, target, recorded), top, feasible)

    def first_recipes(
        self,
        target: NewDataset,
        space: Space,
        count: int,
        *,
        feasible: Feasible | None = None,
        fit: LimitFit | None = None,
        seed: int = 0,
    ) -> list[Recipe]:
        """The recipes that a search begins with: the first `count` of `choose` that are not baselines, which a search runs anyway."""
        baselines = {recipe.id for recipe in space.baselines(None if fit is None else fit.defaults).values()}
        chosen = self.choose(target, space, top=count + len(baselines), feasible=feasible, fit=fit, seed=seed)
        return [recipe for recipe, _ in chosen if recipe.id not in baselines][:count]

    def _choose(
        self, candidates: list[Recipe], frame: pd.DataFrame, order: np.ndarray, top: int, feasible: Feasible | None
    ) -> list[tuple[Recipe, Feasibility]]:
        """The first `top` candidates that are within the limits and differ enough; more similar ones if these are too few."""
        encoder, apart = RecipeEncoder(frame), np.full(len(frame), np.inf)
        costs: dict[int, Feasibility] = {}
        chosen: list[int] = []
        for distance in (APART, 0.0):
            for row in map(int, order):
                if len(chosen) == top:
                    break
                if row in chosen or apart[row] < distance:
                    continue
                if row not in costs:
                    costs[row] = feasible(candidates[row]) if feasible else Feasibility()
                if costs[row].feasible:
                    chosen.append(row)
                    apart = np.minimum(apart, encoder.distances(frame, frame.iloc[[row]])[:, 0])
        if not chosen:
            smallest = min((cost.params for cost in costs.values() if cost.params is not None), default=None)
            size = "" if smallest is None else f"; the smallest student has {smallest:,} parameters"
            raise StudyError(f"none of {len(costs)} recipes keeps the limits{size}; raise them, or give another --space")
        return [(candidates[row], costs[row]) for row in chosen]

    def unlike(self, target: NewDataset, rows: int | None = None, epochs: int = 0) -> tuple[list[str], float]:
        """Warnings if the dataset is unlike all recorded ones, and the factor on its intervals.

        Raises:
            StudyError: nothing of its modality is recorded.
        """
        datasets = self.predictor.scale.datasets
        tasks = sorted(set(datasets.recorded_tasks))
        if target.kin not in {kin(task) for task in tasks}:
            raise nothing_of(target.task, tasks)
        warnings, factor = [], 1.0
        if target.task not in tasks:
            warnings.append(f"no study of {target.task} is recorded (only {', '.join(tasks)}): what works there may not work here")
            factor = UNLIKE_TASK
        elif not self.of_the_kind(target):
            had = "no recorded study of {} had unlabelled rows" if target.unlabelled else "all recorded studies of {} had unlabelled rows"
            warnings.append(f"{had.format(target.task)}, so the space's defaults come first")
            factor = UNLIKE_TRAINING
        nearest, usual = float(datasets.feature_distances(target).min()), datasets.usual_distance()
        if usual > 0 and nearest > usual:
            warnings.append(
                f"the data are unlike anything recorded: {nearest:.1f} standard deviations from the nearest dataset, "
                f"where recorded ones are at most {usual:.1f} from theirs"
            )
            factor *= min(nearest / usual, UNLIKE_MOST)
        most = max(self.studies, key=_passes)
        if rows is not None and rows * epochs > MORE_TRAINING * _passes(most):
            warnings.append(
                f"the longest recorded training has {_epochs(most)} epochs on {most.train_rows:,} rows, this one would have {epochs} on "
                f"{rows:,}: expect retentions other than predicted"
            )
            factor *= UNLIKE_TRAINING
        return warnings, factor

    def nearest(self, target: NewDataset, number: int = 3) -> tuple[str, ...]:
        """The recorded datasets that are most like it, nearest first."""
        apart = self.predictor.scale.datasets.distances(target)
        return tuple(self.table.names[place] for place in np.argsort(apart, kind="stable")[:number])


def _epochs(study: RecordedStudy) -> int:
    return max((min(record.max_epochs, record.recipe["training"]["epochs"]) for record in study.records), default=0)


def _passes(study: RecordedStudy) -> int:
    """How many rows the study's longest training read, over all epochs."""
    return _epochs(study) * study.train_rows
