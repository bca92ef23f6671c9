"""Sentence embeddings from texts to a folder that sentence-transformers opens: teacher, distillation, card, ONNX, numpy and predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tiny_teacher import as_sentence_transformer, save_encoder, texts
from world import STUDENTS, said_elsewhere

from autodistill.cli.main import main
from autodistill.errors import RecipeError, UsageError
from autodistill.export.distill import Distilled, distill
from autodistill.export.onnx import export
from autodistill.export.student import load_student
from autodistill.models import build_student
from autodistill.models.base import StudentContext
from autodistill.recipe import Recipe

ASKED = ["good film", "the sad plot", "music music scene"]
OWN = {"ngrams": 1, "hidden_size": 0}
WITH_LIBRARY: dict[str, dict[str, Any]] = {
    "static": OWN,
    "static, hidden": {"hidden_size": 8, "ngrams": 1, "vocabulary": "trimmed"},
    "bert-mean": {},
    "encoder": {},
}


class EmbeddingWorld:
    """Rated pairs on the disk, a random encoder as the teacher, and recipes for them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, str(folder / "data.parquet")
        rng = np.random.default_rng(0)
        pairs = {"text": texts(150)[0], "text_b": texts(150, seed=1)[0], "score": rng.uniform(0, 5, 150)}
        pd.DataFrame(pairs).to_parquet(self.data)
        self.source = as_sentence_transformer(save_encoder(folder / "base", "Bert"), "mean")

    def recipe(self, family: str, vector_size: int | None = None, **student: object) -> Recipe:
        part = STUDENTS[family.partition(",")[0]] | student
        if family == "encoder":
            part |= {"model": str(save_encoder(self.folder / "encoder", "MPNet"))}
        objective = {"hard_label_weight": 0.0, "prediction": {"kind": "mse"}, "relation": {"kind": "sp", "weight": 10.0}}
        return Recipe.parse(
            {
                "task": "text-embedding",
                "teacher": {"model": str(self.source), "pooling": "auto", "epochs": 0, "max_length": 16, "vector_size": vector_size},
                "student": part,
                "objective": objective,
                "training": {"epochs": 2, "batch_size": 16, "learning_rate": 1e-2, "unlabelled_share": 0.5},
            }
        )

    def distill(self, family: str, vector_size: int | None = None, **student: object) -> Distilled:
        more = [f"the {word} lovely music" for word in ("good", "bad", "film", "plot")]
        out = self.folder / f"{family.replace(', ', '-')}-student"
        return distill(
            self.recipe(family, vector_size, **student), self.data, out, task="embedding", seeds=1, unlabelled=more, overwrite=True
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingWorld:
    return EmbeddingWorld(tmp_path_factory.mktemp("vectors"))


@pytest.mark.usefixtures("float32")
@pytest.mark.slow
@pytest.mark.parametrize(("family", "vector_size"), [("static", None), ("static, hidden", 8), ("bert-mean", 8), ("encoder", None)])
def test_sentence_transformers_gives_the_same_vectors(world: EmbeddingWorld, family: str, vector_size: int | None) -> None:
    distilled = world.distill(family, vector_size, **WITH_LIBRARY[family])
    found = distilled.open().predict(ASKED)
    assert found.shape == (3, vector_size or 32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    opened = SentenceTransformer(str(distilled.folder), device="cpu")
    np.testing.assert_allclose(opened.encode(ASKED), found, atol=1e-5)
    facts = distilled.facts
    assert facts["dataset"]["metric"] == "sts_spearman"
    assert set(facts["student"]["test_metrics"]) == {"sts_spearman", "teacher_agreement"}
    agreement = facts["teacher"]["test_metrics"]["teacher_agreement"]
    assert agreement == pytest.approx(1.0) if vector_size is None else 0.5 < agreement < 0.9999
    if vector_size is None:  # two epochs that random ratings choose from say nothing in 8 dimensions
        assert facts["no_kd"][0]["test_metrics"]["teacher_agreement"] < facts["student"]["test_metrics"]["teacher_agreement"]
    card = (distilled.folder / "README.md").read_text()
    assert "no KD (the same student, untrained)" in card
    assert "SentenceTransformer(FOLDER)" in card
    assert "pipeline_tag: sentence-similarity" in card


@pytest.mark.slow
@pytest.mark.parametrize("family", ["cnn", "bilstm", "static"])
def test_what_load_py_and_exported_files_say(world: EmbeddingWorld, family: str, capsys: pytest.CaptureFixture[str]) -> None:
    distilled = world.distill(family, **(OWN if family == "static" else {}))
    found = distilled.open().predict(ASKED)
    code = "import sys; sys.path.insert(0, sys.argv[1])\nfrom load import encode, load\nmodel, tokenizer = load(sys.argv[1])\n"
    said = said_elsewhere(f"{code}logits = model(*encode(tokenizer, sys.argv[2:]))", str(distilled.folder), *ASKED)
    np.testing.assert_allclose(said, found, atol=1e-5)
    for form in ("onnx", "numpy")[: 2 if family == "static" else 1]:
        (exported,) = export(distilled.folder, format=form)
        np.testing.assert_allclose(load_student(exported.folder).predict(ASKED), found, atol=1e-5)
    small = export(distilled.folder, int8=True, overwrite=True)[1]
    rounded = np.asarray(load_student(small.folder).predict(ASKED))
    cosines = np.sum(rounded * found, axis=1) / np.linalg.norm(rounded, axis=1)  # those that were found have length 1
    assert cosines.min() > 0.98
    assert main(["predict", str(distilled.folder), *ASKED, "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose([answer["vector"] for answer in answers], found, atol=1e-6)
    assert main(["predict", str(distilled.folder), *ASKED]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("…\tgood film")
    out = distilled.folder.parent / "vectors.csv"
    assert main(["predict", str(distilled.folder), *ASKED, "--out", str(out)]) == 0
    np.testing.assert_allclose([json.loads(cell) for cell in pd.read_csv(out)["vector"]], found, atol=1e-6)
    with pytest.raises(UsageError, match="scores or vectors, which have no probabilities"):
        distilled.open().predict_proba(ASKED)


def test_an_untrained_static_student_has_the_cosines_of_its_sums(world: EmbeddingWorld) -> None:
    recipe = world.recipe("static", **OWN)
    context = StudentContext("text-embedding", 32, vocab_size=24, special=(0, 1, 2, 3, 4), teacher=world.source)
    student = build_student(recipe, context).eval()
    sums = torch.randn(5, 16)
    ours, theirs = (torch.nn.functional.normalize(vectors, dim=1) for vectors in (student.output_layer(sums), sums))
    torch.testing.assert_close(ours @ ours.T, theirs @ theirs.T)
    torch.testing.assert_close(student.output_layer(sums).norm(dim=1), sums.norm(dim=1) * (32 / 16) ** 0.5)


@pytest.mark.parametrize(
    ("family", "student", "message"),
    [("static", {"ngrams": 2}, "student.ngrams is 2"), ("bert", {}, "a bert student .* has pooling: mean")],
)
def test_students_that_no_folder_can_hold_are_refused(world: EmbeddingWorld, family: str, student: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_student(world.recipe(family, **student), StudentContext("text-embedding", 32, vocab_size=24))
