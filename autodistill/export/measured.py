"""The measurements of a distillation: scores on the test split, parameters and latencies. All of them are in distillation.json."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autodistill.environment import describe_environment
from autodistill.export.latency import paired_latency
from autodistill.export.seeds import Trained
from autodistill.facts import TeacherRef
from autodistill.models.base import Inputs, StudentModule, pick_device, to_device
from autodistill.models.fitting import all_logits
from autodistill.models.saved import load_saved_student
from autodistill.target import Target
from autodistill.task_types import target_of
from autodistill.tasks.base import Dataset, Split
from autodistill.tasks.scores import TeacherScores
from autodistill.teacher.load import encode, load_teacher
from autodistill.teacher.scored import LEAST_JUDGED
from autodistill.train.assignment import Assignment
from autodistill.train.cost import count_parameters
from autodistill.train.data import Opened, median_row, read_by_student

SCHEMA = 1


def measure(
    data: Dataset,
    test: Split,
    opened: Opened,
    distilled: Sequence[Trained],
    controls: Sequence[Trained],
    best: Trained,
    teacher_ref: TeacherRef,
    scores: TeacherScores | None,
) -> dict[str, Any]:
    """All facts of distillation.json about the dataset, the teacher and the students.

    Students are compared with their teacher on the test rows for which it has logits: for a network all; for a file of scores (`scores`)
    those whose texts are in it. If these are fewer than `LEAST_JUDGED`, the teacher has no test score, and nothing is compared.
    """
    recipe, device = best.assignment.recipe, pick_device()
    read = read_by_student(opened, recipe)
    inputs, own_inputs = (encode(data, test, reading.tokenizer, recipe.teacher) for reading in (opened, read))

    def logits_of(model: StudentModule, inputs: Inputs) -> np.ndarray:
        logits: np.ndarray = all_logits(model.to(device), inputs, data.num_outputs, device).numpy()
        return logits

    def metrics(target: Target, logits: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        return target.evaluate(data.metric, logits[rows], test.labels[rows])

    def teachers_target(logits: np.ndarray, rows: np.ndarray) -> Target:  # rows of validation decide what it says of test
        return data.target.tuned(data.metric, logits[rows], data.validation.labels[rows])

    every_row = np.arange(len(test))
    teacher_metrics: dict[str, float] | None
    network: StudentModule | None = None
    if recipe.teacher.is_self:
        teacher_rows, teacher_metrics = every_row, None
    elif scores is None:
        network = load_teacher(opened.folder)[0]
        assert network is not None
        teacher_rows = every_row
        tuned = teachers_target(logits_of(network, opened.validation), np.arange(len(data.validation)))
        teacher_metrics = metrics(tuned, logits_of(network, inputs), every_row)
    else:
        teacher_logits, has_score = scores.of(data.modality.row_keys(test))
        teacher_rows = np.flatnonzero(has_score)
        held, is_held = scores.of(data.modality.row_keys(data.validation))
        tuned = teachers_target(held, np.flatnonzero(is_held))
        teacher_metrics = metrics(tuned, teacher_logits, teacher_rows) if len(teacher_rows) >= LEAST_JUDGED else None
    runs: dict[Assignment, tuple[Target, np.ndarray]] = {}
    for item in (*distilled, *controls):
        saved = load_saved_student(item.folder)
        own = target_of(data.task, data.classes, saved.facts.get("thresholds"))
        runs[item.assignment] = own, logits_of(saved.model, own_inputs)
    everywhere = {assignment: metrics(*run, every_row) for assignment, run in runs.items()}

    def listed(items: Sequence[Trained]) -> list[dict[str, Any]]:
        return [
            {
                "seed": item.assignment.seed,
                "validation": item.result.score,
                "agreement": item.result.agreement,
                "test": everywhere[item.assignment][data.metric],
                "test_metrics": everywhere[item.assignment],
                "best_epoch": item.result.best_epoch,
                "seconds": round(sum(item.result.seconds_by_stage.values()), 3),
            }
            for item in items
        ]

    def mean_beside_teacher(items: Sequence[Trained]) -> float | None:
        values = [metrics(*runs[item.assignment], teacher_rows)[data.metric] for item in items]
        return statistics.fmean(values) if values else None

    kept, row = load_saved_student(best.folder), median_row(opened.validation)
    teachers = {} if network is None else {"teacher": (network, opened)}
    latency = _latency(
        {
            who: (model.to(device).eval(), to_device(reading.validation.batch(row), device))
            for who, (model, reading) in (teachers | {"student": (kept.model, read)}).items()
        }
    )
    seeds, plain = listed(distilled), listed(controls)
    beside_teacher = None
    if teacher_metrics is not None:
        beside_teacher = {
            "rows": len(teacher_rows),
            "teacher": teacher_metrics[data.metric],
            "student": mean_beside_teacher([best]),
            "mean": mean_beside_teacher(distilled),
            "no_kd_mean": mean_beside_teacher(controls),
        }
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
            "test_rows_in_train": _in_train(data, test),
            "notes": list(data.notes),
        },
        "teacher": {
            "model": recipe.teacher.title,
            "scores": None if scores is None else _scores_file(data, test, scores),
            "params": None if network is None else count_parameters(network),
            "validation": teacher_ref.score,
            "test": None if teacher_metrics is None else teacher_metrics[data.metric],
            "test_metrics": teacher_metrics,
            "latency_ms": latency.get("teacher"),
        },
        "student": {
            "family": recipe.student.name,
            "params": count_parameters(kept.model),
            "seed": best.assignment.seed,
            "validation": best.result.score,
            "test": everywhere[best.assignment][data.metric],
            "test_metrics": everywhere[best.assignment],
            "retention": _retention(beside_teacher, "student"),
            "flops": best.result.flops,
            "latency_ms": latency["student"],
            **({} if (thresholds := runs[best.assignment][0].thresholds) is None else {"thresholds": thresholds}),
        },
        "seeds": seeds,
        "no_kd": plain or None,
        "test": {
            "mean": statistics.fmean(item["test"] for item in seeds),
            "sd": statistics.stdev(item["test"] for item in seeds) if len(seeds) > 1 else None,
            "retention_mean": _retention(beside_teacher, "mean"),
            "no_kd_mean": statistics.fmean(item["test"] for item in plain) if plain else None,
            "distillation_ratio": _distillation_ratio(beside_teacher),
            "beside_teacher": beside_teacher,
        },
        "latency_of": f"one row of {opened.validation.describe_row(int(row))}, {'one CPU thread' if device.type == 'cpu' else device.type}",
        "environment": describe_environment(),
    }


def _retention(beside_teacher: dict[str, Any] | None, who: str) -> float | None:
    """A score over the teacher's, on the same rows; None if the teacher has no score above 0."""
    if beside_teacher is None or not beside_teacher["teacher"] > 0:
        return None
    return float(beside_teacher[who] / beside_teacher["teacher"])


