"""Files of a black-box teacher's scores: what is read, and what is refused with its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autodistill.errors import DataError
from autodistill.target import Classes, Scores
from autodistill.tasks.scores import TeacherScores, read_scores

CLASSES = ("bad", "good", "text")
TEXTS = ["one film", "two films", "three films"]
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]])


def save(folder: Path, kind: str = "csv", **columns: Any) -> Path:
    path = folder / f"scores.{kind}"
    frame = pd.DataFrame(columns)
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    return path


def by_class(values: np.ndarray, names: tuple[str, ...] = CLASSES) -> dict[str, list[float]]:
    return {name: values[:, place].tolist() for place, name in enumerate(names)}


def read(path: Path, classes: tuple[str, ...] | None = CLASSES, *columns: str, is_pair: bool = False) -> TeacherScores:
    target = Scores() if classes is None else Classes(classes)
    return read_scores(path, target, per_row=2 if is_pair else 1, text_columns=columns or None)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_probabilities_of_each_class(tmp_path: Path, kind: str) -> None:
    scores = read(save(tmp_path, kind, utterance=TEXTS, **by_class(PROBABILITIES)), CLASSES, "utterance")
    assert scores.kind == "probabilities"
    np.testing.assert_allclose(np.exp(scores.logits), PROBABILITIES, atol=1e-4)
    assert np.isfinite(scores.logits).all()


def test_a_class_called_text_is_not_the_column_of_texts(tmp_path: Path) -> None:
    scores = read(save(tmp_path, utterance=TEXTS, **by_class(PROBABILITIES)))  # the only other column is guessed
    assert scores.of(TEXTS)[1].all()


def test_logits_are_told_apart_and_normalised(tmp_path: Path) -> None:
    logits = np.array([[3.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-2.0, 4.0, 1.0]])
    scores = read(save(tmp_path, body=TEXTS, **by_class(logits)), CLASSES, "body")
    assert scores.kind == "logits"
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(scores.logits), expected, rtol=1e-5)


def test_probabilities_beyond_their_range_by_rounding_are_no_logits(tmp_path: Path) -> None:
    values = np.array([[1.00000001, 0.0, -1e-9], [0.7, 0.2, 0.1], [0.2, 0.2, 0.6]])
    scores = read(save(tmp_path, body=TEXTS, **by_class(values)), CLASSES, "body")
    assert scores.kind == "probabilities"
    np.testing.assert_allclose(np.exp(scores.logits), values, atol=1e-4)


def test_labels_with_and_without_confidence(tmp_path: Path) -> None:
    names = ("0", "1", "2")
    sure = read(save(tmp_path, text=TEXTS, label=[2, 0, 1]), names)
    assert sure.kind == "labels"
    np.testing.assert_allclose(np.exp(sure.logits), [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-4)
    unsure = read(save(tmp_path, text=TEXTS, label=["2", "0", "1"], confidence=[0.8, 1.0, 0.5]), names)
    np.testing.assert_allclose(np.exp(unsure.logits), [[0.1, 0.1, 0.8], [1, 0, 0], [0.25, 0.5, 0.25]], atol=1e-4)


def test_scores_of_a_regression(tmp_path: Path) -> None:
    scores = read(save(tmp_path, text=TEXTS, score=[1.5, -2.0, 3.0]), None)
    assert scores.kind == "scores"
    assert scores.logits.tolist() == [[1.5], [-2.0], [3.0]]


def test_rows_are_matched_by_text_whatever_its_case_and_white_space(tmp_path: Path) -> None:
    scores = read(save(tmp_path, utterance=TEXTS, **by_class(PROBABILITIES)))
    logits, covered = scores.of(["TWO  films ", "four films", "one film"])
    assert covered.tolist() == [True, False, True]
    np.testing.assert_allclose(np.exp(logits[0]), PROBABILITIES[1], atol=1e-4)
    assert (logits[1] == 0).all()


def test_pairs(tmp_path: Path) -> None:
    path = save(tmp_path, text=TEXTS, text_b=["a", "b", "c"], bad=[0.5, 0.5, 1.0], good=[0.5, 0.5, 0.0])
    scores = read(path, ("bad", "good"), is_pair=True)
    assert scores.of([("one film", "a"), ("one film", "b")])[1].tolist() == [True, False]
    with pytest.raises(DataError, match="this task reads pairs of texts"):
        read(save(tmp_path, text=TEXTS, bad=[0.5, 0.5, 1.0], good=[0.5, 0.5, 0.0]), ("bad", "good"), is_pair=True)


def test_the_same_row_twice_may_differ_by_rounding_alone(tmp_path: Path) -> None:
    twice = np.vstack([PROBABILITIES, PROBABILITIES[0] + np.array([0.0004, -0.0004, 0.0])])
    assert len(read(save(tmp_path, body=[*TEXTS, "One film"], **by_class(twice)), CLASSES, "body").rows) == 3
    twice[3] = [0.1, 0.2, 0.7]
    with pytest.raises(DataError, match=r"1 row whose text occurs in an earlier row with other scores: row 4 \(line 5\)"):
        read(save(tmp_path, body=[*TEXTS, "One film"], **by_class(twice)), CLASSES, "body")


def test_bad_files_are_refused_with_their_rows(tmp_path: Path) -> None:
    off = PROBABILITIES.copy()
    off[1] = [0.1, 0.8, 0.0]
    with pytest.raises(DataError, match=r"1 row whose probabilities do not sum to 1 within 0.001 \(0.9 in the first of them\): row 2"):
        read(save(tmp_path, body=TEXTS, **by_class(off)), CLASSES, "body")
    with pytest.raises(DataError, match=r"no column for the classes 'good' of .*; columns that are no class: goood"):
        read(save(tmp_path, body=TEXTS, **by_class(PROBABILITIES, ("bad", "goood", "text"))), CLASSES, "body")
    with pytest.raises(DataError, match=r"1 row with a class that the dataset does not have: row 2 \(line 3\)"):
        read(save(tmp_path, body=TEXTS, label=["bad", "fine", "good"]), CLASSES, "body")
    with pytest.raises(DataError, match=r"1 row whose confidence is not from 0 to 1: row 3"):
        read(save(tmp_path, body=TEXTS, label=["bad", "bad", "good"], confidence=[1, 0.5, 50]), CLASSES, "body")
    with pytest.raises(DataError, match=r"1 row whose 'bad' is no finite number: row 1"):
        read(save(tmp_path, body=TEXTS, bad=["much", 0, 0], good=[0, 1, 1], text=[0, 0, 0]), CLASSES, "body")
    lines = [json.dumps({"body": text, "label": "bad"}) for text in ("one film", " \u200b", "three films")]
    (tmp_path / "scores.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"1 row without a text: row 2"):
        read(tmp_path / "scores.jsonl", CLASSES, "body")
    with pytest.raises(DataError, match="has no column score or label"):
        read(save(tmp_path, text=TEXTS, value=[1, 2, 3]), None, "text")


def test_the_fingerprint_is_of_texts_and_scores(tmp_path: Path) -> None:
    first = read(save(tmp_path, body=TEXTS, **by_class(PROBABILITIES)), CLASSES, "body").fingerprint
    assert read(save(tmp_path, "parquet", body=TEXTS, **by_class(PROBABILITIES)), CLASSES, "body").fingerprint == first
    assert read(save(tmp_path, body=TEXTS, **by_class(PROBABILITIES[::-1])), CLASSES, "body").fingerprint != first
    assert read(save(tmp_path, body=TEXTS[::-1], **by_class(PROBABILITIES)), CLASSES, "body").fingerprint != first
