"""Teachers as modules: untrained ones from their source, and trained ones from their folder.

An ensemble's folder holds the files of its first member, the other members' folders under members/, and ensemble.json.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from autodistill.assistant import STUDENT_WEIGHTS, find_assistant
from autodistill.cache import MANIFEST
from autodistill.errors import ModelError, explained
from autodistill.models.base import Inputs, StudentModule
from autodistill.models.saved import load_saved_student
from autodistill.models.text import load_tokenizer
from autodistill.models.timm import TimmModel
from autodistill.models.transformer import Transformer
from autodistill.recipe import Teacher
from autodistill.storage import digest, file_fingerprint
from autodistill.task_types import modality_of, target_of
from autodistill.tasks.base import Dataset, Split
from autodistill.teacher import image, text
from autodistill.teacher.ensemble import Ensemble

ENSEMBLE, MEMBERS = "ensemble.json", "members"
"""An ensemble's own file, and the folder with its members after the first."""


def source_fingerprint(dataset: Dataset, teacher: Teacher) -> str:
    """Identifies the weights that training starts from.

    Raises:
        ModelError: the model cannot be fetched.
    """
    return dataset.modality.weights_fingerprint(teacher)


def untrained_teacher(dataset: Dataset, teacher: Teacher) -> tuple[StudentModule, Any]:
    """The module to train, with a head for the dataset, and its tokenizer (None for images).

    Raises:
        ModelError: the model cannot be fetched or does not fit.
    """
    modality = dataset.modality
    tokenizer = modality.open_tokenizer(modality.source(teacher))
    return modality.build_teacher(dataset, teacher), tokenizer


def save_teacher(model: StudentModule, tokenizer: Any, dataset: Dataset, teacher: Teacher, folder: Path) -> None:
    """Write a trained teacher. For a finished student: the files of its study, with the weights that it has now."""
    assistant = find_assistant(teacher.model)
    if assistant is not None:
        shutil.copytree(assistant.folder, folder, dirs_exist_ok=True)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, folder / STUDENT_WEIGHTS)
    elif isinstance(model, TimmModel):
        image.save(model, dataset.classes, dataset.num_outputs, dataset.image_size, teacher, folder)
    else:
        assert isinstance(model, Transformer)
        text.save(model, tokenizer, folder)


def member_teachers(teacher: Teacher) -> list[Teacher]:
    """The members of an ensemble, each as a teacher of its own; for a single teacher, itself."""
    return [teacher.model_copy(update={"model": model, "members": 1}) for model in teacher.member_models]


def untrained_ensemble(dataset: Dataset, teacher: Teacher) -> StudentModule:
    """The untrained module of a teacher or an ensemble, to measure its cost.

    Raises:
        ModelError: a model cannot be fetched or does not fit.
    """
    members = member_teachers(teacher)
    models = [untrained_teacher(dataset, member)[0] for member in members]
    if len(models) == 1:
        return models[0]
    placed = [(member, dataset.modality.source(member)) for member in members]
    return Ensemble(models, dataset.target, [dataset.modality.rereader(placed[0], other) for other in placed[1:]])


def save_ensemble(task: str, members: Sequence[tuple[Teacher, Path]], folder: Path) -> None:
    """Write an ensemble from its trained members' folders. Files are hard-linked if the disk allows it, else copied."""
    for number, (_, source) in enumerate(members):
        place = folder if number == 0 else folder / MEMBERS / str(number)
        shutil.copytree(source, place, copy_function=_link, ignore=shutil.ignore_patterns("teacher.json", MANIFEST), dirs_exist_ok=True)
    about = {"task": task, "members": [teacher.model_dump() for teacher, _ in members]}
    (folder / ENSEMBLE).write_text(json.dumps(about), encoding="utf-8")


def keep_temperature(folder: Path, temperature: float) -> None:
    """Record in an ensemble's folder the temperature that its joint logits are divided by."""
    about = json.loads((folder / ENSEMBLE).read_text(encoding="utf-8"))
    (folder / ENSEMBLE).write_text(json.dumps(about | {"temperature": temperature}), encoding="utf-8")


def _link(source: str, place: str) -> None:
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)


def load_teacher(folder: str | Path) -> tuple[StudentModule, Any]:
    """A trained teacher or ensemble in evaluation mode, on the CPU, and its tokenizer (None for images).

    Raises:
        ModelError: the folder holds none.
    """
    folder = Path(folder)
    if not (folder / ENSEMBLE).exists():
        return _load_one(folder)
    about = json.loads((folder / ENSEMBLE).read_text(encoding="utf-8"))
    modality, target = modality_of(about["task"]), target_of(about["task"])
    placed = list(zip(map(Teacher.model_validate, about["members"]), _places(folder, len(about["members"])), strict=True))
    loaded = [_load_one(place) for _, place in placed]
    rereads = [modality.rereader(placed[0], other) for other in placed[1:]]
    return Ensemble([model for model, _ in loaded], target, rereads, about.get("temperature", 1.0)).eval(), loaded[0][1]


def _places(folder: Path, number: int) -> list[Path]:
    """The places of the members in an ensemble's folder."""
    return [folder, *(folder / MEMBERS / str(place) for place in range(1, number))]


def _load_one(folder: Path) -> tuple[StudentModule, Any]:
    if (folder / STUDENT_WEIGHTS).exists():
        return load_saved_student(folder).model, load_tokenizer(folder)
    with explained(lambda reason: ModelError(f"{folder} holds no fine-tuned teacher that can be loaded: {reason}")):
        if (folder / image.TIMM_FILE).exists():
            return image.load(folder).eval(), None
        model = text.load(folder)
    return model.eval(), load_tokenizer(folder)


def teacher_fingerprint(folder: str | Path) -> str:
    """Identifies a trained teacher or ensemble by its weights and configuration.

    Raises:
        ModelError: the folder holds none.
    """
    folder = Path(folder)
    if not (folder / ENSEMBLE).exists():
        return _fingerprint(folder)
    about = json.loads((folder / ENSEMBLE).read_text(encoding="utf-8"))
    members = [_fingerprint(place) for place in _places(folder, len(about["members"]))]
    return digest("ensemble-1", about["task"], *members, *([str(about["temperature"])] if "temperature" in about else []))


def _fingerprint(folder: Path) -> str:
    if (folder / STUDENT_WEIGHTS).exists():
        return digest("assistant", *(file_fingerprint(folder / name) for name in (STUDENT_WEIGHTS, "recipe.yaml")))
    about = [folder / image.TIMM_FILE] if (folder / image.TIMM_FILE).exists() else text.files_of(folder)
    try:
        return digest(*(file_fingerprint(file) for file in (folder / "model.safetensors", *about)))
    except OSError as cause:
        raise ModelError(f"{folder} holds no fine-tuned teacher: {cause}") from None


def encode(dataset: Dataset, split: Split, tokenizer: Any, teacher: Teacher) -> Inputs:
    """A split as its teacher and students read it."""
    encoded: Inputs = dataset.modality.encode(split, teacher, tokenizer)
    return encoded
