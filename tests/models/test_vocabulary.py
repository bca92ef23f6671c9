"""Vocabularies trimmed to the training rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_students import TEXT, TEXT_STUDENTS, recipe
from tiny_teacher import BAD, WORDS, save_bert
from torch import Tensor, nn

from autodistill.errors import RecipeError
from autodistill.models import build_student, count_params, family_named
from autodistill.models.base import StudentContext, StudentModule, TextBatch
from autodistill.models.saved import load_saved_student, save_student
from autodistill.models.text import EncodedText, encode_split, load_tokenizer
from autodistill.models.vocabulary import TrimmedEmbedding, keep_pieces

TRAIN = ["the good film", "a bad plot", "un ##ly film", "great actor"]
HELD = ["the", "a", "good", "bad", "film", "plot", "great", "actor"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


class Trimmed:
    """A teacher, a few training rows and what a student is built for."""

    def __init__(self, folder: Path) -> None:
        self.folder = save_bert(folder, layers=2, width=32, num_outputs=3)
        self.tokenizer = load_tokenizer(self.folder)
        train = self.encode(TRAIN)
        kept, pieces = keep_pieces(train, self.tokenizer)
        self.context = replace(TEXT, teacher=self.folder, kept_pieces=kept, pieces=pieces)

    def encode(self, texts: list[str]) -> EncodedText:
        return encode_split(texts, None, self.tokenizer, 32)

    def batch(self, texts: list[str]) -> TextBatch:
        return self.encode(texts).batch(torch.arange(len(texts)))

    def id(self, piece: str) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(piece))


@pytest.fixture
def made(tmp_path: Path) -> Trimmed:
    return Trimmed(tmp_path / "teacher")


def table(student: nn.Module) -> TrimmedEmbedding:
    return next(module for module in student.modules() if isinstance(module, TrimmedEmbedding))


def pair(student: dict[str, Any], context: StudentContext) -> tuple[StudentModule, StudentModule]:
    """A student with the full vocabulary and one with the trimmed one, of equal weights."""
    full = build_student(recipe(student), context).eval()
    trimmed = build_student(recipe(student | {"vocabulary": "trimmed"}), context).eval()
    assert context.pieces is not None
    stored = load_file(context.pieces)
    kept = torch.cat([stored["special"], stored["pieces"]])
    weights = full.state_dict()
    name = next(key for key, value in weights.items() if len(value) == context.vocab_size)
    rows = {key: value for key, value in trimmed.state_dict().items() if key.endswith(".rows")}
    trimmed.load_state_dict(weights | rows | {name: weights[name][kept]})
    return full, trimmed


def logits(student: StudentModule, batch: TextBatch) -> Tensor:
    with torch.no_grad():
        return student(batch).logits


@pytest.mark.parametrize("name", TEXT_STUDENTS)
def test_texts_of_kept_pieces_are_read_as_with_the_full_vocabulary(made: Trimmed, name: str) -> None:
    full, trimmed = pair(TEXT_STUDENTS[name], made.context)
    batch = made.batch(["great film", "the bad actor a plot good", "film"])
    torch.testing.assert_close(logits(trimmed, batch), logits(full, batch))
    other = made.batch(["awful music"])
    assert not torch.allclose(logits(trimmed, other), logits(full, other))


@pytest.mark.parametrize("name", ["bert", "cnn", "bilstm", "static"])
def test_it_starts_from_the_teachers_rows(made: Trimmed, name: str) -> None:
    wide = {"hidden_size": 32, "heads": 4} if name == "bert" else {"embedding_size": 12}
    student = TEXT_STUDENTS[name] | {"init": "teacher"} | wide
    built = []
    for vocabulary in ("full", "trimmed"):
        torch.manual_seed(0)
        built.append(build_student(recipe(student | {"vocabulary": vocabulary}), made.context).eval())
    embedding = family_named(name).word_table(built[0])
    assert embedding is not None
    for piece in [*SPECIAL, *HELD]:
        torch.testing.assert_close(table(built[1])(torch.tensor(made.id(piece))), embedding(torch.tensor(made.id(piece))))
    batch = made.batch(["great film", "the bad actor"])  # where nothing is drawn, equal seeds give equal students
    if name != "bert":
        torch.testing.assert_close(logits(built[1], batch), logits(built[0], batch))


@pytest.mark.parametrize("name", TEXT_STUDENTS)
def test_counted_parameters_follow_the_closed_form(made: Trimmed, name: str) -> None:
    counts = [count_params(recipe(TEXT_STUDENTS[name] | {"vocabulary": vocabulary}), made.context) for vocabulary in ("full", "trimmed")]
    width = {"bert": 24, "static": 13, "static with a hidden layer": 13}.get(name, 12)  # of a static student with the gate
    held = len({*HELD, "un"})  # `##ly` is read as # # ly, which are unknown
    assert made.context.kept_pieces == len(SPECIAL) + held
    assert counts[0] - counts[1] == (len(SPECIAL) + len(WORDS) - len(SPECIAL) - held) * width
    built = build_student(recipe(TEXT_STUDENTS[name] | {"vocabulary": "trimmed"}), made.context)
    assert counts[1] == sum(parameter.numel() for parameter in built.parameters())


def test_a_dropped_piece_is_read_as_the_nearest_kept_one(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "teacher", layers=1, width=32, num_outputs=3)
    tensors = load_file(folder / "model.safetensors")
    words = tensors["bert.embeddings.word_embeddings.weight"]
    tokenizer = load_tokenizer(folder)
    ids = tokenizer.convert_tokens_to_ids
    words[ids("awful")] = 3 * words[ids("bad")]
    words[ids("lovely")] = words[ids("good")] + 0.01
    words[ids("music")] = words[ids("[MASK]")]  # never to a special token
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    made = Trimmed.__new__(Trimmed)
    made.folder, made.tokenizer = folder, tokenizer
    kept, pieces = keep_pieces(made.encode(TRAIN), tokenizer)
    context = replace(TEXT, teacher=folder, kept_pieces=kept, pieces=pieces)
    student = build_student(recipe(TEXT_STUDENTS["cnn"] | {"vocabulary": "trimmed"}), context).eval()
    rows = table(student).rows
    assert rows[ids("awful")] == rows[ids("bad")]
    assert rows[ids("lovely")] == rows[ids("good")]
    assert rows[ids("music")] >= len(SPECIAL)
    assert rows[0] == 0
    assert len(set(rows[[ids(piece) for piece in [*SPECIAL, *HELD]]].tolist())) == len(SPECIAL) + len(HELD)
    assert int(rows.max()) == kept - 1
    assert torch.equal(logits(student, made.batch(["the awful film"])), logits(student, made.batch(["the bad film"])))


def test_without_readable_embeddings_a_dropped_piece_is_unknown(made: Trimmed) -> None:
    tensors = load_file(made.folder / "model.safetensors")
    renamed = {name.replace("word_embeddings", "words"): value for name, value in tensors.items()}
    save_file(renamed, made.folder / "model.safetensors", {"format": "pt"})
    student = build_student(recipe(TEXT_STUDENTS["cnn"] | {"vocabulary": "trimmed"}), made.context)
    rows = table(student).rows
    assert {int(rows[made.id(word)]) for word in BAD if word != "bad"} == {int(rows[made.id("[UNK]")])}


@pytest.mark.parametrize("name", TEXT_STUDENTS)
def test_a_saved_student_reads_any_text(made: Trimmed, name: str, tmp_path: Path) -> None:
    wanted = recipe(TEXT_STUDENTS[name] | {"vocabulary": "trimmed"})
    torch.manual_seed(1)
    student = build_student(wanted, made.context).eval()
    save_student(tmp_path / "student", student.state_dict(), wanted, made.context, {"score": 1.0})
    for file in made.folder.iterdir():  # the teacher is not needed any more
        file.unlink()
    assert made.context.pieces is not None
    made.context.pieces.unlink()
    saved = load_saved_student(tmp_path / "student")
    assert saved.tokenizer is not None
    assert saved.facts["context"]["kept_pieces"] == made.context.kept_pieces
    batch = made.batch(["great film", "awful lovely music", "the end xyz"])
    torch.testing.assert_close(logits(saved.model, batch), logits(student, batch))


def test_expanded_it_is_a_plain_table_that_says_the_same(made: Trimmed) -> None:
    student = build_student(recipe(TEXT_STUDENTS["bert"] | {"vocabulary": "trimmed"}), made.context).eval()
    trimmed = table(student)
    plain = trimmed.expanded()
    assert type(plain) is nn.Embedding
    every = torch.arange(made.context.vocab_size)
    assert torch.equal(plain(every), trimmed(every))


def test_only_kept_pieces_are_learned(made: Trimmed) -> None:
    student = build_student(recipe(TEXT_STUDENTS["cnn"] | {"vocabulary": "trimmed"}), made.context)
    student(made.batch(["great film", "the"])).logits.sum().backward()
    learned = table(student)
    assert learned.weight.grad is not None
    moved = set(learned.weight.grad.abs().sum(dim=1).nonzero().flatten().tolist())
    assert moved <= {int(learned.rows[made.id(piece)]) for piece in ("[CLS]", "[SEP]", "great", "film", "the")}
    assert 0 not in moved  # padding's


def test_it_needs_training_rows() -> None:
    with pytest.raises(RecipeError, match="there are no training rows to trim it to; use vocabulary: full"):
        count_params(recipe(TEXT_STUDENTS["bert"] | {"vocabulary": "trimmed"}), TEXT)
