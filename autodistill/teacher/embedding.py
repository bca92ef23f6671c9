"""Teachers of sentence embeddings: a model of sentence-transformers as it is, whose vectors stand where labels are elsewhere."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from autodistill.assistant import find_assistant
from autodistill.cache import new_cached_folder
from autodistill.errors import ModelError, explained
from autodistill.models.base import Inputs, pick_device
from autodistill.models.fitting import all_logits, cpu_threads
from autodistill.models.pooled import NORMALIZE, PooledClassifier, check_encoder, modules_of, pooling_of_files
from autodistill.models.sources import quiet, source_folder
from autodistill.models.transformer import Transformer
from autodistill.recipe import Teacher
from autodistill.storage import cache_folder, digest
from autodistill.tasks.base import Dataset, Split
from autodistill.teacher.finetune import FACTS, FinetunedTeacher, Progress, facts_of, kept_or_made
from autodistill.teacher.load import encode, save_teacher, source_fingerprint, untrained_teacher
from autodistill.teacher.outputs import ensure_outputs
from autodistill.teacher.probe import ProbeProgress

USUAL = "mean"
"""The pooling if neither the recipe nor the model's files say one."""
_READ = ("Transformer", "Pooling", NORMALIZE)
"""The modules of sentence-transformers that are read."""
_LOOKED_AT = 4096
"""How many training texts, evenly spaced, the principal directions are taken of."""


def pooling_of(teacher: Teacher) -> str:
    """The pooling of a teacher: as the recipe says or, for `auto` and `model`, as the model's own files do.

    Raises:
        ModelError: the model cannot be fetched, or its files ask for something else than pooled states.
    """
    if find_assistant(teacher.model) is not None:
        raise ModelError(
            f"teacher {teacher.model!r} is a study's student, and a teacher of embeddings is a folder of sentence-transformers, or of an "
            "encoder of transformers; give such a folder"
        )
    folder = source_folder(teacher.model, weights=teacher.init == "pretrained")
    try:
        kinds = [str(item["type"]).rpartition(".")[2] for item in modules_of(folder)]
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise ModelError(f"teacher {teacher.model!r}: its modules.json cannot be read: {cause}") from None
    others = [kind for kind in kinds if kind not in _READ]
    if others:
        raise ModelError(
            f"teacher {teacher.model!r} has the modules {', '.join(kinds)}; a teacher of embeddings may have {', '.join(_READ)}, and "
            f"{', '.join(others)} is not read; give another --teacher"
        )
    if teacher.pooling not in ("auto", "model"):
        return teacher.pooling
    own = pooling_of_files(folder)
    if own is None and "Pooling" in kinds:
        raise ModelError(f"teacher {teacher.model!r} pools its tokens in another way than by mean or cls; give another --teacher")
    return own or USUAL


def build(teacher: Teacher) -> Transformer:
    """The encoder, its pooling, a linear layer that changes nothing, and the scaling to length 1.

    Raises:
        ModelError: the model cannot be fetched, or is no plain encoder.
    """
    from transformers import AutoConfig, AutoModel

    folder, pooling = source_folder(teacher.model, weights=teacher.init == "pretrained"), pooling_of(teacher)
    with explained(lambda reason: ModelError(f"teacher {teacher.model!r} cannot be loaded as a text encoder: {reason}")):
        config: Any = AutoConfig.from_pretrained(folder, local_files_only=True)
        check_encoder(config, "teacher", teacher.model, teacher.max_length)
        with quiet():
            if teacher.init == "pretrained":
                encoder = AutoModel.from_pretrained(folder, config=config, local_files_only=True, dtype=torch.float32)
            else:
                encoder = AutoModel.from_config(config, dtype=torch.float32)
    width = int(config.hidden_size)
    if teacher.vector_size is not None and teacher.vector_size > width:
        raise ModelError(
            f"teacher.vector_size is {teacher.vector_size}, and the vectors of {teacher.model!r} have {width} numbers; give fewer"
        )
    encoder.config.num_labels = width
    model = PooledClassifier(encoder, pooling, width, unit_length=True)
    with torch.no_grad():
        model.head.weight.copy_(torch.eye(width))
        model.head.bias.zero_()
    return Transformer(model)


