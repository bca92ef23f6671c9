"""Text teachers: a transformers model with a head of its own, or an encoder that we pool and read by one linear layer.

They are stored as transformers stores models. For an encoder that we pool, the head is stored beside it: head.safetensors, and head.json
with the pooling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from autodistill.errors import ModelError, explained
from autodistill.models.pooled import (
    APART,
    HEAD_FILE,
    HEAD_WEIGHTS,
    PooledClassifier,
    check_encoder,
    classifier,
    pooling_of_files,
    read_head,
    write_head,
)
from autodistill.models.sources import head_labels, quiet, source_folder, weight_files
from autodistill.models.text import load_tokenizer
from autodistill.models.transformer import Transformer
from autodistill.recipe import Teacher
from autodistill.storage import digest, file_fingerprint
from autodistill.target import Target
from autodistill.teacher.own_head import keep_outputs, labels_differ

USUAL = "mean"
"""The pooling if neither the recipe, the files nor the validation split has chosen one."""


def weights_fingerprint(teacher: Teacher) -> str:
    """Identifies the weights that training starts from.

    Raises:
        ModelError: the model cannot be fetched.
    """
    folder = source_folder(teacher.model, weights=teacher.init == "pretrained")
    files = [folder / "config.json", *sorted(folder.glob("tokenizer.json"))]
    files += weight_files(folder) if teacher.init == "pretrained" else []
    return digest(*(file_fingerprint(file) for file in files))


def build(target: Target, teacher: Teacher) -> Transformer:
    """The module to train, with a head for the target.

    Raises:
        ModelError: the model cannot be fetched or does not fit.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    folder = source_folder(teacher.model, weights=teacher.init == "pretrained")
    names = dict(enumerate(target.output_names))
    labels = head_labels(folder) if teacher.head_init == "own" else None
    places = target.places_among(labels) if labels else None
    if teacher.head_init == "own" and places is None:
        raise ModelError(
            f"teacher.head_init is own, and {labels_differ(teacher.model, labels, target)}; name them alike in its config.json "
            "(id2label), or give teacher.head_init: probe"
        )
    pooling = teacher.pooling if teacher.pooling not in ("auto", APART) else pooling_of_files(folder) or USUAL
    kind: Any = AutoModelForSequenceClassification if pooling == "model" else AutoModel
    with explained(lambda reason: ModelError(f"teacher {teacher.model!r} cannot be loaded as a text classifier: {reason}")):
        named = {"id2label": names, "label2id": {name: place for place, name in names.items()}}
        config = AutoConfig.from_pretrained(folder, local_files_only=True, **({} if places else named))
        config.problem_type = target.problem_type
        check_encoder(config, "teacher", teacher.model, teacher.max_length, pooled=pooling != "model")
        with quiet():
            if teacher.init != "pretrained":
                model = kind.from_config(config)
            else:
                model = kind.from_pretrained(
                    folder, config=config, local_files_only=True, ignore_mismatched_sizes=not places, dtype=torch.float32
                )
        if places:
            keep_outputs(model, places)
            model.config.update(named)
    if teacher.pooling != APART:
        return Transformer(model if pooling == "model" else PooledClassifier(model, pooling, target.width))
    ends = ends_of(load_tokenizer(folder))
    if ends is None:
        raise ModelError(
            f"teacher {teacher.model!r} puts no separator between two texts, so it cannot read them apart; give teacher.pooling: auto"
        )
    return Transformer(PooledClassifier(model, pooling, target.width, ends))


def ends_of(tokenizer: Any) -> tuple[int, int] | None:
    """The ids of the tokens that a tokenizer puts before and after a text, and the latter between two; None if it has no such tokens."""
    ids, pair = tokenizer("a")["input_ids"], tokenizer("a", "a")["input_ids"]
    if len(ids) < 3 or (pair[0], pair[-1]) != (ids[0], ids[-1]) or pair.count(ids[-1]) < 2:
        return None
    return int(ids[0]), int(ids[-1])


def save(model: Transformer, tokenizer: Any, folder: Path) -> None:
    """Write a trained teacher and its tokenizer."""
    pooled = model.model if isinstance(model.model, PooledClassifier) else None
    with quiet():
        (pooled.encoder if pooled else model.model).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    if pooled is not None:
        write_head(folder, pooled)


def load(folder: Path) -> Transformer:
    """Open what `save` wrote, or any transformers folder of a text classifier.

    Raises:
        OSError and others: the folder holds none.
    """
    from transformers import AutoModel, AutoModelForSequenceClassification

    head = read_head(folder)
    kind: Any = AutoModelForSequenceClassification if head is None else AutoModel
    with quiet():
        model = kind.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    return Transformer(model if head is None else classifier(model, head))


def files_of(folder: Path) -> list[Path]:
    """The files that, beside its weights, determine what a trained teacher computes."""
    head = [folder / HEAD_WEIGHTS, folder / HEAD_FILE]
    return [folder / "config.json", *(head if head[1].exists() else [])]
