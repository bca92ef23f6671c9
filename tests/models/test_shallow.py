"""Students that are their teacher's own network with fewer layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_teacher import ENCODERS, save_bert, save_encoder, text_dataset
from torch import nn

import autodistill
from autodistill.errors import RecipeError
from autodistill.models import build_student, count_params, untrained
from autodistill.models.base import StudentContext, TextBatch
from autodistill.models.pooled import PooledClassifier, PooledHead, classifier, read_head, write_head
from autodistill.models.saved import load_saved_student, save_student
from autodistill.models.shallow import kept_layers
from autodistill.recipe import Recipe
from autodistill.tasks.base import Dataset
from autodistill.train.data import Opened, open_inputs, read_by_student


def recipe(layers: int, task: str = "text-classification", objective: dict[str, Any] | None = None, **fields: Any) -> Recipe:
    student = {"family": "shallow", "layers": layers, **fields}
    return Recipe.parse({"task": task, "teacher": {"model": "x"}, "student": student, "objective": objective or {}})


def opened(folder: Path, wanted: Recipe, data: Dataset | None = None) -> Opened:
    """A dataset as a student reads it whose fine-tuned teacher lies in a folder."""
    return read_by_student(open_inputs(data or text_dataset(32), wanted.teacher, folder), wanted)


def with_head(folder: Path, outputs: int = 2, ends: tuple[int, int] | None = None) -> Path:
    """Give an encoder's folder a head, as a fine-tuned teacher's has."""
    torch.manual_seed(1)
    encoder = transformers.AutoModel.from_pretrained(folder)
    width = PooledClassifier(encoder, "cls", outputs, ends).head.in_features
    write_head(folder, classifier(encoder, PooledHead(torch.randn(outputs, width), torch.randn(outputs), "cls", ends)))
    return folder


def test_the_kept_layers_are_the_last_of_equal_parts() -> None:
    assert kept_layers(12, 6) == [1, 3, 5, 7, 9, 11]
    assert kept_layers(6, 3) == [1, 3, 5]
    assert kept_layers(6, 4) == [1, 2, 4, 5]
    assert kept_layers(3, 3) == [0, 1, 2]
    assert kept_layers(12, 6, with_first=True) == [0, 2, 4, 7, 9, 11]
    assert kept_layers(22, 1, with_first=True) == [0]
    with pytest.raises(RecipeError, match="student.layers is 4, and the teacher has 3"):
        kept_layers(3, 4)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_student_is_its_teacher_without_some_layers(tmp_path: Path, kind: str) -> None:
    folder = with_head(save_encoder(tmp_path / kind, kind, layers=4))
    wanted = recipe(2)
    reads = opened(folder, wanted)
    batch = reads.validation.batch(torch.arange(6))
    whole = transformers.AutoModel.from_pretrained(folder).eval()
    layers = next(part for part in whole.modules() if isinstance(part, nn.ModuleList) and len(part) == 4)
    for index in (2, 1) if kind == "ModernBert" else (2, 0):  # the second and the fourth stay; of ModernBERT the first and the fourth
        del layers[index]
    student = build_student(wanted, reads.context).eval()
    with torch.no_grad():
        read = whole(input_ids=batch.ids, attention_mask=batch.mask.long()).last_hidden_state
        said = student(batch, taps=frozenset({"states"}))
    torch.testing.assert_close(said.embedding, read[:, 0], atol=1e-5, rtol=1e-5)
    assert len(said.states) == 3
    assert count_params(wanted, reads.context) == sum(parameter.numel() for parameter in student.parameters())


def test_of_a_bert_it_is_the_bert_student_of_the_same_width(tmp_path: Path) -> None:
    folder = with_head(save_bert(tmp_path / "bert", layers=4))
    for vocabulary in ("full", "trimmed"):
        wanted = recipe(2, vocabulary=vocabulary)
        reads = opened(folder, wanted)
        other = {"family": "bert", "layers": 2, "hidden_size": 32, "heads": 4, "pooling": "mean", "vocabulary": vocabulary}
        bert = build_student(Recipe.parse(wanted.model_dump() | {"student": other}), reads.context).eval()
        student, batch = build_student(wanted, reads.context).eval(), reads.validation.batch(torch.arange(8))
        with torch.no_grad():
            ours, theirs = (model(batch, taps=frozenset({"states"})).states[-1] for model in (student, bert))
        torch.testing.assert_close(ours, theirs)
        assert count_params(wanted, reads.context) == sum(parameter.numel() for parameter in student.parameters())


def test_all_layers_give_the_teachers_own_logits_also_of_pairs_that_are_read_apart(tmp_path: Path) -> None:
    data = text_dataset(32, pairs=True)
    folder = with_head(save_bert(tmp_path / "bert", layers=2), ends=(2, 3))
    wanted = recipe(2, "text-pair-classification")
    reads = opened(folder, wanted, data)
    batch: TextBatch = reads.validation.batch(torch.arange(8))
    head = read_head(folder)
    assert head is not None
    teacher = classifier(transformers.AutoModel.from_pretrained(folder), head).eval()
    with torch.no_grad():
        said = build_student(wanted, reads.context).eval()(batch).logits
        true = teacher(batch.ids, batch.mask.long(), token_type_ids=batch.segments).logits
    torch.testing.assert_close(said, true)


def save_classifier(folder: Path, kind: str, outputs: int = 2, layers: int = 4) -> Path:
    """A classifier as transformers writes it."""
    config = transformers.AutoConfig.from_pretrained(save_encoder(folder, kind, layers=layers), num_labels=outputs)
    torch.manual_seed(1)
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_classification_head_of_the_teachers_own_is_kept(tmp_path: Path, kind: str) -> None:
    folder, wanted = save_classifier(tmp_path / kind, kind), recipe(2)
    reads = opened(folder, wanted)
    batch = reads.validation.batch(torch.arange(6))
    whole = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    layers = next(part for part in whole.modules() if isinstance(part, nn.ModuleList) and len(part) == 4)
    for index in (2, 1) if kind == "ModernBert" else (2, 0):
        del layers[index]
    student = build_student(wanted, reads.context).eval()
    with torch.no_grad():
        said, true = student(batch).logits, whole(input_ids=batch.ids, attention_mask=batch.mask.long()).logits
    torch.testing.assert_close(said, true, atol=1e-5, rtol=1e-5)
    assert count_params(wanted, reads.context) == sum(parameter.numel() for parameter in student.parameters())
    save_student(tmp_path / "saved", student.state_dict(), wanted, reads.context, {})
    with torch.no_grad():
        torch.testing.assert_close(load_saved_student(tmp_path / "saved").model(batch).logits, said)
    blank = build_student(untrained(wanted), reads.context).state_dict()
    assert blank.keys() == student.state_dict().keys()


def test_a_head_of_scores_is_kept_on_the_scale_that_is_learned(tmp_path: Path) -> None:
    folder, data, wanted = save_classifier(tmp_path / "scores", "MPNet", 1), text_dataset(32, regression=True), recipe(4, "text-regression")
    reads = opened(folder, wanted, data)
    batch = reads.validation.batch(torch.arange(6))
    whole = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        said, true = build_student(wanted, reads.context).eval()(batch).logits, whole(batch.ids, batch.mask.long()).logits
    assert reads.context.target_scale > 1
    torch.testing.assert_close(said * reads.context.target_scale + reads.context.target_mean, true, atol=1e-3, rtol=1e-4)


def test_sentence_embeddings_start_where_the_teachers_lie(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "mpnet", "MPNet")
    wanted = recipe(2, "text-embedding", objective={"hard_label_weight": 0.0, "prediction": {"kind": "cosine"}})
    context = StudentContext("text-embedding", num_outputs=32, vocab_size=24, max_length=32, source=folder)
    batch = opened(folder, recipe(2)).validation.batch(torch.arange(6))
    with torch.no_grad():
        said = build_student(wanted, context).eval()(batch)
        states = transformers.AutoModel.from_pretrained(folder).eval()(batch.ids, batch.mask.long()).last_hidden_state
    torch.testing.assert_close(said.logits, batch.mean(states))


@pytest.mark.parametrize("kind", ["MPNet", "ModernBert"])
@pytest.mark.parametrize("vocabulary", ["full", "trimmed"])
def test_a_saved_student_is_the_same_when_it_is_read_back(tmp_path: Path, kind: str, vocabulary: str) -> None:
    wanted = recipe(2, vocabulary=vocabulary)
    reads = opened(with_head(save_encoder(tmp_path / kind, kind, layers=4)), wanted)
    student, batch = build_student(wanted, reads.context).eval(), reads.validation.batch(torch.arange(6))
    save_student(tmp_path / "saved", student.state_dict(), wanted, reads.context, {})
    back = load_saved_student(tmp_path / "saved")
    with torch.no_grad():
        torch.testing.assert_close(back.model(batch).logits, student(batch).logits)


def test_a_control_starts_from_random_weights_and_a_teacher_without_a_network_has_no_such_students(tmp_path: Path) -> None:
    folder, wanted = with_head(save_bert(tmp_path / "bert")), recipe(2)
    reads = opened(folder, wanted)
    taught, blank = (build_student(one, reads.context).state_dict() for one in (wanted, untrained(wanted)))
    assert taught.keys() == blank.keys()
    assert all(not torch.equal(taught[name], blank[name]) for name in taught if name.endswith("query.weight"))
    (folder / "config.json").unlink()
    with pytest.raises(RecipeError, match="no network of transformers"):
        build_student(wanted, reads.context)


@pytest.mark.slow
def test_a_student_of_a_trained_classifier_opens_as_one(tmp_path: Path) -> None:
    folder, texts = save_classifier(tmp_path / "own", "Roberta"), text_dataset(96).train
    rows = {"text": list(texts.texts), "label": [int(label) for label in texts.labels]}  # as LABEL_0 and LABEL_1
    teacher = {"model": str(folder), "pooling": "model", "head_init": "own", "max_steps": 0, "max_length": 32}
    plan = recipe(2).model_dump() | {"teacher": teacher, "objective": {"prediction": {"kind": "kl"}}, "training": {"epochs": 1}}
    done = autodistill.distill(Recipe.parse(plan), rows, tmp_path / "out", seeds=1, verbose=0)
    student = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert student.config.num_hidden_layers == 2
    with torch.no_grad():
        logits = student(**tokenizer(rows["text"][:4], return_tensors="pt", padding=True)).logits
    torch.testing.assert_close(
        torch.softmax(logits, dim=1).double().numpy(), done.open().predict_proba(rows["text"][:4]), atol=1e-4, rtol=1e-4
    )


@pytest.mark.slow
def test_a_distilled_student_opens_with_transformers(tmp_path: Path) -> None:
    """From a teacher whose positions the bert student could not hold."""
    teacher = save_encoder(tmp_path / "mpnet", "MPNet", layers=4)
    texts = text_dataset(96).train
    rows = {"text": list(texts.texts), "label": [int(label) for label in texts.labels]}
    plan = recipe(2).model_dump() | {
        "teacher": {"model": str(teacher), "pooling": "mean", "max_steps": 8, "max_length": 32},
        "objective": {"prediction": {"kind": "kl"}, "intermediate": {"kind": "mi"}, "attention": {"kind": "minilm"}},
        "training": {"epochs": 1},
    }
    done = autodistill.distill(Recipe.parse(plan), rows, tmp_path / "out", seeds=1, control=False, verbose=0)
    assert done.facts["student"]["params"] < done.facts["teacher"]["params"]
    assert transformers.AutoModel.from_pretrained(tmp_path / "out").config.num_hidden_layers == 2
    said = done.open().predict_proba(rows["text"][:4])
    assert said.shape == (4, 2)
