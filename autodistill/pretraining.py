"""`autodistill.pretrain`: a small student learns a teacher's vectors of any texts, and recipes start from it (`student.init: FOLDER`)."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import torch

from autodistill.assistant import STUDENT_WEIGHTS
from autodistill.errors import DataError, RecipeError, UsageError
from autodistill.events import Listen, SearchMessage, Stage, StageProgress
from autodistill.keywords import PretrainKeywords
from autodistill.models import family_of
from autodistill.models.reread import same_tokens
from autodistill.models.sources import source_folder
from autodistill.models.start import check_start
from autodistill.models.text import load_tokenizer
from autodistill.option import takes
from autodistill.prepare import read_data
from autodistill.recipe import Recipe
from autodistill.records import Point
from autodistill.settings import DatasetSettings, PretrainSettings
from autodistill.space import Space
from autodistill.stages import store_outputs, train_teacher
from autodistill.storage import cache_folder, check_writable, digest, disk_errors, lock, user_path, write_whole
from autodistill.target import Vectors
from autodistill.task_types import EMBEDDING, modality_of
from autodistill.tasks.in_memory import keep_dataset
from autodistill.tasks.splits import LEAST
from autodistill.tasks.unlabelled import Unlabelled, texts_of
from autodistill.teacher.load import teacher_fingerprint
from autodistill.teachers import short_name
from autodistill.terminal.python import job_shown
from autodistill.train.assignment import Assignment
from autodistill.train.data import open_inputs
from autodistill.train.taps import recipe_taps
from autodistill.train.trial import run_trial

FACTS = "pretraining.json"
HOME = "pretrained"
"""The folder of students without an --out."""
STEPS_APART = 250
"""Steps between two evaluations, after each of which a stopped run can go on."""


@dataclass(frozen=True)
class Pretrained:
    """A pretrained student. folder: for `student.init` in recipes and spaces. facts: its pretraining.json."""

    folder: Path
    facts: dict[str, Any]


@takes(PretrainSettings)
def pretrain(
    texts: Unlabelled,
    student: str | Path | Recipe,
    *,
    command: str | None = None,
    listen: Listen | None = None,
    verbose: int | None = None,
    **settings: Unpack[PretrainKeywords],
) -> Pretrained:
    """Train a recipe's student to give a teacher's vectors of texts, without any task, and write it into a folder.

    It learns as a student of sentence embeddings does, with the defaults of the space `embedding`. A tenth of the texts, at most 2,000, is
    held out, and the weights with the best agreement on them are kept (`teacher_agreement`). If a run is stopped, the same call goes on.

    Args:
        texts: files or folders of texts, or a list of texts.
        student: a Recipe, a recipe's file, or a study's folder (its recommended.yaml), whose student is to be pretrained.
        command: the command that made it, which is kept in pretraining.json.
        listen: called with each event of the run (autodistill.events).
        verbose: what is shown: 0 for warnings alone, 1 for the progress, 2 for every step and epoch. Default: 1, and nothing with `listen`.
        {settings}

    Raises:
        UserError: a setting or an input cannot work: see its subclasses.
        RunError: the training failed, or the folder cannot be written.
    """
    asked = PretrainSettings.read({"texts": texts, "student": student, **settings})
    asked.check()
    with job_shown(listen, verbose) as tell:
        return _pretrain(asked, command, tell)


def _pretrain(asked: PretrainSettings, command: str | None, tell: Listen) -> Pretrained:
    """The pretraining itself, from its settings."""
    recipe = pretraining_recipe(asked)
    target = check_out(asked, recipe)
    _check_tokens(asked.load_recipe(), recipe)
    rows, notes = texts_of(asked.texts, asked.text_columns)
    for note in notes:
        tell(SearchMessage(note))
    if len(rows) < LEAST:
        raise DataError(f"texts: there are {len(rows)} texts that differ, and at least {LEAST} are needed; give more with --text")
    kept = keep_dataset({"train": {"text": rows}})
    data = read_data(DatasetSettings(dataset=kept, task=Vectors.kind, seed=asked.seed), tell)
    began = time.perf_counter()
    teacher = train_teacher(data, recipe.teacher, asked.seed, tell)
    opened = open_inputs(data, recipe.teacher, teacher.folder)
    check_start(recipe.student, opened.tokenizer, recipe.teacher.model)
    store_outputs(opened, recipe.teacher, recipe_taps(recipe), tell)
    epochs = recipe.training.epochs

    def hear(point: Point) -> None:
        step = point.epoch * recipe.training.steps // epochs
        words = f"step {step:,} of {recipe.training.steps:,}, loss {point.train_loss:.3f}, {data.metric} {point.score:.4f}"
        tell(StageProgress("students", point.epoch, epochs, words))

    with _work(data.rows_fingerprint, recipe, teacher_fingerprint(teacher.folder), asked.seed) as checkpoint:
        again = " from where an earlier run was stopped" if checkpoint.exists() else ""
        with Stage(tell, "students", f"pretraining a {recipe.student.name} student{again}") as stage:
            places = {"student_folder": str(target), "checkpoint": str(checkpoint)}
            assignment = Assignment(recipe, data.ref, asked.seed, epochs, teacher.folder, torch.get_num_threads(), **places)
            result = run_trial(assignment, hear)
            stage.end(f"{data.metric} {result.score:.4f}; {target}")
        facts = {
            "command": command,
            "teacher": recipe.teacher.model,
            "texts": {"train": len(data.train), "validation": len(data.validation)},
            "recipe_id": recipe.id,
            "steps": recipe.training.steps,
            "seed": asked.seed,
            "params": result.params,
            "metric": data.metric,
            "score": result.score,
            "seconds": round(time.perf_counter() - began, 1),
        }
        with disk_errors(target):
            write_whole(target / FACTS, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return Pretrained(target, facts)


def pretraining_recipe(asked: PretrainSettings) -> Recipe:
    """The recipe of the pretraining: the given one's student and its length of texts, the rest as the space `embedding` says.

    Raises:
        RecipeError: the recipe cannot be read, or its student is not pretrained on texts.
    """
    given = asked.load_recipe()
    part = given.student
    if not modality_of(given.task).texts or not set(EMBEDDING) <= set(part.spec.tasks):
        raise RecipeError(f"the recipe's student is {part.name!r} for {given.task}, and only students that read texts are pretrained")
    if asked.steps < 8:
        raise UsageError(f"steps is {asked.steps}; at least 8 are needed, which is the least number of evaluations")
    usual = Space.load(Vectors.space, *EMBEDDING).without_unlabelled().fixed("student.family", part.name).defaults()
    teacher = {"model": asked.teacher or given.teacher.model, "max_length": given.teacher.max_length}
    training = {"steps": asked.steps, "epochs": max(8, math.ceil(asked.steps / STEPS_APART))}
    return Recipe.parse(
        usual.model_dump()
        | {
            "teacher": usual.teacher.model_dump() | teacher,
            "student": family_of(part).for_vectors(part).model_dump(),
            "training": usual.training.model_dump() | training,
        }
    )


def check_out(asked: PretrainSettings, recipe: Recipe) -> Path:
    """The folder to write, absolute.

    Raises:
        UsageError: it exists and may not be replaced, or cannot be made.
    """
    name = f"{recipe.student.name}-{short_name(recipe.teacher.title)}"
    target = user_path(asked.out or Path(HOME, name), UsageError).absolute()
    if target.exists():
        if not asked.overwrite:
            raise UsageError(f"{target} exists; give another --out, or replace it with --overwrite")
        if not (target / STUDENT_WEIGHTS).exists():
            raise UsageError(f"{target} is no student's folder, so --overwrite does not remove it; give another --out")
    check_writable(target.parent, lambda reason: UsageError(f"{target} cannot be written: {reason}; give another --out"))
    return target


def _check_tokens(given: Recipe, recipe: Recipe) -> None:
    """Refuse a teacher whose tokens are not those of the recipe's own teacher, because its student reads these.

    Raises:
        RecipeError: they are not.
        ModelError: one of the teachers is not available.
    """
    if family_of(recipe.student).pretrained_model(recipe.student) is not None or recipe.teacher.model == given.teacher.model:
        return
    own, other = (load_tokenizer(source_folder(part.model, weights=False)) for part in (given.teacher, recipe.teacher))
    if not same_tokens(own, other):
        raise RecipeError(
            f"the recipe's student reads the {len(own):,} tokens of its teacher {given.teacher.model!r}, and {recipe.teacher.model!r} has "
            f"others ({len(other):,}); give a --teacher with the same tokenizer, or a recipe with this teacher"
        )


@contextlib.contextmanager
def _work(rows: str, recipe: Recipe, teacher: str, seed: int) -> Iterator[Path]:
    """The checkpoint of a run, which no other process has. It is removed when the block ends without an error."""
    version = importlib.metadata.version("autodistill-kd")
    folder = cache_folder() / "pretraining" / digest("pretraining-1", rows, recipe.id, teacher, str(seed), version)
    with lock(folder):
        yield folder / "checkpoint.pt"
        shutil.rmtree(folder, ignore_errors=True)
