"""Teachers as modules: from their source to be fine-tuned, and from the folder that a fine-tuned one is kept in.

A text teacher is kept as transformers keeps models. Where it is an encoder that we pool, its head lies beside it: head.safetensors, and
head.json with the pooling. An image teacher is timm.json and model.safetensors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, load_model, save_file, save_model

from autodistill.errors import ModelError
from autodistill.models.base import StudentModule
from autodistill.models.image import EncodedImages
from autodistill.models.pooled import PooledClassifier
from autodistill.models.sources import quiet, source_folder, weight_files
from autodistill.models.text import EncodedText, encode_split, load_tokenizer
from autodistill.models.timm import ScaledTimm, TimmModel, build_timm, normalisation
from autodistill.models.transformer import Transformer
from autodistill.recipe import Teacher
from autodistill.storage import digest, file_fingerprint
from autodistill.tasks.base import Dataset, Split

TIMM_FILE, HEAD_FILE, HEAD_WEIGHTS = "timm.json", "head.json", "head.safetensors"


def timm_name(teacher: Teacher) -> str:
    """The timm name that an image teacher's `model` says, with or without `timm:` before it."""
    return teacher.model.removeprefix("timm:")


def image_size_of(teacher: Teacher, image_size: int) -> int:
    """The pixels a side that an image teacher reads images of image_size × image_size at."""
    return max(teacher.image_size or 0, image_size)


def source_fingerprint(dataset: Dataset, teacher: Teacher) -> str:
    """Names the weights that fine-tuning starts from.

    Raises:
        ModelError: the model is not to be had.
    """
    if dataset.is_image:
        import timm

        return digest("timm", timm.__version__, timm_name(teacher), teacher.init)
    folder = source_folder(teacher.model, weights=teacher.init == "pretrained")
    files = [folder / "config.json", *sorted(folder.glob("tokenizer.json"))]
    files += weight_files(folder) if teacher.init == "pretrained" else []
    return digest(*(file_fingerprint(file) for file in files))


