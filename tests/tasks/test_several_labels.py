"""Several labels per row, as files, DataFrames and arrays have them."""

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
from autodistill.tasks.scores import read_scores

NAMES = ("sea", "sun", "wood")
HAS = (np.random.default_rng(0).random((40, 3)) < 0.4).astype(int)
ROWS = [[name for name, has in zip(NAMES, row, strict=True) if has] for row in HAS]
TEXTS = [f"picture {number}" for number in range(40)]


def opened(folder: Path, name: str, columns: dict[str, Any], **asked: Any) -> Dataset:
    frame, path = pd.DataFrame({"text": TEXTS} | columns), folder / name
    match path.suffix:
        case ".parquet":
            frame.to_parquet(path)
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case ".json":
            frame.to_json(path, orient="records")
        case _:
            frame.to_csv(path, index=False)
    return load_dataset(DatasetRef(str(path), **asked), with_test=True)


def labels_of(data: Dataset) -> np.ndarray:
    """The labels of all rows, in the order of the file."""
    splits = (data.train, data.validation, data.open_test())
    order = np.argsort([TEXTS.index(text) for split in splits for text in split.texts or []])
    return np.concatenate([split.labels for split in splits])[order]


INDICATORS = dict(zip(NAMES, HAS.T, strict=True))
WAYS: dict[str, tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "lists": ("a.parquet", {"label": ROWS}, {}, NAMES),
    "lists in jsonl": ("a.jsonl", {"labels": ROWS}, {}, NAMES),
    "lists in json": ("a.json", {"labels": ROWS}, {}, NAMES),
    "lists as pandas writes them": ("a.csv", {"label": ROWS}, {"task": "multilabel"}, NAMES),
    "lists of indices": ("a.parquet", {"label": [[NAMES.index(name) for name in row] for row in ROWS]}, {}, ("0", "1", "2")),
    "arrays of 0 and 1": ("a.parquet", {"label": HAS.tolist()}, {}, ("0", "1", "2")),
    "a separator": ("a.csv", {"label": ["|".join(row) for row in ROWS]}, {"label_separator": "|"}, NAMES),
    "a separator that is seen": ("a.csv", {"label": [", ".join(row) for row in ROWS]}, {"task": "multilabel"}, NAMES),
    "columns": ("a.csv", INDICATORS, {"label_column": NAMES}, NAMES),
    "columns that are seen": ("a.csv", INDICATORS, {"task": "multilabel"}, NAMES),
    "columns of true and false": (
        "a.parquet",
        {name: has.astype(bool) for name, has in INDICATORS.items()},
        {"label_column": NAMES},
        NAMES,
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_several_labels_gives_the_same(tmp_path: Path, way: str) -> None:
    name, columns, asked, names = WAYS[way]
    data = opened(tmp_path, name, columns, **asked)
    assert (data.task, data.metric, data.classes) == ("text-multilabel", "micro_f1", names)
    np.testing.assert_array_equal(labels_of(data), HAS)
    assert any(f"{(~data.train.labels.any(axis=1)).sum()} rows have none" in note for note in data.notes)


@pytest.mark.parametrize(
    "rows",
    [
        {"text": TEXTS, "label": HAS},
        {"text": TEXTS, "label": ROWS},
        list(zip(TEXTS, ROWS, strict=True)),
        pd.DataFrame({"text": TEXTS, "label": ROWS}),
    ],
    ids=["an array", "columns", "tuples", "a frame"],
)
def test_from_python(rows: Any) -> None:
    data = load_dataset(DatasetRef(keep_dataset(rows)), with_test=True)
    np.testing.assert_array_equal(labels_of(data), HAS)


def test_names_come_from_what_datasets_writes(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "labels": datasets.List(datasets.ClassLabel(names=["x", *NAMES]))})
    rows = {"text": TEXTS, "labels": [[NAMES.index(name) + 1 for name in row] for row in ROWS]}
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "a.parquet")
    assert load_dataset(DatasetRef(str(tmp_path / "a.parquet"))).classes == ("x", *NAMES)


