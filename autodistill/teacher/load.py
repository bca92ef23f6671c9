"""Teachers as modules: from their source to be fine-tuned, and from the folder that a fine-tuned one is kept in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model

from autodistill.errors import ModelError
from autodistill.models.base import StudentModule
from autodistill.models.image import EncodedImages
from autodistill.models.sources import quiet, source_folder, weight_files
from autodistill.models.text import EncodedText, encode_split, load_tokenizer
from autodistill.models.timm import TimmModel, build_timm, normalisation, pretrained_file
from autodistill.models.transformer import Transformer
from autodistill.recipe import Teacher
from autodistill.storage import digest, file_fingerprint
from autodistill.tasks.base import Dataset, Split

TIMM_FILE = "timm.json"


def timm_name(teacher: Teacher) -> str:
    """The timm name that an image teacher's `model` says, with or without `timm:` before it."""
    return teacher.model.removeprefix("timm:")


def source_fingerprint(dataset: Dataset, teacher: Teacher) -> str:
    """Names the weights that fine-tuning starts from.

    Raises:
        ModelError: the model is not to be had.
    """
    if dataset.is_image:
        import timm

        file = pretrained_file(timm_name(teacher)) if teacher.init == "pretrained" else None
        weights = [] if file is None else [file_fingerprint(file)]
        return digest("timm", timm.__version__, timm_name(teacher), teacher.init, *weights)
    folder = source_folder(teacher.model, weights=teacher.init == "pretrained")
    files = [folder / "config.json", *sorted(folder.glob("tokenizer.json"))]
    files += weight_files(folder) if teacher.init == "pretrained" else []
    return digest(*(file_fingerprint(file) for file in files))


def untrained_teacher(dataset: Dataset, teacher: Teacher) -> tuple[StudentModule, Any]:
    """The module to fine-tune, with a head for the dataset, and its tokenizer (None for images).

    Raises:
        ModelError: the model is not to be had or does not fit.
    """
    if dataset.image_size is not None:
        return build_timm(timm_name(teacher), dataset.outputs, dataset.image_size, pretrained=teacher.init == "pretrained"), None
    from transformers import AutoConfig, AutoModelForSequenceClassification

    folder = source_folder(teacher.model, weights=teacher.init == "pretrained")
    tokenizer = load_tokenizer(folder)
    names = dict(enumerate(dataset.classes)) if dataset.classes else {0: "score"}
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, id2label=names, label2id={name: i for i, name in names.items()})
        config.problem_type = "regression" if dataset.is_regression else "single_label_classification"
        with quiet():
            if teacher.init != "pretrained":
                model = AutoModelForSequenceClassification.from_config(config)
            else:
                model = AutoModelForSequenceClassification.from_pretrained(
                    folder, config=config, local_files_only=True, ignore_mismatched_sizes=True, dtype=torch.float32
                )
    except (OSError, ValueError, KeyError, RuntimeError) as cause:
        raise ModelError(f"teacher {teacher.model!r} cannot be loaded as a text classifier: {cause}") from None
    wrapped = Transformer(model)
    _check_length(config, teacher)
    return wrapped, tokenizer


def _check_length(config: Any, teacher: Teacher) -> None:
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and "roberta" in config.model_type:
        positions -= (config.pad_token_id or 0) + 1
    if positions is not None and teacher.max_length > positions:
        raise ModelError(f"teacher.max_length is {teacher.max_length}, but {teacher.model!r} has {positions} positions; lower it to that")


def save_teacher(model: StudentModule, tokenizer: Any, dataset: Dataset, teacher: Teacher, folder: Path) -> None:
    """Write a fine-tuned teacher: a transformers folder, or for images timm.json and model.safetensors."""
    if isinstance(model, TimmModel):
        from safetensors.torch import save_model

        mean, std = normalisation(timm_name(teacher))
        about = {"name": timm_name(teacher), "outputs": dataset.outputs, "image_size": dataset.image_size, "mean": mean, "std": std}
        (folder / TIMM_FILE).write_text(json.dumps(about | {"classes": dataset.classes}, indent=1), encoding="utf-8")
        save_model(model.model, str(folder / "model.safetensors"))
        return
    assert isinstance(model, Transformer)
    with quiet():
        model.model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def load_teacher(folder: str | Path) -> tuple[StudentModule, Any]:
    """A fine-tuned teacher in evaluation mode, on the CPU, and its tokenizer (None for images).

    Raises:
        ModelError: the folder holds none.
    """
    folder = Path(folder)
    about = folder / TIMM_FILE
    try:
        if about.exists():
            known = json.loads(about.read_text(encoding="utf-8"))
            image = build_timm(known["name"], known["outputs"], known["image_size"], pretrained=False)
            load_model(image.model, folder / "model.safetensors")
            return image.eval(), None
        from transformers import AutoModelForSequenceClassification

        with quiet():
            model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError, KeyError, RuntimeError) as cause:
        raise ModelError(f"{folder} holds no fine-tuned teacher that can be loaded: {cause}") from None
    return Transformer(model).eval(), load_tokenizer(folder)


def teacher_fingerprint(folder: str | Path) -> str:
    """Names a fine-tuned teacher by its weights and configuration.

    Raises:
        ModelError: the folder holds none.
    """
    folder = Path(folder)
    about = folder / TIMM_FILE if (folder / TIMM_FILE).exists() else folder / "config.json"
    try:
        return digest(file_fingerprint(folder / "model.safetensors"), file_fingerprint(about))
    except OSError as cause:
        raise ModelError(f"{folder} holds no fine-tuned teacher: {cause}") from None


def encode(dataset: Dataset, split: Split, tokenizer: Any, teacher: Teacher) -> EncodedText | EncodedImages:
    """A split as its teacher and students read it."""
    if dataset.is_image:
        assert split.images is not None
        return EncodedImages(split.images, *normalisation(timm_name(teacher)))
    assert split.texts is not None
    return encode_split(split.texts, split.text_pairs, tokenizer, teacher.max_length)
