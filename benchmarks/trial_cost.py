"""Compares the cost of a distillation trial with that of training its student without a teacher, and with other libraries' loops.

    python benchmarks/trial_cost.py [--quick] [--json] [--profile] [--storage]

Arms, for the same student, rows and batches, one after the other in every round:
    plain         our trial with hard labels alone
    hand_written  the same in a plain torch loop, to check that `plain` is not slow
    stored        our trial with kl and MI on the last two layer pairs of `skip`, from stored teacher outputs
    attention     kl and attention: MiniLMv2's relations (text, bert only), attention transfer of feature maps (images)
    live          as stored, but the teacher runs with every batch
    torchdistill  torchdistill's DistillationBox with the same loss and the teacher run with every batch: with its own data loader, which
                  pads random rows, and (text) once more on the batches that the others read
    textbrewer    TextBrewer's GeneralDistiller in the same way (bert only; not with --quick)
Ratios are those of two arms' times within a round: the median over the rounds, and the quartiles. Memory is measured without --quick.
--storage measures the stored outputs too.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import multiprocessing
import os
import statistics
import sys
import time
from typing import Any

import torch
from store_cost import measure_storage, storage_lines
from torch import Tensor
from trial_arms import Arm, build_arm
from trial_world import STUDENTS, TEACHERS, World, as_in_a_worker, forget_peak, open_world, resident_bytes, row_batches, synchronise

from autodistill.models.base import pick_device
from autodistill.models.fitting import cpu_threads, training_batches

RATIOS = {
    "stored_over_plain": ("stored", "plain"),
    "attention_over_plain": ("attention", "plain"),
    "live_over_plain": ("live", "plain"),
    "torchdistill_over_stored": ("torchdistill", "stored"),
    "torchdistill_same_batches_over_stored": ("torchdistill_same_batches", "stored"),
    "textbrewer_over_stored": ("textbrewer", "stored"),
    "plain_over_hand_written": ("plain", "hand_written"),
}
GOALS = {"stored_over_plain": "≤ 1.05", "attention_over_plain": "≤ 1.15", "torchdistill_over_stored": "≥ 3 (CPU)"}
BATCH = {"text": 32, "image": 64}
QUICK = {"text": (256, 15, 3), "image": (256, 15, 3)}
FULL = {"text": (4000, 21, 10), "image": (1000, 15, 4)}
"""Training rows, rounds, steps of each arm in a round."""
CHEAP = ("plain", "hand_written", "stored", "attention")
DEAR_ROUNDS = 3
"""With --quick the other arms take one step in each of so many rounds, without one to warm up: caches hardly change a step of 0.2 to
0.8 s, and their ratios are far from their goals. The rounds go to the cheap arms, whose ratios are close to 1: 3 rounds gave 1.27 once."""


def arms_of(modality: str, student: dict[str, Any], quick: bool) -> list[str]:
    """The arms that a student can have, in the table's order."""
    bert, image = student["family"] == "bert", modality == "image"
    attention = ["attention"] if bert or image else []
    others = ["torchdistill"] + ([] if image else ["torchdistill_same_batches"]) + (["textbrewer"] if bert and not quick else [])
    return ["plain", "hand_written", "stored", *attention, "live", *others]


