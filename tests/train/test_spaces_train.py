"""Every choice of the shipped spaces trains: no proposal fails for what it is made of."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_teacher import image_dataset, save_bert, text_dataset

from autodistill.components import specs
from autodistill.recipe import Recipe, Teacher
from autodistill.records import Point
from autodistill.space import Domain, Space, shipped_spaces, space_tasks
from autodistill.task_types import target_of
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef
from autodistill.teacher.members import trained_teacher
from autodistill.train.assignment import Assignment
from autodistill.train.trial import run_trial

ROWS = 24


def covering(space: Space, sampled: int = 400) -> list[Recipe]:
    """A few recipes among which every choice of the space is made: greedily, each time the one that makes most of those left."""
    rng = random.Random(0)
    made: list[tuple[Recipe, set[tuple[str, object]]]] = []
    for _ in range(sampled):
        chosen: set[tuple[str, object]] = set()

        def choose(name: str, domain: Domain, chosen: set[tuple[str, object]] = chosen) -> object:
            value = domain.at(rng.random())
            if domain.kind == "choice":
                chosen.add((name, value))
            return value

        made.append((space.suggest(choose), chosen))
    left = set().union(*(chosen for _, chosen in made))
    recipes = []
    while left:
        recipe, chosen = max(made, key=lambda item: len(item[1] & left))
        recipes.append(recipe)
        left -= chosen
    return recipes


def a_dataset(folder: Path, task: str) -> DatasetRef:
    """A made dataset of the task on the disk."""
    if task == "image-classification":
        made = image_dataset(ROWS, size=32)
        assert made.train.images is not None
        for number, (image, label) in enumerate(zip(made.train.images, made.train.labels, strict=True)):
            (folder / "images" / f"class{label}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / "images" / f"class{label}" / f"{number}.png")
        (folder / "images" / "unlabelled").mkdir()
        others = image_dataset(ROWS, size=32, seed=7).train.images
        assert others is not None
        for number, image in enumerate(others):
            Image.fromarray(image).save(folder / "images" / "unlabelled" / f"{number}.png")
        return DatasetRef(str(folder / "images"))
    own = "embedding" if task.endswith("embedding") else None  # other tasks are seen in the rows
    made = text_dataset(ROWS, pairs="pair" in task)
    table = pd.DataFrame({"text": made.train.texts, "label": made.train.labels})
    if made.train.text_pairs:
        table.insert(1, "text_b", made.train.text_pairs)
    if task.endswith("regression"):  # more than two values, so that it is read as a score
        table["label"] = table["label"] + 0.25 * np.arange(len(table))
    table.to_parquet(folder / "data.parquet")
    others = text_dataset(ROWS, pairs="pair" in task, seed=7)
    more = pd.DataFrame({"text": [f"the {text}" for text in others.train.texts or []]})
    if others.train.text_pairs:
        more["text_b"] = others.train.text_pairs
    more.to_parquet(folder / "more.parquet")
    return DatasetRef(str(folder / "data.parquet"), task=own, unlabelled=(str(folder / "more.parquet"),))


def a_teacher(folder: Path, ref: DatasetRef) -> str:
    """A random teacher of the shape of the space's own: all-MiniLM-L6-v2's, with a few words; the images' is small itself."""
    dataset = load_dataset(ref)
    if dataset.modality.name == "image":
        teacher = Teacher(model="timm:regnetx_002", init="random")
    else:
        source = save_bert(folder / "source", layers=6, width=384, heads=12, num_outputs=dataset.num_outputs or 2)
        teacher = Teacher(model=str(source), init="random", max_length=32)
    return str(trained_teacher(dataset, teacher, 0, device="cpu").folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task"), [(name, task) for name, text in shipped_spaces().items() for task in space_tasks(text)[2] if "multilabel" not in task]
)
def test_every_choice_of_a_shipped_space_trains(tmp_path: Path, name: str, task: str) -> None:
    ref = a_dataset(tmp_path, task)
    assert load_dataset(ref).task == task
    folder = a_teacher(tmp_path, ref)
    recipes = covering(Space.load(name, task).fixed("training.steps", 8))  # one for each of its epochs
    if target_of(task).has_labels:  # else only some of them are searched
        assert {recipe.objective.intermediate.name for recipe in recipes} == {"none", *specs("objective.intermediate", task)}
    for recipe in recipes:
        points: list[Point] = []
        result = run_trial(Assignment(recipe, ref, seed=0, max_epochs=1, teacher=folder, device="cpu"), points.append)
        assert -1 <= result.score <= 1, recipe.to_yaml()
        with_hard = recipe.training.stages == "mixed" and recipe.objective.hard_label_weight > 0  # the first stage is the teacher's alone
        hard = {"hard_label"} if with_hard else set()
        assert set(points[0].losses) == hard | set(recipe.objective.terms), recipe.to_yaml()
