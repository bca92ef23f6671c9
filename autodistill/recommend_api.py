"""`autodistill.recommend`: recipes for a dataset from recorded studies, before any training. And the warm start of a search."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from autodistill.errors import AutodistillError
from autodistill.events import Listen, SearchMessage
from autodistill.features import dataset_features
from autodistill.limits import Feasible, Limits, ratio
from autodistill.models import build_student, untrained
from autodistill.models.base import pick_device, to_device
from autodistill.models.fitting import cpu_threads, make_optimizer, training_batches
from autodistill.recipe import Recipe
from autodistill.recommend.library import RecordedStudy, library
from autodistill.recommend.recommender import Recommendation, Recommender
from autodistill.recommend.table import NewDataset
from autodistill.space import Space
from autodistill.stages import Stage
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.tasks.unlabelled import Unlabelled, places_of
from autodistill.teacher.load import untrained_teacher
from autodistill.train.data import Opened, open_inputs
from autodistill.train.feasible import Feasibilities, model_cost

TIMED_STEPS = 4
WARM = 8
"""Recommended recipes that a search begins with, at most; never more than half of its trials."""


@dataclass(frozen=True)
class Advice:
    """What `recommend` answers.

    recipes: best first. warnings: what sets the dataset apart from the recorded ones. seconds: of each recipe's training on this machine.
    timing: how `seconds` was found. learnt_from: the recorded studies, in a line.
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


def recommend(
    dataset: str,
    *,
    space: str | None = None,
    teacher: str | None = None,
    max_params: int | str | None = None,
    max_latency_ms: float | str | None = None,
    top: int = 5,
    limit_train: int | None = None,
    unlabelled: Unlabelled = (),
    limit_unlabelled: int | None = None,
    seed: int = 0,
    text_columns: tuple[str, ...] | None = None,
    label_column: str | None = None,
    studies: Sequence[RecordedStudy] | None = None,
) -> Advice:
    """Recommend distillation recipes for a dataset, from what recorded studies say of others. Nothing is trained.

    Args:
        dataset: a name (`autodistill datasets`), a Hugging Face id or a path.
        space: where recipes come from, beside the recorded ones: a shipped space or a space file; with a file nothing outside it is given.
        teacher: in place of the space's.
        max_params, max_latency_ms: limits on the student: numbers, or a share of the teacher's own, `"1/7.5"`. Latency is for one row
            of median length, on this machine.
        top: how many recipes.
        limit_train: as for a search: the recommendation is for so many training rows.
        unlabelled, limit_unlabelled: rows without labels, as for a search.
        seed: of the splits, the subset and the recipes drawn from the space.
        text_columns, label_column: names of a file's columns, where they cannot be guessed.
        studies: what to learn from; by default the shipped ones and the user's own.

    Raises:
        UserError: the dataset, the space or the limits cannot work, or nothing fitting is recorded.
    """
    data = load_dataset(DatasetRef(dataset, limit_train, seed, text_columns, label_column, places_of(unlabelled), limit_unlabelled))
    points = Space.load(space or data.modality.name, data.task)
    if data.unlabelled is None:
        points = points.without_unlabelled()
    if teacher is not None:
        points = points.fixed("teacher.model", teacher)
    recommender = Recommender(studies)
    opened = {part: open_inputs(data, part, data.modality.source(part)) for part in points.teachers()}
    shares = ratio(max_params, "max_params") or ratio(max_latency_ms, "max_latency_ms")
    costs = [model_cost(untrained_teacher(data, part)[0], opened[part]) for part in opened] if shares else []
    feasible = Feasibilities(Limits.asked(max_params, max_latency_ms, costs), opened)
    found = recommender.recommend(
        dataset_features(data), points, top=top, feasible=feasible, rows=len(data.train), inside=space is not None, seed=seed
    )
    seconds = [training_seconds(item.recipe, opened[item.recipe.teacher]) for item in found.recipes]
    timing = (
        f"from {TIMED_STEPS} timed steps of each student on this machine, with hard labels alone; the teacher's fine-tuning is not in it"
    )
    return Advice(data.name, data.task, data.metric, len(data.train), found.recipes, seconds, timing, found.warnings, found.learnt_from)


def training_seconds(recipe: Recipe, opened: Opened, device: str = "auto") -> float:
    """Seconds that a training of the recipe will take here with one CPU thread (or the GPU), from a few steps of its student.

    The steps are on validation rows with a plain loss of the right shape: the objectives' own terms come on top, and are small beside
    a student's passes, the teacher's outputs being stored.
    """
    place = pick_device(device)
    rows, size = len(opened.dataset.train), recipe.training.batch_size
    batches = training_batches(opened.validation.lengths, len(opened.validation), size, torch.Generator().manual_seed(0))
    with cpu_threads(1):
        model = build_student(untrained(recipe), opened.context).to(place).train()
        optimizer = make_optimizer([model], 1e-4, 0.0)
        times = []
        for turn in range(TIMED_STEPS + 1):
            batch = to_device(opened.validation.batch(batches[turn % len(batches)]), place)
            began = time.perf_counter()
            loss = model(batch).logits.float().square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if place.type == "cuda":
                torch.cuda.synchronize(place)
            times.append(time.perf_counter() - began)
    return statistics.fmean(times[1:]) * (recipe.training.steps or math.ceil(rows / size) * recipe.training.epochs)


def warm_recipes(data: Dataset, space: Space, feasible: Feasible, trials: int, seed: int, tell: Listen) -> list[Recipe]:
    """The recipes that a search of so many trials begins with. Says in a line what it does; none where nothing of the task is recorded."""
    count = min(WARM, trials // 2)
    studies = library()
    recorded = [study.name for study in studies if study.task == data.task]
    if count < 1:
        return []
    if not recorded:
        tell(SearchMessage(f"no study of {data.task} is recorded, so the search starts without recommendations"))
        return []
    with Stage(tell, "warm", f"measuring the dataset, to start where {len(recorded)} recorded studies point") as stage:
        try:
            target = NewDataset(data.task, pd.Series(dataset_features(data)))
            recommender = Recommender(studies)
            warnings, _ = recommender.unlike(target, len(data.train), space.defaults().training.epochs)
            recipes = recommender.first_recipes(target, space, count, feasible=feasible, seed=seed)
        except AutodistillError as cause:  # the features need an encoder, the studies a teacher's score; the search needs neither
            stage.end(f"the search starts without recommendations: {cause}")
            return []
        like = ", ".join(recommender.nearest(target))
        stage.end(f"{len(recipes)} recipes recommended by {len(recorded)} studies of {data.task} (most like: {like}); --cold for none")
    for warning in warnings:
        tell(SearchMessage(warning, "warning"))
    return recipes
