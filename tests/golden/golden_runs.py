"""What the golden files record: small seeded runs through the product. The one place of these tests that calls it."""

from __future__ import annotations

import contextlib
import hashlib
import html
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

TESTS = Path(__file__).resolve().parents[1]
STUDIES = TESTS.parent / "studies"
RECORDED = {path.parent.name: path.parent for folder in ("recorded", "brief") for path in (STUDIES / folder).glob("*/trials.parquet")}
"""Every recorded study's folder."""
SEED = 3

STUDENTS: dict[str, dict[str, Any]] = {
    "bert": {"family": "bert", "layers": 2, "hidden_size": 16, "heads": 2},
    "cnn": {"family": "cnn", "embedding_size": 16, "channels": 8},
    "bilstm": {"family": "bilstm", "embedding_size": 16, "hidden_size": 8, "layers": 1},
    "timm": {"family": "timm:lcnet_050"},
}
RATES = {"timm": 1e-4}
"""Its batch norms make rounding larger: at this learning rate, other instructions of the processor change its losses by less than 1e-3."""
TEXT_TASKS = ("text-classification", "text-pair-classification", "text-regression", "text-pair-regression")
IMAGES = "image-classification"
ATTENTION = {"kind": "minilm", "weight": 1.0}
ALL_SLOTS = {
    "hard_label_weight": 0.5,
    "label_smoothing": 0.1,
    "prediction": {"kind": "dkd", "weight": 0.1},
    "intermediate": {"kind": "vid", "weight": 0.1, "layer_map": "last", "tokens": "tokens"},
    "contrastive": {"kind": "infonce", "weight": 1.0},
    "relation": {"kind": "sp", "weight": 10.0},
}
NEW_ROWS = {"kind": "random", "strength": 0.3, "copies": 2}
FIRST_TOKEN = {"prediction": {"kind": "kl"}, "intermediate": {"kind": "mi", "weight": 0.03, "tokens": "cls"}}

CURVES: dict[str, tuple[str, str, dict[str, Any]]] = {
    # the usual loss mix: every student family on every task it can do
    **{f"{family}, {task}": (family, task, {}) for family in ("bert", "cnn", "bilstm") for task in TEXT_TASKS},
    f"timm, {IMAGES}": ("timm", IMAGES, {}),
    # mixed rows, and changed rows
    **{f"{family}, mixup": (family, TEXT_TASKS[0], {"augmentation": {"mixup": 0.4}}) for family in ("bert", "cnn", "bilstm")},
    "timm, mixup": ("timm", IMAGES, {"augmentation": {"kind": "flip_crop", "copies": 2, "mixup": 0.4}}),
    "timm, cutmix": ("timm", IMAGES, {"augmentation": {"mixup": 1.0, "mixing": "cutmix"}}),
    "bert, changed words": ("bert", TEXT_TASKS[0], {"augmentation": NEW_ROWS}),
    "cnn, changed words of pairs with scores, mixed": ("cnn", TEXT_TASKS[3], {"augmentation": NEW_ROWS | {"mixup": 0.4}}),
    "bilstm, dropped tokens": ("bilstm", TEXT_TASKS[0], {"augmentation": {"kind": "token_dropout", "strength": 0.3, "copies": 2}}),
    # the forms that a student is trained in, and where it starts
    "bert, read by its first token": ("bert", TEXT_TASKS[0], {"objective": FIRST_TOKEN}),
    "bert, from random weights": ("bert", TEXT_TASKS[0], {"student": {"init": "random"}}),
    **{f"{family}, trimmed": (family, TEXT_TASKS[0], {"student": {"vocabulary": "trimmed"}}) for family in ("bert", "cnn", "bilstm")},
    # the other slots, and none
    "bert, every slot": ("bert", TEXT_TASKS[0], {"objective": ALL_SLOTS | {"attention": ATTENTION}}),
    "bilstm, every slot": ("bilstm", TEXT_TASKS[1], {"objective": ALL_SLOTS}),
    "timm, every slot": ("timm", IMAGES, {"objective": ALL_SLOTS | {"attention": {"kind": "at", "weight": 1.0}}}),
    "cnn, no teacher": ("cnn", TEXT_TASKS[0], {"objective": {"hard_label_weight": 1.0}}),
}
"""Name: student family, task, and what its recipe has in place of the usual parts."""

TEACHERS: dict[str, tuple[str, dict[str, Any]]] = {
    **{task: (task, {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3}) for task in (*TEXT_TASKS, IMAGES)},
    "few rows, more epochs": (TEXT_TASKS[0], {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3, "min_steps": 6}),
    "as it comes": (TEXT_TASKS[0], {"epochs": 0}),
    "random": (TEXT_TASKS[2], {"init": "random"}),
}
"""Name: task, and the teacher's fields."""

REPORTS = ("sst2", "stsb")
"""Recorded studies whose reports are recorded: one of classes and one of scores."""


BLOCKS = "p|h[1-6]|dl|dt|dd|div|li|ul|td|th|tr|table|section|header|footer|nav|a|small|pre|figcaption|figure|button|details|summary"
"""Elements of a page that begin a line of its text."""