def peak_memory(name: str, world: World, student: dict[str, Any], device: torch.device, threads: int) -> float:
    """How many MB more the process (or the GPU) holds at its peak, while an arm is built and makes two steps on the longest rows.

    On the CPU in a process of its own, forked before this one has trained anything; what is mapped of stored outputs counts, too.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        _two_steps(name, world, student, device, threads)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    fork = multiprocessing.get_context("fork")
    answer = fork.Queue()
    child = fork.Process(target=_peak, args=(answer, name, world, student, device, threads))
    child.start()
    child.join()
    if child.exitcode:
        raise RuntimeError(f"the memory of {name} could not be measured: its process ended with {child.exitcode}")
    return float(answer.get())


def _peak(answer: Any, *arm: Any) -> None:
    forget_peak()
    before = resident_bytes()
    _two_steps(*arm)
    answer.put((resident_bytes("VmHWM") - before) / 1e6)


def _two_steps(name: str, world: World, student: dict[str, Any], device: torch.device, threads: int) -> None:
    inputs = world.opened.train
    batches = _batches(world)
    lengths = inputs.lengths
    if lengths is not None:
        batches = sorted(batches, key=lambda rows: -int(lengths[rows].max()))
    arm = build_arm(name, world, student, BATCH[world.modality], str(device), threads)
    for rows in batches[:2]:
        arm.step(rows)
    synchronise(device)


def _batches(world: World) -> list[Tensor]:
    inputs, size = world.opened.train, BATCH[world.modality]
    return [rows for rows in training_batches(inputs.lengths, len(inputs), size, torch.Generator().manual_seed(0)) if len(rows) == size]


def measure(
    world: World, student: dict[str, Any], device: torch.device, threads: int, rounds: int, steps: int, quick: bool
) -> dict[str, Any]:
    """Milliseconds per step of every arm, round by round: wall-clock time, and CPU time (which other programs disturb less)."""
    batches = _batches(world)
    arms: dict[str, Arm] = {}
    for name in arms_of(world.modality, student, quick):
        arms[name] = build_arm(name, world, student, BATCH[world.modality], str(device), threads)
        arms[name].step(batches[0])
    clock: dict[str, dict[int, list[float]]] = {name: {} for name in arms}
    worked: dict[str, dict[int, list[float]]] = {name: {} for name in arms}
    names = list(arms)
    gc.collect()
    gc.freeze()  # else a collection goes through all that the arms hold, for as long as a step
    for number in range(rounds):
        rows = row_batches(batches, number * steps, steps + 1)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:  # another arm comes first in every round, so that none always gains by its place
            brief = quick and name not in CHEAP
            if brief and number >= DEAR_ROUNDS:
                continue
            gc.collect()
            if not brief:
                arms[name].step(rows[0])  # a trial's step follows one of its own, not another arm's
            clock[name][number] = []
            worked[name][number] = []
            for batch in rows[1 : 2 if brief else None]:
                synchronise(device)
                began = time.perf_counter(), time.process_time()
                arms[name].step(batch)
                synchronise(device)
                clock[name][number].append((time.perf_counter() - began[0]) * 1e3)
                worked[name][number].append((time.process_time() - began[1]) * 1e3)
    gc.unfreeze()
    ratios = {ratio: pair for ratio, pair in RATIOS.items() if set(pair) <= set(arms)}
    return {
        "step_ms": {name: _spread([statistics.fmean(values) for values in by_round.values()]) for name, by_round in clock.items()},
        "ratios": {ratio: _ratio(clock, *pair) for ratio, pair in ratios.items()},
        "cpu_time_ratios": {ratio: _ratio(worked, *pair) for ratio, pair in ratios.items()},
    }


def _spread(values: list[float]) -> dict[str, float]:
    quarters = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": round(quarters[1], 4), "lower_quartile": round(quarters[0], 4), "upper_quartile": round(quarters[2], 4)}


def _ratio(times: dict[str, dict[int, list[float]]], above: str, below: str) -> dict[str, float]:
    """The ratios of the sums of the rounds that both arms have, each over the batches that both have read."""
    rounds = [(times[above][number], times[below][number]) for number in times[above] if number in times[below]]
    return _spread([sum(one[: len(other)]) / sum(other[: len(one)]) for one, other in rounds])


def run(device: torch.device, threads: int, quick: bool, asked: int | None) -> dict[str, Any]:
    """Both modalities on a device. asked: the number of rounds, None for the usual one."""
    by_modality: dict[str, Any] = {}
    for modality, (rows, usual, steps) in (QUICK if quick else FULL).items():
        world, rounds = open_world(modality, rows), asked or usual
        students = dict(list(STUDENTS[modality].items())[: 1 if quick else None])
        memory = {}
        if not quick:
            memory = {
                name: {arm: peak_memory(arm, world, student, device, threads) for arm in arms_of(modality, student, quick)}
                for name, student in students.items()
            }
        results = {name: measure(world, student, device, threads, rounds, steps, quick) for name, student in students.items()}
        for name, peaks in memory.items():
            results[name]["memory_mb"] = {arm: round(value, 1) for arm, value in peaks.items()}
        by_modality[modality] = {
            "dataset": world.dataset,
            "teacher": TEACHERS[modality]["model"],
            "rows": rows,
            "rounds": rounds,
            "steps": steps,
        }
        by_modality[modality] |= {"students": results}
    return by_modality


def headline(by_modality: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Each ratio of each modality's first student."""
    first = {modality: next(iter(part["students"].values()))["ratios"] for modality, part in by_modality.items()}
    return {name: {part: ratios[name]["median"] for part, ratios in first.items() if name in ratios} for name in RATIOS}


