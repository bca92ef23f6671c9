"""Encoders of every family, pooled and read by one linear layer."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tiny_teacher import (
    ENCODERS,
    WORDS,
    as_sentence_transformer,
    image_dataset,
    opened_again,
    pooled_teacher,
    save_bert,
    save_encoder,
    save_tokenizer,
    text_dataset,
)

from autodistill.augment.neighbours import _input_embeddings
from autodistill.errors import ModelError
from autodistill.models import build_student
from autodistill.models.base import StudentContext, TextBatch
from autodistill.models.pooled import pooling_of_files
from autodistill.models.teacher_weights import TeacherWeights
from autodistill.recipe import Recipe, Teacher
from autodistill.teacher.finetune import finetune_teacher
from autodistill.teacher.head import pooling_of
from autodistill.teacher.load import encode, load_teacher, save_teacher, teacher_fingerprint, untrained_teacher

asked = functools.partial(pooled_teacher, pooling="mean")


def batch_of(rows: int = 5) -> TextBatch:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([9, 4, 7, 3, 9])[:rows]
    mask = torch.arange(9)[None, :] < lengths[:, None]
    ids = torch.randint(5, 18, (rows, 9), generator=generator).masked_fill(~mask, 0)
    return TextBatch(ids, mask, torch.zeros_like(ids))


@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_embedding_is_the_pooled_last_state_and_the_logits_are_linear_in_it(tmp_path: Path, family: str, pooling: str) -> None:
    folder = save_encoder(tmp_path / family, family)
    model, _ = untrained_teacher(text_dataset(16), asked(folder, pooling=pooling))
    batch = batch_of()
    reference = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        outputs = model.eval()(batch, taps=frozenset({"states"}))
        read = reference(input_ids=batch.ids, attention_mask=batch.mask.long()).last_hidden_state
        again = torch.nn.functional.linear(outputs.embedding, model.model.head.weight, model.model.head.bias)  # type: ignore[union-attr,operator,arg-type]
    wanted = [row[0] if pooling == "cls" else row[:length].mean(dim=0) for row, length in zip(read, batch.mask.sum(dim=1), strict=True)]
    torch.testing.assert_close(outputs.embedding, torch.stack(wanted), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(outputs.logits, again)
    assert len(outputs.states) == 3  # the embeddings and two layers


@pytest.mark.parametrize("family", ENCODERS)
def test_every_family_is_trained_kept_and_opened_again(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODISTILL_PRECISION", "float32")  # in bfloat16 a row on the edge of two classes may change sides
    dataset, teacher = text_dataset(32), asked(save_encoder(tmp_path / family, family), calibration="temperature")
    kept = finetune_teacher(dataset, teacher, 0, device="cpu")
    model, accuracy = opened_again(kept, dataset, teacher)
    assert accuracy == pytest.approx(kept.score)
    assert kept.probe_score is not None
    assert kept.pooling == pooling_of(model) == "mean"
    assert model.model.config.id2label == {0: "bad", 1: "good"}  # type: ignore[union-attr]
    width = _input_embeddings(kept.folder).shape[1]  # synonyms are looked for among these
    assert width == (16 if family == "Electra" else 32)
    if family != "ModernBert":  # its word embeddings have another name
        assert TeacherWeights(kept.folder).width == width


@pytest.mark.parametrize("pooling", ["mean", "apart"])
def test_attention_can_be_tapped(tmp_path: Path, pooling: str) -> None:
    dataset, teacher = text_dataset(16, pairs=pooling == "apart"), asked(save_encoder(tmp_path / "bert", "Bert"), pooling=pooling)
    model, tokenizer = untrained_teacher(dataset, teacher)
    batch = encode(dataset, dataset.train, tokenizer, teacher).batch(torch.arange(5))
    with torch.no_grad():
        outputs = model.eval()(batch, taps=frozenset({"attention"}))
    assert [part.shape for part in outputs.queries] == [(5, 4, batch.ids.shape[1], 8)] * 2


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_auto_is_what_the_files_say(tmp_path: Path, pooling: str) -> None:
    folder = as_sentence_transformer(save_encoder(tmp_path / "bert", "Bert"), pooling)
    assert pooling_of_files(folder) == pooling
    kept = finetune_teacher(text_dataset(32), asked(folder, pooling="auto", max_steps=0), 0, device="cpu")
    assert kept.pooling == pooling


def test_files_that_say_neither_leave_it_open(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "bert", "Bert")
    assert pooling_of_files(folder) is None
    assert pooling_of_files(as_sentence_transformer(folder, "max")) is None
    (folder / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Pooling"}]))
    assert pooling_of_files(folder) is None


def test_auto_is_else_the_better_of_both_on_validation(tmp_path: Path) -> None:
    dataset, folder = text_dataset(96), save_encoder(tmp_path / "bert", "Bert")
    both = {name: finetune_teacher(dataset, asked(folder, pooling=name, max_steps=0), 0, device="cpu") for name in ("cls", "mean")}
    assert both["cls"].score != both["mean"].score
    kept = finetune_teacher(dataset, asked(folder, pooling="auto", max_steps=0), 0, device="cpu")
    better = max(both, key=lambda name: both[name].score)
    assert (kept.pooling, kept.score) == (better, both[better].score)
    assert load_teacher(kept.folder)[0].model.pooling == better  # type: ignore[union-attr]


def test_the_fingerprint_is_of_the_head_too(tmp_path: Path) -> None:
    dataset, teacher = text_dataset(16), asked(save_encoder(tmp_path / "bert", "Bert"))
    model, tokenizer = untrained_teacher(dataset, teacher)
    fingerprints = set()
    for change in (lambda: None, lambda: model.model.head.bias.data.add_(1), lambda: setattr(model.model, "pooling", "cls")):  # type: ignore[union-attr,operator]
        change()
        folder = tmp_path / f"kept-{len(fingerprints)}"
        folder.mkdir()
        save_teacher(model, tokenizer, dataset, teacher, folder)
        fingerprints.add(teacher_fingerprint(folder))
    assert len(fingerprints) == 3


def test_a_model_that_is_no_encoder_is_told(tmp_path: Path) -> None:
    save_tokenizer(tmp_path / "t5")
    config = transformers.T5Config(vocab_size=20, d_model=16, d_kv=4, d_ff=32, num_layers=1, num_heads=2)
    config.save_pretrained(tmp_path / "t5")
    with pytest.raises(ModelError, match=r"\(t5\) is no plain encoder.*teacher.pooling: model"):
        finetune_teacher(text_dataset(16), asked(tmp_path / "t5", init="scratch"), 0, device="cpu")


def test_positions_are_counted_from_after_the_padding_where_a_family_does_so(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "mpnet", "MPNet")  # 66 positions, two of them before the first token's where the padding's id is 1
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": 1}))
    with pytest.raises(ModelError, match="teacher.max_length is 65, but .* has 64 positions"):
        finetune_teacher(text_dataset(16), asked(folder, max_length=65), 0, device="cpu")


def test_images_are_scaled_for_the_teacher_alone() -> None:
    dataset = image_dataset(32, size=16)
    teacher = Teacher(model="timm:resnet10t", init="scratch", head_init="probe", max_steps=0, image_size=32)
    kept = finetune_teacher(dataset, teacher, 0, device="cpu")
    model, _ = load_teacher(kept.folder)
    inputs = encode(dataset, dataset.validation, None, teacher)
    batch = inputs.batch(torch.arange(4))
    assert batch.pixels.shape == (4, 3, 16, 16)  # type: ignore[union-attr]
    grown = torch.nn.functional.interpolate(batch.pixels, (32, 32), mode="bilinear", antialias=True)  # type: ignore[union-attr]
    with torch.no_grad():
        outputs = model(batch, taps=frozenset({"states"}))
        torch.testing.assert_close(outputs.logits, model.model(grown), atol=1e-4, rtol=1e-4)  # type: ignore[union-attr,operator]
    plain = finetune_teacher(dataset, teacher.model_copy(update={"image_size": None}), 0, device="cpu")
    assert outputs.states[0].shape[-1] == 2 * load_teacher(plain.folder)[0](batch, taps=frozenset({"states"})).states[0].shape[-1]
    assert np.isfinite(kept.score)
    assert kept.score == kept.probe_score


def test_the_old_head_can_start_as_a_probe_too(tmp_path: Path) -> None:
    dataset, folder = text_dataset(48), save_bert(tmp_path / "bert", layers=2)
    kept = finetune_teacher(dataset, asked(folder, pooling="model", max_steps=0), 0, device="cpu")
    assert kept.score == kept.probe_score
    assert kept.pooling == "model"
    assert not (kept.folder / "head.json").exists()


@pytest.mark.parametrize("family", ["Bert", "Roberta", "DistilBert"])
def test_students_start_from_its_layers(tmp_path: Path, family: str) -> None:
    dataset, teacher = text_dataset(32), asked(save_encoder(tmp_path / family, family))
    kept = finetune_teacher(dataset, teacher, 0, device="cpu")
    context = StudentContext("text-classification", 2, vocab_size=5 + len(WORDS), max_length=40, teacher=kept.folder)
    wanted = {"family": "bert", "layers": 2, "hidden_size": 32, "heads": 4}
    recipe = Recipe.parse({"task": "text-classification", "teacher": {"model": "m"}, "student": wanted})
    taps, batch = frozenset({"states"}), batch_of()
    with torch.no_grad():
        mine, its = build_student(recipe, context).eval()(batch, taps=taps), load_teacher(kept.folder)[0](batch, taps=taps)
    for one, other in zip(mine.states, its.states, strict=True):
        torch.testing.assert_close(one[batch.mask], other[batch.mask], atol=1e-4, rtol=1e-3)