def _distillation_ratio(beside_teacher: dict[str, Any] | None) -> float | None:
    """(distilled − no KD) / (teacher − no KD); None if it is not known, or the student without KD is no worse than the teacher."""
    if beside_teacher is None or beside_teacher["no_kd_mean"] is None:
        return None
    gap = beside_teacher["teacher"] - beside_teacher["no_kd_mean"]
    return float((beside_teacher["mean"] - beside_teacher["no_kd_mean"]) / gap) if gap > 0 else None


def _scores_file(data: Dataset, test: Split, scores: TeacherScores) -> dict[str, Any]:
    """Facts of a file of scores. coverage: the share of each split's rows that have scores."""
    assert data.ref.teacher_scores is not None
    splits = {"train": data.train, "unlabelled": data.unlabelled, "validation": data.validation, "test": test}
    coverage = {name: float(scores.of(data.modality.row_keys(split))[1].mean()) for name, split in splits.items() if split is not None}
    return {
        "file": Path(data.ref.teacher_scores).name,
        "fingerprint": scores.fingerprint,
        "kind": scores.kind,
        "texts": len(scores.rows),
        "coverage": coverage,
    }


def _latency(models: dict[str, tuple[StudentModule, Any]]) -> dict[str, float]:
    return paired_latency({name: (lambda model=model, batch=batch: _run(model, batch)) for name, (model, batch) in models.items()})  # type: ignore[misc]


def _run(model: StudentModule, batch: Any) -> None:
    model(batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _in_train(data: Dataset, test: Split) -> int:
    """The number of test rows that are in train too."""
    there = set(data.modality.row_keys(data.train))
    return sum(row in there for row in data.modality.row_keys(test))


def verdict(facts: dict[str, Any]) -> str:
    """The result on the test split, in a line."""
    student, test = facts["student"], facts["test"]
    kept = "" if student["retention"] is None else f", {100 * student['retention']:.1f}% of the teacher's {facts['teacher']['test']:.4f}"
    spread = "" if test["sd"] is None else f"; over {len(facts['seeds'])} seeds {test['mean']:.4f} ± {test['sd']:.4f}"
    return f"{facts['dataset']['metric']} {student['test']:.4f}{kept}{spread}"
