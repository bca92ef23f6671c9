"""Compares teachers as they were trained before and now with their own frozen probe and a linear model without an encoder.

    AUTODISTILL_DATA=DIR python benchmarks/teachers.py [--sets NAME ...] [--model MODEL] [--json]

Arms, for each dataset and seed, all scored on the test split:
    was      the earlier recipe: the model's own classification head, whole epochs (images: a network trained from random weights)
    now      the space's teacher: a probe, fine-tuned until validation gains nothing, calibrated
    probe    the same without a step of fine-tuning: the encoder stays frozen
    linear   TF-IDF of words and word pairs (images: histograms of oriented gradients) and ridge regression
Seconds are those of one core's work, whatever else the machine did. The expected calibration error is of the test split, before and after
the temperature that was fitted on validation. Every result is kept when it is done, and results that are kept are not computed again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from autodistill.errors import AutodistillError, UsageError
from autodistill.models.fitting import all_logits
from autodistill.models.pretrained import MINILM
from autodistill.recipe import Teacher
from autodistill.space import Space
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.teacher.calibration import calibration_error
from autodistill.teacher.finetune import finetune_teacher
from autodistill.teacher.load import encode, load_teacher
from autodistill.teacher.rivals import linear_model

HERE = Path(__file__).resolve().parent.parent
SETS: dict[str, int | None] = {
    "sst2": 2000, "trec": 500, "clinc150": 1500, "hate_offensive": 2000, "rte": None, "stsb": 1000, "cifar10": 2000,
}  # fmt: skip
"""Labelled rows; None for all."""
ARMS = ("was", "now", "probe", "linear")
WAS: dict[str, dict[str, Any]] = {
    "text": {"epochs": 3, "min_steps": 500, "learning_rate": 1e-4},
    "image": {"model": "timm:regnetx_002", "init": "scratch", "epochs": 12, "batch_size": 32, "learning_rate": 1e-3},
}
"""The `teacher` part of the earlier shipped spaces, without the model of a text teacher."""
DEFAULT = "default"
"""The model of the space's own defaults."""


def teacher_of(arm: str, dataset: Dataset, model: str) -> Teacher:
    """The teacher of an arm. model: a text teacher's, or an image teacher's but for the arm `was`; `default` for the space's."""
    modality = dataset.modality.name
    if arm == "was":
        own = {"model": MINILM if model == DEFAULT else model} if dataset.modality.texts else {}
        return Teacher(**WAS[modality] | own)
    teacher = Space.load(modality, dataset.task).defaults().teacher
    changes: dict[str, Any] = {} if model == DEFAULT else {"model": model}
    if arm == "probe":
        changes["max_steps"] = 0
    return teacher.model_copy(update=changes)


def cell(arm: str, dataset: Dataset, model: str, seed: int) -> dict[str, Any]:
    """Train the teacher of an arm, and score it on the test split."""
    test = dataset.open_test()
    began, clock = time.process_time(), time.perf_counter()
    if arm == "linear":
        predict = linear_model(dataset)
        assert predict is not None
        validation, logits = predict(dataset.validation), predict(test)
        score = dataset.target.evaluate(dataset.metric, validation, dataset.validation.labels)[dataset.metric]
        facts: dict[str, Any] = {"score": score, "cpu_seconds": time.process_time() - began, "seconds": time.perf_counter() - clock}
    else:
        teacher = teacher_of(arm, dataset, model)
        made = finetune_teacher(dataset, teacher, seed, device="cpu", threads=1)
        if made.reused:  # its seconds would be those of then, on another load
            shutil.rmtree(made.folder)
            began, clock = time.process_time(), time.perf_counter()
            made = finetune_teacher(dataset, teacher, seed, device="cpu", threads=1)
        facts = {"cpu_seconds": time.process_time() - began, "seconds": time.perf_counter() - clock}
        facts |= {name: value for name, value in dataclasses.asdict(made).items() if name not in ("folder", "reused", "seconds")}
        network, tokenizer = load_teacher(made.folder)
        logits = all_logits(network, encode(dataset, test, tokenizer, teacher), dataset.num_outputs, torch.device("cpu")).numpy()
        if made.calibration_error is not None:
            facts["test_calibration_error_before"] = calibration_error(logits * made.temperature, test.labels)
            facts["test_calibration_error"] = calibration_error(logits, test.labels)
        facts["teacher"] = teacher.model_dump()
        shutil.rmtree(made.folder)
    facts["test"] = dataset.target.evaluate(dataset.metric, logits, test.labels)[dataset.metric]
    return facts


