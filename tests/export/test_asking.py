"""How an exported student's rows are read, and how its answers are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_teacher import save_tokenizer
from tokenizers import Tokenizer

from autodistill.errors import DataError, UsageError
from autodistill.export.asking import Arrays, ImageReader, TextReader, write_answers
from autodistill.export.student import Student
from autodistill.modality import Image, Text
from autodistill.target import Prediction


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tokenizer(tmp_path)
    return tmp_path


def test_each_modality_has_its_reader(folder: Path) -> None:
    assert isinstance(Text().row_reader(folder, {}), TextReader)
    reader = Image().row_reader(folder, {"image_size": 4, "mean": [0.5] * 3, "std": [0.25] * 3})
    assert isinstance(reader, ImageReader)
    pixels = np.full((4, 4, 3), 255, dtype=np.uint8)
    np.testing.assert_allclose(reader.arrays([pixels])["pixel_values"], np.full((1, 3, 4, 4), 2.0))  # (1 − 0.5) / 0.25


def test_pairs_are_read_as_every_two_texts(folder: Path) -> None:
    single, pairs = TextReader(folder, 1), TextReader(folder, 2)
    assert single.read(["a film", "a plot"]).rows == ["a film", "a plot"]
    assert pairs.read(["a film", "a plot", "the end", "bad"]).rows == [("a film", "a plot"), ("the end", "bad")]
    with pytest.raises(UsageError, match="there are 3 texts, but this student reads pairs"):
        pairs.read(["a film", "a plot", "the end"])
    assert pairs.sizes([("a film", "bad"), ("a", "b")]) == [9, 2]
    assert single.sizes(["a film", "bad"]) == [6, 3]
    pd.DataFrame({"text": ["a film", "bad"], "text_b": ["a plot", "good"]}).to_csv(folder / "rows.csv", index=False)
    assert pairs.read([str(folder / "rows.csv")]).rows == [("a film", "a plot"), ("bad", "good")]
    with pytest.raises(DataError, match="this student reads texts; name the columns with --text-column"):
        single.read([str(folder / "rows.csv")])
    assert single.read([str(folder / "rows.csv")], ("text_b",)).rows == ["a plot", "good"]


def test_a_row_that_the_student_does_not_read_is_named(folder: Path) -> None:
    for nothing in (5, None, b"a", {"text": "a"}):
        with pytest.raises(DataError, match="is neither a row nor a list of rows; this student reads texts"):
            TextReader(folder, 1).listed(nothing)
    with pytest.raises(DataError, match=r"row 2 is \('a', 'b'\); this student reads texts"):
        TextReader(folder, 1).arrays(["a film", ("a", "b")])
    with pytest.raises(DataError, match="row 1 is 'a film'; this student reads pairs of texts"):
        TextReader(folder, 2).sizes(["a film"])


@pytest.mark.parametrize(
    ("answer", "columns"),
    [
        (Prediction("good", 0.75, {"bad": 0.25, "good": 0.75}), {"label": "good", "probability": 0.75}),
        (Prediction(score=2.5), {"score": 2.5}),
    ],
)
def test_answers_stand_beside_their_rows(folder: Path, answer: Prediction, columns: dict[str, object]) -> None:
    rows = TextReader(folder, 2).columns([("a film", "a plot")])
    write_answers(folder / "out.csv", rows, [answer])
    written = pd.read_csv(folder / "out.csv")
    assert written.iloc[0].to_dict() == {"text": "a film", "text_b": "a plot", **columns}
    assert list(written) == ["text", "text_b", *columns]


def a_student(folder: Path, task: str, classes: tuple[str, ...] | None) -> Student:
    """One whose logits are those of a row's length: as many tokens, or for classes their number and 6."""
    file = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(file)
    tokenizer.enable_padding()
    tokenizer.save(file)
    about = {"task": task, "classes": classes, "inputs": ["input_ids", "attention_mask"]}

    def run(arrays: Arrays) -> np.ndarray:
        tokens = arrays["attention_mask"].sum(axis=1, keepdims=True).astype(np.float32)
        return tokens if classes is None else np.hstack([tokens, np.full_like(tokens, 6.0)])

    return Student(folder, about, run, None)


def test_a_student_is_asked_as_models_of_scikit_learn_are(folder: Path) -> None:
    student = a_student(folder, "text-classification", ("long", "short"))
    texts = ["good film", "the plot the plot the plot", "bad"]  # 4, 8 and 3 tokens
    wanted = ["short", "long", "short"]
    frame = pd.DataFrame({"stars": [1, 2, 3], "text": texts})
    for rows in (texts, tuple(texts), np.array(texts), np.array(texts, dtype=object), frame["text"], frame, frame[["text"]]):
        labels = student.predict(rows)
        assert isinstance(labels, np.ndarray)
        assert labels.tolist() == wanted
        long = 1 / (1 + np.exp(6.0 - np.array([4, 8, 3])))
        np.testing.assert_allclose(student.predict_proba(rows), np.column_stack([long, 1 - long]))
    assert student.predict(texts[1]) == "long"
    assert student.predict_proba(texts[1]).shape == (2,)
    assert student.predict([]).shape == (0,)
    assert student.predict_proba([]).shape == (0, 2)
    assert student.score(frame, ["short", "long", "long"]) == pytest.approx(2 / 3)
    assert student.score(texts[1], ["long"]) == 1.0
    with pytest.raises(UsageError, match="a label is 'lang'"):
        student.score(texts, ["short", "lang", "long"])
    with pytest.raises(UsageError, match="there are 3 rows and 1 labels"):
        student.score(texts, ["short"])
    with pytest.raises(DataError, match="the table has the columns stars, title, and this student reads texts; give those columns alone"):
        student.predict(frame.rename(columns={"text": "title"}))


def test_of_pairs_and_scores_too(folder: Path) -> None:
    student = a_student(folder, "text-pair-regression", None)
    pairs = [("good film", "bad"), ("the plot", "the end of it")]
    frame = pd.DataFrame(pairs, columns=["text", "text_b"])[["text_b", "text"]]
    wanted = [6.0, 9.0]
    for rows in (pairs, [list(pair) for pair in pairs], np.array(pairs), frame, pd.DataFrame(pairs)):
        assert student.predict(rows).tolist() == wanted
    assert student.predict(pairs[0]) == 6.0
    assert isinstance(student.predict(pairs[0]), float)
    assert student.score([*pairs, ("bad", "bad")], [1.0, 3.5, 0.5]) == pytest.approx(1.0)  # Spearman's correlation
    with pytest.raises(UsageError, match="the labels should be numbers"):
        student.score(pairs, ["good", "bad"])
    with pytest.raises(UsageError, match="gives scores or vectors, which have no probabilities"):
        student.predict_proba(pairs)
    with pytest.raises(DataError, match="row 1 is 'good film'; this student reads pairs of texts"):
        student.predict("good film")
