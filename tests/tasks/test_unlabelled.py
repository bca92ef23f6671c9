"""Unlabelled rows: read from every kind of file, cleaned, and kept apart from the rows that students are judged on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from autodistill.errors import DataError, UsageError
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.tasks.unlabelled import is_blank, keep_rows, row_key

WORDS = ["apple", "river", "stone", "cloud", "green", "seven", "quiet", "music"]


def sentence(number: int) -> str:
    return f"the {WORDS[number % 8]} and the {WORDS[number // 8 % 8]} number {number}"


def write(folder: Path, pairs: bool = False) -> Path:
    """A dataset's folder: 60 training, 20 validation and 20 test rows."""
    folder.mkdir()
    for split, start, rows in (("train", 0, 60), ("validation", 100, 20), ("test", 200, 20)):
        items = [{"text": sentence(row), "label": ["no", "yes"][row % 2]} for row in range(start, start + rows)]
        if pairs:
            items = [item | {"text_b": sentence(row + 7)} for item, row in zip(items, range(start, start + rows), strict=True)]
        (folder / f"{split}.jsonl").write_text("\n".join(json.dumps(item) for item in items))
    return folder


def load(folder: Path, *places: object, **options: object) -> Dataset:
    return load_dataset(DatasetRef(str(folder), unlabelled=tuple(map(str, places)), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "txt", "txt.gz"])
def test_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    texts = [sentence(row) for row in range(300, 330)]
    file = tmp_path / f"more.{kind}"
    if kind == "txt":
        file.write_text("\n".join(texts))
    elif kind == "txt.gz":
        file.write_bytes(gzip.compress("\n".join(texts).encode()))
    elif kind == "jsonl":
        pd.DataFrame({"text": texts}).to_json(file, orient="records", lines=True)
    elif kind == "parquet":
        pd.DataFrame({"text": texts}).to_parquet(file)
    else:
        pd.DataFrame({"text": texts}).to_csv(file, index=False, sep="\t" if kind == "tsv" else ",")
    dataset = load(write(tmp_path / "data"), file)
    assert dataset.unlabelled is not None
    assert dataset.unlabelled.texts == texts
    assert (dataset.unlabelled.labels == -1).all()


def test_several_places_and_a_folder_of_files(tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    (more / "a.txt").write_text(sentence(300))
    (more / "b.txt").write_text(sentence(301))
    (tmp_path / "c.txt").write_text(sentence(302))
    dataset = load(write(tmp_path / "data"), more, tmp_path / "c.txt")
    assert dataset.unlabelled is not None
    assert dataset.unlabelled.texts == [sentence(300), sentence(301), sentence(302)]


def test_a_file_beside_train_is_found_and_is_no_split(tmp_path: Path) -> None:
    folder = write(tmp_path / "data")
    (folder / "unlabelled.txt").write_text(sentence(300))
    dataset = load(folder)
    assert dataset.unlabelled is not None
    assert dataset.unlabelled.texts == [sentence(300)]
    assert len(dataset.train) == 60


def test_a_column_of_labels_is_not_used_and_that_is_noted(tmp_path: Path) -> None:
    pd.DataFrame({"text": [sentence(300)], "label": ["yes"]}).to_csv(tmp_path / "more.csv", index=False)
    dataset = load(write(tmp_path / "data"), tmp_path / "more.csv")
    assert dataset.unlabelled is not None
    assert dataset.unlabelled.labels.tolist() == [-1]
    assert "unlabelled more.csv: columns not used: label" in dataset.notes


def test_rows_of_other_splits_copies_and_blank_ones_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        sentence(5),
        sentence(100),
        sentence(101).upper(),
        f"  {sentence(200)} ",
        "\u200b\u0007",
        "",
        sentence(300),
        sentence(300) + " ",
    ]
    pd.DataFrame({"text": rows}).to_json(tmp_path / "more.jsonl", orient="records", lines=True)
    dataset = load(write(tmp_path / "data"), tmp_path / "more.jsonl")
    assert dataset.unlabelled is not None
    assert dataset.unlabelled.texts == [sentence(300)]
    counts = "2 without text, 1 that are in test, 2 that are in validation, 1 that are in train, 1 duplicate"
    assert f"unlabelled: 1 of 8 rows; left out: {counts}" in dataset.notes


