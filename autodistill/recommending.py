"""`autodistill.recommend`: recipes for a dataset from recorded studies, before any training. And the warm start of a search."""

from __future__ import annotations

import html
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Unpack

import pandas as pd
import torch

from autodistill.errors import AutodistillError
from autodistill.events import Listen, SearchMessage, Stage
from autodistill.features import dataset_features
from autodistill.keywords import RecommendKeywords
from autodistill.limit_fit import LimitFit
from autodistill.limits import Feasibility, Feasible
from autodistill.models import build_student, untrained
from autodistill.models.base import mixed_precision, pick_device, to_device
from autodistill.models.fitting import cpu_threads, make_optimizer, training_batches
from autodistill.option import takes
from autodistill.prepare import prepare
from autodistill.recipe import Recipe, Teacher
from autodistill.recommender.candidates import comparable
from autodistill.recommender.carried import carried_over
from autodistill.recommender.library import RecordedStudy, library
from autodistill.recommender.recommender import ORDER, Recommendation, Recommender, new_dataset
from autodistill.report.texts import objective, plural, student
from autodistill.settings import RecommendSettings
from autodistill.space import Space
from autodistill.tasks.base import Dataset
from autodistill.tasks.in_memory import DatasetLike
from autodistill.terminal.python import job_shown
from autodistill.train.data import Opened, read_by_student

TIMED_STEPS = 4
WARM = 8
"""The most recommended recipes that a search begins with; they are at most half of its trials, rounded up, so a single trial is one."""
WARM_SHARE = 0.25
"""The largest share of a search's time budget that the training of a recipe that it begins with may take."""
WARM_TIMED = 24
"""The most recipes that are timed for it, so that a budget that is too short for all of them costs seconds."""


@dataclass(frozen=True)
class Advice:
    """The result of `recommend`.

    recipes: best first. warnings: how the dataset differs from the recorded ones. seconds: of each recipe's training on this machine.
    timing: how `seconds` was estimated. learnt_from: the recorded studies, in a line.
    """

    dataset: str
    task: str
    metric: str
    train_rows: int
    recipes: list[Recommendation]
    seconds: list[float]
    timing: str
    warnings: list[str]
    learnt_from: str

    @property
    def notes(self) -> list[str]:
        """Where the recipes come from, how they are ordered, and how their training was timed: a sentence or two each."""
        return [f"Learnt from {self.learnt_from}.", f"Order: {ORDER}.", f"Training time: {self.timing}."]

    def table(self) -> pd.DataFrame:
        """The recipes as a table, best first: a row for each, with what to expect of it and why."""
        lines = [
            {
                "student": student(item.recipe.model_dump()),
                "objective": objective(item.recipe.model_dump()),
                "retention": item.retention,
                "low": item.interval[0],
                "high": item.interval[1],
                "params": item.params,
                "latency_ms": item.latency_ms,
                "training_seconds": seconds,
                "why": item.reasons,
            }
            for item, seconds in zip(self.recipes, self.seconds, strict=True)
        ]
        return pd.DataFrame(lines, index=range(1, len(lines) + 1))

    def _repr_html_(self) -> str:
        """The recommendation in a notebook: its table, the warnings, and what it was learned from."""
        notes = "".join(f"<p>Beware: {html.escape(warning)}.</p>" for warning in self.warnings)
        after = html.escape(" ".join(self.notes))
        return f"{notes}{self.table().to_html(na_rep='–', float_format='{:.4g}'.format)}<p>{after}</p>"


@takes(RecommendSettings)
def recommend(
    dataset: DatasetLike,
    *,
    studies: Sequence[RecordedStudy] | None = None,
    listen: Listen | None = None,
    verbose: int | None = None,
    **settings: Unpack[RecommendKeywords],
) -> Advice:
    """Recommend distillation recipes for a dataset, learned from recorded studies of other datasets. Nothing is trained.

    Args:
        dataset: a name (`autodistill datasets`), a Hugging Face id or a path; or rows: see `autodistill.tasks.in_memory.keep_dataset`.
        studies: to learn from; by default the shipped ones and the user's own.
        listen: called with each event of the run (autodistill.events).
        verbose: what is shown: 0 for warnings alone, 1 for the progress, 2 for every step and epoch. Default: 1, and nothing with `listen`.
        {settings}

    A setting that is left out, or None, has its default. With the user's own space, no recipe outside it is recommended.

    Raises:
        UserError: the dataset, the space or the limits cannot work, or no fitting study is recorded.
    """
    asked = RecommendSettings.read({"dataset": dataset, **settings})
    asked.check()
    with job_shown(listen, verbose) as tell:
        return _recommend(asked, library() if studies is None else studies, tell)


