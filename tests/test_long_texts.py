"""How a teacher's tokenizer reads texts: how much of long ones, and whether it knows their script."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_teacher import image_dataset, save_bert, text_dataset

from autodistill.errors import SpaceError, UsageError
from autodistill.events import Event, SearchMessage
from autodistill.models.text import TokenSample, encode_split, load_tokenizer, sample_tokens
from autodistill.recipe import Teacher
from autodistill.settings import SearchSettings
from autodistill.stages import cut_note, foreign_student, foreign_warning, tell_of_tokens


@pytest.mark.parametrize(
    ("counts", "note"),
    [
        ([*[100] * 90, *[200] * 10], None),
        ([*[128] * 100], None),
        ([], None),
        # read are 75 × 100 + 25 × 128 of 75 × 100 + 25 × 256 tokens
        (
            [*[100] * 75, *[256] * 25],
            "25% of the texts have more than 128 tokens, and their rest is not read (teacher.max_length); 77% of all tokens are read",
        ),
    ],
)
def test_people_are_told_if_more_than_a_tenth_of_the_texts_are_cut(counts: list[int], note: str | None) -> None:
    assert cut_note(counts, 128) == note


@pytest.mark.parametrize("pairs", [False, True])
def test_tokens_are_counted_as_the_teacher_reads_them(tmp_path: Path, pairs: bool) -> None:
    source, data = save_bert(tmp_path / "bert"), text_dataset(40, pairs=pairs)
    tokenizer = load_tokenizer(source)
    rows = data.modality.rows(data.train, np.arange(len(data.train)))
    assert data.train.texts is not None
    whole = encode_split(data.train.texts, data.train.text_pairs, tokenizer, max_length=64).lengths.tolist()
    assert max(whole) > 8
    encode_split(data.train.texts, data.train.text_pairs, tokenizer, max_length=8)  # leaves a tokenizer that cuts at 8
    sample = sample_tokens(rows, tokenizer)
    assert sample == data.modality.token_sample(data.train, tokenizer)
    assert sample.counts == whole
    texts = [*data.train.texts, *(data.train.text_pairs or [])]
    assert sample.pieces == sum(len(tokenizer.tokenize(text)) for text in texts)
    assert (sample.words, sample.letters) == (len(" ".join(texts).split()), len("".join(texts).replace(" ", "")))


def test_a_sample_of_many_rows_is_counted(tmp_path: Path) -> None:
    data, tokenizer = text_dataset(5000), load_tokenizer(save_bert(tmp_path / "bert"))
    every = sample_tokens(data.modality.rows(data.train, np.arange(5000)), tokenizer)
    sample = data.modality.token_sample(data.train, tokenizer)
    assert sample is not None
    assert sample.counts == every.counts[::3]


@pytest.mark.parametrize(
    ("pieces", "unknown", "words", "letters", "warning"),
    [
        (120, 0, 100, 500, None),
        (195, 1, 100, 600, None),  # tweets
        (330, 0, 100, 870, None),  # Finnish
        (1400, 0, 100, 2900, None),  # no words
        (650, 0, 100, 740, "m was hardly made for texts like these: a word has 6.5 tokens on average. Give a teacher of their language"),
        (50, 40, 3, 50, "m was hardly made for texts like these: 80% of their tokens are unknown to it. Give a teacher"),
        (500, 60, 100, 500, "12% of their tokens are unknown to it and a word has 5.0 tokens on average. Give"),
        (0, 0, 0, 0, None),
    ],
)
def test_texts_that_a_teacher_cannot_read_are_warned_of(pieces: int, unknown: int, words: int, letters: int, warning: str | None) -> None:
    said = foreign_warning(TokenSample([], pieces, unknown, words, letters), "m")
    assert said is None if warning is None else said is not None and warning in said


@pytest.mark.parametrize(
    ("pieces", "unknown", "of_teacher", "why"),
    [
        (115, 0, 120, None),
        (160, 0, 130, None),  # a student for all texts under a teacher of some subject
        (220, 0, 140, "it reads 1.6 times as many tokens as the teacher"),  # German
        (160, 120, 150, "75% of their tokens are unknown to it"),  # Chinese
        (650, 0, 150, "a word has 6.5 tokens on average and it reads 4.3 times as many tokens as the teacher"),
        (0, 0, 0, None),
    ],
)
def test_a_student_of_another_language_than_its_teachers_is_known_by_its_tokens(
    pieces: int, unknown: int, of_teacher: int, why: str | None
) -> None:
    own, other = (TokenSample([], number, lacking, 100, 600) for number, lacking in ((pieces, unknown), (of_teacher, 0)))
    assert foreign_student(own, other) == why


def test_a_script_that_the_tokenizer_lacks_is_unknown(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(save_bert(tmp_path / "bert"))
    sample = sample_tokens(["the good film", "фильм", ("плохой", "bad")], tokenizer)
    assert (sample.pieces, sample.unknown, sample.words, sample.letters) == (6, 2, 6, 11 + 5 + 6 + 3)


def test_cut_texts_are_reported_before_a_teacher_is_trained(tmp_path: Path) -> None:
    teacher, data = Teacher(model=str(save_bert(tmp_path / "bert")), max_length=32), text_dataset(8)
    heard: list[Event] = []
    tokenizer = load_tokenizer(teacher.model)
    tell_of_tokens(data, teacher, tokenizer, heard.append)
    tell_of_tokens(image_dataset(8), teacher, None, heard.append)
    assert not heard
    assert data.train.texts is not None
    long = replace(data, train=replace(data.train, texts=[" ".join([text] * 40) for text in data.train.texts]))
    tell_of_tokens(long, teacher, tokenizer, heard.append)
    [message] = heard
    assert isinstance(message, SearchMessage)
    assert message.text.startswith("100% of the texts have more than 32 tokens")


def test_the_setting_replaces_the_length_of_a_space() -> None:
    asked = SearchSettings.read({"dataset": "any", "max_length": "64"})
    for space, task in (("text", "text-classification"), ("embedding", "text-embedding")):
        assert {teacher.max_length for teacher in asked.open_space(space, task).teachers()} == {64}
    with pytest.raises(SpaceError, match="max_length is 64, but image-classification has no texts; leave it out"):
        asked.open_space("image", "image-classification")
    with pytest.raises(UsageError, match="max_length"):
        SearchSettings.read({"dataset": "any", "max_length": "7"})
