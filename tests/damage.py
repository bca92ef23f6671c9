"""Files as bad days leave them, and a student's folders to try it on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {"family": "bert", "layers": 1, "hidden_size": 16, "heads": 2, "init": "random"},
    "cnn": {"family": "cnn", "embedding_size": 8, "channels": 4, "init": "random"},
    "static": {"family": "static", "embedding_size": 8, "hidden_size": 0, "init": "random"},
}


def cut(file: Path) -> None:
    """Lose the second half."""
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def alter(file: Path) -> None:
    """Change a byte in the middle; the size stays."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x15
    file.write_bytes(data)


def as_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGE: dict[str, Callable[[Path], None]] = {"cut": cut, "emptied": empty, "altered": alter, "removed": Path.unlink, "a folder": as_folder}


def searched_student(place: Path, family: str = "cnn") -> Path:
    """A study's best/, untrained."""
    import torch
    from tiny_teacher import WORDS, save_bert

    from autodistill.models import build_student
    from autodistill.models.base import StudentContext
    from autodistill.models.saved import save_student
    from autodistill.recipe import Recipe

    teacher = save_bert(place / "teacher", layers=1)
    recipe = Recipe.parse({"task": "text-classification", "teacher": {"model": str(teacher)}, "student": FAMILIES[family]})
    context = StudentContext("text-classification", num_outputs=2, vocab_size=5 + len(WORDS), max_length=16, teacher=teacher)
    torch.manual_seed(0)
    facts = {"score": 0.5, "metric": "accuracy", "classes": ["bad", "good"], "task": "text-classification", "seed": 0}
    save_student(place / "study" / "best", build_student(recipe, context).state_dict(), recipe, context, facts)
    return place / "study" / "best"


def distilled_student(place: Path, family: str = "cnn") -> Path:
    """What `distill` writes, of an untrained student; its facts are those that `export` and `push` read."""
    from autodistill.export.folder import write_student
    from autodistill.models.saved import load_saved_student

    folder = place / "student"
    folder.mkdir(parents=True)
    write_student(folder, load_saved_student(searched_student(place, family)))
    given = {"name": str(place / "rows.parquet"), "seed": 0, "limit_train": None, "text_columns": None, "label_column": None}
    (folder / "distillation.json").write_text(json.dumps({"given": given}), encoding="utf-8")
    (folder / "README.md").write_text("# A student\n", encoding="utf-8")
    return folder
