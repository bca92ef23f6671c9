"""Augmentations of texts, against closed forms and literal loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_teacher import BAD, GOOD, PLAIN, save_bert
from tokenizers import Tokenizer, models
from transformers import AutoModel, PreTrainedTokenizerFast

from autodistill.augment.neighbours import nearest_words, vocabulary
from autodistill.augment.text import paraphrase, random_words, span_cutoff, synonyms, token_dropout
from autodistill.errors import DataError, ModelError
from autodistill.models.text import encode_split, load_tokenizer
from autodistill.storage import file_fingerprint


def test_random_words_change_about_the_share_asked_for() -> None:
    words = [f"w{number}" for number in range(200)]
    rng = np.random.default_rng(0)
    assert random_words(words, rng, strength=0.0) == words
    kept = [len(set(random_words(words, rng, strength=0.3))) / 200 for _ in range(50)]
    assert np.mean(kept) == pytest.approx(1 - 0.3 / 3, abs=0.02)  # a third of the operations delete
    assert random_words(["one"], rng, strength=1.0)
    assert all(random_words(["one", "two"], rng, strength=1.0) for _ in range(100))


def test_token_dropout_keeps_special_tokens_and_drops_the_share_asked_for() -> None:
    special = np.zeros(10_000, dtype=bool)
    special[::10] = True
    keep = token_dropout(special, np.random.default_rng(0), strength=0.25)
    assert keep[special].all()
    assert keep[~special].mean() == pytest.approx(0.75, abs=0.02)


def _rows(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of so many ordinary tokens, each between two special ones."""
    special = np.concatenate([[True, *[False] * length, True] for length in lengths])
    return special, np.concatenate([[0], np.cumsum([length + 2 for length in lengths])])


@pytest.mark.parametrize("strength", [0.0, 0.1, 0.3, 0.9])
def test_span_cutoff_leaves_out_one_run_of_the_length_asked_for(strength: float) -> None:
    lengths = [1, 2, 3, 5, 10, 20, 64] * 20
    special, offsets = _rows(lengths)
    keep = span_cutoff(special, offsets, np.random.default_rng(0), strength=strength)
    assert keep[special].all()
    for row, length in enumerate(lengths):
        inside = keep[offsets[row] + 1 : offsets[row + 1] - 1]
        assert (~inside).sum() == min(round(strength * length), length - 1)
        gone = np.flatnonzero(~inside)
        assert len(gone) == 0 or gone[-1] - gone[0] + 1 == len(gone)


def test_span_cutoff_begins_anywhere_equally_often() -> None:
    special, offsets = _rows([10] * 7000)
    keep = span_cutoff(special, offsets, np.random.default_rng(1), strength=0.4).reshape(7000, 12)[:, 1:-1]
    starts = np.bincount((~keep).argmax(axis=1), minlength=7)
    assert len(starts) == 7  # 10 − 4 + 1
    assert starts == pytest.approx(1000, abs=5 * np.sqrt(1000))  # five standard deviations


def test_span_cutoff_of_a_pair_keeps_what_is_between_the_texts() -> None:
    special = np.array([True, False, False, True, False, False, True] * 50)
    keep = span_cutoff(special, np.arange(0, 351, 7), np.random.default_rng(0), strength=0.5)
    assert keep[special].all()
    assert (keep.reshape(50, 7).sum(axis=1) == 5).all()


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return save_bert(tmp_path / "bert")


def test_the_vocabularys_words_are_told_from_pieces_and_signs(bert: Path) -> None:
    tokenizer = load_tokenizer(bert)
    words_of = vocabulary(tokenizer)
    words = {token for token, number in tokenizer.get_vocab().items() if words_of.word[number] >= 0}
    assert words == {*GOOD, *BAD, *PLAIN, "the", "un"}  # no single letter, no piece, nothing special
    assert {token for token, number in tokenizer.get_vocab().items() if words_of.goes_on[number]} == {"##ly", "##s"}


