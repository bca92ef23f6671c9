"""Contextual augmentation with masked language models that are made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_teacher import BAD, GOOD, PLAIN, save_bert, save_masked_lm
from transformers import AutoModelForMaskedLM

from autodistill.augment.contextual import contextual
from autodistill.augment.views import Reader, text_view
from autodistill.errors import ModelError
from autodistill.models.text import encode_split, load_tokenizer
from autodistill.recipe import Recipe
from autodistill.tasks.base import Split

WORDS = {*GOOD, *BAD, *PLAIN, "the", "un"}


@pytest.fixture
def lm(tmp_path: Path) -> str:
    return str(save_masked_lm(tmp_path / "lm"))


def test_words_are_drawn_by_the_models_own_probabilities(lm: str) -> None:
    texts = ["the film, plot"] * 3000
    augmented = contextual(texts, np.random.default_rng(0), "", "cpu", strength=0.2, masked_lm=lm, guesses=4)
    lines = [line.split() for line in augmented]
    assert {len(line) for line in lines} == {3}
    assert all(line[1].endswith(",") for line in lines)  # signs stay where they were
    changed = np.array([[new != old for new, old in zip(line, texts[0].split(), strict=True)] for line in lines])
    assert changed.mean() == pytest.approx(0.2, abs=5 * np.sqrt(0.16 / 9000))  # never the word itself
    assert {word.strip(",") for line in lines for word in line} <= WORDS
    # Rows in which the last word alone was masked: the model's four likeliest words there, by their shares.
    tokenizer, model = load_tokenizer(lm), AutoModelForMaskedLM.from_pretrained(lm).eval()
    encoded = tokenizer("the film, [MASK]", return_tensors="pt")
    with torch.no_grad():
        logits = model(**encoded).logits[0, (encoded["input_ids"][0] == tokenizer.mask_token_id).nonzero().item()]
    likely = {word: logits[tokenizer.convert_tokens_to_ids(word)].item() for word in WORDS - {"plot"}}
    four = sorted(likely, key=lambda word: -likely[word])[:4]
    shares = torch.tensor([likely[word] for word in four]).softmax(0).tolist()
    drawn = [line[2] for line, row in zip(lines, changed, strict=True) if row.tolist() == [False, False, True]]
    assert set(drawn) <= set(four)
    for word, share in zip(four, shares, strict=True):
        assert drawn.count(word) / len(drawn) == pytest.approx(share, abs=5 * np.sqrt(0.25 / len(drawn)))


def test_the_guesses_are_kept_and_depend_on_the_seed(lm: str, isolated_cache: Path) -> None:
    texts = ["the film was good", "3 - 4", "plot " * 30]
    first = contextual(texts, np.random.default_rng(1), "", "cpu", strength=0.5, masked_lm=lm)
    (file,) = isolated_cache.rglob("contextual/*.safetensors")
    made = file.stat().st_mtime_ns
    assert contextual(texts, np.random.default_rng(1), "", "cpu", strength=0.5, masked_lm=lm) == first
    assert file.stat().st_mtime_ns == made
    assert contextual(texts, np.random.default_rng(2), "", "cpu", strength=0.5, masked_lm=lm) != first
    assert first[1] == texts[1]  # no words
    assert contextual(texts, np.random.default_rng(1), "", "cpu", strength=0.0, masked_lm=lm) == texts


def test_batches_make_no_difference_and_what_is_too_long_stays(lm: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = ["film " * length for length in (1, 3, 20, 90)]  # the model has 64 places
    together = contextual(texts, np.random.default_rng(1), "", "cpu", strength=0.5, masked_lm=lm)
    monkeypatch.setattr("autodistill.augment.contextual._LOGITS_AT_ONCE", 1)
    monkeypatch.setenv("AUTODISTILL_CACHE", str(tmp_path / "other"))
    assert contextual(texts, np.random.default_rng(1), "", "cpu", strength=0.5, masked_lm=lm) == together
    words = together[3].split()
    assert len(words) == 90
    assert any(word != "film" for word in words[:60])
    assert set(words[62:]) == {"film"}


def test_the_teachers_checkpoint_is_asked_where_none_is_named(tmp_path: Path, lm: str) -> None:
    texts = ["film plot actor scene music end"] * 8
    tuned = save_bert(tmp_path / "bert")
    recipe = {"task": "text-classification", "teacher": {"model": lm}, "student": {"family": "cnn"}}
    part = Recipe.parse({**recipe, "augmentation": {"kind": "contextual", "strength": 0.5}}).augmentation
    tokenizer = load_tokenizer(tuned)
    original = encode_split(texts, None, tokenizer, 32)
    split = Split(np.zeros(8, dtype=np.int64), texts=texts)
    view = text_view(split, original, Reader(tokenizer, 32, tuned, lm, "cpu"), part, 1, 0)
    assert not torch.equal(view.ids, original.ids)
    with pytest.raises(ModelError, match=r"has no masked-language-model head \(cls.*give augmentation.masked_lm"):
        text_view(split, original, Reader(tokenizer, 32, tuned, str(tuned), "cpu"), part, 1, 0)


def test_a_masked_language_model_that_is_not_to_be_had_is_named_with_the_way_out(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    with pytest.raises(ModelError, match=r"there is no masked language model '.*none' \(.*no such folder.*give augmentation.masked_lm"):
        contextual(["film"], np.random.default_rng(0), "", "cpu", strength=1.0, masked_lm=missing)
