"""`autodistill.distill`: a recipe trained in full, the best seed by validation kept, the test split opened once, and a folder to use."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch

from autodistill.environment import cores, describe_environment
from autodistill.errors import RecipeError, RunError, UsageError
from autodistill.events import Listen, StageProgress
from autodistill.export import card
from autodistill.export.folder import ABOUT, write_student
from autodistill.export.latency import paired_latency
from autodistill.export.seeds import Trained, assignment_folder, forget, train_all
from autodistill.export.student import Student, given_rows, load_student
from autodistill.keywords import DistillKeywords
from autodistill.models.base import StudentModule, pick_device, to_device
from autodistill.models.fitting import all_logits
from autodistill.option import takes
from autodistill.prepare import open_taught, read_data, teach
from autodistill.recipe import Recipe
from autodistill.records import Point
from autodistill.settings import DistillSettings
from autodistill.stages import Stage
from autodistill.storage import cache_folder, digest, lock, new_folder
from autodistill.tasks.base import Dataset, Split
from autodistill.tasks.metrics import evaluate_predictions
from autodistill.teacher.load import encode, load_teacher, teacher_fingerprint
from autodistill.train.assignment import Assignment
from autodistill.train.cost import count_parameters
from autodistill.train.data import Opened, median_row
from autodistill.train.students import load_student as load_trained
from autodistill.train.taps import recipe_taps

FACTS = "distillation.json"
SCHEMA = 1
TOLERANCE = 1e-4
"""How far the written student's logits may be from the trained one's, as a share of the largest."""
_CHECKED = 64
_ELSEWHERE = "give another --out"


@dataclass(frozen=True)
class Distilled:
    """A distilled student. folder: what was written. facts: its distillation.json."""

    folder: Path
    facts: dict[str, Any]

    @property
    def score(self) -> float:
        """The kept seed's, on the test split."""
        return float(self.facts["student"]["test"])

    @property
    def retention(self) -> float | None:
        """The kept seed's test score over the teacher's."""
        return self.facts["student"]["retention"]

    def open(self) -> Student:
        """The student, to be asked."""
        return load_student(self.folder)


