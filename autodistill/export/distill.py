"""`autodistill.distill`: a recipe trained in full, the best seed by validation kept, the test split opened once, and a folder to use."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch

from autodistill.environment import cores
from autodistill.errors import RecipeError, RunError, UsageError
from autodistill.events import Listen, Stage, StageProgress
from autodistill.export import card
from autodistill.export.folder import ABOUT, write_student
from autodistill.export.measured import measure, verdict
from autodistill.export.seeds import Trained, assignment_folder, forget, train_all
from autodistill.export.student import Student, load_student
from autodistill.facts import TeacherRef
from autodistill.keywords import DistillKeywords
from autodistill.models.saved import load_saved_student
from autodistill.models.start import check_start, start_fingerprint
from autodistill.option import takes
from autodistill.prepare import open_taught, read_data, teach, with_scores
from autodistill.recipe import Recipe, Teacher, without_teacher
from autodistill.records import Point
from autodistill.settings import DistillSettings
from autodistill.stages import match_scores, read_teacher_scores, tell_of_agreement, tell_of_tokens
from autodistill.storage import cache_folder, check_writable, digest, lock, new_folder, user_path
from autodistill.tasks.base import Dataset
from autodistill.tasks.in_memory import DatasetLike
from autodistill.tasks.scores import TeacherScores
from autodistill.teacher.load import teacher_fingerprint
from autodistill.teachers import Teachers
from autodistill.terminal.python import job_shown
from autodistill.train.assignment import Assignment
from autodistill.train.cost import count_parameters
from autodistill.train.data import Opened, read_by_student
from autodistill.train.student_tokens import check_tokens
from autodistill.train.taps import recipe_taps

FACTS = "distillation.json"
TOLERANCE = 1e-4
"""How far the written student's logits may be from the trained student's, as a share of the largest logit."""
_CHECKED = 64
_ELSEWHERE = "give another --out"


@dataclass(frozen=True)
class Distilled:
    """A distilled student. folder: of its files. facts: its distillation.json."""

    folder: Path
    facts: dict[str, Any]

    @property
    def score(self) -> float:
        """The score of the kept seed on the test split."""
        return float(self.facts["student"]["test"])

    @property
    def retention(self) -> float | None:
        """The test score of the kept seed over the teacher's, on the same rows; None if the teacher has no test score."""
        return self.facts["student"]["retention"]

    def open(self) -> Student:
        """The student, ready to predict."""
        return load_student(self.folder)


@takes(DistillSettings)
def distill(
    recipe: str | Path | Recipe,
    dataset: DatasetLike | None = None,
    out: str | Path | None = None,
    *,
    command: str | None = None,
    listen: Listen | None = None,
    verbose: int | None = None,
    **settings: Unpack[DistillKeywords],
) -> Distilled:
    """Train a recipe's student in full and write the best one into a folder that other libraries open.

    Every seed's student is tested, but the student to keep is chosen by the validation split alone. If a run is stopped, the next run
    reuses the students that it finished. In a script, more than one worker needs `if __name__ == "__main__":`.

    Args:
        recipe: a Recipe, a recipe's file, or a study's folder (its recommended.yaml). If its teacher is a file of scores and the
            recipe is not in the folder of its study, `teacher_scores` names the file.
        dataset: a name, a Hugging Face id, a path or rows, as for `search`; None for the rows of the study whose folder has the recipe.
        out: the folder to write, always needed; it may not exist.
        command: the command that made it, for the model card.
        listen: called with each event of the run (autodistill.events).
        verbose: what is shown: 0 for warnings alone, 1 for the progress, 2 for every step and epoch. Default: 1, and nothing with `listen`.
        {settings}

    Raises:
        UserError: a setting or an input cannot work: see its subclasses.
        RunError: the training failed, or the folder cannot be written.
    """
    asked = DistillSettings.read({"recipe": recipe, "dataset": dataset, "out": out, **settings})
    with job_shown(listen, verbose) as tell:
        return _distill(asked, command, tell)


