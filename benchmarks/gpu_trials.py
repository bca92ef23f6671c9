"""Measures how fast trials run on a GPU: one by one as launched from Python, as CUDA graphs, and several at a time.

    python benchmarks/gpu_trials.py                        # one JSON object; unattended, made to end within 8 minutes
    python benchmarks/gpu_trials.py --device cpu --tiny    # tries the script itself, without a GPU, in seconds

Rows and teacher are made here, in the sizes of trec and sst2 with all-MiniLM-L6-v2, so nothing is fetched. Arms, on the same rows:
    eager     rows are read from memory-mapped files ahead of their steps, and each operation is launched by itself
    graph     rows are on the GPU, and steps are recorded and replayed (train/device_steps.py)
    packed_8  eight processes at a time, each as `graph`
Of each: steps a second (of all processes); trials an hour, computed from the time of 2,000 steps, the preparation included, evaluations
not; and the share of the card's memory bandwidth, which a copy on the same card measures, that the least traffic of a step takes: weights,
gradients, AdamW's moments, and what the forward pass keeps.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from own_cache import own_cache
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from autodistill.models import build_student
from autodistill.models.base import pick_device
from autodistill.recipe import Recipe
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef
from autodistill.train.data import Opened, TrialData, open_inputs
from autodistill.train.gpu_memory import saved_bytes
from autodistill.train.trial import Trainer

STEPS_OF_A_TRIAL = 2000
EPOCH = 100
"""Steps between two looks at the clock."""
STUDENTS: dict[str, dict[str, Any]] = {
    "cnn": {"family": "cnn", "init": "random"},
    "bert 3x192": {"family": "bert", "layers": 3, "hidden_size": 192, "heads": 6, "init": "random"},
}
OBJECTIVE = {
    "hard_label_weight": 0.2,
    "prediction": {"kind": "kl", "weight": 0.8, "temperature": 2.0},
    "intermediate": {"kind": "mi", "weight": 0.03, "layer_map": "skip", "layers": 2, "tokens": "mean"},
}
PASSES = 10
"""How often a step reads or writes each parameter's 4 bytes: forward, backward, its gradient, and AdamW's four reads and three writes."""


@dataclass(frozen=True)
class Shape:
    """The shape of a dataset. words: the mean number of a text's words."""

    rows: int
    words: int
    classes: int


SHAPES = {"trec-like": Shape(5000, 8, 6), "sst2-like": Shape(20_000, 11, 2)}
TINY = {"trec-like": Shape(96, 4, 2)}


@dataclass(frozen=True)
class Plan:
    """What is measured. seconds: of each arm, at least. packed: processes at a time. teacher: the fields of a BERT's configuration."""

    shapes: dict[str, Shape]
    device: str
    seconds: float
    packed: int
    teacher: dict[str, int]
    vocabulary: int


def make_rows(folder: Path, shape: Shape, vocabulary: int, seed: int = 0) -> str:
    """Write a table of texts of made words; gives its path. Frequent words come first, as in a real vocabulary."""
    rng = np.random.default_rng(seed)
    lengths = np.maximum(2, rng.poisson(shape.words, shape.rows))
    words = (vocabulary * rng.random(int(lengths.sum())) ** 4).astype(int)
    texts = [" ".join(f"w{word}" for word in part) for part in np.split(words, np.cumsum(lengths)[:-1])]
    pd.DataFrame({"text": texts, "label": [f"c{label}" for label in rng.integers(0, shape.classes, shape.rows)]}).to_parquet(
        folder / "rows.parquet"
    )
    return str(folder / "rows.parquet")


def make_teacher(folder: Path, plan: Plan, classes: int) -> str:
    """Save a BERT with random weights and a tokenizer of the made words; gives its folder."""
    folder.mkdir()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{word}" for word in range(plan.vocabulary))]
    (folder / "vocab.txt").write_text("\n".join(names))
    BertWordPieceTokenizer(str(folder / "vocab.txt")).save(str(folder / "tokenizer.json"))
    BertTokenizerFast(tokenizer_file=str(folder / "tokenizer.json")).save_pretrained(folder)
    torch.manual_seed(0)
    BertForSequenceClassification(BertConfig(vocab_size=len(names), num_labels=classes, **plan.teacher)).save_pretrained(folder)
    return str(folder)


@dataclass(frozen=True)
class Case:
    """A dataset and a student. rows, teacher: their paths."""

    rows: str
    teacher: str
    student: str
    device: str
    seconds: float

    def open(self) -> tuple[Opened, Recipe]:
        """The rows, and the recipe of a trial that does not end by itself."""
        dataset = load_dataset(DatasetRef(self.rows))
        parts = {"task": dataset.task, "teacher": {"model": self.teacher, "max_length": 64}, "student": STUDENTS[self.student]}
        training = {"epochs": 1000, "steps": 1000 * EPOCH, "batch_size": 32, "learning_rate": 1.0e-3}
        recipe = Recipe.parse(parts | {"objective": OBJECTIVE, "training": training})
        return open_inputs(dataset, recipe.teacher, self.teacher), recipe


