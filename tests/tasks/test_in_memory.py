"""Rows that Python users have in memory are the dataset that a file with the same rows is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from autodistill.errors import DataError, UsageError
from autodistill.settings import SearchSettings
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset
from autodistill.tasks.in_memory import keep_dataset

ROWS = [{"text": f"row {row}", "label": "ab"[row % 2]} for row in range(40)]
FRAME = pd.DataFrame(ROWS)


class Stand:
    """What a datasets.Dataset is to us: it writes itself."""

    def to_parquet(self, path: str) -> None:
        FRAME.to_parquet(path, index=False)


def load(rows: Any, **settings: Any) -> Dataset:
    return load_dataset(SearchSettings(dataset=rows, **settings).ref, with_test=True)


@pytest.mark.parametrize(
    "rows",
    [
        FRAME,
        FRAME.set_index(np.arange(5, 45)),
        ROWS,
        [(row["text"], row["label"]) for row in ROWS],
        {name: list(FRAME[name]) for name in FRAME},
        {name: FRAME[name].to_numpy() for name in FRAME},
        pa.Table.from_pylist(ROWS),
        Stand(),
        FRAME.astype({"label": "category"}),
    ],
)
def test_rows_are_the_dataset_that_a_file_is(tmp_path: Path, rows: Any) -> None:
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    found = load(rows)
    assert found.fingerprint == load(tmp_path / "a.csv").fingerprint
    assert found.name == SearchSettings(dataset=rows).study == "dataset"


def test_splits_pairs_and_names_of_classes(isolated_cache: Path) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    split = datasets.Dataset.from_list([{"text": f"row {row}", "label": row % 2} for row in range(40)], features=features)
    found = load(datasets.DatasetDict({"train": split, "test": split.select(range(10))}))
    assert (found.classes, len(found.open_test())) == (("no", "yes"), 10)
    pairs = load([(f"one {row}", f"two {row}", row % 2) for row in range(40)])
    assert pairs.task == "text-pair-classification"
    assert load(pd.DataFrame({0: [f"row {row}" for row in range(40)], 1: ["a", "b"] * 20}), text_columns="0", label_column="1").task
    assert not list(isolated_cache.rglob("*.part"))


def test_images_in_memory_are_those_of_files(tmp_path: Path) -> None:
    """Of PIL (one turned by its EXIF orientation) and as arrays, in a frame, tuples and columns."""
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 255, (20, 32, 32, 3), dtype=np.uint8), ["a", "b"] * 10
    for row, image in enumerate(pixels):
        (tmp_path / labels[row]).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / labels[row] / f"{row:02}.png")
    expected = load(str(tmp_path))
    order = [*range(0, 20, 2), *range(1, 20, 2)]
    turned = Image.fromarray(np.rot90(pixels[0], 1).copy())
    turned.getexif()[0x0112] = 6
    images, arrays = [turned, *map(Image.fromarray, pixels[1:])], list(pixels)
    for column in (images, arrays):
        rows = [(column[row], labels[row]) for row in order]
        assert load(rows).fingerprint == load(pd.DataFrame(rows, columns=["image", "label"])).fingerprint == expected.fingerprint
    assert load({"image": pixels[order], "label": np.array(labels)[order]}).fingerprint == expected.fingerprint
    with pytest.raises(UsageError, match="column 'image' holds images and a int; give images alone"):
        load([(images[0], "a"), (5, "b")])


def test_equal_rows_are_written_once() -> None:
    path = Path(keep_dataset(FRAME))
    assert keep_dataset(FRAME.copy()) == str(path)
    assert keep_dataset(FRAME[::-1]) != str(path)
    assert [item.name for item in path.iterdir()] == ["all.parquet"]
    assert keep_dataset("sst2") == "sst2"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (5, "dataset is a int that cannot be read; allowed: a path or a name; a DataFrame"),
        ([], "dataset is a list"),
        ([("a",), ("b", 1)], "dataset is a list"),
        ({"text": ["a", "b"], "label": [1]}, "dataset is a dict"),
        ({"train": 5}, "dataset is a int"),
        (
            pd.DataFrame({"text": ["a", 5], "label": [object(), 1]}),
            "all cannot be written as a table: .*; give each column a name of its own, and values of one type",
        ),
    ],
)
def test_what_is_no_dataset_is_told(rows: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SearchSettings(dataset=rows)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (pd.period_range("2020-01", periods=40, freq="M"), "period"),
        (pd.interval_range(0, 40), "interval"),
        (pd.cut(pd.Series(range(40)), 4), "interval"),
        (pd.Categorical(pd.period_range("2020-01", periods=40, freq="M")), "period"),
    ],
)
def test_labels_that_parquet_would_hold_as_other_numbers_are_refused(labels: Any, kind: str) -> None:
    """A month would be its number since 1970. Where the column is not used, it is no matter."""
    frame = pd.DataFrame({"text": [f"row {row}" for row in range(40)], "when": labels, "label": ["a", "b"] * 20})
    assert load(frame).classes == ("a", "b")
    with pytest.raises(DataError, match=rf"column 'label' has the type pandas\.{kind}, .*: frame\['label'\]\.astype\(str\)"):
        load(frame.drop(columns="label").rename(columns={"when": "label"}))


@pytest.mark.parametrize("name", ["unlabelled", "unsupervised"])
def test_a_split_without_labels(name: str) -> None:
    """As the `DatasetDict` of a hub's dataset has it."""
    texts = [f"unread {row}" for row in range(30)]
    for rows in (texts, pd.Series(texts), pd.DataFrame({"text": texts, "label": -1})):
        dataset = load({"train": FRAME, name: rows})
        assert dataset.unlabelled is not None
        assert dataset.unlabelled.texts == texts
        assert len(dataset.train) + len(dataset.validation) + len(dataset.open_test()) == len(FRAME)
