"""The teacher that a recipe names, trained: one network, or an ensemble of several."""

from __future__ import annotations

import json
from typing import Any

from autodistill.cache import new_cached_folder
from autodistill.models.base import pick_device
from autodistill.models.fitting import cpu_threads, validation_logits
from autodistill.recipe import Teacher
from autodistill.storage import cache_folder, digest
from autodistill.tasks.base import Dataset
from autodistill.teacher.embedding import embedding_teacher
from autodistill.teacher.finetune import FACTS, FinetunedTeacher, Progress, facts_of, finetune_teacher, kept_or_made
from autodistill.teacher.load import encode, keep_temperature, load_teacher, member_teachers, save_ensemble


def trained_teacher(
    dataset: Dataset,
    teacher: Teacher,
    seed: int,
    *,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> FinetunedTeacher:
    """Train the teacher, or each member of an ensemble, or find them in the cache; see `finetune_teacher`.

    For targets without labels nothing is trained; see `embedding_teacher`.

    The first member with a model has the seed that is asked for, the next member with the same model the seed after it, and so on. So a
    member is the same teacher as it would be alone. The ensemble's own outputs are scored on the validation split, and its own temperature
    is fitted there: the mean of calibrated members is less sure than it is right. Its probe is the best of its members' probes.

    Raises:
        ModelError, DivergedError, RunError: see `finetune_teacher`.
    """
    if not dataset.target.has_labels:
        return embedding_teacher(dataset, teacher, seed, device=device, threads=threads, progress=progress)
    members = member_teachers(teacher)
    seeds = [seed + sum(earlier.model == member.model for earlier in members[:number]) for number, member in enumerate(members)]
    trained = [
        finetune_teacher(dataset, member, own, device=device, threads=threads, progress=progress)
        for member, own in zip(members, seeds, strict=True)
    ]
    if len(trained) == 1:
        return trained[0]
    folder = (
        cache_folder() / "teachers" / digest("ensemble-2", dataset.fingerprint, dataset.metric, *(item.folder.name for item in trained))
    )

    def join() -> dict[str, Any]:
        with new_cached_folder(folder) as aside:
            save_ensemble(dataset.task, [(member, item.folder) for member, item in zip(members, trained, strict=True)], aside)
            model, tokenizer = load_teacher(aside)
            where = pick_device(device)
            with cpu_threads(threads):
                rows = encode(dataset, dataset.validation, tokenizer, teacher)
                logits = validation_logits(model.to(where), rows, dataset.num_outputs, where).numpy()
            labels = dataset.validation.labels
            metrics, calibration = dataset.target.evaluate(dataset.metric, logits, labels), dataset.target.calibrated(logits, labels)
            about = {
                **facts_of(dataset, teacher, seed),
                "score": metrics[dataset.metric],
                "metrics": metrics,
                "seconds": round(sum(item.seconds for item in trained), 3),
                "pooling": trained[0].pooling,
                "probe_score": max((item.probe_score for item in trained if item.probe_score is not None), default=None),
                "linear_score": trained[0].linear_score,
                "member_scores": [item.score for item in trained],
            }
            if calibration is not None:
                about["calibration_error_before"] = calibration.error_before
            if calibration is not None and teacher.calibration == "temperature":
                keep_temperature(aside, calibration.temperature)
                about |= {"temperature": calibration.temperature, "calibration_error": calibration.error}
            (aside / FACTS).write_text(json.dumps(about, indent=1), encoding="utf-8")
        return about

    return kept_or_made(folder, join)
