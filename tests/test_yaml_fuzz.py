"""Damaged and odd spaces and recipes: each ends in one of our own errors, soon, with the line and the key path.

The seed is the day's; a failure names it. `FUZZ_SEED=20260101 FUZZ_YAML=10000 pytest tests/test_yaml_fuzz.py` makes more of another day's.
"""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest
from fuzzing import SEED, check, surprise

from autodistill.errors import RecipeError, SpaceError
from autodistill.recipe import Recipe
from autodistill.space import Space

FILES = int(os.environ.get("FUZZ_YAML", "500"))
SPACE = """\
version: 1
name: small
about: A space for this test.
tasks: [text-classification, text-pair-classification]
parameters:
  teacher.model: {choice: [bert-base-uncased, roberta-base], default: roberta-base}
  student.family: {choice: [bert, cnn, bilstm], default: cnn}
  student.layers:
    - {int: [1, 5], step: 2, default: 3, when: {student.family: bert}}
    - {int: [1, 2], default: 1, when: {student.family: [bilstm]}}
  objective.hard_label_weight: {float: [0.1, 1.0], default: 0.5}
  objective.prediction.kind: {optional: [kl, mse], default: kl}
  objective.prediction.weight: {float: [0.1, 10.0], log: true, default: 1.0, when: {objective.prediction.kind: some}}
  training.epochs: {value: 3}
"""
RECIPE = """\
task: text-classification
teacher: {model: roberta-base}
student: {family: cnn}
objective:
  hard_label_weight: 0.5
  prediction: {kind: kl, weight: 1.0}
augmentation: {kind: none}
training:
  epochs: 3
"""
ODD = (
    "null", "~", "true", "-1", "0", "1e999", ".nan", ".inf", "9" * 400, "9" * 5000, "0x" + "f" * 5000, "2026-01-01", "2026-13-45",
    "1:99:1", "[]", "{}", "[a]", "{a: b}", "[[a]]", "? [a]\n: b", "&a [*a]", "*a", "<<: *a", "<<: 1", "!!set {a}", "!!binary x",
    "!!int x", "!!bool x", "!!float x", "!!timestamp x", "!!python/none", "!!omap [a: 1]", "!x y", "=", "'", '"', '"\\ud800"',
    '"\\U00110000"', "\t", "\n", "\x00", ": ", "- ", ", ", "#", "|\n", "%YAML 9.9\n", "---\n", "...\n", "\ufeff", "[" * 300,
    "{a: " * 300, "x" * 3000, "some", "none", "x", "when: [a]",
)  # fmt: skip
"""What is put into a file: values of other types, tags, aliases, brackets without end, marks of YAML."""
READERS = {"space": (SPACE, lambda path: Space.load(str(path), "text-classification")), "recipe": (RECIPE, Recipe.load)}


def mutated(text: str, rng: random.Random) -> str:
    """A few words replaced, moved, cut or put in."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        words = list(re.finditer(r"[\w.+-]+|\[[^\]]*\]|\{[^}]*\}|\n *", text))
        if not words:
            return text
        start, end = rng.choice(words).span()
        piece = rng.choice([rng.choice(ODD), rng.choice(ODD), rng.choice(words).group(), "", text[start:end] * 2])
        text = text[:start] + piece + text[end:]
    return text


@pytest.mark.parametrize("kind", READERS)
def test_nothing_but_our_errors_comes_of_a_mutated_file(tmp_path: Path, kind: str) -> None:
    text, read = READERS[kind]
    path = tmp_path / "file.yaml"
    path.write_text(text)
    read(path)  # as it is, it is good
    surprises = {}
    for number in range(FILES // 2):
        path.write_bytes(mutated(text, random.Random(f"{SEED} {kind} {number}")).encode("utf-8", "surrogatepass"))
        surprises[number] = surprise(lambda: read(path))
    check(surprises, kind)


LEVELS = "".join(f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n" for before, after in zip("abcdefg", "bcdefgh", strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: a\nx: &a [*a]\n", r":2: x\.0: an alias"),
        ("x: 1\ny:\n  - " + "[" * 3000, r":3: more than 50 levels"),
        ("a: &a [x]\n" + LEVELS, r":1: .*more than 20,000 values"),
        ("name: a\ntask: 2026-13-45\n", r":2: task: '2026-13-45' is not a valid timestamp"),
        ("task: 2026-11-05\n", r":1: task: YAML reads '2026-11-05' as a date; put it in quotes"),
        ("a: 1\ntraining:\n  seed: " + "9" * 5000, r":3: training\.seed: '9{60}…' is not a valid int"),
        ("training: {seed: 0x" + "f" * 5000 + "}", r":1: training\.seed: 0xf{58}… has too many digits"),
        ("a:\n  null: 1\n", r":2: a: a key is 'null'"),
        ("a:\n  2026-11-05: 1\n", r":2: a: a key is '2026-11-05'"),
        ("a: 1\n? [b]\n: 1\n", r":2: a key is a list or mapping"),
        ("a: {b: 1, b: 2}\n", r":1: key 'b' occurs twice"),
        ('a: "\\ud800"\n', r":1: a: .* half of a character"),
    ],
)
def test_what_is_no_plain_data_is_an_error_with_line_and_key_path(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    for read, error in ((Recipe.load, RecipeError), (lambda path: Space.load(str(path), "text-classification"), SpaceError)):
        with pytest.raises(error, match=message):
            read(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (SPACE[SPACE.index("parameters") :], "parameters: null\n", r":5: parameters is None"),
        ("tasks: [text-classification, text-pair-classification]", "tasks: 3", r":4: tasks is 3"),
        ("when: {student.family: bert}", "when: [a]", r":9: student\.layers: when is \['a'\]"),
        ("when: {student.family: bert}", "when: {student.family: [[a]]}", r":9: student\.layers: when\.student\.family is \[\['a'\]\]"),
        ("step: 2", "step: x", r":9: student\.layers: step is 'x'"),
        ("int: [1, 5]", "int: [1.5, 5]", r":9: student\.layers: int is \[1\.5, 5\]"),
        ("float: [0.1, 1.0]", "float: [0.1, .inf]", r":11: objective\.hard_label_weight: float is \[0\.1, inf\]"),
        ("log: true", "log: sometimes", r":13: objective\.prediction\.weight: log is 'sometimes'"),
        ("choice: [bert, cnn, bilstm]", "choice: [[bert]]", r":7: student\.family: choice is \[\['bert'\]\]"),
        ("teacher.model: ", "teacher: {value: a}\n  teacher.model: ", r":7: teacher\.model and teacher contain one another"),
    ],
)
def test_a_space_that_cannot_be_searched_is_an_error_with_line_and_key_path(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SPACE
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.replace(old, new))
    with pytest.raises(SpaceError, match=message):
        Space.load(str(path), "text-classification")