LISTED = [*ROWS[:4], None, *ROWS[5:]]
PROBLEMS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "a text that looks so": ("a.csv", {"label": [",".join(row) or "sea" for row in ROWS]}, {},
                             r"separated by ',' \(row \d+ .*Answer with --label-separator ',' .*--task classification"),
    "a list as text": ("a.csv", {"label": ROWS}, {}, "written as lists .*Answer with --task multilabel"),
    "columns that look so": ("a.csv", INDICATORS, {}, "If sea, sun, wood, which hold 0 and 1 alone, .*--task multilabel"),
    "lists that are no classes": ("a.parquet", {"label": ROWS}, {"task": "classification"}, "40 rows with several.*--task multilabel"),
    "a row without a list": ("a.parquet", {"label": LISTED}, {}, r"1 row without a list of labels: row 5: .*Write \[\]"),
    "a list of lists": ("a.parquet", {"label": [[["sea"]], *[[["sun"], ["sea"]]] * 39]}, {}, "something among its labels .*row 1"),
    "no number for a column": ("a.csv", {"sea": HAS[:, 0], "sun": [2, *HAS[1:, 1]]}, {"label_column": ("sea", "sun")},
                               r"column 'sun': 1 row that is not 0 or 1 .*row 1 \(line 2\): '2'"),
    "words and numbers": ("a.jsonl", {"label": [["sea", 1]] * 40}, {}, "mixes words and numbers as labels"),
    "one label": ("a.parquet", {"label": [["sea"]] * 40}, {}, "there is one label, sea; at least two"),
    "nothing to learn": ("a.csv", {"sea": [0] * 40, "sun": [0] * 40}, {"label_column": ("sea", "sun")}, "no row has a label"),
    "no way to see it": ("a.csv", {"label": ["sea", "sun"] * 20}, {"task": "multilabel"}, "it is not clear how .*--label-separator"),
    "two answers": ("a.csv", {"label": ["a,b"] * 40}, {"label_separator": ",", "task": "classification"}, "task is 'classification', and"),
    "twice": ("a.csv", INDICATORS, {"label_column": ("sea", "sea")}, "label_column names 'sea' twice"),
    "another metric": ("a.parquet", {"label": ROWS}, {"metric": "accuracy"}, "is a multilabel: metric is 'accuracy'.*micro_f1"),
}  # fmt: skip


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_is_wrong_is_named(tmp_path: Path, problem: str) -> None:
    name, columns, asked, message = PROBLEMS[problem]
    with pytest.raises(DataError, match=f"(?s){message}"):
        opened(tmp_path, name, columns, **asked)


def test_labels_that_train_lacks_are_named_with_their_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": ROWS})
    frame.to_parquet(tmp_path / "train.parquet")
    frame.assign(label=[["moon"], *ROWS[1:]]).to_parquet(tmp_path / "test.parquet")
    with pytest.raises(DataError, match=r"test.parquet, column 'label': 1 row with labels that train does not have \(moon\): row 1"):
        load_dataset(DatasetRef(str(tmp_path)))


def test_classes_of_a_dataset_json_name_the_labels(tmp_path: Path) -> None:
    pd.DataFrame({"text": TEXTS, "label": HAS.tolist()}).to_parquet(tmp_path / "train.parquet")
    (tmp_path / "dataset.json").write_text('{"task": "multilabel", "classes": ["sea", "sun", "wood"], "metric": "macro_f1"}')
    data = load_dataset(DatasetRef(str(tmp_path)))
    assert (data.classes, data.metric) == (NAMES, "macro_f1")


@pytest.mark.parametrize(
    ("columns", "kind", "shares"),
    [
        ({"sea": [0.9, 0.0], "sun": [0.9, 0.5], "wood": [0.2, 1.0]}, "probabilities", [[0.9, 0.9, 0.2], [1e-5, 0.5, 1 - 1e-5]]),
        ({"sea": [2.0, 0.0], "sun": [-1.0, 0.0], "wood": [0.0, 0.0]}, "logits", [[0.8808, 0.2689, 0.5], [0.5, 0.5, 0.5]]),
        ({"labels": ['["sea", "wood"]', "[]"]}, "labels", [[1 - 1e-5, 1e-5, 1 - 1e-5], [1e-5, 1e-5, 1e-5]]),
    ],
)
def test_scores_of_a_teacher_need_not_sum_to_1(tmp_path: Path, columns: dict[str, Any], kind: str, shares: list[list[float]]) -> None:
    from autodistill.target import Labels

    pd.DataFrame({"text": ["a", "b"], **columns}).to_csv(tmp_path / "scores.csv", index=False)
    scores = read_scores(tmp_path / "scores.csv", Labels(NAMES), per_row=1, text_columns=None)
    assert scores.kind == kind
    np.testing.assert_allclose(1 / (1 + np.exp(-scores.logits.astype(np.float64))), shares, atol=1e-4)


def test_scores_of_unknown_labels_are_refused(tmp_path: Path) -> None:
    from autodistill.target import Labels

    path = tmp_path / "scores.jsonl"
    path.write_text('{"text": "a", "labels": ["sea"]}\n{"text": "b", "labels": ["moon"]}\n')
    with pytest.raises(DataError, match=r"1 row with a label that the dataset does not have: row 2 \(line 2\).*'moon'"):
        read_scores(path, Labels(NAMES), per_row=1, text_columns=None)
    path.write_text('{"text": "a", "sea": 0.5}\n')
    with pytest.raises(DataError, match="no column for the labels 'sun' and 'wood'|'sun', 'wood'"):
        read_scores(path, Labels(NAMES), per_row=1, text_columns=None)