def _distill(asked: DistillSettings, command: str | None, tell: Listen) -> Distilled:
    """The distillation itself, from its settings."""
    recipe = asked.load_recipe()
    asked.check()
    target = check_target(Path(asked.out), asked.overwrite)
    data = read_data(asked, tell, with_test=True)
    if recipe.task != data.task:
        raise RecipeError(f"the recipe is for {recipe.task}, and {data.name} is {data.task}; give a recipe or a dataset of the same task")
    scores = None
    if data.ref.teacher_scores is not None:
        scores = read_teacher_scores(data, data.ref.teacher_scores, tell)
        recipe = with_scores(recipe, scores, data.ref.teacher_scores, tell)
    if recipe.training.unlabelled_share > 0 and data.unlabelled is None:
        raise RecipeError(
            f"the recipe {recipe.id} learns on unlabelled rows too ({recipe.training.unlabelled_share:.0%} of each batch), "
            f"and {data.name} has none; give them with --unlabelled"
        )

    tokenizer = data.modality.open_tokenizer(data.modality.source(recipe.teacher))
    check_tokens(recipe, tokenizer)
    check_start(recipe.student, tokenizer, recipe.teacher.model)
    tell_of_tokens(data, recipe.teacher, tokenizer, tell)
    teacher, opened = _taught(data, recipe, scores, asked.seed, tell)
    data = opened.dataset
    teachers = Teachers({recipe.teacher: teacher})
    tell_of_agreement(data, teachers, tell)
    workers, seeds = asked.workers, asked.seeds
    is_distilled = bool(recipe.objective.terms) or recipe.objective.self_distillation > 0
    plain = Recipe.parse(without_teacher(recipe.model_dump())) if asked.control and is_distilled else None
    threads = torch.get_num_threads() if workers == 1 else max(1, cores() // workers)
    assignments = [
        Assignment(each, data.ref, asked.seed + turn, each.training.epochs, teacher.folder_for(each), threads, judge=teachers.judge)
        for each in (recipe, plain)
        if each is not None
        for turn in range(seeds)
    ]
    work = _work_folder(data, teacher.folder, start_fingerprint(recipe.student))
    with lock(work):
        trained = _train(assignments, work, workers, data, tell)
        distilled, controls = trained[:seeds], trained[seeds:]
        best = max(distilled, key=lambda item: item.result.rank_score)  # the first of equal ones
        with Stage(tell, "test", "opening the test split, this once") as stage:
            facts = measure(data, data.open_test(), opened, distilled, controls, best, teacher, scores)
            stage.end(verdict(facts))
        facts |= {"given": dataclasses.asdict(data.ref), "command": command}
        with Stage(tell, "folder", f"writing {target}") as stage:
            _write(target, opened, best, facts)
            stage.end(str(target))
        forget(work, assignments)
    return Distilled(target, facts)


def _taught(data: Dataset, recipe: Recipe, scores: TeacherScores | None, seed: int, tell: Listen) -> tuple[TeacherRef, Opened]:
    """The recipe's teacher, and the rows as it reads them. scores: of the teacher, if it is a file of scores."""
    part = recipe.teacher
    teachers: Mapping[Teacher, TeacherRef]
    if scores is not None:
        teachers, taps = Teachers({part: match_scores(data, part, scores, tell)}), None
    else:
        teachers, taps = teach(data, [part], seed, tell), recipe_taps(recipe) if recipe.objective.terms else None
    return teachers[part], open_taught(data, teachers, taps, tell)[part]


def check_target(out: Path, overwrite: bool) -> Path:
    """The folder to write, absolute.

    Raises:
        UsageError: the folder exists and may not be replaced, or cannot be made.
    """
    if not str(out).strip() or out == Path():
        raise UsageError("--out is empty; give the folder that the student is to be written into")
    target = user_path(out, UsageError).absolute()
    if target.exists() and not overwrite:
        raise UsageError(f"{out} exists; give another --out, or replace it with --overwrite")
    ours = (target / ABOUT).exists() or (target.is_dir() and not any(target.iterdir()))
    if target.exists() and not ours:
        raise UsageError(f"{out} is no student's folder, so --overwrite does not remove it; give another --out")
    check_writable(target.parent, lambda reason: UsageError(f"{out} cannot be written: {reason}; {_ELSEWHERE}"))
    return target


def _work_folder(data: Dataset, teacher: str, start: str) -> Path:
    key = digest("distilling-1", data.rows_fingerprint, data.metric, str(data.ref), teacher_fingerprint(teacher), start, _version())
    return cache_folder() / "distilling" / key


def _version() -> str:
    return importlib.metadata.version("autodistill-kd")


def _train(assignments: Sequence[Assignment], work: Path, workers: int, data: Dataset, tell: Listen) -> list[Trained]:
    total = sum(item.recipe.training.epochs for item in assignments)
    done = sum(item.recipe.training.epochs for item in assignments if assignment_folder(work, item).is_dir())
    first = assignments[0].recipe.id

    def hear(assignment: Assignment, point: Point) -> None:
        nonlocal done
        done += 1
        who = "distilled" if assignment.recipe.id == first else "no KD"
        text = f"{who}, seed {assignment.seed}, epoch {point.epoch} of {assignment.recipe.training.epochs}, {data.metric} {point.score:.4f}"
        tell(StageProgress("students", done, total, text))

    with Stage(tell, "students", f"training {len(assignments)} students in full") as stage:
        trained = train_all(assignments, work, workers, hear)
        scores = [item.result.score for item in trained if item.assignment.recipe.id == first]
        reused = sum(item.reused for item in trained)
        from_before = f", {reused} of them by an earlier run" if reused else ""
        stage.end(f"{len(trained)} trained{from_before}; {data.metric} on validation: {', '.join(f'{score:.4f}' for score in scores)}")
    return trained


def _write(target: Path, opened: Opened, best: Trained, facts: dict[str, Any]) -> None:
    """Write a temporary folder, open it as users do, compare its predictions with the trained student's, then rename it.

    Raises:
        RunError: it cannot be written, or the written student's logits differ from the trained student's.
    """
    saved, rows_read = load_saved_student(best.folder), read_by_student(opened, best.assignment.recipe).validation
    with new_folder(target, _ELSEWHERE) as aside:
        about = write_student(aside, saved)  # folds a regression's scale into saved.model
        facts |= {name: about.get(name) for name in ("format", "max_length", "strided")}
        facts["student"]["bytes"] = (aside / "model.safetensors").stat().st_size
        rows = np.arange(min(_CHECKED, len(opened.dataset.validation)))
        written = load_student(aside)
        assert written.module is not None
        facts["written_params"] = count_parameters(written.module)
        logits = written.logits(opened.dataset.modality.rows(opened.dataset.validation, rows))
        with torch.inference_mode():
            logits_in_training = saved.model.cpu()(rows_read.batch(torch.from_numpy(rows))).logits.numpy()
        expected = opened.dataset.target.finished(logits_in_training)
        difference = float(np.abs(logits - expected).max())
        if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise RunError(f"the written student's logits differ from the trained student's by {difference:.2g}; nothing of it is kept")
        card.write_facts(aside / FACTS, facts)
        (aside / "README.md").write_text(card.model_card(facts, saved.recipe, about, target.name), encoding="utf-8")