def pooling_of_files(folder: Path) -> str | None:
    """The pooling that sentence-transformers' files in a model's folder ask for: `cls` or `mean`; None where they ask for neither.

    `modules.json` names the folder of the pooling, whose `config.json` says which one it is.
    """
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        path = next(item["path"] for item in modules if item["type"].endswith(".Pooling"))
        about = json.loads((folder / path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None
    asked = {name for name, key in (("cls", "pooling_mode_cls_token"), ("mean", "pooling_mode_mean_tokens")) if about.get(key)}
    return asked.pop() if len(asked) == 1 else None


def untrained_teacher(dataset: Dataset, teacher: Teacher) -> tuple[StudentModule, Any]:
    """The module to fine-tune, with a head for the dataset, and its tokenizer (None for images).

    With pooling `auto` it pools as the model's files say, and by the mean where they say nothing.

    Raises:
        ModelError: the model is not to be had or does not fit.
    """
    if dataset.image_size is not None:
        size = image_size_of(teacher, dataset.image_size)
        model = build_timm(timm_name(teacher), dataset.outputs, size, pretrained=teacher.init == "pretrained")
        return (model if size == dataset.image_size else ScaledTimm(model.model, size)), None
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    folder = source_folder(teacher.model, weights=teacher.init == "pretrained")
    tokenizer = load_tokenizer(folder)
    names = dict(enumerate(dataset.classes)) if dataset.classes else {0: "score"}
    pooling = teacher.pooling if teacher.pooling != "auto" else pooling_of_files(folder) or "mean"
    kind: Any = AutoModelForSequenceClassification if pooling == "model" else AutoModel
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, id2label=names, label2id={name: i for i, name in names.items()})
        config.problem_type = "regression" if dataset.is_regression else "single_label_classification"
        if pooling != "model":
            _check_encoder(config, teacher)
        with quiet():
            if teacher.init != "pretrained":
                model = kind.from_config(config)
            else:
                model = kind.from_pretrained(
                    folder, config=config, local_files_only=True, ignore_mismatched_sizes=True, dtype=torch.float32
                )
    except (OSError, ValueError, KeyError, RuntimeError) as cause:
        raise ModelError(f"teacher {teacher.model!r} cannot be loaded as a text classifier: {cause}") from None
    wrapped = Transformer(model if pooling == "model" else PooledClassifier(model, pooling, dataset.outputs))
    _check_length(config, teacher)
    return wrapped, tokenizer


def _check_encoder(config: Any, teacher: Teacher) -> None:
    if config.is_encoder_decoder or not hasattr(config, "hidden_size"):
        raise ModelError(
            f"teacher {teacher.model!r} ({config.model_type}) is no plain encoder, so its tokens cannot be pooled; "
            "give teacher.pooling: model, or another model"
        )


def _check_length(config: Any, teacher: Teacher) -> None:
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions -= (config.pad_token_id or 0) + 1
    if positions is not None and teacher.max_length > positions:
        raise ModelError(f"teacher.max_length is {teacher.max_length}, but {teacher.model!r} has {positions} positions; lower it to that")


def save_teacher(model: StudentModule, tokenizer: Any, dataset: Dataset, teacher: Teacher, folder: Path) -> None:
    """Write a fine-tuned teacher."""
    if isinstance(model, TimmModel):
        mean, std = normalisation(timm_name(teacher))
        about = {"name": timm_name(teacher), "outputs": dataset.outputs, "image_size": dataset.image_size, "mean": mean, "std": std}
        scaled = {"scaled_to": model.size} if isinstance(model, ScaledTimm) else {}
        (folder / TIMM_FILE).write_text(json.dumps(about | scaled | {"classes": dataset.classes}, indent=1), encoding="utf-8")
        save_model(model.model, str(folder / "model.safetensors"))
        return
    assert isinstance(model, Transformer)
    pooled = model.model if isinstance(model.model, PooledClassifier) else None
    with quiet():
        (pooled.encoder if pooled else model.model).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    if pooled is not None:
        save_file({name: tensor.contiguous() for name, tensor in pooled.head.state_dict().items()}, folder / HEAD_WEIGHTS)
        (folder / HEAD_FILE).write_text(json.dumps({"pooling": pooled.pooling}), encoding="utf-8")


def load_teacher(folder: str | Path) -> tuple[StudentModule, Any]:
    """A fine-tuned teacher in evaluation mode, on the CPU, and its tokenizer (None for images).

    Raises:
        ModelError: the folder holds none.
    """
    folder = Path(folder)
    try:
        if (folder / TIMM_FILE).exists():
            return _load_image_teacher(folder).eval(), None
        from transformers import AutoModel, AutoModelForSequenceClassification

        is_pooled = (folder / HEAD_FILE).exists()
        kind: Any = AutoModel if is_pooled else AutoModelForSequenceClassification
        with quiet():
            model = kind.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        if is_pooled:
            head = load_file(folder / HEAD_WEIGHTS)
            model = PooledClassifier(model, json.loads((folder / HEAD_FILE).read_text(encoding="utf-8"))["pooling"], len(head["weight"]))
            model.head.load_state_dict(head)
    except (OSError, ValueError, KeyError, RuntimeError) as cause:
        raise ModelError(f"{folder} holds no fine-tuned teacher that can be loaded: {cause}") from None
    return Transformer(model).eval(), load_tokenizer(folder)


def _load_image_teacher(folder: Path) -> TimmModel:
    about = json.loads((folder / TIMM_FILE).read_text(encoding="utf-8"))
    size = about.get("scaled_to")
    image = build_timm(about["name"], about["outputs"], size or about["image_size"], pretrained=False)
    load_model(image.model, folder / "model.safetensors")
    return image if size is None else ScaledTimm(image.model, size)


def teacher_fingerprint(folder: str | Path) -> str:
    """Names a fine-tuned teacher by its weights and configuration.

    Raises:
        ModelError: the folder holds none.
    """
    folder = Path(folder)
    about = folder / TIMM_FILE if (folder / TIMM_FILE).exists() else folder / "config.json"
    head = [folder / HEAD_WEIGHTS, folder / HEAD_FILE] if (folder / HEAD_FILE).exists() else []
    try:
        return digest(*(file_fingerprint(file) for file in (folder / "model.safetensors", about, *head)))
    except OSError as cause:
        raise ModelError(f"{folder} holds no fine-tuned teacher: {cause}") from None


def encode(dataset: Dataset, split: Split, tokenizer: Any, teacher: Teacher) -> EncodedText | EncodedImages:
    """A split as its teacher and students read it."""
    if dataset.is_image:
        assert split.images is not None
        return EncodedImages(split.images, *normalisation(timm_name(teacher)))
    assert split.texts is not None
    return encode_split(split.texts, split.text_pairs, tokenizer, teacher.max_length)