def run(case: Case, resident: bool, gate: Any = None) -> dict[str, Any]:
    """Train for some seconds. gate: of processes that start together."""
    opened, recipe = case.open()
    device = pick_device(case.device)
    began = time.perf_counter()
    torch.manual_seed(0)
    data = TrialData(opened, recipe, device=case.device, threads=1)
    student = build_student(recipe, data.context).to(device)
    budget = 10**12 if resident else 0
    trainer = Trainer(recipe, student, data, device, recipe.training.epochs, 0, resident_bytes=budget)
    for epoch in (1, 2):  # so that shapes are recorded
        trainer.train_epoch(epoch)
    prepared = time.perf_counter() - began
    if gate is not None:
        gate.wait(300)
    began, epoch = time.perf_counter(), 2
    while epoch == 2 or time.perf_counter() - began < case.seconds:
        epoch += 1
        trainer.train_epoch(epoch)  # it ends by reading the losses, so the device is done
    pace = (epoch - 2) * EPOCH / (time.perf_counter() - began)
    steps = trainer.device_steps if "device_steps" in vars(trainer) else None
    parameters = sum(item.numel() for module in (student, trainer.objective) for item in module.parameters())
    rows = torch.arange(recipe.training.batch_size)
    kept = saved_bytes(student.cpu(), opened.train.batch(rows))
    return {
        "steps_per_second": pace,
        "trial_seconds": prepared + max(0, STEPS_OF_A_TRIAL - 2 * EPOCH) / pace,
        "step_bytes": 4 * PASSES * parameters + 2 * kept,
        "recorded": 0 if steps is None else steps.recorded,
        "notes": list(trainer.notes),
    }


def summary(runs: list[dict[str, Any]], bandwidth: float) -> dict[str, Any]:
    """The figures of an arm, from those of the processes that ran at a time. bandwidth: of the card, in bytes a second."""
    pace = sum(one["steps_per_second"] for one in runs)
    return {
        "steps_per_second": round(pace, 2),
        "trials_per_hour": round(sum(3600.0 / one["trial_seconds"] for one in runs), 1),
        "share_of_bandwidth": round(pace * runs[0]["step_bytes"] / bandwidth, 5),
        "recorded_shapes": runs[0]["recorded"],
        "notes": runs[0]["notes"],
    }


def copy_bandwidth(device: torch.device, size: int) -> float:
    """Bytes a second that a copy of `size` bytes on the device reads and writes."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(10):
        _wait(device)
        began = time.perf_counter()
        target.copy_(source)
        _wait(device)
        best = min(best, time.perf_counter() - began)
    return 2 * size / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


_gate: Any = None


def _enter(gate: Any) -> None:
    global _gate  # a barrier can only be handed to a process when it starts
    _gate = gate


def _packed(case: Case) -> dict[str, Any]:
    torch.set_num_threads(1)
    return run(case, True, _gate)


def measure(plan: Plan, folder: Path) -> list[dict[str, Any]]:
    """Every arm of every dataset and student."""
    device = pick_device(plan.device)
    bandwidth = copy_bandwidth(device, 2**30 if device.type == "cuda" else 2**24)
    context = multiprocessing.get_context("spawn")
    results = []
    with ProcessPoolExecutor(plan.packed, context, _enter, (context.Barrier(plan.packed),)) as pool:
        for name, shape in plan.shapes.items():
            (folder / name).mkdir()
            rows, teacher = make_rows(folder / name, shape, plan.vocabulary), make_teacher(folder / name / "teacher", plan, shape.classes)
            for student in STUDENTS:
                case = Case(rows, teacher, student, plan.device, plan.seconds)
                arms = {"eager": [run(case, False)], "graph": [run(case, True)]}
                if plan.packed > 1:
                    arms[f"packed_{plan.packed}"] = list(pool.map(_packed, [case] * plan.packed))
                figures = {arm: summary(runs, bandwidth) for arm, runs in arms.items()}
                results.append(
                    {"data": name, "rows": shape.rows, "student": student, "bandwidth_gb_s": round(bandwidth / 1e9, 1), **figures}
                )
                print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    return results


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print one JSON object. 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, …; cpu with --tiny")
    parser.add_argument("--tiny", action="store_true", help="few rows, a tiny teacher, no packed trials: to try the script")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each arm, at least")
    parser.add_argument("--packed", type=int, default=8, help="trials at a time")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("gpu_trials.py measures a GPU, and torch finds none here; --device cpu --tiny tries the script itself", file=sys.stderr)
        return 2
    teacher = {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "max_position_embeddings": 64,
    }
    plan = Plan(SHAPES, options.device, options.seconds, options.packed, teacher, 30_000)
    if options.tiny:
        small = {
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 48,
            "max_position_embeddings": 64,
        }
        plan = Plan(TINY, options.device, 0.0, 1, small, 50)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, own_cache(Path(folder) / "cache"):
        cases = measure(plan, Path(folder))
    card = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else "cpu"
    result = {"card": card, "torch": torch.__version__, "seconds": round(time.perf_counter() - began, 1), "cases": cases}
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
