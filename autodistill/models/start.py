"""Students that start from a saved student, such as one that `autodistill pretrain` wrote: `student.init` is its folder.

Everything but the output layer is taken over. The folder's student has the same family and sizes, and reads the same tokens.

Source: Turc, Chang, Lee, Toutanova 2019, "Well-Read Students Learn Better: On the Importance of Pre-training Compact Models" (a small
student that starts pretrained, then distilled on the task).
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from autodistill.assistant import STUDENT_FACTS, STUDENT_WEIGHTS, read_facts
from autodistill.errors import ModelError, RecipeError, explained
from autodistill.models.base import StudentContext, StudentModule
from autodistill.models.family import StudentFamily
from autodistill.models.reread import same_tokens
from autodistill.models.text import load_tokenizer
from autodistill.models.vocabulary import taken_pieces
from autodistill.recipe import Recipe
from autodistill.recipe.parts import Component
from autodistill.storage import digest, file_fingerprint, user_path

_WAYS_OUT = "give a folder that fits or init: random"


def _family(student: Component) -> StudentFamily:
    """As `models.family_of`, which cannot be used here, because building a student needs this module."""
    family: StudentFamily = student.spec.load()()
    return family


def start_folder(student: Component) -> Path | None:
    """The folder that a recipe's student starts from; None if its `init` is a word."""
    init = str(getattr(student, "init", ""))
    return user_path(init, RecipeError) if "/" in init else None


def start_fingerprint(student: Component) -> str:
    """Identifies what a student starts from by the folder's contents, wherever it lies; empty if its `init` is a word.

    Raises:
        RecipeError: the folder holds no student.
    """
    folder = check_sizes(student)
    return "" if folder is None else digest("start", *(file_fingerprint(folder / name) for name in (STUDENT_WEIGHTS, "recipe.yaml")))


def student_in(folder: Path) -> Component:
    """The `student` part of the recipe of a saved student.

    Raises:
        RecipeError: the folder holds none.
    """
    if not (folder / STUDENT_WEIGHTS).is_file():
        raise RecipeError(
            f"student.init is {str(folder)!r}, which holds no student ({STUDENT_WEIGHTS}); give a folder that `autodistill pretrain` "
            "wrote, or a study's best/"
        )
    return Recipe.load(folder / "recipe.yaml").student


def sizes_of(student: Component) -> dict[str, Any]:
    """The fields in which a student and the one that it starts from are equal."""
    free = {"init", *_family(student).free_at_start}
    return {name: value for name, value in student.own.items() if name not in free}


def check_sizes(student: Component) -> Path | None:
    """The folder that a recipe's student starts from; None if its `init` is a word.

    Raises:
        RecipeError: it holds no student, or one of another family or size.
    """
    folder = start_folder(student)
    if folder is None:
        return None
    there = student_in(folder)
    pairs = {name: (value, there.own.get(name)) for name, value in sizes_of(student).items()}
    if there.name != student.name:
        pairs = {student.tag: (student.name, there.name)}
    differing = {name: values for name, values in pairs.items() if values[0] != values[1]}
    if differing:
        ours = ", ".join(f"{name} {values[0]}" for name, values in differing.items())
        theirs = ", ".join(f"{name} {values[1]}" for name, values in differing.items())
        raise RecipeError(
            f"student.init is {str(folder)!r}, whose student has {theirs}, and the recipe's has {ours}; change the recipe, or pretrain "
            f"its student: autodistill pretrain --student RECIPE --text FILE --out {shlex.quote(str(folder) + '-2')}"
        )
    return folder


def check_start(student: Component, tokenizer: Any, teacher: str) -> None:
    """Refuse a start that does not fit, before anything is trained. tokenizer, teacher: of the recipe's teacher, and its name.

    Raises:
        RecipeError: the folder holds no student, one of another family or size, or one that reads other tokens.
    """
    folder = check_sizes(student)
    if folder is None:
        return
    if _family(student).pretrained_model(student) is not None:  # its tokenizer is that of its `model`, which is compared above
        return
    with explained(lambda reason: RecipeError(f"student.init is {str(folder)!r}, whose tokenizer cannot be read ({reason}); {_WAYS_OUT}")):
        own = load_tokenizer(folder)
    if not same_tokens(tokenizer, own):
        raise RecipeError(
            f"student.init is {str(folder)!r}, whose student reads a vocabulary of {len(own):,} tokens, and the teacher {teacher!r} has "
            f"another of {len(tokenizer):,}; pretrain with a teacher of the same tokenizer (--teacher {shlex.quote(teacher)}), or use "
            "another init"
        )


def start(module: StudentModule, student: Component, context: StudentContext) -> None:
    """Give a new student the weights in the folder of its `init`, if that is one.

    Its output layer keeps its own. A trimmed vocabulary takes the kept pieces.

    Raises:
        RecipeError: the folder holds no student, or one of another family, size or vocabulary.
    """
    folder = check_sizes(student)
    if folder is None:
        return
    family = _family(student)
    try:
        facts, weights = read_facts(folder), load_file(folder / STUDENT_WEIGHTS)
    except (ModelError, OSError, ValueError) as cause:
        raise RecipeError(f"student.init is {str(folder)!r}, whose {STUDENT_FACTS} or weights cannot be read: {cause}") from None
    pieces = facts["context"]["vocab_size"]
    if pieces != context.vocab_size:
        raise RecipeError(
            f"student.init is {str(folder)!r}, whose student reads a vocabulary of {pieces:,} tokens, and this one reads "
            f"{context.vocab_size:,}; {_WAYS_OUT}"
        )
    weights, own = family.weights_at_start(module, weights), module.state_dict()
    table = family.word_table(module)
    if table is not None:
        path = next(name for name, part in module.named_modules() if part is table)
        rows = weights.pop(f"{path}.rows", torch.arange(pieces))
        taken = taken_pieces(context, getattr(student, "vocabulary", "full"))
        words = own[f"{path}.weight"].clone()
        words[: len(taken)] = weights[f"{path}.weight"][rows[taken]]
        weights[f"{path}.weight"] = words
    for name, value in weights.items():
        if name not in own or own[name].shape != value.shape:
            shape = tuple(own[name].shape) if name in own else "none"
            raise RecipeError(
                f"student.init is {str(folder)!r}, whose {name} has the shape {tuple(value.shape)}, and the student's has {shape} (the "
                f"teachers' max_length may differ); {_WAYS_OUT}"
            )
    module.load_state_dict(own | weights)