@pytest.mark.parametrize("mark", ["Ġ", "▁"])
def test_words_are_told_by_the_mark_of_a_space_where_pieces_have_none(mark: str) -> None:
    names = ["<s>", "<unk>", f"{mark}Film", f"{mark}film", f"{mark}plot", "ting", "!", f"{mark}7", f"{mark}a", mark]
    backend = Tokenizer(models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>"))
    words_of = vocabulary(PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", unk_token="<unk>"))
    assert words_of.word.tolist() == [-1, -1, 0, 0, 1, -1, -1, -1, -1, -1]
    assert np.flatnonzero(words_of.goes_on).tolist() == [5]


def test_a_tokenizer_that_marks_no_words_is_refused() -> None:
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "film": 1, "plot": 2}, unk_token="<unk>"))
    with pytest.raises(ModelError, match="marks neither pieces"):
        vocabulary(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"))


def test_the_nearest_words_are_those_of_a_literal_loop(bert: Path, isolated_cache: Path) -> None:
    tokenizer = load_tokenizer(bert)
    words_of = vocabulary(tokenizer)
    table = AutoModel.from_pretrained(bert).get_input_embeddings().weight.detach().double()
    sources = np.flatnonzero(words_of.word >= 0)[::2]
    all_nearest = nearest_words(bert, tokenizer, sources, 4)
    for source, nearest in zip(sources, all_nearest, strict=True):
        others = [one for one in range(len(words_of.word)) if words_of.word[one] >= 0 and one != source]
        cosine = [torch.cosine_similarity(table[source], table[one], dim=0).item() for one in others]
        assert nearest.tolist() == [others[place] for place in np.argsort(cosine)[::-1][:4]]
    (file,) = isolated_cache.rglob("neighbours/*.safetensors")
    changed = file.stat().st_mtime_ns
    assert np.array_equal(nearest_words(bert, tokenizer, sources, 4), all_nearest)
    assert file.stat().st_mtime_ns == changed
    other = save_bert(bert.parent / "other", seed=1)
    assert file_fingerprint(other / "model.safetensors") != file_fingerprint(bert / "model.safetensors")
    assert not np.array_equal(nearest_words(other, tokenizer, sources, 4), all_nearest)


def test_synonyms_replace_the_share_of_words_asked_for_and_nothing_else(bert: Path) -> None:
    tokenizer = load_tokenizer(bert)
    encoded = encode_split(["the film a unly plots actor"] * 3000, None, tokenizer, 32)
    ids = encoded.ids.numpy()
    assert tokenizer.tokenize("the film a unly plots actor") == ["the", "film", "a", "un", "##ly", "plot", "##s", "actor"]
    new = synonyms(ids, np.random.default_rng(3), tokenizer, bert, strength=0.3, neighbours=2)
    changed = (new != ids).reshape(3000, 10)
    words = [1, 2, 8]  # the, film, actor: the only words that are one token
    assert changed[:, words].mean() == pytest.approx(0.3, abs=5 * np.sqrt(0.3 * 0.7 / 9000))
    assert not np.delete(changed, words, axis=1).any()
    for place in words:
        nearest = nearest_words(bert, tokenizer, np.unique(ids[[1, 2, 8]]), 2)[np.searchsorted(np.unique(ids[[1, 2, 8]]), ids[place])]
        drawn = new.reshape(3000, 10)[changed[:, place], place]
        assert set(drawn.tolist()) == set(nearest.tolist())
        assert (drawn == nearest[0]).mean() == pytest.approx(0.5, abs=0.1)
    assert np.array_equal(synonyms(ids, np.random.default_rng(3), tokenizer, bert, strength=0.3, neighbours=2), new)
    assert np.array_equal(synonyms(ids, np.random.default_rng(3), tokenizer, bert, strength=0.0), ids)


def _table(path: Path, **columns: list[Any]) -> str:
    pd.DataFrame(columns).to_parquet(path)
    return str(path)


def test_a_text_becomes_one_of_its_paraphrases_and_others_stay(tmp_path: Path) -> None:
    path = _table(
        tmp_path / "said.parquet",
        text=["a film", "a film", "a plot", "a scene", "else"],
        paraphrase=["one film", "some film", None, "  ", "other"],
        score=[1, 2, 3, 4, 5],
    )
    texts = ["a film"] * 2000 + ["a plot", "a scene", "an end"]
    augmented = paraphrase(texts, np.random.default_rng(0), path=path)
    assert augmented[2000:] == texts[2000:]
    assert set(augmented[:2000]) == {"one film", "some film"}
    assert augmented[:2000].count("one film") == pytest.approx(1000, abs=5 * np.sqrt(500))
    assert paraphrase(texts, np.random.default_rng(0), path=path) == augmented


def test_a_file_that_is_no_table_of_paraphrases_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match=r"there is no file .*none\.parquet"):
        paraphrase(["a"], rng, path=str(tmp_path / "none.parquet"))
    with pytest.raises(DataError, match="has no column paraphrase, only text, said"):
        paraphrase(["a"], rng, path=_table(tmp_path / "columns.parquet", text=["a"], said=["b"]))
    pd.DataFrame({"text": ["a", "b"], "paraphrase": ["c", 7]}).to_json(tmp_path / "n.jsonl", orient="records", lines=True)
    with pytest.raises(DataError, match=r"row 2 \(line 2\): text is 'b' and paraphrase 7"):
        paraphrase(["a"], rng, path=str(tmp_path / "n.jsonl"))
    with pytest.raises(DataError, match="none of the 1 training texts is in the column text"):
        paraphrase(["a"], rng, path=_table(tmp_path / "other.parquet", text=["b"], paraphrase=["c"]))
