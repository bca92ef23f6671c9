"""Students that are a pretrained encoder, with a tokenizer of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_teacher import ENCODERS, as_sentence_transformer, save_bert, save_encoder, text_dataset

from autodistill.errors import ModelError, RecipeError
from autodistill.models import build_student, count_params, family_of
from autodistill.models.base import StudentContext, TextBatch
from autodistill.models.saved import load_saved_student, save_student
from autodistill.recipe import Recipe

CONTEXT = StudentContext("text-classification", outputs=3, vocab_size=24, max_length=32)


def recipe(folder: Path, task: str = "text-classification", **fields: Any) -> Recipe:
    student = {"family": "encoder", "model": str(folder), **fields}
    return Recipe.parse({"task": task, "teacher": {"model": "x"}, "student": student})


def ragged_batch() -> TextBatch:
    mask = torch.arange(9)[None] < torch.tensor([9, 4, 7, 3])[:, None]
    ids = torch.randint(5, 18, (4, 9), generator=torch.Generator().manual_seed(1)).masked_fill(~mask, 0)
    return TextBatch(ids, mask, torch.zeros_like(ids))


def built(wanted: Recipe, context: StudentContext = CONTEXT) -> Any:
    torch.manual_seed(0)
    return build_student(wanted, context).eval()


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("layers", [None, 1])
def test_a_student_is_the_pretrained_encoder_pooled_or_its_first_layers(tmp_path: Path, kind: str, layers: int | None) -> None:
    wanted = recipe(save_encoder(tmp_path / kind, kind), layers=layers)
    student, batch = built(wanted), ragged_batch()
    reference = transformers.AutoModel.from_pretrained(tmp_path / kind).eval()
    with torch.no_grad():
        said = student(batch, taps=frozenset({"states"}))
        whole = reference(input_ids=batch.ids, attention_mask=batch.mask.long(), output_hidden_states=True)
    # of ModernBERT the last of the states has gone through the last norm; that of one layer cut off has too
    read = whole.last_hidden_state if layers is None else whole.hidden_states[1]
    if layers is not None and kind == "ModernBert":
        read = reference.final_norm(read)
    pooled = torch.stack([row[:length].mean(dim=0) for row, length in zip(read, batch.mask.sum(dim=1), strict=True)])
    torch.testing.assert_close(said.embedding, pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(said.logits, torch.nn.functional.linear(pooled, student.output_layer.weight, student.output_layer.bias))
    assert len(said.states) == 1 + (layers or 2)
    assert count_params(wanted, CONTEXT) == sum(parameter.numel() for parameter in student.parameters())


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_it_is_pooled_as_its_files_say(tmp_path: Path, pooling: str) -> None:
    folder = as_sentence_transformer(save_encoder(tmp_path / "bert", "Bert"), pooling)
    with torch.no_grad():
        said = built(recipe(folder))(ragged_batch(), taps=frozenset({"states"}))
    mask = ragged_batch().mask.unsqueeze(-1)
    wanted = said.states[-1][:, 0] if pooling == "cls" else (said.states[-1] * mask).sum(dim=1) / mask.sum(dim=1)
    torch.testing.assert_close(said.embedding, wanted)


def test_parameters_are_counted_without_weights_and_a_control_is_built_without_them(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "bert", "Bert")
    whole = count_params(recipe(folder), CONTEXT)
    (folder / "model.safetensors").unlink()
    layer = sum(parameter.numel() for parameter in built(recipe(folder, init="random")).model.encoder.encoder.layer[0].parameters())
    assert count_params(recipe(folder, layers=1), CONTEXT) == whole - layer
    assert family_of(recipe(folder).student).untrained(recipe(folder).student).own["init"] == "random"
    with pytest.raises(ModelError, match=r"student '.*bert': the folder has no weights .*; give student.init: random to do without"):
        built(recipe(folder))


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "ModernBert"])
def test_a_saved_student_needs_its_model_no_more(tmp_path: Path, kind: str) -> None:
    folder = as_sentence_transformer(save_encoder(tmp_path / kind, kind), "cls")
    wanted, context = recipe(folder, layers=1), replace(CONTEXT, source=folder)
    student = built(wanted, context)
    save_student(tmp_path / "saved", student.state_dict(), wanted, context, {"task": wanted.task})
    folder.rename(tmp_path / "elsewhere")
    saved = load_saved_student(tmp_path / "saved")
    batch = ragged_batch()
    torch.testing.assert_close(saved.model(batch).logits, student(batch).logits)
    assert saved.tokenizer == tmp_path / "saved"


def test_what_cannot_be_built_is_told(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "bert", "Bert")
    with pytest.raises(RecipeError, match=r"student.layers is 3, and '.*bert' has 2; give at most so many, or none for all"):
        built(recipe(folder, layers=3))
    with pytest.raises(ModelError, match=r"teacher.max_length is 70, but the student '.*bert' has 66 positions; lower it to that"):
        built(recipe(folder), replace(CONTEXT, max_length=70))
    with pytest.raises(ModelError, match=r"student '.*nowhere': there is no such folder"):
        built(recipe(tmp_path / "nowhere"))
    with pytest.raises(RecipeError, match="student.model"):
        Recipe.parse({"task": "text-classification", "teacher": {"model": "x"}, "student": {"family": "encoder"}})
    with pytest.raises(RecipeError, match="does not fit image-classification"):
        recipe(folder, "image-classification")
    (tmp_path / "t5").mkdir()
    transformers.T5Config(vocab_size=24, d_model=8).save_pretrained(tmp_path / "t5")
    with pytest.raises(ModelError, match=r"student '.*t5' \(t5\) is no plain encoder"):
        built(recipe(tmp_path / "t5", init="random"))
