"""Teachers of sentence embeddings: a model of sentence-transformers as it is, whose vectors stand where labels are elsewhere."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from typing import Any

import torch

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

    It is scored on the validation split by its own vectors: without ratings its score is 1, the agreement with itself. Its linear layer is
    multiplied by √D over the mean length of the pooled states, which changes no vector (they are scaled to length 1 after it), so that a
    student that starts with it has outputs of the length that it learns.

    Raises:
        ModelError: the model cannot be fetched or does not fit.
        RunError: the cache cannot be written.
    """
    if teacher.init == "scratch":
        raise ModelError("teacher.init is 'scratch', and without labels nothing can be trained from scratch; give pretrained, or random")
    fields = {name: getattr(teacher, name) for name in ("model", "init", "max_length")}
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
            inner.unit_length = True
            with torch.no_grad():
                inner.head.weight.mul_(math.sqrt(pooled.shape[1]) / pooled.norm(dim=1).mean().clamp_min(1e-12))
            if progress:
                progress(ProbeProgress(len(inputs), len(inputs)))
            vectors = dataset.target.finished(pooled.numpy())
            labels = dataset.target.taught(dataset.validation.labels, vectors)
            metrics = dataset.target.evaluate(dataset.metric, vectors, labels)
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


def taught(dataset: Dataset, teacher: Teacher, folder: Any, tokenizer: Any, validation: Inputs) -> Dataset:
    """The dataset with the teacher's vectors beside the ratings of validation and, if it is there, of test. Train needs none.

    folder: of the trained teacher. validation: these rows as the teacher reads them.

    Raises:
        ModelError: the folder holds no teacher.
        RunError: the teacher's outputs are not finite, or the store cannot be written.
    """

    def with_vectors(split: Split, inputs: Inputs, name: str) -> Split:
        outputs = ensure_outputs(dataset, name, inputs, folder).column("logits").numpy()
        return dataclasses.replace(split, labels=dataset.target.taught(split.labels, outputs))

    judged = with_vectors(dataset.validation, validation, "validation")
    test = dataset._test
    if test is not None:
        test = with_vectors(test, encode(dataset, test, tokenizer, teacher), "test")
    return dataclasses.replace(dataset, validation=judged, width=judged.labels.shape[1] - 1, _test=test)
