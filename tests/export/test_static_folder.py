"""What other libraries make of an exported static student."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_distill import LOADER, TEXTS
from world import World, said_elsewhere

from autodistill.errors import UsageError
from autodistill.export.folder import write_student
from autodistill.export.onnx import export
from autodistill.export.student import load_student as open_student
from autodistill.models import build_student, family_named
from autodistill.models.base import StudentContext, TextBatch
from autodistill.models.loaders import static as loader
from autodistill.models.saved import load_saved_student, save_student
from autodistill.models.text import encode_split, load_tokenizer
from autodistill.recipe import Recipe
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef
from autodistill.teacher.finetune import finetune_teacher
from autodistill.train.data import open_inputs

PAIRS = list(zip(TEXTS, TEXTS[::-1], strict=True))
MODEL2VEC = """
from model2vec import StaticModel
import json
logits = StaticModel.from_pretrained(sys.argv[1]).encode(json.loads(sys.argv[2]))
assert "torch" not in sys.modules
"""
SENTENCE_TRANSFORMERS = """
from sentence_transformers import SentenceTransformer
import json
logits = SentenceTransformer(sys.argv[1], device="cpu").encode(json.loads(sys.argv[2]))
"""


class Written:
    """A static student with drawn weights, written as `distill` writes it."""

    def __init__(self, folder: Path, task: str, **fields: object) -> None:
        world = World(folder, task)
        recipe: Recipe = world.recipe("static", student=fields)
        self.data = world.data
        data = load_dataset(DatasetRef(world.data))
        teacher = finetune_teacher(data, recipe.teacher, 0, device="cpu").folder
        self.context: StudentContext = open_inputs(data, recipe.teacher, teacher).context
        self.tokenizer = load_tokenizer(teacher)
        torch.manual_seed(0)
        self.student = build_student(recipe, self.context).eval()
        with torch.no_grad():
            for parameter in self.student.parameters():
                parameter.normal_()
        facts = {"metric": data.metric, "classes": data.classes}
        save_student(folder / "student", self.student.state_dict(), recipe, self.context, facts)
        self.folder = folder / "out"
        self.folder.mkdir()
        self.about = write_student(self.folder, load_saved_student(folder / "student"))

    def batch(self, rows: list[str] | list[tuple[str, str]]) -> TextBatch:
        pairs = isinstance(rows[0], tuple)
        texts, others = ([row[0] for row in rows], [row[1] for row in rows]) if pairs else (rows, None)
        return encode_split(texts, others, self.tokenizer, self.context.max_length).batch(torch.arange(len(rows)))


@pytest.mark.parametrize("vocabulary", ["full", "trimmed"])
@pytest.mark.parametrize("hidden_size", [0, 8])
@pytest.mark.parametrize("task", ["text-classification", "text-pair-regression"])
def test_numpy_alone_gives_the_logits(tmp_path: Path, task: str, hidden_size: int, vocabulary: str) -> None:
    written = Written(tmp_path, task, vocabulary=vocabulary, hidden_size=hidden_size)
    rows = PAIRS if "pair" in task else TEXTS
    with torch.no_grad():
        wanted = written.student(written.batch(rows)).logits.numpy()
    model, tokenizer = loader.load(written.folder)
    np.testing.assert_allclose(model(*loader.encode(tokenizer, rows)), wanted, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(open_student(written.folder).logits(rows), wanted, atol=1e-4, rtol=1e-4)
    given = {"name": written.data, "limit_train": None, "seed": 0, "text_columns": None, "label_column": None}
    (written.folder / "distillation.json").write_text(json.dumps({"given": given}), encoding="utf-8")
    (exported,) = export(written.folder, format="numpy")
    assert {item.name for item in exported.folder.iterdir()} == {
        "model.safetensors", "config.json", "load.py", "tokenizer.json", "student.json", "export.json",
    }  # fmt: skip
    np.testing.assert_allclose(open_student(exported.folder).logits(rows), wanted, atol=1e-4, rtol=1e-4)
    assert exported.facts["validation"]["numpy"] == pytest.approx(exported.facts["validation"]["torch"])
    with pytest.raises(UsageError, match="int8 is of ONNX; leave int8 out"):
        export(written.folder, format="numpy", int8=True)


def test_the_loader_stands_alone_without_torch_and_is_short(tmp_path: Path) -> None:
    written = Written(tmp_path, "text-classification", vocabulary="trimmed")
    code = LOADER + "assert not [name for name in sys.modules if name in ('torch', 'model2vec', 'pydantic')]\n"
    logits = said_elsewhere(code, str(written.folder), json.dumps(TEXTS))
    with torch.no_grad():
        np.testing.assert_allclose(logits, written.student(written.batch(TEXTS)).logits.numpy(), atol=1e-4, rtol=1e-4)
    assert len((written.folder / "load.py").read_text(encoding="utf-8").splitlines()) < 60


@pytest.mark.slow
@pytest.mark.parametrize("vocabulary", ["full", "trimmed"])
def test_others_open_the_embeddings(tmp_path: Path, vocabulary: str) -> None:
    """The vector of a text, without its n-grams, which those libraries do not have; they scale it to length 1."""
    written = Written(tmp_path, "text-classification", vocabulary=vocabulary, ngrams=1, hidden_size=0)
    with torch.no_grad():
        wanted = written.student(written.batch(TEXTS)).embedding.numpy() / 16**0.5
    short = [row for row, text in enumerate(TEXTS) if len(text) < 60]  # others cut long texts at another place
    for code in (MODEL2VEC, SENTENCE_TRANSFORMERS):
        embeddings = said_elsewhere(code, str(written.folder), json.dumps(TEXTS))
        np.testing.assert_allclose(embeddings[short], wanted[short], atol=1e-5)


def test_the_lines_of_the_card_run(tmp_path: Path) -> None:
    written = Written(tmp_path, "text-pair-regression")
    lines = family_named("static").usage(written.about, True).replace("FOLDER", repr(str(written.folder)))
    done = subprocess.run(
        [sys.executable, "-c", f"{lines}print(logits.shape)"], cwd=written.folder, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["(1,", "1)"], done.stderr
