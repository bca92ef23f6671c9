"""Every format reads to the same dataset; columns and labels are understood."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from autodistill.errors import DataError
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef
from autodistill.tasks.in_memory import keep_dataset

ROWS: list[dict[str, Any]] = [
    {"text": f'row {row} says "so", and\nthen goes on — é' if row % 5 == 0 else f"row {row}", "label": row % 3} for row in range(90)
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows in the format of the path's suffix."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            tabs: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None} if path.suffix == ".tsv" else {}
            writer = csv.DictWriter(file, list(rows[0]), **tabs)
            writer.writeheader()
            writer.writerows(rows)
    return path


def load(path: Path, **ref: Any) -> Any:
    return load_dataset(DatasetRef(str(path), **ref), with_test=True)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_formats_hold_the_same_rows(tmp_path: Path, suffix: str) -> None:
    expected = load(write(tmp_path / "expected.jsonl", ROWS))
    dataset = load(write(tmp_path / f"data{suffix}", ROWS))
    assert dataset.fingerprint == expected.fingerprint
    assert (dataset.name, dataset.task, dataset.metric, dataset.classes) == ("data", "text-classification", "accuracy", ("0", "1", "2"))
    assert {*dataset.train.texts, *dataset.validation.texts, *dataset.open_test().texts} == {row["text"] for row in ROWS}
    labels = dict(zip(dataset.train.texts, dataset.train.labels.tolist(), strict=True))
    assert all(labels[row["text"]] == row["label"] for row in ROWS if row["text"] in labels)
    assert dataset.train.labels.dtype == np.int64


def test_an_object_may_hold_the_array_of_rows(tmp_path: Path) -> None:
    expected = load(write(tmp_path / "expected.jsonl", ROWS))
    file = tmp_path / "data.json"
    for content in (
        ROWS,
        {"data": ROWS},
        {"version": "1", "rows": ROWS, "count": 90},
        {name: [row[name] for row in ROWS] for name in ROWS[0]},
    ):
        file.write_text(json.dumps(content), encoding="utf-8")
        assert load(file).fingerprint == expected.fingerprint
    file.write_text(json.dumps({"train": ROWS, "test": ROWS}), encoding="utf-8")
    with pytest.raises(DataError, match=r"several arrays of objects \(train, test\); save each as a file of its own"):
        load(file)


def test_tabs_have_no_quoting(tmp_path: Path) -> None:
    rows = [{"text": f'"row {row} opens a quotation', "label": row % 2} for row in range(60)]
    assert set(load(write(tmp_path / "a.tsv", rows)).train.texts) < {row["text"] for row in rows}


def test_a_byte_order_mark_and_blank_lines_are_fine(tmp_path: Path) -> None:
    text = write(tmp_path / "a.csv", ROWS).read_text(encoding="utf-8")
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\nrow 7,", "\n\nrow 7,").encode() + b"\n\n")
    assert load(tmp_path / "b.csv").fingerprint == load(tmp_path / "a.csv").fingerprint


def test_a_long_text_fits(tmp_path: Path) -> None:
    rows = [*ROWS, {"text": "long " * 100_000, "label": 0}]
    before = csv.field_size_limit()
    load(write(tmp_path / "a.csv", rows))
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("names", "task"),
    [
        (("text", "label"), "text-classification"),
        (("Sentence", "Label"), "text-classification"),
        (("review", "sentiment"), "text-classification"),
        (("my words", "class"), "text-classification"),
        (("text", "text_b", "label"), "text-pair-classification"),
        (("sentence1", "sentence2", "labels"), "text-pair-classification"),
        (("premise", "hypothesis", "target"), "text-pair-classification"),
        (("question", "sentence", "label"), "text-pair-classification"),
        (("idx", "question1", "question2", "label"), "text-pair-classification"),
    ],
)
def test_columns_are_guessed(tmp_path: Path, names: tuple[str, ...], task: str) -> None:
    rows = [{name: row % 2 if name == names[-1] else f"{name} {row}" for name in names} for row in range(60)]
    dataset = load(write(tmp_path / "a.jsonl", rows))
    assert dataset.task == task
    first = names[1] if names[0] == "idx" else names[0]
    assert dataset.train.texts[0].startswith(first)
    assert (dataset.train.text_pairs is not None) == ("pair" in task)
    if dataset.train.text_pairs:
        assert [one.split()[-1] for one in dataset.train.texts] == [two.split()[-1] for two in dataset.train.text_pairs]


def test_columns_that_are_told(tmp_path: Path) -> None:
    rows = [{"title": f"title {row}", "body": f"body {row}", "label": 1, "kind": "ab"[row % 2]} for row in range(60)]
    path = write(tmp_path / "a.csv", rows)
    dataset = load(path, text_columns=("body",), label_column="kind")
    assert dataset.classes == ("a", "b")
    assert all(text.startswith("body") for text in dataset.train.texts)
    assert "columns not used: title, label (text or image: body; label: kind)" in dataset.notes
    assert load(path, text_columns=("title", "body"), label_column="kind").task == "text-pair-classification"


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([3, 10, 2], ("2", "3", "10")),
        (["b", "a", " b "], ("a", "b")),
        ([True, False], ("False", "True")),
        ([1.0, 2.0], ("1", "2")),
        (["1", "2"], ("1", "2")),
        ([-1, 1], ("-1", "1")),
        ([0.5, 1.0], None),
        ([float(value) for value in range(11)], None),
    ],
)
def test_labels_are_understood(tmp_path: Path, labels: list[Any], classes: tuple[str, ...] | None) -> None:
    rows = [{"text": f"text {row}", "label": labels[row % len(labels)]} for row in range(120)]
    assert load(write(tmp_path / "a.jsonl", rows)).classes == classes


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(["2", "10"], ("2", "10")), (["1.0", "2.0"], ("1", "2")), (["S", "M", "36"], ("36", "M", "S")), (["0.5", "0.25"], None)],
)
def test_labels_of_a_csv_file_are_understood(tmp_path: Path, labels: list[str], classes: tuple[str, ...] | None) -> None:
    rows = [{"text": f"text {row}", "label": labels[row % len(labels)]} for row in range(120)]
    assert load(write(tmp_path / "a.csv", rows)).classes == classes


def test_dataset_json_says_what_the_rows_do_not(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", ROWS)
    (tmp_path / "dataset.json").write_text(json.dumps({"task": "classification", "metric": "macro_f1", "classes": ["low", "mid", "high"]}))
    dataset = load(tmp_path)
    assert (dataset.metric, dataset.classes) == ("macro_f1", ("low", "mid", "high"))
    (tmp_path / "dataset.json").write_text(json.dumps({"task": "regression"}))
    dataset = load(tmp_path)
    assert (dataset.task, dataset.metric) == ("text-regression", "spearman")
    assert sorted(set(dataset.train.labels.tolist())) == [0.0, 1.0, 2.0]


def test_names_of_classes_in_a_parquet_file_of_datasets(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["x", "y", "z"])})
    datasets.Dataset.from_list(ROWS, features=features).to_parquet(str(tmp_path / "a.parquet"))
    assert load(tmp_path / "a.parquet").classes == ("x", "y", "z")


def test_shards_are_one_split(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "train-00000-of-00002.parquet", ROWS[:50])
    write(tmp_path / "data" / "train-00001-of-00002.parquet", ROWS[50:])
    write(tmp_path / "whole.parquet", ROWS)
    (tmp_path / "one").mkdir()
    write(tmp_path / "one" / "train.parquet", ROWS)
    (tmp_path / "whole.parquet").unlink()
    assert load(tmp_path, limit_train=40).fingerprint == load(tmp_path / "one", limit_train=40).fingerprint


def test_a_bad_row_in_a_shard_is_told_with_its_shard(tmp_path: Path) -> None:
    write(tmp_path / "train-0.csv", ROWS[:50])
    write(tmp_path / "train-1.csv", [*ROWS[50:60], {"text": "", "label": 1}])
    with pytest.raises(DataError, match=r"1 row with an empty text: train-1\.csv row 11 \(line 14\)"):
        load(tmp_path)


def pictures(count: int, size: tuple[int, int], mode: str = "RGB") -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).convert(mode) for _ in range(count)]


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="png")
    return buffer.getvalue()


def test_images_keep_their_pixels(tmp_path: Path) -> None:
    images = pictures(40, (32, 32))
    for name, cells in {
        "bytes": [png(image) for image in images],
        "dicts": [{"bytes": png(image), "path": None} for image in images],
    }.items():
        pq.write_table(
            pa.table(
                {"image": cells, "label": [row % 2 for row in range(40)]},
            ),
            tmp_path / f"{name}.parquet",
        )
    one, two = load(tmp_path / "bytes.parquet"), load(tmp_path / "dicts.parquet")
    assert (one.task, one.image_size, one.train.images.shape, one.train.images.dtype) == (
        "image-classification",
        32,
        (32, 32, 32, 3),
        np.uint8,
    )
    assert one.fingerprint == two.fingerprint
    expected = {np.asarray(image).tobytes() for image in images}
    pixels = [row.tobytes() for split in (one.train, one.validation, one.open_test()) for row in split.images]
    assert sorted(pixels) == sorted(expected)


@pytest.mark.parametrize(("size", "side"), [((8, 8), 32), ((33, 20), 64), ((100, 128), 128), ((200, 150), 224), ((500, 300), 224)])
def test_images_get_one_square_size(tmp_path: Path, size: tuple[int, int], side: int) -> None:
    images = pictures(20, size)
    pq.write_table(pa.table({"image": [png(image) for image in images], "label": [row % 2 for row in range(20)]}), tmp_path / "a.parquet")
    dataset = load(tmp_path / "a.parquet")
    assert dataset.image_size == side
    expected = {np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)).tobytes() for image in images}
    assert {row.tobytes() for row in dataset.train.images} < expected


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    cells = [png(image) for image in pictures(20, (32, 32), "L") + pictures(20, (32, 32), "RGBA") + pictures(20, (32, 32), "P")]
    pq.write_table(pa.table({"image": cells, "label": [row % 2 for row in range(60)]}), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet").train.images.shape[1:] == (32, 32, 3)


def save_folders(folder: Path, images: list[Image.Image]) -> None:
    for row, image in enumerate(images):
        path = folder / ("cat", "dog")[row % 2] / f"{row:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)


def test_an_image_folder(tmp_path: Path) -> None:
    save_folders(tmp_path / "pets", pictures(60, (32, 32)))
    dataset = load(tmp_path / "pets")
    assert (dataset.name, dataset.classes, dataset.image_size) == ("pets", ("cat", "dog"), 32)
    assert (len(dataset.train), len(dataset.validation), len(dataset.open_test())) == (48, 6, 6)


def test_a_place_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, count in {"train": 20, "val": 6, "test": 10}.items():
        save_folders(tmp_path / "pets" / split, pictures(count, (32, 32)))
    for row, image in enumerate(pictures(3, (32, 16))):
        (tmp_path / "more" / "deep").mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "more" / "deep" / f"{row}.png")
    monkeypatch.chdir(tmp_path)
    for place in ("pets", "pets/", "./pets", str(tmp_path / "pets")):
        dataset = load(Path(place), unlabelled=("more", "more/deep/0.png"))
        assert (len(dataset.train), len(dataset.validation), len(dataset.open_test())) == (20, 6, 10)
        assert len(dataset.unlabelled) == 3


def test_an_image_folder_with_splits(tmp_path: Path) -> None:
    for split, count in {"train": 20, "val": 6, "test": 10}.items():
        save_folders(tmp_path / split, pictures(count, (32, 32)))
    dataset = load(tmp_path)
    assert (len(dataset.train), len(dataset.validation), len(dataset.open_test())) == (20, 6, 10)
    assert "6 of 6 validation rows are in train too" in dataset.notes


def test_a_table_of_image_paths(tmp_path: Path) -> None:
    save_folders(tmp_path / "pets", pictures(40, (32, 32)))
    rows = [{"image": f"pets/{('cat', 'dog')[row % 2]}/{row:03}.png", "label": ("cat", "dog")[row % 2]} for row in range(40)]
    assert load(write(tmp_path / "a.csv", rows)).train.images.shape == (32, 32, 32, 3)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_column_of_names_of_images_holds_images(tmp_path: Path, suffix: str) -> None:
    """Whatever it is called: until now such a table was read as texts, without a word."""
    save_folders(tmp_path / "pets", pictures(40, (32, 32)))
    paths = [f"pets/{('cat', 'dog')[row % 2]}/{row:03}.png" for row in range(40)]
    for column in ("file", "Path", "content"):
        rows = [{column: path, "class": ("cat", "dog")[row % 2], "note": "taken at noon"} for row, path in enumerate(paths)]
        dataset = load(write(tmp_path / f"a{suffix}", rows))
        assert (dataset.task, dataset.train.images.shape) == ("image-classification", (32, 32, 32, 3))
    both = [{"text": f"row {row}", "file": path, "class": row % 2} for row, path in enumerate(paths)]
    assert load(write(tmp_path / f"b{suffix}", both)).task == "text-classification"
    assert load(write(tmp_path / f"b{suffix}", both), text_columns=("file",)).task == "image-classification"
    for path in paths[:3]:  # the table stays as it is
        pictures(1, (32, 32))[0].rotate(90).save(tmp_path / path)
    changed = load(tmp_path / f"a{suffix}")
    assert changed.fingerprint != dataset.fingerprint
    gone = [{"file": "https://pets.org/a.png" if row == 3 else path, "class": row % 2} for row, path in enumerate(paths)]
    with pytest.raises(DataError, match="an address, which is not fetched"):
        load(write(tmp_path / f"c{suffix}", gone))


def test_images_named_by_a_table_in_each_split(tmp_path: Path) -> None:
    """The form that `datasets` calls an image folder with metadata."""
    for split, count in {"train": 20, "test": 10}.items():
        (tmp_path / split).mkdir()
        for row, image in enumerate(pictures(count, (32, 32))):
            image.save(tmp_path / split / f"{row}.png")
        rows = [{"file_name": f"{row}.png", "label": ("cat", "dog")[row % 2]} for row in range(count)]
        write(tmp_path / split / "metadata.csv", rows)
    dataset = load(tmp_path)
    assert (dataset.task, dataset.classes, len(dataset.open_test())) == ("image-classification", ("cat", "dog"), 10)


def test_a_data_frame_of_paths_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_folders(tmp_path / "pets", pictures(40, (32, 32)))
    monkeypatch.chdir(tmp_path)
    paths = [f"pets/{('cat', 'dog')[row % 2]}/{row:03}.png" for row in range(40)]
    for column in (paths, [Path(path) for path in paths]):
        kept = keep_dataset(pd.DataFrame({"file": column, "label": [row % 2 for row in range(40)]}))
        assert load(Path(kept)).train.images.shape == (32, 32, 32, 3)


def test_images_are_decoded_once(tmp_path: Path, isolated_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_folders(tmp_path / "pets", pictures(40, (32, 32)))
    first = load(tmp_path / "pets")
    with monkeypatch.context() as patch:
        patch.setattr("autodistill.tasks.images.decode", lambda *_: pytest.fail("decoded again"))
        again = load(tmp_path / "pets")
    assert isinstance(again.train.images, np.memmap)
    assert again.fingerprint == first.fingerprint
    assert not list(isolated_cache.rglob("*.part"))
    image = pictures(1, (32, 32))[0].rotate(90)
    for name in ("cat/000.png", "dog/001.png", "cat/002.png"):
        image.save(tmp_path / "pets" / name)
    assert load(tmp_path / "pets").fingerprint != first.fingerprint


def test_fingerprints_see_every_row(tmp_path: Path) -> None:
    def fingerprint(rows: list[dict[str, Any]]) -> str:
        for split, part in {"train": rows, "validation": ROWS[:30], "test": ROWS[:30]}.items():
            write(tmp_path / f"{split}.jsonl", part)
        return load(tmp_path).fingerprint

    base = fingerprint(ROWS)
    assert fingerprint([dict(row) for row in ROWS]) == base
    changed = [*ROWS[:-1], {"text": ROWS[-1]["text"] + ".", "label": ROWS[-1]["label"]}]
    relabelled = [*ROWS[:-1], {"text": ROWS[-1]["text"], "label": 0}]
    moved = [{"text": "ab", "label": 2}, {"text": "c", "label": 0}, *ROWS]
    cut = [{"text": "a", "label": 2}, {"text": "bc", "label": 0}, *ROWS]
    assert len({base, *map(fingerprint, (changed, relabelled, ROWS[::-1], moved, cut))}) == 6
