"""Compares a whole search with the script that a good engineer would write: trials per hour, from the command to the last trial.

Both fine-tune all-MiniLM-L6-v2 on the same rows with the same settings and search the same four numbers of one student (a transformer
from random weights, cross-entropy with KL and one hidden state's squared error), with as many trials, epochs, workers, and successive
halving with the same rungs. Each runs in a process of its own. Ours (`autodistill.search`) also trains its baselines, which are never
stopped early; they count as trials. The peer (peer_search.py) has what its libraries' examples lack; --plain-peer removes that.

    speedup                trials per hour over the peer's, once the teacher is trained (ours include storing its outputs)
    speedup_with_teacher   the same with the teacher's fine-tuning, from the command on
    overhead_share         what a worker spends for each trial that is not training or evaluation (data, building, checkpoint, Ray,
                           proposals, its own start), from the search's start to the last trial's, as a share of a 20-second trial
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
STUDENT = {"layers": 3, "hidden_size": 192, "heads": 6}
TEACHER = {"epochs": 2, "learning_rate": 5e-5}
TYPICAL_TRIAL = 20.0
SPACE = """\
version: 1
name: throughput
about: the four numbers that the peer searches too
tasks: [text-classification]
parameters:
  teacher.model: {{value: {model}}}
  teacher.epochs: {{value: {teacher[epochs]}}}
  teacher.learning_rate: {{value: {teacher[learning_rate]}}}
  teacher.max_length: {{value: 128}}
  student.family: {{value: bert}}
  student.layers: {{value: {student[layers]}}}
  student.hidden_size: {{value: {student[hidden_size]}}}
  student.heads: {{value: {student[heads]}}}
  student.init: {{value: random}}
  objective.hard_label_weight: {{float: [0.05, 1.0], log: true, default: 0.2}}
  objective.prediction.kind: {{value: kl}}
  objective.prediction.weight: {{value: 0.8}}
  objective.prediction.temperature: {{float: [1.0, 8.0], log: true, default: 2.0}}
  objective.intermediate.kind: {{value: mse}}
  objective.intermediate.weight: {{float: [0.01, 3.0], log: true, default: 0.1}}
  objective.intermediate.layer_map: {{value: last}}
  objective.intermediate.tokens: {{value: cls}}
  training.epochs: {{value: {epochs}}}
  training.batch_size: {{value: {batch_size}}}
  training.learning_rate: {{float: [5.0e-5, 1.0e-3], log: true, default: 3.0e-4}}
