"""The static student: its vectors, gates and n-grams, and the folder that others open."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from test_students import PAIR, STATES, TEXT, pairs_batch, ragged_batch, recipe
from tiny_teacher import ENCODERS, WORDS, save_bert, save_encoder
from torch import Tensor

from autodistill.errors import RecipeError
from autodistill.models import build_student, count_params, family_named
from autodistill.models.base import StudentContext, StudentModule, TextBatch
from autodistill.models.form import TrialReads
from autodistill.models.piece_vectors import encoder_pieces, piece_states, principal_components, rarity
from autodistill.models.teacher_weights import reduced_words
from autodistill.models.text import load_tokenizer
from autodistill.models.used_rows import UsedRows

SPECIAL = (0, 1, 2, 3, 4)
BIGRAMS = {"family": "static", "embedding_size": 12, "hidden_size": 6, "ngrams": 2, "buckets": 32, "init": "random"}
TRIGRAMS = BIGRAMS | {"ngrams": 3, "hidden_size": 0}


def context(folder: Path) -> StudentContext:
    return replace(TEXT, teacher=folder, special=SPECIAL)


def drawn(student: dict[str, Any], context: StudentContext, task: str = "text-classification") -> StudentModule:
    """A student all of whose weights are drawn, the gates and the n-grams too."""
    torch.manual_seed(0)
    built = build_student(recipe(student, task), context).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_()
    return built


@pytest.fixture(scope="module")
def model2vec() -> ModuleType:
    """Model2Vec's own steps. The file stands alone; its package imports skeletoken, which only the extra `distill` brings."""
    package = importlib.util.find_spec("model2vec")
    assert package is not None
    assert package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "distill" / "inference.py"
    spec = importlib.util.spec_from_file_location("model2vec_inference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_start_is_what_model2vec_distils(tmp_path: Path, model2vec: ModuleType) -> None:
    from transformers import AutoModel

    folder = save_bert(tmp_path / "teacher", layers=2, width=32)
    tokenizer = load_tokenizer(folder)
    pieces = list(range(5, 5 + len(WORDS)))
    whole = [[tokenizer.cls_token_id, piece, tokenizer.sep_token_id] for piece in pieces]
    states = model2vec.create_embeddings(AutoModel.from_pretrained(folder), whole, "cpu", 0)
    np.testing.assert_allclose(piece_states(folder, tokenizer, torch.tensor(pieces)), states, atol=1e-5)
    expected = model2vec.apply_pca(states, 8) * model2vec.compute_weights(len(states), 1e-4)[:, None]
    rows = encoder_pieces(folder, 5 + len(WORDS), 8, scale=0.1)
    assert torch.equal(rows[:5], torch.zeros(5, 8))
    assert float(rows[5:].std()) == pytest.approx(0.1, rel=1e-4)
    np.testing.assert_allclose(rows[5:], expected * (0.1 / expected.std(ddof=1)), atol=1e-3)  # they are kept in half precision
    student = build_student(recipe({"family": "static", "embedding_size": 8}), context(folder))
    assert torch.equal(student.get_submodule("embedding").weight, torch.nn.functional.pad(rows, (0, 1)))
    other = build_student(recipe({"family": "static", "embedding_size": 8, "init": "input_embeddings"}), context(folder))
    assert torch.equal(other.get_submodule("embedding").weight[:, :-1], reduced_words(folder, 5 + len(WORDS), 8, 0.1))


def test_rare_pieces_weigh_more() -> None:
    weights = rarity(30_000).double()
    ranks = torch.arange(2, 30_002).double()
    shares = 1 / ranks / (1 / ranks).sum()
    torch.testing.assert_close(weights, 1e-4 / (1e-4 + shares), rtol=1e-5, atol=0.0)
    assert weights[0] < 0.01 < 0.9 < weights[-1]


def test_principal_components_are_those_of_the_singular_value_decomposition() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(50, 6) * torch.tensor([5.0, 0.1, 3.0, 1.0, 0.5, 2.0]) + 7
    u, s, _ = torch.linalg.svd(vectors - vectors.mean(dim=0), full_matrices=False)
    torch.testing.assert_close(principal_components(vectors).abs(), (u * s).abs(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ENCODERS)
def test_any_encoder_reads_pieces(tmp_path: Path, family: str) -> None:
    folder = save_encoder(tmp_path / family, family)
    student = build_student(recipe({"family": "static", "embedding_size": 16}), context(folder))
    weight = student.get_submodule("embedding").weight
    assert weight.isfinite().all()
    assert float(weight[5:, :-1].detach().std()) == pytest.approx(0.1, rel=1e-3)


def test_the_vectors_are_kept_for_the_next_trial(tmp_path: Path, isolated_cache: Path) -> None:
    folder = save_bert(tmp_path / "teacher")
    first = encoder_pieces(folder, 5 + len(WORDS), 8, 0.1)
    (file,) = (isolated_cache / "pieces").glob("*.safetensors")
    stamp = file.stat().st_mtime_ns
    assert torch.equal(encoder_pieces(folder, 5 + len(WORDS), 8, 0.1), first)
    assert file.stat().st_mtime_ns == stamp
    encoder_pieces(save_bert(tmp_path / "other", seed=1), 5 + len(WORDS), 8, 0.1)
    assert len(list((isolated_cache / "pieces").glob("*.safetensors"))) == 2


def bucket(ids: list[int], buckets: int) -> int:
    """As Python's integers, which have no end, say it."""
    return sum(one * factor for one, factor in zip(ids, (1_640_531_527, 1_093_470_553, 805_459_861), strict=False)) % (2**31 - 1) % buckets


def text_vector(table: Tensor, ids: list[int], ngrams: int, buckets: int) -> Tensor:
    """A text's vector, one piece and one n-gram at a time."""
    total = torch.zeros(table.shape[1] - 1)
    rows = [one for one in ids if one not in SPECIAL]
    for size in range(2, ngrams + 1):
        for start in range(len(ids) - size + 1):
            part = ids[start : start + size]
            if not set(part) & set(SPECIAL):
                rows.append(TEXT.vocab_size + bucket(part, buckets))
    for row in rows:
        total += table[row, :-1] * torch.sigmoid(table[row, -1])
    return total / total.norm() * (table.shape[1] - 1) ** 0.5 if rows else total


@pytest.mark.parametrize("student", [BIGRAMS, TRIGRAMS], ids=["bigrams", "trigrams"])
@pytest.mark.parametrize("pairs", [False, True])
def test_a_text_is_the_sum_of_its_gated_pieces_and_ngrams(student: dict[str, Any], pairs: bool) -> None:
    batch = pairs_batch() if pairs else ragged_batch()
    batch.ids[:, 0] = 2
    batch.ids[0, 4] = 3  # in the first row a special token stands between the two texts
    built = drawn(student, replace(PAIR if pairs else TEXT, special=SPECIAL), "text-pair-regression" if pairs else "text-classification")
    table = built.get_submodule("embedding").weight
    assert len(table) == TEXT.vocab_size + 32
    out = built(batch, taps=STATES)
    for row in range(3):
        ids = batch.ids[row][batch.mask[row]].tolist()
        if pairs:
            cut = int((batch.segments[row] == 0)[batch.mask[row]].sum())
            if row:  # nothing stands between the texts here, so an n-gram may cross
                continue
            one, other = (text_vector(table, part, student["ngrams"], 32) for part in (ids[:cut], ids[cut:]))
            expected = torch.cat([one, other, (one - other).abs(), one * other])
        else:
            expected = text_vector(table, ids, student["ngrams"], 32)
        torch.testing.assert_close(out.sentences[1][row], expected, atol=1e-5, rtol=1e-4)
    head = out.sentences[1]
    if student["hidden_size"]:
        hidden = built.get_submodule("hidden")
        head = (head @ hidden.weight.T + hidden.bias).clamp(min=0)
    torch.testing.assert_close(out.embedding, head, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out.logits, built.get_submodule("classifier")(head), atol=1e-5, rtol=1e-4)


def test_tapped_states_are_the_vectors_and_the_gated_vectors() -> None:
    batch = ragged_batch()
    batch.ids[:, 0] = 2
    built = drawn(BIGRAMS, replace(TEXT, special=SPECIAL))
    table = built.get_submodule("embedding").weight
    plain, gated = built(batch, taps=STATES).states
    torch.testing.assert_close(plain, table[batch.ids][..., :-1] * batch.mask.unsqueeze(-1))
    torch.testing.assert_close(gated[:, 1:], (plain * table[batch.ids][..., -1:].sigmoid())[:, 1:])
    assert not gated[:, 0].any()


def test_a_text_without_pieces_has_the_logits_of_the_biases() -> None:
    built = drawn(TRIGRAMS, replace(TEXT, special=SPECIAL))
    ids = torch.tensor([[2, 1, 3]])
    logits = built(TextBatch(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids))).logits
    torch.testing.assert_close(logits[0], built.get_submodule("classifier").bias)
    logits.sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in built.parameters())