def embedding_teacher(
    dataset: Dataset,
    teacher: Teacher,
    seed: int,
    *,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> FinetunedTeacher:
    """The teacher, ready to be asked, or from the cache. Nothing is trained: `init: random` keeps random weights, drawn with the seed.

    It is scored on the validation split. Without ratings its score is the agreement of its vectors with themselves, 1; with a
    `vector_size`, that of the reduced vectors with the full ones. Its linear layer is multiplied by √D over the mean length of its outputs,
    which changes no vector (they are scaled to length 1 after it), so that a student that starts with it has outputs of the length that it
    learns.

    Raises:
        ModelError: the model cannot be fetched or does not fit.
        RunError: the cache cannot be written.
    """
    if teacher.init == "scratch":
        raise ModelError("teacher.init is 'scratch', and without labels nothing can be trained from scratch; give pretrained, or random")
    fields = {name: getattr(teacher, name) for name in ("model", "init", "max_length")}
    fields |= {} if teacher.vector_size is None else {"vector_size": teacher.vector_size}
    about = json.dumps({**fields, "pooling": pooling_of(teacher)}, sort_keys=True)
    drawn = [str(seed)] if teacher.init == "random" else []
    key = digest("embedding-teacher-1", dataset.fingerprint, dataset.metric, about, source_fingerprint(dataset, teacher), *drawn)
    folder = cache_folder() / "teachers" / key

    def make() -> dict[str, Any]:
        start, where = time.perf_counter(), pick_device(device)
        with torch.random.fork_rng([]), cpu_threads(threads):
            torch.manual_seed(seed)
            model, tokenizer = untrained_teacher(dataset, teacher)
            inputs = encode(dataset, dataset.validation, tokenizer, teacher)
            model = model.to(where)
            inner = model.model
            assert isinstance(inner, PooledClassifier)
            inner.unit_length = False
            pooled = all_logits(model, inputs, inner.head.out_features, where)
            if teacher.vector_size is not None:
                some = np.unique(np.linspace(0, len(dataset.train) - 1, _LOOKED_AT).round().astype(np.int64))
                read = encode(dataset, dataset.train.take(some), tokenizer, teacher)
                reduce(inner, principal_directions(all_logits(model, read, inner.head.out_features, where), teacher.vector_size))
            inner.unit_length = True
            with torch.no_grad():
                outputs = pooled @ inner.head.weight.cpu().T
                inner.head.weight.mul_(math.sqrt(outputs.shape[1]) / outputs.norm(dim=1).mean().clamp_min(1e-12))
            if progress:
                progress(ProbeProgress(len(inputs), len(inputs)))
            labels = dataset.target.taught(dataset.validation.labels, dataset.target.finished(pooled.numpy()))
            metrics = dataset.target.evaluate(dataset.metric, dataset.target.finished(outputs.numpy()), labels)
        recorded = {
            **facts_of(dataset, teacher, seed),
            "score": metrics[dataset.metric],
            "metrics": metrics,
            "pooling": inner.pooling,
            "step": 0,
            "seconds": round(time.perf_counter() - start, 3),
        }
        with new_cached_folder(folder) as aside:
            save_teacher(model.cpu(), tokenizer, dataset, teacher, aside)
            (aside / FACTS).write_text(json.dumps(recorded, indent=1), encoding="utf-8")
        return recorded

    return kept_or_made(folder, make)


def principal_directions(vectors: torch.Tensor, size: int) -> torch.Tensor:
    """The orthonormal directions, (size, D), in which vectors (N, D), scaled to length 1, are the longest together.

    No linear map to fewer dimensions keeps more of them (Eckart, Young 1936). Their mean is not subtracted, because cosines are about 0.
    """
    vectors = F.normalize(vectors, dim=1).double()
    return torch.linalg.eigh(vectors.T @ vectors).eigenvectors[:, -size:].flip(1).T.float()


def reduce(model: PooledClassifier, directions: torch.Tensor) -> None:
    """Give a model that has its pooled states as outputs a linear layer to these directions, (size, D), instead."""
    size, width = directions.shape
    model.head = torch.nn.Linear(width, size).to(directions.device)
    model.config.num_labels = size
    with torch.no_grad():
        model.head.weight.copy_(directions)
        model.head.bias.zero_()


def taught(dataset: Dataset, teacher: Teacher, folder: Any, tokenizer: Any, validation: Inputs) -> Dataset:
    """The dataset with the teacher's vectors beside the ratings of validation and, if it is there, of test. Train needs none.

    With a `vector_size`, the full vectors follow the reduced ones: students learn these, and their agreement is with those.

    folder: of the trained teacher. validation: these rows as the teacher reads them.

    Raises:
        ModelError: the folder holds no teacher.
        RunError: the teacher's outputs are not finite, or the store cannot be written.
    """
    widths: set[int] = set()

    def with_vectors(split: Split, inputs: Inputs, name: str) -> Split:
        outputs = ensure_outputs(dataset, name, inputs, folder)
        columns = ["logits"] if teacher.vector_size is None else ["logits", "embedding"]
        vectors = np.concatenate([outputs.column(column).numpy() for column in columns], axis=1)
        widths.add(outputs.shape.num_outputs)
        return dataclasses.replace(split, labels=dataset.target.taught(split.labels, vectors))

    judged = with_vectors(dataset.validation, validation, "validation")
    test = dataset._test
    if test is not None:
        test = with_vectors(test, encode(dataset, test, tokenizer, teacher), "test")
    return dataclasses.replace(dataset, validation=judged, width=widths.pop(), _test=test)