"""


def spread(seconds: list[float], trials: int) -> float:
    """Seconds a trial where all trials cost the median of these, and what some cost beyond it is there once.

    A worker's first trial imports torch's parts and opens the dataset for all that follow, and it is a complete one (a baseline), while
    most of the others are stopped early and leave no stages: a mean over the complete ones would charge them all with it.
    """
    usual = statistics.median(seconds)
    return usual + sum(second - usual for second in seconds) / trials


def run_ours(asked: dict[str, Any]) -> dict[str, Any]:
    """Search, in this process. Returns the times of its stages."""
    import autodistill
    from autodistill.events import Event, SearchStarted, StageFinished, StageStarted, TrialFinished, TrialStarted

    moments: dict[str, float] = {"imported": time.perf_counter()}
    stages: dict[str, float] = {}
    spans: dict[int, list[float]] = {}
    cpu: dict[str, float] = {}

    def listen(event: Event) -> None:
        now = time.perf_counter()
        if isinstance(event, StageStarted) and event.stage in ("outputs", "trials"):
            moments.setdefault(event.stage, now)
        elif isinstance(event, StageFinished):
            stages[event.stage] = stages.get(event.stage, 0.0) + event.seconds
        elif isinstance(event, SearchStarted):
            moments["ray"], cpu["began"] = now, time.process_time()
        elif isinstance(event, TrialStarted):
            spans[event.trial] = [now, now]
        elif isinstance(event, TrialFinished) and event.record.trial in spans:
            spans[event.record.trial][1], cpu["ended"] = now, time.process_time()

    study = autodistill.search(
        asked["dataset"],
        space=asked["space"],
        trials=asked["trials"],
        limit_train=asked["rows"],
        workers=asked["workers"],
        gpus_per_trial=0,
        studies_dir=asked["results"],
        seed=asked["seed"],
        listen=listen,
    )
    records = [record for record in study.trial_records if record.state in ("complete", "pruned")]
    complete = [record for record in records if record.state == "complete"]
    by_stage: dict[str, list[float]] = defaultdict(list)
    for record in complete:
        for stage, seconds in record.seconds_by_stage.items():
            by_stage[stage].append(seconds)
        by_stage["build, checkpoint, FLOPs"].append((record.seconds or 0.0) - sum(record.seconds_by_stage.values()))
    per_trial = {
        stage: statistics.fmean(seconds) if stage in ("training", "evaluation") else spread(seconds, len(records))
        for stage, seconds in by_stage.items()
    }
    work = per_trial["training"] + per_trial["evaluation"]

    # Up to the last trial's start all workers have something to do, but for what this measures.
    last = max(start for start, _ in spans.values())
    shares = [(end - start, max(0.0, min(end, last) - start)) for start, end in spans.values()]
    inside = sum(part for _, part in shares)
    begun = sum(part / whole for whole, part in shares if whole > 0)  # trials, in parts where they run beyond
    between = asked["workers"] * (last - moments["trials"]) - inside
    first = min(start for start, _ in spans.values())
    overhead = between / begun + sum(seconds for stage, seconds in per_trial.items() if stage not in ("training", "evaluation"))
    return {
        "teacher_seconds": moments["outputs"] - moments["imported"],
        "trials": len(records),
        "failed": sum(record.state == "fail" for record in study.trial_records),
        "epochs": sum(len(record.curve) for record in records),
        "best": study.best.score if study.best else None,
        "overhead_seconds": overhead,
        "once_seconds": {
            "storing teacher outputs": stages["outputs"],
            "starting Ray": moments["ray"] - moments["trials"],
            "first trial: worker start and imports": first - moments["ray"],
        },
        "per_trial_seconds": {
            **per_trial,
            "between trials: start of Ray and workers, proposals, messages (a worker's time)": between / begun,
            "driver's processor time": (cpu["ended"] - cpu["began"]) / len(records),
        },
        "training_share": work / (work + overhead),
    }


def peer_settings(asked: dict[str, Any], plain: bool) -> dict[str, Any]:
    """The settings that peer_search.py reads: the rows as texts, and all that our search gets too."""
    from autodistill.models.sources import source_folder
    from autodistill.tasks import load_dataset
    from autodistill.tasks.base import DatasetRef

    data = load_dataset(DatasetRef(asked["dataset"], limit_train=asked["rows"], seed=asked["seed"]))
    if data.task != "text-classification" or data.metric != "accuracy":
        raise SystemExit(
            f"--dataset {asked['dataset']} is a {data.task} scored by {data.metric}; the peer knows text-classification by accuracy"
        )
    rows = {
        name: {"texts": split.texts, "labels": split.labels.tolist()}
        for name, split in (("train", data.train), ("validation", data.validation))
    }
    results = Path(asked["results"])
    return {
        **{name: asked[name] for name in ("trials", "epochs", "batch_size", "workers")},
        **rows,
        "model": str(source_folder(MODEL)),
        "classes": data.num_outputs,
        "max_length": 128,
        "teacher": TEACHER,
        "student": STUDENT,
        "teacher_folder": str(results / "teacher"),
        "teacher_threads": os.cpu_count(),
        "students": str(results / "students"),
        "results": str(results / "ray"),
        **dict.fromkeys(("fused", "reuse_actors", "tokenise_once", "pad_to_batch"), not plain),
    }


def command(arguments: list[str]) -> float:
    """Run a command. Returns its seconds.

    Raises:
        SystemExit: it failed; says with what.
    """
    began = time.perf_counter()
    environment = {**os.environ, "RAY_DISABLE_IMPORT_WARNING": "1", "RAY_USAGE_STATS_ENABLED": "0", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments[:1])} failed with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return time.perf_counter() - began


def compare(asked: dict[str, Any], plain: bool) -> dict[str, Any]:
    """Run both and compare them."""
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in ("ours", "peer"):
            place = Path(folder) / side
            place.mkdir()
            settings = asked | {"results": str(place)}
            if side == "ours":
                space = place / "throughput.yaml"
                space.write_text(SPACE.format(model=MODEL, teacher=TEACHER, student=STUDENT, **asked), encoding="utf-8")
                settings |= {"space": str(space)}
            else:
                settings = peer_settings(settings, plain)
            path = place / "settings.json"
            path.write_text(json.dumps(settings), encoding="utf-8")
            script = (
                [str(HERE / "search_throughput.py"), "--ours", str(path)] if side == "ours" else [str(HERE / "peer_search.py"), str(path)]
            )
            seconds = command(script)
            answers[side] = json.loads(path.read_text(encoding="utf-8"))["answer"] | {"seconds": seconds}
    ours, peer = answers["ours"], answers["peer"]

    def per_hour(side: dict[str, Any], with_teacher: bool, what: str = "trials") -> float:
        return 3600 * side[what] / (side["seconds"] - (0.0 if with_teacher else side["teacher_seconds"]))

    return {
        "speedup": per_hour(ours, False) / per_hour(peer, False),
        "speedup_with_teacher": per_hour(ours, True) / per_hour(peer, True),
        "overhead_share": ours["overhead_seconds"] / TYPICAL_TRIAL,
        "details": {
            "speedup_in_epochs": per_hour(ours, False, "epochs") / per_hour(peer, False, "epochs"),
            "ours": ours,
            "peer": peer,
            "asked": asked | {"peer": "plain" if plain else "fused AdamW, reused actors, tokenised once, padded to the batch"},
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="few and short trials, so start-up has a larger share than in a real search")
    parser.add_argument("--dataset", default="sst2", help="a text classification set scored by accuracy (sst2)")
    parser.add_argument("--rows", type=int, help="training rows (4,000; quick 600)")
    parser.add_argument("--epochs", type=int, help="of a trial at most (6; quick 3)")
    parser.add_argument("--trials", type=int, help="of each side; our baselines are added (24; quick 4)")
    parser.add_argument("--workers", type=int, default=2, help="trials at once, one core each (2)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, help="of splits and teacher; by default a new one, so that nothing of ours is in the cache")
    parser.add_argument("--plain-peer", action="store_true", help="the peer as its libraries' examples have it")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ours:
        settings = json.loads(asked.ours.read_text(encoding="utf-8"))
        asked.ours.write_text(json.dumps({"answer": run_ours(settings)}), encoding="utf-8")
        return
    sizes = (600, 3, 4) if asked.quick else (4000, 6, 24)
    rows, epochs, trials = (chosen or size for chosen, size in zip((asked.rows, asked.epochs, asked.trials), sizes, strict=True))
    settings = {
        "dataset": asked.dataset,
        "rows": rows,
        "epochs": epochs,
        "trials": trials,
        "workers": asked.workers,
        "batch_size": asked.batch_size,
        "seed": int(time.time()) % 10**8 if asked.seed is None else asked.seed,
    }
    answer = compare(settings, asked.plain_peer)
    if asked.json:
        print(json.dumps(answer))
        return
    print(f"{asked.dataset}, {rows:,} rows, {epochs} epochs, {asked.workers} workers; the peer: {answer['details']['asked']['peer']}")
    for name in ("ours", "peer"):
        side = answer["details"][name]
        print(
            f"{name}: {side['seconds']:.0f} s, {side['teacher_seconds']:.0f} s of them to the end of the teacher's training; "
            f"{side['trials']} trials, {side['epochs']} epochs, best accuracy {side['best']:.3f}"
        )
    print(f"trials per hour, ours over the peer's: {answer['speedup']:.2f} once the teacher exists (goal 5), ", end="")
    print(f"{answer['speedup_with_teacher']:.2f} with it (goal 2); {answer['details']['speedup_in_epochs']:.2f} in epochs per hour")
    print(f"overhead: {answer['overhead_share']:.1%} of a {TYPICAL_TRIAL:g}-second trial (goal: below 10%)")
    ours = answer["details"]["ours"]
    for name, seconds in (ours["once_seconds"] | ours["per_trial_seconds"]).items():
        print(f"  {seconds:8.2f} s  {name}{' (once)' if name in ours['once_seconds'] else ''}")


if __name__ == "__main__":
    main()
