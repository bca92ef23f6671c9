"""Students that start from the teacher's weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_students import ragged_batch, recipe
from tiny_teacher import WORDS, save_bert, save_distilbert, save_encoder, save_tokenizer

from autodistill.errors import RecipeError
from autodistill.models import build_student
from autodistill.models.base import Outputs, StudentContext, TextBatch
from autodistill.models.bert import _low_rank
from autodistill.models.pooled import read_head
from autodistill.models.teacher_weights import TeacherWeights, reduced_words
from autodistill.models.text import load_tokenizer
from autodistill.task_types import target_of
from autodistill.teacher import text
from autodistill.teacher.load import load_teacher

TAPS = frozenset({"states", "attention"})


def context(folder: Path, num_outputs: int = 2) -> StudentContext:
    return StudentContext("text-classification", num_outputs, vocab_size=5 + len(WORDS), max_length=40, teacher=folder)


def student_of(folder: Path, layers: int, width: int, heads: int) -> Outputs:
    torch.manual_seed(0)
    student = build_student(recipe({"family": "bert", "layers": layers, "hidden_size": width, "heads": heads}), context(folder)).eval()
    with torch.no_grad():
        return student(ragged_batch(), taps=TAPS)


def teacher_says(folder: Path) -> Outputs:
    with torch.no_grad():
        return load_teacher(folder)[0](ragged_batch(), taps=TAPS)


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    mask = ragged_batch().mask
    return float(torch.nn.functional.cosine_similarity(one[mask].flatten(), other[mask].flatten(), dim=0))


def test_of_equal_size_it_is_the_teacher(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "teacher", layers=4, width=32, heads=4)
    mine, its = student_of(folder, 4, 32, 4), teacher_says(folder)
    for name in ("states", "sentences", "queries", "keys", "values"):
        assert len(getattr(its, name)) == (5 if name in ("states", "sentences") else 4)
        for one, other in zip(getattr(mine, name), getattr(its, name), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mine.logits, its.logits, atol=1e-5, rtol=1e-4)


def pooled_teacher(folder: Path, source: Path, pooling: str = "mean", num_outputs: int = 2) -> Path:
    """A teacher whose tokens are pooled, with a head that is far from 0."""
    from autodistill.recipe import Teacher

    torch.manual_seed(3)
    target = target_of("text-classification" if num_outputs > 1 else "text-regression", ["no", "yes"] if num_outputs > 1 else None)
    model = text.build(target, Teacher(model=str(source), pooling=pooling, max_length=32))
    with torch.no_grad():
        model.output_layer.bias += 3.0
    folder.mkdir()
    text.save(model, load_tokenizer(source), folder)
    return folder


@pytest.mark.parametrize("kind", ["Bert", "MPNet"])
def test_a_pooled_student_of_equal_size_is_its_pooled_teacher(tmp_path: Path, kind: str) -> None:
    source = save_encoder(tmp_path / "source", kind)
    if kind == "MPNet":  # its bias by relative position has no place in a bert student
        tensors = load_file(source / "model.safetensors")
        tensors["encoder.relative_attention_bias.weight"].zero_()
        save_file(tensors, source / "model.safetensors", {"format": "pt"})
    folder = pooled_teacher(tmp_path / "teacher", source)
    part = {"family": "bert", "layers": 2, "hidden_size": 32, "heads": 4, "pooling": "mean"}
    student, teacher = build_student(recipe(part), context(folder)).eval(), load_teacher(folder)[0].eval()
    batch = ragged_batch()
    with torch.no_grad():
        mine, its = student(batch, taps=TAPS), teacher(batch, taps=frozenset({"states"}))
    for one, other in zip(mine.states, its.states, strict=True):
        torch.testing.assert_close(one[batch.mask], other[batch.mask], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mine.embedding, its.embedding, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mine.logits, its.logits, atol=1e-4, rtol=1e-4)
    assert mine.logits.mean() > 1


def apart_batch(ends: tuple[int, int]) -> TextBatch:
    """Two pairs of texts; ends: the tokens before and after a text."""
    start, end = ends
    ids = torch.tensor([[start, 7, 8, 9, end, 10, 11, end], [start, 7, end, 10, 11, 12, end, 0]])
    return TextBatch(ids, ids > 0, torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 0]]))


def test_a_student_reads_pairs_apart_if_its_teacher_does(tmp_path: Path) -> None:
    folder = pooled_teacher(tmp_path / "teacher", save_encoder(tmp_path / "source", "Bert"), "apart")
    head = read_head(folder)
    assert head is not None
    assert head.ends is not None
    part = {"family": "bert", "layers": 2, "hidden_size": 32, "heads": 4, "pooling": "teacher"}
    wanted, about = recipe(part, "text-pair-classification"), replace(context(folder), task="text-pair-classification")
    batch = apart_batch(head.ends)
    teacher, student = load_teacher(folder)[0].eval(), build_student(wanted, replace(about, ends=head.ends)).eval()
    with torch.no_grad():
        mine, its = student(batch, taps=frozenset({"states"})), teacher(batch, taps=frozenset({"states"}))
    for one, other in zip(mine.states, its.states, strict=True):
        torch.testing.assert_close(one[batch.mask], other[batch.mask], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mine.embedding, its.embedding, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mine.logits, its.logits, atol=1e-4, rtol=1e-4)
    assert mine.logits.mean() > 1
    together = build_student(wanted, about)  # of a teacher that reads both texts as one
    assert (together.output_layer.in_features, student.output_layer.in_features) == (32, 4 * 32)


def test_another_head_than_the_teachers_starts_at_random(tmp_path: Path) -> None:
    source = save_encoder(tmp_path / "source", "Bert")
    folder = pooled_teacher(tmp_path / "teacher", source, "cls")
    part = {"family": "bert", "layers": 2, "hidden_size": 32, "heads": 4, "pooling": "mean"}
    assert build_student(recipe(part), context(folder)).output_layer.bias.abs().max() < 1


@pytest.mark.parametrize("pooling", ["model", "mean", "teacher"])
def test_of_scores_it_starts_as_its_teacher_on_the_scale_that_students_learn(tmp_path: Path, pooling: str) -> None:
    """The teacher's outputs are in the target's units, the student's are (score − mean) / scale."""
    task = "text-pair-regression" if pooling == "teacher" else "text-regression"
    if pooling == "model":
        folder = save_bert(tmp_path / "teacher", layers=2, num_outputs=1)
    else:
        source = save_encoder(tmp_path / "source", "Bert")
        folder = pooled_teacher(tmp_path / "teacher", source, "apart" if pooling == "teacher" else pooling, 1)
    head = read_head(folder)
    about = replace(context(folder, 1), task=task, target_mean=2.5, target_scale=0.25, ends=head.ends if head else None)
    part = {"family": "bert", "layers": 2, "hidden_size": 32, "heads": 4, "pooling": pooling}
    torch.manual_seed(0)
    student, teacher = build_student(recipe(part, task), about).eval(), load_teacher(folder)[0].eval()
    batch = ragged_batch() if head is None or head.ends is None else apart_batch(head.ends)
    with torch.no_grad():
        mine, its = student(batch).logits, teacher(batch).logits
    assert its.std() > 0
    torch.testing.assert_close(2.5 + 0.25 * mine, its, atol=1e-4, rtol=1e-4)


