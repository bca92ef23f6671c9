"""Teachers of sentence embeddings, beside sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize
from tiny_teacher import as_sentence_transformer, save_encoder, texts

from autodistill.errors import ModelError
from autodistill.models.base import StudentContext
from autodistill.recipe import Teacher
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.teacher.load import load_teacher
from autodistill.teacher.members import trained_teacher
from autodistill.teacher.outputs import ensure_outputs
from autodistill.train.data import open_inputs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Pairs of made sentences, rated at random."""
    place = tmp_path_factory.mktemp("pairs") / "a.parquet"
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"sentence1": texts(80)[0], "sentence2": texts(80, seed=1)[0], "score": rng.uniform(0, 5, 80)})
    frame.to_parquet(place)
    return load_dataset(DatasetRef(str(place), task="embedding"), with_test=True)


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(("family", "pooling"), [("Bert", "mean"), ("MPNet", "cls")])
def test_its_vectors_are_those_of_sentence_transformers(tmp_path: Path, data: Dataset, family: str, pooling: str) -> None:
    from sentence_transformers import SentenceTransformer

    source = as_sentence_transformer(save_encoder(tmp_path / "encoder", family), pooling)
    teacher = Teacher(model=str(source), pooling="auto", epochs=0, max_length=32)
    trained = trained_teacher(data, teacher, 0, device="cpu")
    assert trained.pooling == pooling
    expected = SentenceTransformer(str(source), device="cpu").encode(data.validation.texts, normalize_embeddings=True)
    opened = open_inputs(data, teacher, trained.folder)
    judged = opened.dataset
    assert (judged.width, judged.num_outputs, opened.context.num_outputs) == (32, 32, 32)
    np.testing.assert_allclose(judged.validation.labels[:, 1:], expected, atol=2e-5)
    np.testing.assert_array_equal(judged.validation.labels[:, 0], data.validation.labels[:, 0])
    assert judged.open_test().labels.shape == (len(data.open_test()), 33)
    scores = judged.target.evaluate("sts_spearman", expected, judged.validation.labels)
    assert trained.score == pytest.approx(scores["sts_spearman"], abs=1e-3)
    assert scores["teacher_agreement"] == pytest.approx(1.0, abs=1e-6)
    assert trained_teacher(data, teacher, 0, device="cpu").reused
    model, _ = load_teacher(trained.folder)
    model.model.unit_length = False
    lengths = model(opened.validation.batch(torch.arange(len(data.validation)))).logits.norm(dim=1)
    assert lengths.mean().item() == pytest.approx(32**0.5, rel=1e-4)  # as long as what students learn


@pytest.mark.usefixtures("float32")
def test_vectors_are_reduced_to_the_principal_directions(tmp_path: Path, data: Dataset) -> None:
    """Beside scikit-learn's truncated SVD; the scores compare what is left with the full vectors."""
    source = as_sentence_transformer(save_encoder(tmp_path / "encoder", "Bert"), "mean")
    whole, reduced = (Teacher(model=str(source), pooling="auto", epochs=0, max_length=32, vector_size=size) for size in (None, 4))
    full = open_inputs(data, whole, trained_teacher(data, whole, 0, device="cpu").folder)
    trained = trained_teacher(data, reduced, 0, device="cpu")
    opened = open_inputs(data, reduced, trained.folder)
    judged = opened.dataset
    assert (judged.width, opened.context.num_outputs, judged.validation.labels.shape[1]) == (4, 4, 1 + 4 + 32)
    every = ensure_outputs(data, "train", full.train, full.folder).column("logits").numpy()
    held = full.dataset.validation.labels[:, 1:]
    expected = TruncatedSVD(4, algorithm="arpack").fit(every).transform(held)
    found = judged.validation.labels[:, 1:5]
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(found @ found.T, (unit := normalize(expected)) @ unit.T, atol=1e-4)
    scores = judged.target.evaluate("sts_spearman", found, judged.validation.labels)
    expected_scores = full.dataset.target.evaluate("sts_spearman", found, full.dataset.validation.labels)
    assert scores == pytest.approx(expected_scores, abs=2e-3)
    assert trained.score == pytest.approx(scores["sts_spearman"], abs=1e-3)
    assert scores["teacher_agreement"] < 0.999
    assert judged.target.to_learn(judged.validation.labels, judged.target.scaling(judged.validation.labels)).shape[1] == 4
    with pytest.raises(ModelError, match=r"teacher\.vector_size is 64, and the vectors of .* have 32 numbers"):
        trained_teacher(data, reduced.model_copy(update={"vector_size": 64}), 0)


def test_random_weights_are_drawn_with_the_seed(tmp_path: Path, data: Dataset) -> None:
    teacher = Teacher(model=str(save_encoder(tmp_path / "encoder", "Bert")), init="random", max_length=32)
    first, again, other = (trained_teacher(data, teacher, seed, device="cpu") for seed in (0, 0, 1))
    assert first.folder == again.folder != other.folder


@pytest.mark.parametrize(
    ("modules", "pooling", "message"),
    [
        (["Transformer", "Pooling", "Dense"], "mean", "Dense is not read"),
        (["Transformer", "Pooling"], "max", "pools its tokens in another way than by mean or cls"),
    ],
)
def test_what_is_not_read_is_refused(tmp_path: Path, data: Dataset, modules: list[str], pooling: str, message: str) -> None:
    source = as_sentence_transformer(save_encoder(tmp_path / "encoder", "Bert"), pooling)
    listed = json.loads((source / "modules.json").read_text())
    listed += [{"path": "2", "type": f"sentence_transformers.models.{kind}"} for kind in modules[2:]]
    (source / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(ModelError, match=message):
        trained_teacher(data, Teacher(model=str(source), max_length=32), 0)
    with pytest.raises(ModelError, match="nothing can be trained from scratch"):
        trained_teacher(data, Teacher(model=str(source), init="scratch", max_length=32), 0)


def test_a_context_of_vectors_needs_no_pairs() -> None:
    assert not StudentContext("text-embedding", 32).pairs