@takes(DistillSettings)
def distill(
    recipe: str | Path | Recipe,
    dataset: str,
    out: str | Path,
    *,
    command: str | None = None,
    listen: Listen | None = None,
    **settings: Unpack[DistillKeywords],
) -> Distilled:
    """Train a recipe's student in full and write the best one into a folder that other libraries open.

    Every seed's student is tested, and the one that is kept is chosen by the validation split alone. What a run that was stopped had
    finished is found again by the next one. In a script, more than one worker needs `if __name__ == "__main__":`.

    Args:
        recipe: a Recipe, a recipe's file, or a study's folder (its recommended.yaml).
        dataset: a name, a Hugging Face id or a path, as for `search`.
        out: the folder to write; it may not exist.
        command: how it was made, for the model card.
        listen: is told what happens while it runs (autodistill.events).
        {settings}

    Raises:
        UserError: something that was asked cannot work: see its subclasses.
        RunError: the training failed, or the folder cannot be written.
    """
    tell: Listen = listen or (lambda event: None)
    asked = DistillSettings.read({"recipe": recipe, "dataset": dataset, "out": out, **settings})
    recipe = asked.load_recipe()
    asked.check()
    target = check_target(Path(asked.out), asked.overwrite)
    data = read_data(asked, tell, with_test=True)
    if recipe.training.unlabelled_share > 0 and data.unlabelled is None:
        raise RecipeError(
            f"the recipe {recipe.id} learns on unlabelled rows too ({recipe.training.unlabelled_share:.0%} of each batch), "
            f"and {data.name} has none; give them with --unlabelled"
        )
    if recipe.task != data.task:
        raise RecipeError(f"the recipe is for {recipe.task}, and {data.name} is {data.task}; give a recipe or a dataset of the same task")

    teachers = teach(data, [recipe.teacher], asked.seed, tell)
    opened = open_taught(data, teachers, recipe_taps(recipe) if recipe.objective.terms else None, tell)[recipe.teacher]
    teacher, workers, seeds = teachers[recipe.teacher], asked.workers, asked.seeds
    plain = hard_labels_alone(recipe) if asked.control and recipe.objective.terms else None
    threads = torch.get_num_threads() if workers == 1 else max(1, cores() // workers)
    assignments = [
        Assignment(each, data.ref, asked.seed + turn, each.training.epochs, teacher.folder, threads)
        for each in (recipe, plain)
        if each is not None
        for turn in range(seeds)
    ]
    work = _work_folder(data, teacher.folder)
    with lock(work):
        trained = _train(assignments, work, workers, data, tell)
        distilled, controls = trained[:seeds], trained[seeds:]
        best = max(distilled, key=lambda item: item.result.score)  # the first of equals
        with Stage(tell, "test", "opening the test split, this once") as stage:
            facts = _facts(data, opened, distilled, controls, best, teacher.score)
            stage.end(_verdict(facts))
        asked_rows = {name: value for name, value in dataclasses.asdict(data.ref).items() if name != "teacher_scores"}
        facts |= {"given": asked_rows, "command": command}
        with Stage(tell, "folder", f"writing {target}") as stage:
            _write(target, opened, best, facts)
            stage.end(str(target))
        forget(work, assignments)
    return Distilled(target, facts)


def check_target(out: Path, overwrite: bool) -> Path:
    """The folder to write, absolute.

    Raises:
        UsageError: it exists and may not be replaced, or it cannot be made.
    """
    if not str(out).strip() or out == Path():
        raise UsageError("--out is empty; give the folder that the student is to be written into")
    target = out.expanduser().absolute()
    if target.exists() and not overwrite:
        raise UsageError(f"{out} exists; give another --out, or replace it with --overwrite")
    ours = (target / ABOUT).exists() or (target.is_dir() and not any(target.iterdir()))
    if target.exists() and not ours:
        raise UsageError(f"{out} is no student's folder, so --overwrite does not remove it; give another --out")
    above = next(folder for folder in target.parents if folder.exists())
    try:
        probe = above / f".{target.name}.probe"
        probe.mkdir()
        probe.rmdir()
    except OSError as cause:
        raise UsageError(f"{out} cannot be written: {cause.strerror or cause}; {_ELSEWHERE}") from None
    return target


def hard_labels_alone(recipe: Recipe) -> Recipe:
    """The same student, start, training and augmentation, with the hard labels alone: no KD."""
    data = recipe.model_dump()
    hard = {"hard_label_weight": 1.0, "label_smoothing": recipe.objective.label_smoothing}
    training = data["training"] | {"unlabelled_share": 0.0, "unlabelled_choice": "all", "unlabelled_keep": 1.0, "stages": "mixed"}
    return Recipe.parse(data | {"objective": hard, "training": training})


def _work_folder(data: Dataset, teacher: str) -> Path:
    key = digest("distilling-1", data.rows_fingerprint, data.metric, str(data.ref), teacher_fingerprint(teacher), _version())
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
        found = f", {reused} of them by an earlier run" if reused else ""
        stage.end(f"{len(trained)} trained{found}; {data.metric} on validation: {', '.join(f'{score:.4f}' for score in scores)}")
    return trained


def _facts(
    data: Dataset, opened: Opened, distilled: Sequence[Trained], controls: Sequence[Trained], best: Trained, teacher_score: float | None
) -> dict[str, Any]:
    """Everything that is told of the distillation: distillation.json. Opens the test split."""
    recipe, device = best.assignment.recipe, pick_device()
    test = data.open_test()
    inputs = encode(data, test, opened.tokenizer, recipe.teacher)

    def tested(model: StudentModule) -> dict[str, float]:
        logits = all_logits(model.to(device), inputs, data.outputs, device)
        return evaluate_predictions(data.metric, logits.numpy(), test.labels)

    teacher, _ = load_teacher(opened.folder)
    teacher_test = tested(teacher)
    runs = {item.assignment: tested(load_trained(item.folder).model) for item in (*distilled, *controls)}

    def listed(items: Sequence[Trained]) -> list[dict[str, Any]]:
        return [
            {
                "seed": item.assignment.seed,
                "validation": item.result.score,
                "test": runs[item.assignment][data.metric],
                "test_metrics": runs[item.assignment],
                "best_epoch": item.result.best_epoch,
                "seconds": round(sum(item.result.seconds_by_stage.values()), 3),
            }
            for item in items
        ]

    kept, row = load_trained(best.folder), median_row(opened.validation)
    batch = to_device(opened.validation.batch(row), device)
    models = {"teacher": teacher.to(device).eval(), "student": kept.model.to(device).eval()}
    latency = paired_latency({name: (lambda model=model: _ran(model, batch)) for name, model in models.items()})  # type: ignore[misc]
    told, plain = listed(distilled), listed(controls)
    teacher_value = teacher_test[data.metric]
    mean = statistics.fmean(item["test"] for item in told)
    plain_mean = statistics.fmean(item["test"] for item in plain) if plain else None
    gap = None if plain_mean is None else teacher_value - plain_mean
    score = runs[best.assignment][data.metric]
    return {
        "schema": SCHEMA,
        "recipe_id": recipe.id,
        "dataset": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "task": data.task,
            "metric": data.metric,
            "classes": data.classes,
            "rows": {"train": len(data.train), "unlabelled": data.unlabelled_rows, "validation": len(data.validation), "test": len(test)},
            "test_rows_in_train": _in_train(data.train, test),
            "notes": list(data.notes),
        },
        "teacher": {
            "model": recipe.teacher.title,
            "params": count_parameters(teacher),
            "validation": teacher_score,
            "test": teacher_value,
            "test_metrics": teacher_test,
            "latency_ms": latency["teacher"],
        },
        "student": {
            "family": recipe.student.name,
            "params": count_parameters(kept.model),
            "seed": best.assignment.seed,
            "validation": best.result.score,
            "test": score,
            "test_metrics": runs[best.assignment],
            "retention": score / teacher_value if teacher_value > 0 else None,
            "flops": best.result.flops,
            "latency_ms": latency["student"],
        },
        "seeds": told,
        "no_kd": plain or None,
        "test": {
            "mean": mean,
            "sd": statistics.stdev(item["test"] for item in told) if len(told) > 1 else None,
            "retention_mean": mean / teacher_value if teacher_value > 0 else None,
            "no_kd_mean": plain_mean,
            "distillation_ratio": (mean - plain_mean) / gap if plain_mean is not None and gap is not None and gap > 0 else None,
        },
        "latency_of": f"one row of {opened.validation.describe_row(int(row))}, {'one CPU thread' if device.type == 'cpu' else device.type}",
        "environment": describe_environment(),
    }


