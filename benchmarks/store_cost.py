"""Measures what stored teacher outputs cost: bytes per row, how much of them the budget holds, and the speed of writing and reading them.

`benchmarks/trial_cost.py --storage` runs this.
"""

from __future__ import annotations

import os
import time
from typing import Any

import torch
from trial_world import OBJECTIVES, TEXT_STUDENTS, World, fresh_store, open_world, row_batches, synchronise

from autodistill.models import build_student
from autodistill.models.base import to_device
from autodistill.models.fitting import training_batches
from autodistill.models.text import EncodedText
from autodistill.space import Space
from autodistill.teacher.load import load_teacher
from autodistill.teacher.outputs import ROWS_AT_ONCE, TOKENS_AT_ONCE, TeacherOutputs, ensure_outputs
from autodistill.teacher.plan import Taps, plan_outputs, store_budget
from autodistill.train.taps import space_taps
from autodistill.train.trial import Trainer

STATES_AND_ATTENTION = frozenset({"states", "attention"})
WRITTEN = {True: 512, False: 8000}
"""Rows that are written and read, quick and in full; the plan is made for all rows of the dataset."""


def measure_storage(device: torch.device, threads: int, quick: bool) -> dict[str, Any]:
    """The figures, for the text space's pooled states and the last layer's attention."""
    with fresh_store():
        return _measure(device, threads, quick)


def _measure(device: torch.device, threads: int, quick: bool) -> dict[str, Any]:
    world = open_world("text", None)
    train = world.opened.train
    assert isinstance(train, EncodedText)
    few = open_world("text", WRITTEN[quick], world.dataset)
    pooled = space_taps(Space.load("text", world.opened.dataset.task))
    outputs = _written(few, pooled, device, threads)
    shape = outputs["stored"].shape
    every = pooled | Taps(tokens=tuple(range(len(shape.states))), attention=tuple(range(len(shape.attention))))
    plans = {}
    for name, taps in {
        "pooled": pooled,
        "pooled and one layer's attention": pooled | Taps(attention=(len(shape.attention) - 1,)),
        "everything": every,
    }.items():
        plan = plan_outputs(len(train), len(train.ids), taps, shape, store_budget())
        plans[name] = {
            "gigabytes": round(sum(plan.bytes.values()) / 1e9, 3),
            "bytes_per_row": round(sum(plan.bytes.values()) / len(train)),
            "stored": list(plan.stored),
            "live": list(plan.live),
        }
    others = open_world("text", WRITTEN[quick] + 1, world.dataset)  # other rows, so that nothing of them is stored yet
    attention = _written(others, pooled | Taps(attention=(len(shape.attention) - 1,)), device, threads)
    return {
        "dataset": world.dataset,
        "rows": len(train),
        "tokens_per_row": round(len(train.ids) / len(train), 2),
        "budget_gigabytes": store_budget() / 1e9,
        "plans": plans,
        "writing": {"pooled": outputs["speed"], "pooled and one layer's attention": attention["speed"]},
        "reading": _reading(others, attention["stored"], device, threads, quick),
    }


def _written(world: World, taps: Taps, device: torch.device, threads: int) -> dict[str, Any]:
    """Rows per second of computing and storing the taps, and of the teacher alone on the same batches."""
    opened = world.opened

    began = time.perf_counter()
    outputs = ensure_outputs(opened.dataset, "train", opened.train, opened.folder, taps=taps, device=str(device), threads=threads)
    writing = time.perf_counter() - began
    began = time.perf_counter()
    teacher = load_teacher(opened.folder)[0].to(device)
    wanted = STATES_AND_ATTENTION if taps.attention else frozenset({"states"})
    with torch.inference_mode():
        for rows in opened.train.even_batches(ROWS_AT_ONCE, TOKENS_AT_ONCE):
            teacher(to_device(opened.train.batch(rows), device), taps=wanted)
    synchronise(device)
    forward = time.perf_counter() - began
    count = len(opened.dataset.train)
    speed = {
        "rows_per_second": round(count / writing),
        "teacher_alone": round(count / forward),
        "over_teacher_alone": round(writing / forward, 3),
    }
    return {"stored": outputs, "speed": speed}


def _reading(world: World, outputs: TeacherOutputs, device: torch.device, threads: int, quick: bool) -> dict[str, float]:
    """Milliseconds of reading the stored outputs of a batch, from a cold and from a warm page cache, beside those of the student's step."""
    opened = world.opened
    assert isinstance(opened.train, EncodedText)
    batches = training_batches(opened.train.lengths, len(opened.train), 32, torch.Generator().manual_seed(0))
    cold = TeacherOutputs(outputs.folder, outputs.teacher, outputs.inputs, outputs.shape, outputs.plan, outputs.device)
    for file in outputs.folder.glob("*.safetensors"):
        handle = os.open(file, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
    times = {}
    for name in ("cold", "warm"):
        began = time.perf_counter()
        for rows in batches:
            cold.batch(rows)
        times[f"{name}_ms"] = round((time.perf_counter() - began) / len(batches) * 1e3, 3)
    recipe = world.recipe(next(iter(TEXT_STUDENTS.values())), OBJECTIVES["text"]["plain"], 32)
    data = world.data(recipe, str(device), threads)
    trainer = Trainer(recipe, build_student(recipe, data.context).to(device), data, device, 100, 0)
    steps = row_batches(batches, 0, 4 if quick else 40)
    trainer.step(steps[0], 1)
    synchronise(device)
    began = time.perf_counter()
    for rows in steps:
        trainer.step(rows, 1)
    synchronise(device)
    return times | {"step_ms": round((time.perf_counter() - began) / len(steps) * 1e3, 3)}


def storage_lines(measured: dict[str, Any]) -> list[str]:
    """For people."""
    out = [f"\nstored teacher outputs: {measured['dataset']}, {measured['rows']:,} rows of {measured['tokens_per_row']} tokens on average"]
    for name, plan in measured["plans"].items():
        left = f"; left live: {', '.join(plan['live'])}" if plan["live"] else ""
        out.append(f"  {name}: {plan['bytes_per_row']:,} bytes a row, {plan['gigabytes']} GB of {measured['budget_gigabytes']:g} GB{left}")
    for name, speed in measured["writing"].items():
        out.append(f"  writing {name}: {speed['rows_per_second']:,} rows/s, the teacher alone {speed['teacher_alone']:,} rows/s")
    read = measured["reading"]
    out.append(f"  reading a batch of 32: {read['cold_ms']} ms cold, {read['warm_ms']} ms warm; the student's step {read['step_ms']} ms")
    return out
