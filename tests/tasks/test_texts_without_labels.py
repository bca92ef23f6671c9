"""Texts for sentence embeddings: single ones and pairs, with ratings and without, from files and from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autodistill.errors import DataError
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.tasks.in_memory import keep_dataset

ONE = [f"picture {number}" for number in range(40)]
OTHER = [f"painting {number}" for number in range(40)]
RATINGS = [number / 8 for number in range(40)]
PAIRS: dict[str, Any] = {"sentence1": ONE, "sentence2": OTHER}


def opened(place: str | Path, **asked: Any) -> Dataset:
    return load_dataset(DatasetRef(str(place), task="embedding", **asked), with_test=True)


def written(folder: Path, columns: dict[str, Any]) -> Path:
    pd.DataFrame(columns).to_csv(folder / "a.csv", index=False)
    return folder / "a.csv"


def every_text(data: Dataset) -> list[str]:
    return [text for split in (data.train, data.validation, data.open_test()) for text in split.texts or []]


@pytest.mark.parametrize(
    ("columns", "asked"),
    [
        ({**PAIRS, "score": RATINGS}, {}),
        ({**PAIRS, "label": [row % 3 for row in range(40)], "how_alike": RATINGS}, {"label_column": ("how_alike",)}),
        ({"a": ONE, "b": OTHER, "score": RATINGS}, {"text_columns": ("a", "b")}),
    ],
    ids=["guessed", "named", "named texts"],
)
def test_rated_pairs_are_two_rows_with_one_rating(tmp_path: Path, columns: dict[str, Any], asked: dict[str, Any]) -> None:
    data = opened(written(tmp_path, columns), **asked)
    assert (data.task, data.metric, data.classes, data.constant_score) == ("text-embedding", "sts_spearman", None, 0.0)
    assert sorted(every_text(data)) == sorted(ONE + OTHER)
    for split in (data.validation, data.open_test()):
        texts = split.texts or []
        assert texts[1::2] == [OTHER[ONE.index(text)] for text in texts[::2]]
        expected = np.repeat([RATINGS[ONE.index(text)] for text in texts[::2]], 2)
        np.testing.assert_allclose(split.labels[:, 0], expected)


@pytest.mark.parametrize("columns", [{"text": ONE}, {"text": ONE, "label": [row % 2 for row in range(40)]}])
def test_single_texts_need_no_labels(tmp_path: Path, columns: dict[str, Any]) -> None:
    data = opened(written(tmp_path, columns))
    assert data.metric == "teacher_agreement"
    assert sorted(every_text(data)) == sorted(ONE)
    assert np.isnan(data.train.labels).all()
    assert any("there are no ratings" in note for note in data.notes) == ("label" in columns)


def test_pairs_with_classes_are_texts_alone(tmp_path: Path) -> None:
    data = opened(written(tmp_path, {**PAIRS, "label": [row % 2 for row in range(40)]}))
    assert data.metric == "teacher_agreement"
    assert len(every_text(data)) == 80


def test_lines_of_a_file_and_lists_of_texts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(ONE))
    assert sorted(every_text(opened(tmp_path / "a.txt"))) == sorted(ONE)
    for texts in (ONE, pd.Series(ONE), np.array(ONE)):
        assert sorted(every_text(opened(keep_dataset(texts)))) == sorted(ONE)
    with pytest.raises(DataError, match="has no label column"):
        load_dataset(DatasetRef(str(tmp_path / "a.txt")))


def test_no_text_of_train_is_scored_on(tmp_path: Path) -> None:
    twice = ["PICTURE  0", *ONE[1:]]
    folder = tmp_path / "data"
    folder.mkdir()
    for split, rows in {"train": ONE + twice, "validation": twice[:4] + OTHER, "test": ONE[2:3] * 2 + OTHER[:2]}.items():
        pd.DataFrame({"text": rows}).to_csv(folder / f"{split}.csv", index=False)
    data = opened(folder, unlabelled=(str(folder / "train.csv"), str(written(tmp_path, {"text": ["new", "new", *OTHER]}))))
    assert data.open_test().texts == [ONE[2], *OTHER[:2]]
    assert set(data.validation.texts or []) == {twice[0], ONE[1], ONE[3], *OTHER[2:]}
    assert data.train.texts == ONE[4:]
    assert data.unlabelled is not None
    assert data.unlabelled.texts == ["new"]


def test_files_of_pairs_give_all_their_texts(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    data = opened(written(tmp_path, {"text": ONE}), unlabelled=(str(written(tmp_path / "more", PAIRS | {"sentence1": OTHER[::-1]})),))
    assert data.unlabelled is not None
    assert sorted(data.unlabelled.texts or []) == sorted(OTHER)
    rest = opened(written(tmp_path, PAIRS), limit_train=10, unlabelled=("rest",))
    assert len(rest.train) == 20
    assert rest.unlabelled_rows + 20 + len(rest.validation) + len(rest.open_test()) == 80


@pytest.mark.parametrize(
    ("columns", "asked", "message"),
    [
        ({"text": ONE}, {"metric": "sts_spearman"}, "has no ratings: it needs pairs .*--label-column.*teacher_agreement"),
        ({"text": ONE}, {"metric": "accuracy"}, "is an embedding: metric is 'accuracy'; allowed: sts_spearman, teacher_agreement"),
        ({"text": ONE, "score": RATINGS}, {"label_column": ("score",)}, "has single texts, and for embeddings label_column names"),
        ({**PAIRS, "score": ["high", *RATINGS[1:]]}, {"label_column": ("score",)}, r"rating that is no number: row 1 .*'high'"),
        ({**PAIRS, "score": RATINGS, "rating": RATINGS}, {}, "more than one column could hold the ratings"),
        ({**PAIRS, "score": RATINGS}, {"teacher_scores": "x.csv"}, "teacher_scores: the task is embedding"),
        ({"text": ["same"] * 40}, {}, "no text to train on that is not in validation or test"),
    ],
)
def test_what_is_refused(tmp_path: Path, columns: dict[str, Any], asked: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(written(tmp_path, columns), **asked)
