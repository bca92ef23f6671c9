"""A trained student on the disk: its weights, what is needed to build it again, and its tokenizer if it reads texts.

The files: student.safetensors, recipe.yaml, saved.json (task, classes, metric, score, context; for several labels per row their
thresholds), the tokenizer's files and, for a student that is a pretrained model, the configuration. The teacher is not among them.
(student.json is a file of exported students. In older folders it stands for saved.json, and is still read.)
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from autodistill.assistant import STUDENT_FACTS, STUDENT_WEIGHTS, read_facts
from autodistill.cache import new_cached_folder
from autodistill.errors import ModelError, explained
from autodistill.models import build_student, untrained
from autodistill.models.base import StudentContext
from autodistill.models.family import SavedStudent
from autodistill.models.sources import copy_small_files
from autodistill.recipe import Recipe
from autodistill.storage import STUDIES_ELSEWHERE, cache_folder, new_folder

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def save_student(folder: Path, weights: dict[str, Tensor], recipe: Recipe, context: StudentContext, facts: dict[str, Any]) -> None:
    """Write a student's folder aside, then put it in place."""
    built = {name: value for name, value in asdict(context).items() if name not in ("teacher", "source", "pieces", "shapes_only")}
    new = new_cached_folder(folder) if folder.is_relative_to(cache_folder()) else new_folder(folder, STUDIES_ELSEWHERE)
    with new as aside:
        if context.source is not None:
            copy_small_files(context.source, aside)
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, aside / STUDENT_WEIGHTS)
        (aside / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
        (aside / STUDENT_FACTS).write_text(json.dumps({**facts, "recipe_id": recipe.id, "context": built}, indent=2), encoding="utf-8")
        for name in _TOKENIZER_FILES:
            if context.source is None and context.teacher is not None and (context.teacher / name).exists():
                shutil.copy(context.teacher / name, aside / name)


def load_saved_student(folder: str | Path) -> SavedStudent:
    """Read a student's folder; the model is in evaluation mode.

    Raises:
        ModelError: the folder is not a student's, or its weights do not fit its recipe.
    """
    folder = Path(folder)
    if not (folder / STUDENT_WEIGHTS).exists():
        raise ModelError(f"{folder} holds no student (student.safetensors); give a study's best/ folder or one that distill wrote")
    recipe = Recipe.load(folder / "recipe.yaml")
    with explained(lambda reason: ModelError(f"the student in {folder} cannot be opened ({reason}); search or distil it again")):
        facts = read_facts(folder)
        source = folder if (folder / "config.json").exists() else None
        model = build_student(untrained(recipe), StudentContext(**facts["context"], source=source))
        weights = load_file(folder / STUDENT_WEIGHTS)
        try:
            model.load_state_dict(weights)
        except RuntimeError as cause:
            raise ModelError(f"the weights in {folder} do not fit its recipe: {cause}") from None
    tokenizer = folder if (folder / "tokenizer.json").exists() else None
    return SavedStudent(model.eval(), recipe, facts, tokenizer)
