"""What kind of target or of rows there is, is asked in target/ and modality/ alone; everything else asks them for what it needs.

A question is a name (`is_image`, `is_regression`, `is_pair`), a look into a task type (`"pair" in task`, `task.startswith("image")`,
`task.endswith("regression")`, `== "text"`), a test for what only one kind has (`classes is None`, `images is not None`), or an isinstance
of what a modality makes. Docstrings, dictionary keys, messages and assertions may have the words. Whether a text has a second one
(`text_pairs is None`) is also asked where the text modality reads texts: in TEXT_HALVES.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "autodistill"
OWNERS = {
    *(f"target/{name}.py" for name in ("__init__", "base", "classes", "labels", "scores", "vectors")),
    *(f"modality/{name}.py" for name in ("__init__", "text", "image")),
    "task_types.py",
}
TEXT_HALVES = {"models/text.py", "augment/views.py", "features/counts.py", "features/seen.py"}
NAMES = {"is_image", "is_regression", "is_pair", "regression"}
WORDS = {"text", "image", "pair", "text-pair", "classification", "regression", "multilabel"}  # an output is called embedding too
ONE_KIND_HAS = {"classes", "texts", "text_pairs", "images", "image_size"}
MADE = {
    "Text", "Image", "Classes", "Scores", "Labels", "Vectors", "EncodedText", "EncodedImages", "TextBatch", "ImageBatch", "TextSide",
    "ImageSide", "TextMix", "ImageMix",
}  # fmt: skip


def questions(source: str) -> list[tuple[int, str]]:
    """The questions of a file: line and text."""
    return sorted({(node.lineno, ast.unparse(node).splitlines()[-1]) for node in _walk(ast.parse(source)) if _is_question(node)})


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree, assertions left out: they say what is so, and ask nothing."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.Assert):
            yield from _walk(child)


def _is_question(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.FunctionDef(name=name) | ast.arg(arg=name):
            return name in NAMES
        case ast.Compare(left=ast.Constant(word), ops=[ast.In() | ast.NotIn()], comparators=[_]):
            return word in WORDS - {"text"}  # a column may be called so
        case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq()], comparators=[right]):
            return _is_word(left) or _is_word(right)
        case ast.Compare(
            left=(ast.Name(id=name) | ast.Attribute(attr=name)) as left, ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(None)]
        ):
            return name in ONE_KIND_HAS and ast.unparse(left) != "texts"  # a user's names of columns
        case ast.Call(func=ast.Attribute(attr="startswith" | "endswith"), args=[argument]):
            return _is_word(argument)
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, kinds]):
            return any(ast.unparse(item).removeprefix("base.") in MADE for item in ast.walk(kinds))
    return False


def _is_word(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.strip("-") in WORDS


def asking() -> dict[str, list[str]]:
    """The files of the package that ask, with what they ask."""
    by_file: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        asked = questions(path.read_text(encoding="utf-8"))
        lines = [f"{name}:{line}: {text}" for line, text in asked if not ("text_pairs" in text and name in TEXT_HALVES)]
        if lines and name not in OWNERS:
            by_file[name] = lines
    return by_file


def test_nobody_else_asks_what_kind_it_is() -> None:
    offenders = [line for lines in asking().values() for line in lines]
    assert not offenders, f"{len(offenders)} questions that belong to target/ or modality/:\n" + "\n".join(offenders)


@pytest.mark.parametrize(
    "question",
    [
        "data.is_image", "def f(regression): ...", "'pair' in task", "task.startswith('image')", "not task.endswith('-regression')",
        "self.classes is None", "split.images is not None", "isinstance(x, EncodedText | EncodedImages)", "isinstance(x, base.TextBatch)",
        "kind == 'regression'", "isinstance(target, (Classes, int))",
    ],
)  # fmt: skip
def test_a_question_is_seen(question: str) -> None:
    assert questions(question)


@pytest.mark.parametrize(
    "other",
    [
        "{'is_image': 1.0}",
        "'a regression'",
        "assert split.texts is not None",
        "'text' in columns",
        "isinstance(feature, datasets.Image)",
        "x.startswith('images')",
        "classes == []",
        "isinstance(x, str)",
    ],
)
def test_what_is_no_question_is_let_through(other: str) -> None:
    assert questions(other) == []


@pytest.mark.parametrize("name", ["train/taps.py", "train/objective.py"])
def test_slots_are_typed(name: str) -> None:
    calls = [node.func for node in ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert [call.id for call in calls if isinstance(call, ast.Name) and call.id in ("hasattr", "getattr")] == []