def test_rows_of_the_test_split_are_left_out_though_trials_do_not_open_it(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("\n".join([sentence(200), sentence(300)]))
    dataset = load(write(tmp_path / "data"), tmp_path / "more.txt")
    assert dataset._test is None
    assert dataset.unlabelled is not None
    assert dataset.unlabelled.texts == [sentence(300)]


def test_pairs(tmp_path: Path) -> None:
    rows = [(sentence(300), sentence(301)), (sentence(100), sentence(107)), (sentence(100), sentence(301))]
    pd.DataFrame(rows, columns=["text", "text_b"]).to_csv(tmp_path / "more.csv", index=False)
    dataset = load(write(tmp_path / "data", pairs=True), tmp_path / "more.csv")
    assert dataset.unlabelled is not None
    # The first text of the last row stands in validation, its pair does not.
    assert list(zip(dataset.unlabelled.texts or [], dataset.unlabelled.text_pairs or [], strict=True)) == [rows[0], rows[2]]


def test_single_texts_for_a_task_of_pairs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text(sentence(300))
    with pytest.raises(DataError, match="this task reads pairs"):
        load(write(tmp_path / "data", pairs=True), tmp_path / "more.txt")


def test_the_rest_of_the_training_rows(tmp_path: Path) -> None:
    dataset = load(write(tmp_path / "data"), "rest", limit_train=10)
    assert dataset.unlabelled is not None
    assert len(dataset.train) == 10
    assert len(dataset.unlabelled) == 50
    assert set(dataset.train.texts or []) | set(dataset.unlabelled.texts or []) == {sentence(row) for row in range(60)}
    whole = load(write(tmp_path / "again"), limit_train=10)
    assert (dataset.train.texts, dataset.fingerprint) == (whole.train.texts, whole.fingerprint)  # unlabelled rows move no labelled one


def test_the_rest_without_a_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--limit-train N"):
        load(write(tmp_path / "data"), "rest")


def test_at_most_so_many_unlabelled_rows(tmp_path: Path) -> None:
    folder = write(tmp_path / "data")
    one, again, other = (load(folder, "rest", limit_train=10, limit_unlabelled=20, seed=seed) for seed in (0, 0, 1))
    assert one.unlabelled is not None
    assert again.unlabelled is not None
    assert len(one.unlabelled) == 20
    assert one.unlabelled_fingerprint == again.unlabelled_fingerprint != other.unlabelled_fingerprint
    with pytest.raises(DataError, match="limit_unlabelled is 0"):
        load(folder, "rest", limit_train=10, limit_unlabelled=0)


def test_text_of_another_language_is_a_warning_with_its_share(tmp_path: Path) -> None:
    french = [f"un fleuve tranquille coule vers sa mer {'abcdefgh'[row]}" for row in range(3)]
    (tmp_path / "more.txt").write_text("\n".join([*french, *(sentence(row) for row in range(300, 307))]))
    dataset = load(write(tmp_path / "data"), tmp_path / "more.txt")
    (warning,) = dataset.warnings
    assert warning.startswith("30% of the unlabelled rows have no word in common")
    (tmp_path / "more.txt").write_text("\n".join(sentence(row) for row in range(300, 310)))
    assert load(write(tmp_path / "other"), tmp_path / "more.txt").warnings == ()


def test_nothing_left_and_no_file_are_errors(tmp_path: Path) -> None:
    folder = write(tmp_path / "data")
    (tmp_path / "more.txt").write_text(sentence(100))
    with pytest.raises(DataError, match="no unlabelled row can be used .*left out: 1 that are in validation"):
        load(folder, tmp_path / "more.txt")
    with pytest.raises(DataError, match="there is no file or folder"):
        load(folder, tmp_path / "nowhere.txt")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        load(folder, tmp_path / "latin.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no file of texts"):
        load(folder, tmp_path / "empty")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("labels", [["no", "yes"], [0, 1], [0.5, 0.25]])
def test_rows_without_a_label_are_the_rest(tmp_path: Path, kind: str, labels: list[object]) -> None:
    """One file with some labels: the commonest form of few labels and much text."""
    rows = [{"text": sentence(row), "label": labels[row % 2] if row % 3 == 0 else None} for row in range(300)]
    file = tmp_path / f"a.{kind}"
    pd.DataFrame(rows).to_csv(file, index=False) if kind == "csv" else pd.DataFrame(rows).to_parquet(file)
    with pytest.raises(DataError, match=r"200 rows without a label: row 2.*without labels: --unlabelled rest"):
        load(file)
    dataset = load(file, "rest", task="regression" if labels[0] == 0.5 else None)
    known = {row["text"]: row["label"] for row in rows if row["label"] is not None}
    assert dataset.unlabelled is not None
    assert dataset.unlabelled.texts == [text for text in dict.fromkeys(row["text"] for row in rows) if text not in known]
    assert len(dataset.train) + len(dataset.validation) == 90  # of 100; the others are the test split
    for split in (dataset.train, dataset.validation):
        assert split.texts is not None
        names = split.labels.tolist() if dataset.classes is None else [dataset.classes[label] for label in split.labels]
        assert [str(name) for name in names] == [str(known[text]) for text in split.texts]
    limited = load(file, "rest", limit_train=40, task=dataset.ref.task)
    assert len(limited.train) == 40
    assert limited.unlabelled_rows == dataset.unlabelled_rows + len(dataset.train) - 40
    (tmp_path / "split").mkdir()
    for split in ("train", "test"):
        pd.DataFrame(rows).to_parquet(tmp_path / "split" / f"{split}.parquet")
    with pytest.raises(DataError, match="test.parquet.*200 rows without a label: .*Fill them in or remove the rows$"):
        load(tmp_path / "split", "rest")  # only training rows may lack one


def test_no_row_lacks_a_label(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training row lacks a label or is beyond a limit"):
        load(write(tmp_path / "data"), "rest")


def test_rows_without_several_labels(tmp_path: Path) -> None:
    """With a separator, a blank text says that a row has none of the labels; with a column for each, that nobody said."""
    rows = [{"text": sentence(row), "a": row % 2, "b": row // 2 % 2} for row in range(120)]
    frame = pd.DataFrame(rows).astype({"a": "Int64", "b": "Int64"})
    frame.loc[60:, ["a", "b"]] = pd.NA
    frame.to_csv(tmp_path / "columns.csv", index=False)
    dataset = load(tmp_path / "columns.csv", "rest", label_column=("a", "b"), task="multilabel")
    assert (dataset.task, dataset.unlabelled_rows) == ("text-multilabel", len({sentence(row) for row in range(60, 120)}))
    texts = [",".join(name for name in "ab" if row[name]) for row in rows]
    pd.DataFrame({"text": [row["text"] for row in rows], "label": texts}).to_csv(tmp_path / "text.csv", index=False)
    with pytest.raises(DataError, match="no training row lacks a label"):
        load(tmp_path / "text.csv", "rest", label_separator=",")


def test_images_without_a_label(tmp_path: Path) -> None:
    for number in range(60):
        image(tmp_path / f"{number}.png", number)
    rows = [{"file": f"{number}.png", "label": "" if number >= 40 else "cat" if number % 2 else "dog"} for number in range(60)]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    dataset = load(tmp_path / "a.csv", "rest")
    assert dataset.classes == ("cat", "dog")
    assert (len(dataset.train) + len(dataset.validation), dataset.unlabelled_rows) == (36, 20)


def image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_a_folder_of_images_without_classes(tmp_path: Path) -> None:
    for number in range(40):
        image(tmp_path / "data" / "train" / ["cat", "dog"][number % 2] / f"{number}.png", number)
    for number in range(10):
        image(tmp_path / "data" / "validation" / ["cat", "dog"][number % 2] / f"{number}.png", 100 + number)
        image(tmp_path / "data" / "test" / ["cat", "dog"][number % 2] / f"{number}.png", 200 + number)
    for number in (300, 301, 300, 100, 200, 5):
        image(tmp_path / "more" / "deep" / f"{number}.png", number)
    image(tmp_path / "more" / "copy.png", 300)
    image(tmp_path / "data" / "unlabelled" / "one.png", 400)
    dataset = load(tmp_path / "data", tmp_path / "more")
    assert dataset.unlabelled is not None
    assert dataset.unlabelled.images is not None
    assert dataset.classes == ("cat", "dog")
    assert len(dataset.unlabelled) == 3
    start = "unlabelled: 3 of 7 images; left out: 1 that are in test, 1 that are in validation, 1 that are in train, 1 duplicate"
    assert start in dataset.notes


def test_unlabelled_images_that_cannot_be_decoded_are_left_out(tmp_path: Path) -> None:
    for split, count in (("train", 16), ("test", 4)):
        for number in range(count):
            image(tmp_path / "data" / split / ("cat" if number % 2 else "dog") / f"{number}.png", 100 * len(split) + number)
    more = tmp_path / "more"
    image(more / "good.png", 300)
    (more / "cut.png").write_bytes((more / "good.png").read_bytes()[:60])
    (more / "gone.png").symlink_to(more / "nothing.png")
    Image.new("RGBA", (8, 8), (255, 255, 255, 0)).save(more / "blank.png")
    for _ in range(2):  # decoded, and from the cache
        unlabelled = load(tmp_path / "data", more).unlabelled
        assert unlabelled is not None
        assert unlabelled.images is not None
        with Image.open(more / "good.png") as good:
            assert np.array_equal(unlabelled.images, np.asarray(good.resize((32, 32), Image.Resampling.BICUBIC))[None])
        note = next(note for note in load(tmp_path / "data", more).notes if note.startswith("unlabelled: "))
        assert note.startswith(
            "unlabelled: 1 of 4 images; left out: 3 that cannot be decoded (blank.png: all of it is transparent; cut.png"
        )
        assert "gone.png: [Errno 2] No such file" in note
    image(more / "nothing.png", 301)  # what could not be opened is tried again
    unlabelled = load(tmp_path / "data", more).unlabelled
    assert unlabelled is not None
    assert len(unlabelled) == 2
    (more / "good.png").unlink()
    (more / "nothing.png").unlink()
    with pytest.raises(DataError, match=r"none of the 3 images can be decoded \(blank.png: all of it is transparent\)"):
        load(tmp_path / "data", more)


def test_rows_given_from_python(tmp_path: Path) -> None:
    folder = write(tmp_path / "data")
    texts = [sentence(300), sentence(301)]
    for rows in (texts, pd.DataFrame({"text": texts}), pd.DataFrame({"text": texts}, index=[5, 9])):
        dataset = load(folder, keep_rows(rows))
        assert dataset.unlabelled is not None
        assert dataset.unlabelled.texts == texts
    assert keep_rows(texts) == keep_rows(list(texts)) == keep_rows(np.array(texts))
    assert keep_rows(tmp_path / "a.csv") == str(tmp_path / "a.csv")
    for bad in (5, [1, 2], {"text": "a"}):
        with pytest.raises(UsageError, match="allowed: a path, a list of texts"):
            keep_rows(bad)  # type: ignore[arg-type]


def test_keys_and_blank_texts() -> None:
    assert row_key("A  b\tc") == row_key("a b c ") != row_key("a b")
    assert row_key("a", "b") != row_key("a b")
    assert all(map(is_blank, ["", " \n", "\u200b\ufeff", "\x00\x07"]))
    assert not any(map(is_blank, ["a", ".", "日本"]))