def _recommend(asked: RecommendSettings, studies: Sequence[RecordedStudy], tell: Listen) -> Advice:
    """The recommendation itself, from its settings."""
    ready = prepare(asked, tell, fine_tune=False)
    data, space, opened = ready.data, ready.space, ready.opened
    recommendation = Recommender(carried_over(comparable(studies, data.task, _models(space)), space)).recommend(
        dataset_features(data),
        space,
        top=asked.top,
        feasible=ready.feasible,
        fit=ready.fit,
        rows=len(data.train),
        inside=asked.space is not None,
        seed=asked.seed,
    )
    seconds = [training_seconds(item.recipe, opened[item.recipe.teacher]) for item in recommendation.recipes]
    timing = f"from {TIMED_STEPS} timed steps of each student on this machine, with a plain loss; the teacher's fine-tuning is not in it"
    return Advice(
        data.name,
        data.task,
        data.metric,
        len(data.train),
        recommendation.recipes,
        seconds,
        timing,
        recommendation.warnings,
        recommendation.learnt_from,
    )


def training_seconds(recipe: Recipe, opened: Opened, device: str = "auto") -> float:
    """An estimate, from a few steps, of how many seconds the recipe's training takes here with one CPU thread (or the GPU).

    The steps are on validation rows with a plain loss of the same shape. The terms of the objective come on top; they are small beside a
    student's passes, because the teacher's outputs are stored.
    """
    place = pick_device(device)
    opened = read_by_student(opened, recipe)
    data, training = opened.dataset, recipe.training
    batches = training_batches(opened.validation.lengths, len(opened.validation), training.batch_size, torch.Generator().manual_seed(0))
    with cpu_threads(1):
        model = build_student(untrained(recipe), opened.context).to(place).train()
        optimizer = make_optimizer([model], 1e-4, 0.0)
        times = []
        for turn in range(TIMED_STEPS + 1):
            batch = to_device(opened.validation.batch(batches[turn % len(batches)]), place)
            began = time.perf_counter()
            with mixed_precision(model, place):  # as in a training: where a processor has bfloat16, a third faster
                loss = model(batch).logits.float().square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if place.type == "cuda":
                torch.cuda.synchronize(place)
            times.append(time.perf_counter() - began)
    return statistics.fmean(times[1:]) * training.epochs * training.steps_per_epoch(len(data.train), data.unlabelled_rows)


class InTime:
    """Checks untrained students against the limits, and that their training would take at most `longest` seconds.

    After WARM_TIMED students no other one is timed, and none is taken. left_out: how many kept the limits, but would take longer.
    """

    def __init__(self, feasible: Feasible, opened: Mapping[Teacher, Opened], longest: float) -> None:
        self.feasible, self.opened, self.longest = feasible, opened, longest
        self.timed = self.left_out = 0

    def __call__(self, recipe: Recipe) -> Feasibility:
        cost = self.feasible(recipe)
        if not cost.feasible:
            return cost
        over = math.inf
        if self.timed < WARM_TIMED:
            self.timed += 1
            over = training_seconds(recipe, self.opened[recipe.teacher]) / self.longest - 1
            self.left_out += over > 0
        return replace(cost, violations=cost.violations | {"training seconds": over})


def _models(space: Space) -> set[str]:
    """The models of the space's teachers; none if the teacher is a file of scores."""
    return {teacher.model for teacher in space.teachers() if teacher.scores is None}


@dataclass(frozen=True)
class Warm:
    """The recipes that a search begins with. families: those of the students in the recorded studies that they come from."""

    recipes: Sequence[Recipe] = ()
    families: frozenset[str] = frozenset()


def warm_recipes(
    data: Dataset, space: Space, feasible: Feasible, trials: int, seed: int, tell: Listen, fit: LimitFit | None = None
) -> Warm:
    """The recipes that a search with this many trials begins with, reported in a line. None if no study of the task is recorded.

    fit: gives recipes over the limits a smaller student.
    """
    count = min(WARM, (trials + 1) // 2)
    if count < 1:
        return Warm()
    try:
        studies = library()
    except AutodistillError as cause:
        tell(SearchMessage(f"the search starts without recommendations: {cause}", "warning"))
        return Warm()
    if all(study.task != data.task for study in studies):
        tell(SearchMessage(f"no study of {data.task} is recorded, so the search starts without recommendations"))
        return Warm()
    studies = carried_over(comparable(studies, data.task, _models(space)), space)
    recorded = sum(study.task == data.task for study in studies)
    with Stage(tell, "warm", f"measuring the dataset, to start where {recorded} recorded studies point") as stage:
        try:
            target = new_dataset(space, dataset_features(data))
            recommender = Recommender(studies)
            warnings, _ = recommender.unlike(target, len(data.train), space.defaults().training.epochs)
            recipes = recommender.first_recipes(target, space, count, feasible=feasible, fit=fit, seed=seed)
        except AutodistillError as cause:  # the features need an encoder and the studies a teacher's score, but the search needs neither
            stage.end(f"the search starts without recommendations: {cause}")
            return Warm()
        like = ", ".join(recommender.nearest(target))
        stage.end(f"{plural(len(recipes), 'recipe')} recommended by {recorded} studies of {data.task} (most like: {like}); --cold for none")
    for warning in warnings:
        tell(SearchMessage(warning, "warning"))
    return Warm(recipes, frozenset(str(record.recipe["student"]["family"]) for study in studies for record in study.records))