def lines(device: str, by_modality: dict[str, Any]) -> list[str]:
    """The table for people."""
    out = []
    for modality, part in by_modality.items():
        head = f"{device}, {modality}: {part['dataset']}, teacher {part['teacher']} (untrained weights)"
        out.append(f"\n{head}, {part['rounds']} rounds of {part['steps']} steps")
        for name, result in part["students"].items():
            memory = result.get("memory_mb", {})
            out.append(f"  {name:24} ms per step (quartiles)      peak MB")
            for arm, value in result["step_ms"].items():
                spread = f"({value['lower_quartile']:.1f} – {value['upper_quartile']:.1f})"
                out.append(f"    {arm:22} {value['median']:8.1f} {spread:>17} {memory.get(arm, math.nan):10.0f}")
            for ratio, value in result["ratios"].items():
                goal = f"   goal {GOALS[ratio]}" if ratio in GOALS else ""
                spread = f"({value['lower_quartile']:.3f} – {value['upper_quartile']:.3f})"
                cpu = result["cpu_time_ratios"][ratio]["median"]
                out.append(f"    {ratio:38} {value['median']:.3f} {spread}, of CPU time {cpu:.3f}{goal}")
    return out


def profile(device: torch.device, threads: int, quick: bool) -> None:
    """Where the time of each arm goes, by torch.profiler: the operations with the most time of their own."""
    for modality, (rows, _, steps) in (QUICK if quick else FULL).items():
        world = open_world(modality, rows)
        name, student = next(iter(STUDENTS[modality].items()))
        batches = _batches(world)
        for kind in arms_of(modality, student, quick):
            arm = build_arm(kind, world, student, BATCH[modality], str(device), threads)
            arm.step(batches[0])
            with torch.profiler.profile(activities=torch.profiler.supported_activities()) as profiler:
                for batch in row_batches(batches, 0, steps):
                    arm.step(batch)
                synchronise(device)
            print(f"\n{device} {modality} {name}: {kind}, {steps} steps")
            order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
            print(profiler.key_averages().table(sort_by=order, row_limit=18, max_name_column_width=40))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one student of each modality, few rows: about 75 s on a core")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, help="instead of the usual number")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of an arm, as a trial has them (1)")
    parser.add_argument("--device", choices=["all", "cpu", "cuda"], default="all", help="by default the CPU, and the GPU if there is one")
    parser.add_argument("--profile", action="store_true", help="show the operations with the most time instead of the times")
    parser.add_argument("--storage", action="store_true", help="also: bytes per row, the budget, writing and reading speed")
    options = parser.parse_args()
    as_in_a_worker()
    names = [options.device] if options.device != "all" else ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    devices = [pick_device(name) for name in names]
    if options.profile:
        for device in devices:
            profile(device, options.threads, options.quick)
        return
    began = time.perf_counter()
    load = [round(value, 2) for value in os.getloadavg()]
    with cpu_threads(options.threads):
        by_device = {str(device): run(device, options.threads, options.quick, options.rounds) for device in devices}
        storage = measure_storage(devices[0], options.threads, options.quick) if options.storage else None
    result: dict[str, Any] = headline(by_device[str(devices[0])]) | {
        "quick": options.quick,
        "device": str(devices[0]),
        "threads": options.threads,
        "load_average": load,
        "cores": os.cpu_count(),
        "teacher_weights": "untrained: a step's time does not depend on them",
        "seconds": round(time.perf_counter() - began, 1),
        "by_device": by_device,
    }
    if storage is not None:
        result["storage"] = storage
    if options.json:
        json.dump(result, sys.stdout, ensure_ascii=False)
        print()
        return
    print(f"load average {load}, {os.cpu_count()} cores, {options.threads} thread(s) an arm, {result['seconds']} s")
    for name, part in by_device.items():
        print("\n".join(lines(name, part)))
    if storage is not None:
        print("\n".join(storage_lines(storage)))


if __name__ == "__main__":
    main()