def _ran(model: StudentModule, batch: Any) -> None:
    model(batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _in_train(train: Split, test: Split) -> int:
    """Test rows that stand in train too, word by word or pixel by pixel."""
    there = set(_rows(train))
    return sum(row in there for row in _rows(test))


def _rows(split: Split) -> list[Any]:
    if split.images is not None:
        return [digest(np.ascontiguousarray(image).tobytes()) for image in split.images]
    assert split.texts is not None
    return split.texts if split.text_pairs is None else list(zip(split.texts, split.text_pairs, strict=True))


def _verdict(facts: dict[str, Any]) -> str:
    student, test = facts["student"], facts["test"]
    kept = "" if student["retention"] is None else f", {100 * student['retention']:.1f}% of the teacher's {facts['teacher']['test']:.4f}"
    spread = "" if test["sd"] is None else f"; over {len(facts['seeds'])} seeds {test['mean']:.4f} ± {test['sd']:.4f}"
    return f"{facts['dataset']['metric']} {student['test']:.4f}{kept}{spread}"


def _write(target: Path, opened: Opened, best: Trained, facts: dict[str, Any]) -> None:
    """Write the folder aside, open it as anyone would, hold it against the trained student, then put it in place.

    Raises:
        RunError: it cannot be written, or what was written does not say what the student said.
    """
    saved = load_trained(best.folder)
    with new_folder(target, _ELSEWHERE) as aside:
        about = write_student(aside, saved)  # folds a regression's scale into saved.model
        facts |= {name: about.get(name) for name in ("format", "max_length", "strided")}
        facts["student"]["bytes"] = (aside / "model.safetensors").stat().st_size
        rows = np.arange(min(_CHECKED, len(opened.dataset.validation)))
        written = load_student(aside)
        assert written.module is not None
        facts["written_params"] = count_parameters(written.module)
        said = written.logits(given_rows(opened.dataset.validation, rows))
        with torch.inference_mode():
            meant = saved.model.cpu()(opened.validation.batch(torch.from_numpy(rows))).logits.numpy()
        apart = float(np.abs(said - meant).max())
        if not apart <= TOLERANCE * max(1.0, float(np.abs(meant).max())):
            raise RunError(f"the written student's answers differ from the trained one's by {apart:.2g}; nothing is kept of it")
        card.write_facts(aside / FACTS, facts)
        (aside / "README.md").write_text(card.model_card(facts, saved.recipe, about, target.name), encoding="utf-8")
