"""Teachers as modules: from their source to be trained, and from the folder that a trained one is kept in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autodistill.errors import ModelError
from autodistill.models.base import Inputs, StudentModule
from autodistill.models.text import load_tokenizer
from autodistill.models.timm import TimmModel
from autodistill.models.transformer import Transformer
from autodistill.recipe import Teacher
from autodistill.storage import digest, file_fingerprint
from autodistill.tasks.base import Dataset, Split
from autodistill.teacher import image, text


def source_fingerprint(dataset: Dataset, teacher: Teacher) -> str:
    """Names the weights that training starts from.

    Raises:
        ModelError: the model is not to be had.
    """
    return dataset.modality.weights_fingerprint(teacher)


def untrained_teacher(dataset: Dataset, teacher: Teacher) -> tuple[StudentModule, Any]:
    """The module to train, with a head for the dataset, and its tokenizer (None for images).

    Raises:
        ModelError: the model is not to be had or does not fit.
    """
    modality = dataset.modality
    tokenizer = modality.open_tokenizer(modality.source(teacher))
    return modality.build_teacher(dataset, teacher), tokenizer


def save_teacher(model: StudentModule, tokenizer: Any, dataset: Dataset, teacher: Teacher, folder: Path) -> None:
    """Write a trained teacher."""
    if isinstance(model, TimmModel):
        image.save(model, dataset.classes, dataset.outputs, dataset.image_size, teacher, folder)
    else:
        assert isinstance(model, Transformer)
        text.save(model, tokenizer, folder)


def load_teacher(folder: str | Path) -> tuple[StudentModule, Any]:
    """A trained teacher in evaluation mode, on the CPU, and its tokenizer (None for images).

    Raises:
        ModelError: the folder holds none.
    """
    folder = Path(folder)
    try:
        if (folder / image.TIMM_FILE).exists():
            return image.load(folder).eval(), None
        model = text.load(folder)
    except (OSError, ValueError, KeyError, RuntimeError) as cause:
        raise ModelError(f"{folder} holds no fine-tuned teacher that can be loaded: {cause}") from None
    return model.eval(), load_tokenizer(folder)


def teacher_fingerprint(folder: str | Path) -> str:
    """Names a trained teacher by its weights and configuration.

    Raises:
        ModelError: the folder holds none.
    """
    folder = Path(folder)
    about = [folder / image.TIMM_FILE] if (folder / image.TIMM_FILE).exists() else text.files_of(folder)
    try:
        return digest(*(file_fingerprint(file) for file in (folder / "model.safetensors", *about)))
    except OSError as cause:
        raise ModelError(f"{folder} holds no fine-tuned teacher: {cause}") from None


def encode(dataset: Dataset, split: Split, tokenizer: Any, teacher: Teacher) -> Inputs:
    """A split as its teacher and students read it."""
    encoded: Inputs = dataset.modality.encode(split, teacher, tokenizer)
    return encoded