def run(args: argparse.Namespace) -> list[str]:
    """Compute the missing results, seed by seed. Returns those that failed."""
    failed = []
    for seed in range(args.seeds):
        for name in args.sets:
            for arm in args.arms:
                key = {"set": name, "rows": SETS[name], "model": args.model, "arm": arm, "seed": seed}
                done = read(args.results)
                if (arm == "linear" and seed > 0) or any(all(item[part] == value for part, value in key.items()) for item in done):
                    continue  # the linear model has no seed
                try:
                    dataset = load_dataset(DatasetRef(name, limit_train=SETS[name]), with_test=True)
                    facts = cell(arm, dataset, args.model, seed)
                except AutodistillError as error:
                    failed.append(f"{name}, {arm}, seed {seed}: {error}")
                    say(f"failed: {failed[-1]}")
                    continue
                write(args.results, [*read(args.results), key | {"metric": dataset.metric} | facts])
                say(f"{name}, {arm}, seed {seed}: test {facts['test']:.4f}, validation {facts['score']:.4f}, {facts['cpu_seconds']:.0f} s")
    return failed


def read(path: Path) -> list[dict[str, Any]]:
    """The results that are kept."""
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def write(path: Path, cells: list[dict[str, Any]]) -> None:
    """Write the results in one step, so that a reader never gets half of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.part")
    aside.write_text(json.dumps(cells, indent=1), encoding="utf-8")
    aside.replace(path)


def summary(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and spread over the seeds, a line for each set, model and arm; the linear model's stands under every model."""
    names = ("test", "score", "cpu_seconds", "test_calibration_error_before", "test_calibration_error", "step")
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for item in cells:
        groups.setdefault((item["set"], item["model"], item["arm"]), []).append(item)
    lines = []
    for (name, model, arm), items in groups.items():
        line: dict[str, Any] = {"set": name, "model": model, "arm": arm, "metric": items[0]["metric"], "seeds": len(items)}
        for part in names:
            values = [item[part] for item in items if item.get(part) is not None]
            line[part] = statistics.mean(values) if values else None
        line["spread"] = statistics.stdev(item["test"] for item in items) if len(items) > 1 else None
        lines.append(line)
    order = list(SETS)
    return sorted(lines, key=lambda line: (line["model"], order.index(line["set"]), ARMS.index(line["arm"])))


def table(cells: Sequence[dict[str, Any]]) -> str:
    """The summary as a Markdown table."""
    lines = [
        "| set | model | arm | test | ± | seconds | calibration error before | after | step |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for line in summary(cells):
        texts = [f"{line['set']} ({line['metric']})", line["model"].rpartition("/")[2], line["arm"], f"{line['test']:.4f}"]
        texts += ["" if line["spread"] is None else f"{line['spread']:.4f}", f"{line['cpu_seconds']:.0f}"]
        texts += ["" if line[part] is None else f"{line[part]:.3f}" for part in ("test_calibration_error_before", "test_calibration_error")]
        texts.append("" if line["step"] is None else f"{line['step']:.0f}")
        lines.append(f"| {' | '.join(texts)} |")
    return "\n".join(lines)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS), metavar="NAME", help=f"default: {' '.join(SETS)}")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="NAME", help=f"default: {' '.join(ARMS)}")
    parser.add_argument("--model", default=DEFAULT, help="a text teacher, in place of the space's own")
    parser.add_argument("--seeds", type=int, default=3, help="default: 3")
    parser.add_argument("--results", type=Path, default=HERE / "studies" / "teachers.json", metavar="FILE", help="where results are kept")
    parser.add_argument("--render", action="store_true", help="run nothing, print what is kept")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args(words)
    try:
        failed = [] if args.render else run(args)
        cells = read(args.results)
        if not cells:
            raise UsageError(f"{args.results} has no cells to show; run this without --render first")
    except AutodistillError as error:
        say(f"teachers: {error}")
        return error.exit_code
    print(json.dumps({"cells": cells, "summary": summary(cells), "failed": failed}, indent=1) if args.json else table(cells))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