def recorded_studies() -> list[str]:
    """The names of the studies that are shipped."""
    return sorted(RECORDED)


def recipe_ids(study: str) -> tuple[list[str], dict[str, Any]]:
    """Recorded recipes whose id is another one today, a line each; and how many ids were recorded in the study, with their digest."""
    from autodistill.recipe import Recipe, migrate
    from autodistill.records import read_records

    records = read_records(RECORDED[study] / "trials.parquet")
    changed = {}
    for record in records:
        today = Recipe.parse(migrate(record.recipe)).id
        if today != record.recipe_id:
            recipe = json.dumps(record.recipe, sort_keys=True)
            changed[record.recipe_id] = f"{study}, trial {record.trial}: {record.recipe_id} is {today} today: {recipe}"
    text = "\n".join(f"{record.trial} {record.recipe_id}" for record in sorted(records, key=lambda item: item.trial))
    return list(changed.values()), {"trials": len(records), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _add_tests_to_path() -> None:
    """A command finds the helpers of the tests as pytest does."""
    if str(TESTS) not in sys.path:
        sys.path.insert(0, str(TESTS))


def _helpers() -> Any:
    """tests/tiny_teacher.py."""
    _add_tests_to_path()
    import tiny_teacher

    return tiny_teacher


def write_rows(folder: Path, task: str) -> str:
    """A made dataset of the task on the disk; where it is."""
    import pandas as pd
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    if task == IMAGES:
        made = _helpers().image_dataset(32, size=32)
        for number, (image, label) in enumerate(zip(made.train.images, made.train.labels, strict=True)):
            (folder / "images" / f"class{label}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / "images" / f"class{label}" / f"{number:02}.png")
        return str(folder / "images")
    made = _helpers().text_dataset(96, pairs="pair" in task)
    columns = {"text": made.train.texts} | ({"text_b": made.train.text_pairs} if "pair" in task else {})
    labels = [3.0 * label + 0.25 * (row % 40) for row, label in enumerate(made.train.labels)]  # more values than classes could have
    pd.DataFrame(columns | {"label": labels if task.endswith("regression") else made.train.labels}).to_parquet(folder / "rows.parquet")
    return str(folder / "rows.parquet")


def _teacher_as_it_is(folder: Path, dataset: Any) -> tuple[str, str]:
    """A teacher with random weights in the form of a fine-tuned one, so that curves do not hang on how a teacher is trained.

    Returns its model's name and its folder.
    """
    import torch

    from autodistill.models.timm import build_timm
    from autodistill.recipe import Teacher
    from autodistill.teacher.load import save_teacher

    if dataset.modality.texts:
        place = str(_helpers().save_bert(folder / "teacher", num_outputs=dataset.num_outputs, seed=1))
        return place, place
    teacher = Teacher(model="timm:resnet10t", init="random")
    torch.manual_seed(1)
    (folder / "teacher").mkdir()
    save_teacher(
        build_timm("resnet10t", dataset.num_outputs, dataset.image_size, pretrained=False), None, dataset, teacher, folder / "teacher"
    )
    return teacher.model, str(folder / "teacher")


def curve(folder: Path, name: str) -> dict[str, Any]:
    """One trial of `CURVES`: its curve without times, and its result."""
    from autodistill.recipe import Recipe
    from autodistill.records import Point
    from autodistill.tasks import load_dataset
    from autodistill.tasks.base import DatasetRef
    from autodistill.train.assignment import Assignment
    from autodistill.train.trial import run_trial

    family, task, changes = CURVES[name]
    ref = DatasetRef(write_rows(folder, task))
    dataset = load_dataset(ref)
    assert dataset.task == task
    model, teacher = _teacher_as_it_is(folder, dataset)
    usual = {
        "hard_label_weight": 0.5,
        "prediction": {"kind": "mse" if task.endswith("regression") else "kl", "weight": 0.5},
        "intermediate": {"kind": "mse", "weight": 0.1, "tokens": "mean"},
    }
    data = {
        "task": task,
        "teacher": {"model": model, "max_length": 32},
        "objective": usual,
        "training": {"epochs": 2, "batch_size": 16, "learning_rate": RATES.get(family, 3e-3)},
        **changes,
        "student": STUDENTS[family] | changes.get("student", {}),
    }
    points: list[Point] = []
    assignment = Assignment(Recipe.parse(data), ref, SEED, 2, teacher, threads=1, device="cpu")
    result = run_trial(assignment, points.append)
    return {
        "curve": [point.model_dump(exclude={"seconds"}) for point in points],
        "best": {"score": result.score, "epoch": result.best_epoch, "metrics": result.metrics},
        "student": {"params": result.params, "flops": result.flops},
    }


def teacher(folder: Path, name: str) -> dict[str, Any]:
    """One teacher of `TEACHERS`, fine-tuned: its metrics, and the loss of each step."""
    from autodistill.recipe import Teacher
    from autodistill.tasks import load_dataset
    from autodistill.tasks.base import DatasetRef
    from autodistill.teacher.finetune import TeacherProgress, finetune_teacher

    task, changes = TEACHERS[name]
    dataset = load_dataset(DatasetRef(write_rows(folder, task)))
    if task == IMAGES:
        fields = {"model": "timm:resnet10t", "init": "scratch"}
    else:
        fields = {"model": str(_helpers().save_bert(folder / "source", num_outputs=dataset.num_outputs, seed=1)), "max_length": 32}
    steps: dict[int, TeacherProgress] = {}
    made = finetune_teacher(
        dataset, Teacher(**fields | changes), SEED, device="cpu", threads=1, progress=lambda now: steps.setdefault(now.step, now) and None
    )
    return {"score": made.score, "metrics": made.metrics, "losses": [now.loss for now in steps.values()]}


def search_json(folder: Path, name: str, show: Callable[[], str]) -> dict[str, Any]:
    """The JSON object of `autodistill search --json` for one of `SEARCHES`, without paths and times.

    show: what was printed since it was last called.
    """
    from autodistill.cli.main import main

    stands_in = ModuleType("autodistill.api")
    stands_in.search = lambda *_, listen, **__: SEARCHES[name](folder, listen)  # type: ignore[attr-defined]
    before = sys.modules.get("autodistill.api")
    sys.modules["autodistill.api"] = stands_in  # not patch.dict: it would forget what else is imported meanwhile, and Ray exist twice
    try:
        assert main(["search", "--dataset", "fake", "--study", "golden", "--studies-dir", str(folder), "--json"]) == 0
    finally:
        sys.modules.pop("autodistill.api") if before is None else sys.modules.update({"autodistill.api": before})
    answer = json.loads(show().replace(json.dumps(str(folder))[1:-1], "FOLDER"))
    answer["seconds"] = dict.fromkeys(answer["seconds"], "(a time)")
    return dict(answer)


def _searched(folder: Path, listen: Any) -> Any:
    """Ray, Optuna, early stopping and the study's folder are real; the runner's scores are a formula, the same on every machine.

    One worker: trials end in the order they began.
    """
    from autodistill.tuning.run import run_search

    sys.path.insert(0, str(TESTS / "tuning"))  # Ray's workers look where we do
    from fakes import FACTS, FakeFeasible, FakeRunner, make_settings, make_space, make_teachers

    space = make_space(folder)
    return run_search(
        make_settings(folder, study="golden", trials=12, workers=1, seed=SEED),
        space=space,
        dataset=FACTS,
        teachers=make_teachers(space),
        runner=FakeRunner(0.0),
        feasible=FakeFeasible(),
        baselines=space.baselines(),
        listen=listen,
    )


def _generated(folder: Path, listen: Any) -> Any:
    """A study with trials enough to say what mattered, and some that failed; nothing is run."""
    _add_tests_to_path()
    from generated import generated_study

    return generated_study(folder, 60, "golden", seed=SEED)


SEARCHES: dict[str, Callable[[Path, Any], Any]] = {"searched": _searched, "generated": _generated}
"""Name: what is called in place of `autodistill.search`."""


def report_text(study: str) -> str:
    """What a reader sees of a recorded study's report: no scripts, figures or styles, and of the machine only the names of its facts."""
    from autodistill.dashboards.page import render_recorded

    from autodistill.recommender.library import load

    seen, mark, facts = visible(render_recorded(load(RECORDED[study]))).partition("\ndataset fingerprint\n")
    fingerprint, *machine = facts.splitlines()
    names = machine[:-1:2]  # name and value in turn, then the footer
    return "\n".join([f"{seen}{mark}{fingerprint}", *names, machine[-1], ""])


def visible(page: str) -> str:
    """The text of an HTML page, a line for each block of it, and for each cell of a table."""
    body = page.partition("<main>")[2].partition("</main>")[0]
    body = re.sub(r"<script\b.*?</script>", "", body, flags=re.DOTALL)
    body = re.sub(r"</summary>.*?</details>", "</summary></details>", body, flags=re.DOTALL)  # what is folded is not seen
    kept = re.split(r"(<pre\b.*?</pre>)", body, flags=re.DOTALL)
    text = "".join(part if part.startswith("<pre") else re.sub(r"\s+", " ", part) for part in kept)
    text = re.sub(rf"</?(?:{BLOCKS})\b[^>]*>", "\n", text)
    lines = (line.rstrip() for line in html.unescape(re.sub(r"<[^>]+>", "", text)).splitlines())
    return "\n".join(line.lstrip() if not line.startswith("  ") else line for line in lines if line.strip())


def commands() -> list[str]:
    """The names of the commands; the empty one is `autodistill` itself."""
    from autodistill.cli.main import COMMANDS

    return ["", *(command.__name__.rpartition(".")[2] for command in COMMANDS)]


def help_text(command: str, show: Callable[[], str]) -> str:
    """The help of a command at 100 columns. show: what was printed since it was last called."""
    from autodistill.cli.main import main

    with patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}), contextlib.suppress(SystemExit):
        main([*filter(None, [command]), "--help"])
    return show()