@pytest.mark.parametrize("vocabulary", ["full", "trimmed"])
def test_parameters_follow_the_closed_form(vocabulary: str) -> None:
    kept = replace(TEXT, kept_pieces=9)
    rows = (9 if vocabulary == "trimmed" else TEXT.vocab_size) + 32
    assert count_params(recipe(BIGRAMS | {"vocabulary": vocabulary}), kept) == rows * 13 + 12 * 6 + 6 + 6 * 3 + 3


def test_ngrams_that_the_texts_use_are_trained_too() -> None:
    built = drawn(TRIGRAMS, replace(TEXT, special=SPECIAL))
    family = family_named("static")
    ids = torch.tensor([2, 6, 7, 8, 3], dtype=torch.int32)
    form = family.training_form(built, TrialReads(ids=(ids,), pad_id=0))
    assert isinstance(form, UsedRows)
    few = family.word_table(built)
    assert few is not None
    ngrams = {bucket(part, 32) for part in ([2, 6], [6, 7], [7, 8], [8, 3], [2, 6, 7], [6, 7, 8], [7, 8, 3])}
    assert len(few.weight) == 6 + len(ngrams)
    form.restore()


def test_an_encoder_that_is_narrower_is_refused(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "teacher", width=32)
    for init in ("teacher", "input_embeddings"):
        with pytest.raises(RecipeError, match=r"is 48, but with init: teacher it is at most the teacher's 32"):
            build_student(recipe({"family": "static", "embedding_size": 48, "init": init}), context(folder))
