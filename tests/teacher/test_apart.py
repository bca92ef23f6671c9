"""Teachers of pairs whose texts are read apart."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_teacher import ENCODERS, as_sentence_transformer, opened_again, pooled_teacher, save_encoder, text_dataset

from autodistill.errors import ModelError, RecipeError
from autodistill.models.pooled import HEAD_FILE, read_head
from autodistill.models.pooling import texts_apart, texts_together
from autodistill.models.teacher_weights import TeacherWeights
from autodistill.recipe import Recipe
from autodistill.teacher import text
from autodistill.teacher.finetune import FACTS, finetune_teacher
from autodistill.teacher.head import pooling_of
from autodistill.teacher.load import encode, untrained_teacher
from autodistill.teacher.text import ends_of

PAIRS = text_dataset(24, pairs=True)


asked = functools.partial(pooled_teacher, pooling="apart")


@pytest.mark.parametrize("separators", [1, 2])
def test_pairs_become_two_texts_and_their_states_come_back_to_the_pairs_places(separators: int) -> None:
    """<s> 1, </s> 2, padding 0: of one row the first text is longer, of the other the second."""
    between = [2] * separators
    rows = [[1, 7, 8, 9, *between, 5, 2], [1, 6, *between, 4, 3, 5, 8, 2]]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[place < len(row) for place in range(width)] for row in rows])
    alone, counted = texts_apart(ids, mask, (1, 2), 0)
    texts = [[1, 7, 8, 9, 2], [1, 6, 2], [1, 5, 2], [1, 4, 3, 5, 8, 2]]
    assert [row[kept].tolist() for row, kept in zip(alone, counted, strict=True)] == texts
    assert alone.shape == (4, 6)
    assert (alone[~counted] == 0).all()

    back = texts_together(alone.unsqueeze(-1), ids, mask, (1, 2)).squeeze(-1)
    begins = torch.zeros_like(mask)  # the second of two separators stands for the second text's <s>
    if separators == 2:
        begins[0, 5] = begins[1, 3] = True
    assert back[mask & ~begins].tolist() == ids[mask & ~begins].tolist()
    assert (back[begins] == 1).all()


@pytest.mark.parametrize("family", ENCODERS)
def test_each_text_is_read_as_if_it_were_alone(tmp_path: Path, family: str) -> None:
    folder = save_encoder(tmp_path / family, family)
    model, tokenizer = untrained_teacher(PAIRS, asked(folder))
    rows = torch.arange(5)
    batch = encode(PAIRS, PAIRS.train, tokenizer, asked(folder)).batch(rows)
    reference = transformers.AutoModel.from_pretrained(folder).eval()

    def vector(text: str) -> tuple[torch.Tensor, torch.Tensor]:
        read = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            states = reference(input_ids=read["input_ids"], attention_mask=read["attention_mask"]).last_hidden_state[0]
        return states.mean(dim=0), states

    with torch.no_grad():
        outputs = model.eval()(batch, taps=frozenset({"states"}))
    assert PAIRS.train.texts is not None
    assert PAIRS.train.text_pairs is not None
    for row, (one, other) in enumerate(zip(PAIRS.train.texts[:5], PAIRS.train.text_pairs[:5], strict=True)):
        (u, first), (v, second) = vector(one), vector(other)
        torch.testing.assert_close(outputs.embedding[row], torch.cat([u, v, (u - v).abs(), u * v]), atol=1e-4, rtol=1e-4)
        pair = int(batch.mask[row].sum())
        torch.testing.assert_close(outputs.states[-1][row, : len(first)], first, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(outputs.states[-1][row, pair - len(second) + 1 : pair], second[1:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_it_is_kept_and_opened_again_with_its_head(tmp_path: Path, pooling: str) -> None:
    """A student that also reads texts apart starts from this head, one that reads both as one does not."""
    teacher = asked(as_sentence_transformer(save_encoder(tmp_path / "bert", "Bert"), pooling), calibration="temperature")
    kept = finetune_teacher(PAIRS, teacher, 0, device="cpu")
    model, accuracy = opened_again(kept, PAIRS, teacher)
    assert accuracy == pytest.approx(kept.score)
    assert kept.pooling == pooling_of(model) == "apart"
    assert kept.probe_score is not None
    assert kept.score >= kept.probe_score - 1 / len(PAIRS.validation) ** 0.5  # which no standard error of a difference exceeds
    assert TeacherWeights(kept.folder).pooled_head(pooling) is None
    head = TeacherWeights(kept.folder).pooled_head(pooling, apart=True)
    assert head is not None
    assert torch.equal(head[0], model.output_layer.weight)
    facts = json.loads((kept.folder / HEAD_FILE).read_text(encoding="utf-8"))
    assert facts["pooling"] == pooling
    (kept.folder / HEAD_FILE).write_text(json.dumps(facts | {"pooling": "apart"}), encoding="utf-8")  # as teachers were written once
    earlier = read_head(kept.folder)
    assert earlier is not None
    assert earlier.pooling == "mean"  # which is what they computed


@pytest.mark.parametrize("alike", [True, False])
def test_auto_keeps_the_better_of_both_ways_to_read_pairs(tmp_path: Path, alike: bool) -> None:
    """Whether two texts are equal can be seen where both vectors are compared; a rule about the first text alone needs no comparison."""
    folder = as_sentence_transformer(save_encoder(tmp_path / "bert", "Bert"), "mean")
    dataset = equal_or_not() if alike else PAIRS
    teachers = {name: asked(folder, pooling=name, max_steps=0) for name in ("mean", "apart")}
    scores = {name: finetune_teacher(dataset, teacher, 0, device="cpu").score for name, teacher in teachers.items()}
    kept = finetune_teacher(dataset, asked(folder, pooling="auto", max_steps=0), 0, device="cpu")
    assert kept.score == max(scores.values())
    assert kept.pooling == max(scores, key=lambda name: scores[name])  # of equal ones the first, the mean
    assert json.loads((kept.folder / FACTS).read_text())["score_by_pooling"] == scores
    if alike:
        assert kept.pooling == "apart"
        assert kept.score > 0.9


def equal_or_not() -> Any:
    """Pairs of which half are the same text twice."""
    rng = np.random.default_rng(0)
    splits = []
    for split in (text_dataset(120).train, text_dataset(120, seed=1).train):
        labels = rng.integers(0, 2, len(split)).astype(np.int64)
        assert split.texts is not None
        others = split.texts[1:] + split.texts[:1]
        pairs = [text if label else other for text, other, label in zip(split.texts, others, labels, strict=True)]
        splits.append(dataclasses.replace(split, text_pairs=pairs, labels=labels))
    return dataclasses.replace(PAIRS, train=splits[0], validation=splits[1])


def test_only_pairs_can_be_read_apart_and_only_with_a_separator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"task": "text-classification", "teacher": {"model": "m", "pooling": "apart"}, "student": {"family": "cnn"}}
    with pytest.raises(RecipeError, match="teacher.pooling is 'apart'; for text-classification it can be auto, model, mean, cls"):
        Recipe.parse(data)
    assert Recipe.parse(data | {"task": "text-pair-classification"}).teacher.pooling == "apart"
    assert ends_of(lambda *texts: {"input_ids": [5, 6] * len(texts)}) is None
    assert ends_of(lambda *texts: {"input_ids": [1, *[5] * len(texts), 2]}) is None  # nothing between two texts
    monkeypatch.setattr(text, "ends_of", lambda tokenizer: None)
    folder = save_encoder(tmp_path / "bert", "Bert")
    with pytest.raises(ModelError, match="puts no separator between two texts, so it cannot read them apart"):
        untrained_teacher(PAIRS, asked(folder))
    assert not PAIRS.modality.reads_apart(asked(folder))
