"""Studies of any size: recipes from the shipped space, scores from a response function that is written here, so that truth is known."""

from __future__ import annotations

import math
import random
import statistics
from pathlib import Path
from typing import Any

from made import make_study

from autodistill.recipe import SLOTS, Recipe
from autodistill.recommender.library import RecordedStudy
from autodistill.records import Point, Role, TrialRecord
from autodistill.space import Space
from autodistill.study import Study
from autodistill.study_folder import write_about

TASK = "text-classification"
FAMILY = {"bert": 0.05, "cnn": 0.03, "bilstm": 0.0}
INTERMEDIATE = {"mi": 0.02, "cosine": 0.012, "mse": 0.005, "none": 0.0}
PREDICTION = {"kl": 0.015, "mse": 0.01, "none": 0.0}
NOISE = 0.003
TEACHER = 0.91
SPREAD = 8
"""Every so many trials one fails."""


def response(recipe: dict[str, Any]) -> float:
    """The score without noise: a sum of the student's, the objectives' and the learning rate's shares."""
    kinds = recipe["objective"]
    rate = math.log10(recipe["training"]["learning_rate"]) + (3.3 if recipe["student"]["family"] == "bert" else 2.7)
    shares = [FAMILY.get(recipe["student"]["family"], 0.0)]
    shares += [INTERMEDIATE.get(kinds["intermediate"]["kind"], 0.004), PREDICTION.get(kinds["prediction"]["kind"], 0.004)]
    return 0.80 + sum(shares) - 0.06 * rate**2 + (0.01 if recipe["student"].get("init") == "teacher" else 0.0)


def params(recipe: dict[str, Any]) -> int:
    """A size that grows with depth and width."""
    student = recipe["student"]
    width = student.get("hidden_size", student.get("channels", 128))
    return 30522 * student.get("embedding_size", width) // 4 + 12 * width * width * student.get("layers", 1)


def generate(trials: int, *, seed: int = 0, repeats: int = 3, **changes: Any) -> list[TrialRecord]:
    """A study's records: three baselines, `trials` trials of which some are stopped early and some fail, and repeats of the best.

    The baselines are repeated too, as a search does; `repeats` is how many of the best.
    """
    space, rng = Space.load("text", TASK).without_unlabelled(), random.Random(seed)
    planned: list[tuple[Role, Recipe, int]] = [(role, recipe, 0) for role, recipe in space.baselines().items()]
    planned += [("search", space.sample(rng), 0) for _ in range(trials)]
    records: list[TrialRecord] = []
    at_rung: dict[int, list[float]] = {1: [], 3: []}
    for role, recipe, number in planned:
        records.append(_run(len(records), role, recipe, number, rng, at_rung, changes))
    done = sorted((item for item in records if item.state == "complete" and item.role == "search"), key=lambda item: -(item.score or 0))
    for item in [*records[:3], *done[:repeats]] if repeats else []:
        for number in (1, 2):
            records.append(_run(len(records), "repeat", Recipe.parse(item.recipe), number, rng, {}, changes))
    return records


def _run(
    trial: int, role: Role, recipe: Recipe, seed: int, rng: random.Random, at_rung: dict[int, list[float]], changes: dict[str, Any]
) -> TrialRecord:
    data, epochs, pace = recipe.model_dump(), recipe.training.epochs, 2.0 + params(recipe.model_dump()) / 1e6
    final = response(data) + rng.gauss(0.0, NOISE)
    points: list[Point] = []
    state, reason = "complete", None
    names = ["hard_label", *(slot for slot in SLOTS if data["objective"][slot]["kind"] != "none")]
    for epoch in range(1, epochs + 1):
        score = final - 0.25 * math.exp(-epoch / 1.5)
        losses = dict.fromkeys(names, 0.7 / epoch)
        points.append(Point(epoch=epoch, score=score, train_loss=sum(losses.values()), seconds=1.0 + pace * epoch, losses=losses))
        if role == "search" and epoch in at_rung:
            at_rung[epoch].append(score)
            if len(at_rung[epoch]) > 3 and score < statistics.median(at_rung[epoch]):
                state = "pruned"
                break
    if role == "search" and trial % SPREAD == SPREAD - 1:
        state, reason = "fail", "DivergedError: the loss is not a finite number in epoch 1: hard_label nan"
        points = []
    best = max((point.score for point in points), default=None)
    values: dict[str, Any] = {
        "study": "generated", "trial": trial, "role": role, "state": state, "reason": reason, "recipe_id": recipe.id, "recipe_version": 1,
        "recipe": data, "dataset": "generated", "dataset_fingerprint": "f" * 16, "task": TASK, "metric": "accuracy", "train_rows": 4000,
        "seed": seed, "max_epochs": epochs, "score": best, "metrics": {} if best is None else {"accuracy": best}, "curve": points,
        "teacher_score": TEACHER, "params": params(data),
        "latency_ms": params(data) / 2.5e6 * (1.4 if "layers" in data["student"] else 0.5),
        "started": 1.7e9 + 30.0 * trial, "seconds": points[-1].seconds if points else 3.0,
        "seconds_by_stage": {"data": 0.5, "training": pace * len(points), "evaluation": 0.5, "outputs": 0.0} if state == "complete" else {},
    }  # fmt: skip
    return TrialRecord.model_validate(values | changes)


def generated_study(studies: Path, trials: int, name: str = "generated", asked: dict[str, Any] | None = None, **changes: Any) -> Study:
    """A study's folder with generated records, its recommended recipe and what its session measured."""
    records = generate(trials, **changes)
    study = make_study(studies, records, name, trials=trials, **(asked or {}))
    study.about["dataset"] |= {"name": records[0].dataset if records else "d", "train_rows": 4000, "fingerprint": "f" * 16}
    study.about["teacher_score"] = TEACHER
    study.about["teachers"] = [{"model": "sentence-transformers/all-MiniLM-L6-v2", "folder": "", "score": TEACHER}]
    study.about["sessions"] = [
        {
            "started": "2026-01-05T09:30:00+00:00",
            "environment": {"python": "3.11.7", "cores": "2"},
            "seconds": {"teacher": 61.0, "outputs": 9.5},
        }
    ]
    write_about(study.folder, study.about)
    if study.best is not None:
        (study.folder / "recommended.yaml").write_text(Recipe.parse(study.best.recipe).to_yaml(), encoding="utf-8")
    return study


def library(studies: int = 8, trials: int = 20) -> list[RecordedStudy]:
    """Recorded studies: the odd ones gain from MI more, the even ones from larger students; the last two are of one group."""
    entries = []
    for number in range(studies):
        records = generate(trials, seed=number, dataset=f"set {number}")
        for index, item in enumerate(records):
            if item.score is not None and item.recipe["objective"]["intermediate"]["kind"] == "mi" and number % 2:
                records[index] = item.model_copy(update={"score": item.score + 0.03})
        features = {"rows": math.log10(1000 * (number + 1)), "classes": 2.0 + number % 3, "length": 10.0 + 3 * (number % 2), "same": 1.0}
        group = f"group {min(number, studies - 2)}"
        about = {"task": TASK, "metric": "accuracy", "train_rows": 1000 * (number + 1), "teacher_score": TEACHER, "features": features}
        identity = {"name": f"set-{number}", "group": group, "dataset": f"set {number}", "fingerprint": str(number)}
        entries.append(RecordedStudy(records=records, **identity, **about))  # type: ignore[arg-type]
    return entries