def test_a_distilbert_teacher_too(tmp_path: Path) -> None:
    folder = save_distilbert(tmp_path / "teacher")
    for one, other in zip(student_of(folder, 2, 32, 4).states, teacher_says(folder).states, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_fewer_layers_are_evenly_taken(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "teacher", layers=4)
    torch.manual_seed(0)
    student = build_student(recipe({"family": "bert", "layers": 2, "hidden_size": 32, "heads": 4}), context(folder))
    weights = TeacherWeights(folder)
    for mine, its in ((0, 1), (1, 3)):
        weight = student.get_submodule(f"model.bert.encoder.layer.{mine}.intermediate.dense").weight
        torch.testing.assert_close(weight, weights.layer(its, "intermediate.dense.weight"))


def test_a_teacher_of_low_rank_loses_nothing_when_projected(tmp_path: Path) -> None:
    """A teacher that only uses 16 of its 32 dimensions is reproduced by a student of width 16: the projection is the right one.

    Its layer norms are the identity up to the mean, so what is compared is the part that projections must keep: the embeddings
    and the attention scores.
    """
    folder = save_bert(tmp_path / "teacher", layers=1, width=32, heads=4)
    tensors = load_file(folder / "model.safetensors")
    torch.manual_seed(1)
    directions = torch.linalg.qr(torch.randn(32, 16))[0]
    onto = directions @ directions.T
    word = "bert.embeddings.word_embeddings.weight"
    tensors[word] = tensors[word] @ onto
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    vectors, values = TeacherWeights(folder).basis()
    torch.testing.assert_close(vectors[:, :16] @ vectors[:, :16].T, onto, atol=1e-4, rtol=1e-3)
    assert values[16:].max() < 1e-3 * values[0]
    torch.manual_seed(0)
    student = build_student(recipe({"family": "bert", "layers": 1, "hidden_size": 16, "heads": 4}), context(folder))
    words = student.get_submodule("model.bert.embeddings.word_embeddings").weight
    torch.testing.assert_close(words @ words.T, tensors[word] @ tensors[word].T, atol=1e-4, rtol=1e-3)


def test_a_narrower_student_is_nearer_to_its_teacher_than_a_random_one(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "teacher", layers=2, width=32, heads=4)
    its = teacher_says(folder)
    basis = TeacherWeights(folder).basis()[0][:, :24]
    started = student_of(folder, 2, 24, 4).states
    torch.manual_seed(0)
    blank = build_student(recipe({"family": "bert", "layers": 2, "hidden_size": 24, "heads": 4, "init": "random"}), context(folder)).eval()
    with torch.no_grad():
        random = blank(ragged_batch(), taps=TAPS).states
    for layer in range(3):
        aim = its.states[layer] @ basis
        assert correlation(started[layer], aim) > 0.5 > 0.2 > abs(correlation(random[layer], aim))


@pytest.mark.parametrize(("width", "heads"), [(24, 2), (24, 8), (16, 4), (24, 12), (8, 1), (32, 2)])
def test_every_width_and_number_of_heads_can_start(tmp_path: Path, width: int, heads: int) -> None:
    folder = save_bert(tmp_path / "teacher", layers=2, width=32, heads=4)
    out = student_of(folder, 3, width, heads)
    assert out.logits.isfinite().all()
    assert out.queries[0].shape == (4, heads, 9, width // heads)


def test_low_rank_factors_are_the_best_ones() -> None:
    torch.manual_seed(0)
    left, right = torch.randn(2, 7, 5), torch.randn(2, 5, 6)
    a, b = _low_rank(left, right, 3)
    u, s, v = torch.linalg.svd(left @ right)
    torch.testing.assert_close(a @ b, u[..., :3] * s[:, None, :3] @ v[:, :3], atol=1e-4, rtol=1e-4)


def test_reduced_words_keep_the_teachers_likeness(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "teacher", width=32)
    weights = TeacherWeights(folder)
    words = weights.words(5 + len(WORDS))
    _, _, right = torch.linalg.svd(words)
    expected = words @ right[:8].T
    expected = expected - expected.mean(dim=0)
    reduced = reduced_words(folder, len(words), 8, scale=0.1)
    assert float(reduced.std()) == pytest.approx(0.1, rel=1e-4)
    torch.testing.assert_close(reduced @ reduced.T, expected @ expected.T * (0.1 / expected.std()) ** 2, atol=1e-5, rtol=1e-3)
    for family in ("cnn", "bilstm"):
        student = build_student(recipe({"family": family, "embedding_size": 8}), context(folder))
        torch.testing.assert_close(student.get_submodule("embedding").weight, reduced)


def test_the_basis_is_kept_for_the_next_trial(tmp_path: Path, isolated_cache: Path) -> None:
    folder = save_bert(tmp_path / "teacher")
    first = TeacherWeights(folder).basis()
    (file,) = (isolated_cache / "bases").glob("*.safetensors")
    stamp = file.stat().st_mtime_ns
    again = TeacherWeights(folder).basis()
    assert file.stat().st_mtime_ns == stamp
    assert torch.equal(first[0], again[0])
    TeacherWeights(save_bert(tmp_path / "other", seed=1)).basis()
    assert len(list((isolated_cache / "bases").glob("*.safetensors"))) == 2


def test_a_teacher_that_is_no_bert_is_refused(tmp_path: Path) -> None:
    from transformers import AlbertConfig, AlbertForSequenceClassification

    tokenizer = save_tokenizer(tmp_path)
    sizes = {"embedding_size": 16, "hidden_size": 32, "intermediate_size": 64}
    config = AlbertConfig(vocab_size=len(tokenizer), num_attention_heads=4, num_hidden_layers=1, **sizes)
    AlbertForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match=r"albert teacher do not fit a bert student; use init: random"):
        build_student(recipe({"family": "bert", "hidden_size": 16, "heads": 2}), context(tmp_path))
