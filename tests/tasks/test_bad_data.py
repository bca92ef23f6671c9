"""Each way in which data can be bad is told with its file, column and row."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from autodistill.errors import DataError
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef

GOOD = [f"sentence number {row},{'yes' if row % 2 else 'no'}" for row in range(40)]


def csv(header: str = "text,label", **changes: str) -> bytes:
    """Forty good rows, some replaced: row7="…" is the seventh."""
    rows = list(GOOD)
    for name, line in changes.items():
        rows[int(name[3:]) - 1] = line
    return "\n".join([header, *rows, ""]).encode()


def jsonl(rows: list[object]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def png(color: int = 0, size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (color, color, color)).save(buffer, format="png")
    return buffer.getvalue()


LABELLED = [{"text": f"a text {row}", "label": row % 2} for row in range(40)]

CASES: list[tuple[str, bytes, str]] = [
    ("empty.csv", b"", r"empty\.csv is empty \(0 bytes\)"),
    ("header.csv", b"text,label\n", r"header\.csv has no rows, only the columns text, label"),
    ("blank.csv", b"\n\n", r"blank\.csv is empty: it has no header"),
    ("sheet.xlsx", b"PK", r"type of file .*sheet\.xlsx is '\.xlsx'; allowed: \.parquet, \.csv, \.tsv, \.jsonl"),
    ("a.csv", csv("text,verdict"), r"a\.csv has no label column; its columns are text, verdict"),
    ("a.csv", csv("text;verdict,x"), r"no label column"),
    ("a.csv", b"text;label\ngood;1\n", r"seems to be separated by semicolons"),
    ("a.csv", b"this,that,label\n" + b"x,y,1\n" * 5, r"no column that is recognised as text or image; its columns are this, that, label"),
    ("a.csv", b"review,comment,label\n" + b"x,y,1\n" * 5, r"more than one column could be the input \(review, comment\)"),
    ("a.csv", b"text,class,target\n" + b"x,y,1\n" * 5, r"more than one column could be the label \(class, target\)"),
    ("a.csv", b"text,label,text\nx,1,y\n", r"more than one column named 'text'"),
    ("a.csv", csv(row7="only one field", row9="a,b,c"),
     r"2 rows do not have the 2 fields of the header: row 7 \(line 8\) has 1; row 9 \(line 10\) has 3"),
    ("a.csv", csv(row7='"never closed,yes'), r"a\.csv, line 8: unexpected end of data; look for a quotation mark"),
    ("a.csv", csv(row3=",yes", row5="  ,no"), r"column 'text': 2 rows with an empty text: row 3 \(line 4\), row 5 \(line 6\)"),
    ("a.csv", csv(row3="words,"), r"column 'label': 1 row without a label: row 3 \(line 4\)"),
    ("a.csv", csv().replace(b",no\n", b",yes\n"), r"every row has the label 'yes'; at least two classes"),
    ("a.csv", b"text,label\n" + "".join(f"word,{row}\n" for row in range(40)).encode(), r"40 different labels in 40 rows"),
    ("a.csv", b"text,label\n" + "".join(f"word {row},{row % 3 if row != 8 else 'x'}\n" for row in range(40)).encode(),
     r"mixes types of labels: .*words in 1 of 40 rows \(row 9 \(line 10\): 'x'\); .*numbers in 39 of 40"),
    ("a.csv", b"text,label\n" + "".join(f"word,{row / 7 if row != 8 else 'x'}\n" for row in range(40)).encode(),
     r"1 row with a label that is not a number, in a regression: row 9 \(line 10\): 'x'"),
    ("a.csv", b"text,label\n" + "".join(f"word,{row / 7 if row != 8 else 'nan'}\n" for row in range(40)).encode(),
     r"1 row with a label that is NaN, infinite or too large: row 9 \(line 10\)"),
    ("a.csv", csv(row5="caf\xe9,yes").decode().encode("latin-1"), r"not UTF-8 text: byte 0xe9 at offset \d+, line 6"),
    ("a.tsv", b"text\tlabel\nx\t1\t2\n", r"1 rows do not have the 2 fields of the header: row 1 \(line 2\) has 3"),
    ("a.jsonl", jsonl(LABELLED) + b"\n{broken\n", r"a\.jsonl, line 41 is not valid JSON"),
    ("a.jsonl", jsonl([*LABELLED, [1, 2]]), r"line 41 holds a JSON list"),
    ("a.jsonl", b'{"text": "x", "text": "y", "label": 1}\n', r"line 1 is not valid JSON: a key occurs twice"),
    ("a.jsonl", jsonl(LABELLED) + b'\n{"text": "caf\xe9", "label": 1}', r"not UTF-8 text: byte 0xe9 at offset \d+, line 41"),
    ("a.jsonl", jsonl([*LABELLED, {"text": "x"}, {"text": "y", "label": None}]),
     r"2 rows without a label: row 41 \(line 41\), row 42 \(line 42\)"),
    ("a.jsonl", jsonl([*LABELLED, {"text": 5, "label": 1}]), r"1 row whose text is not text: row 41 \(line 41\): '5'"),
    ("a.jsonl", jsonl([*LABELLED, {"text": "x", "label": "1"}]), r"mixes types of labels: .*words in 1 of 41 rows .*numbers in 40"),
    ("a.jsonl", jsonl([*LABELLED, {"text": "x", "label": True}]), r"mixes types of labels: .*true/false in 1 of 41 rows .*numbers in 40"),
    ("a.jsonl", jsonl([*LABELLED, {"text": "x", "label": [1, 2]}]), r"1 row with several labels, or a structure, as the label"),
    ("a.jsonl", jsonl([*LABELLED, {"text": "half \ud83d", "label": 1}]), r"1 row with half of a surrogate pair.*: row 41"),
    ("a.jsonl", jsonl(LABELLED) + b"\n" + b"[" * 100_000, r"line 41 is not valid JSON"),
    ("a.jsonl", jsonl([*LABELLED, {"text": "x", "label": 10**400}]), r"1 row with a label that is NaN, infinite or too large: row 41"),
    ("a.parquet", b"not parquet at all", r"a\.parquet is not a parquet file that can be read"),
    ("a.csv", b"text,label\none,yes\ntwo,no\n", r"has 2 rows to train on and hold out from; at least 10"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), CASES)
def test_a_bad_file_is_told(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_dataset(DatasetRef(str(tmp_path / name)))


def test_all_problems_are_told_at_once_and_counted(tmp_path: Path) -> None:
    rows = {f"row{row}": ",yes" for row in range(1, 12)} | {"row20": "words,"}
    (tmp_path / "a.csv").write_bytes(csv(**rows))
    with pytest.raises(DataError) as caught:
        load_dataset(DatasetRef(str(tmp_path / "a.csv")))
    text = str(caught.value)
    assert "11 rows with an empty text: row 1 (line 2), row 2 (line 3), row 3 (line 4), row 4 (line 5), row 5 (line 6), …" in text
    assert "1 row without a label: row 20 (line 21)" in text


def test_rows_after_texts_of_several_lines_have_the_right_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(csv(row2='"two\nlines",yes', row5=",no"))
    with pytest.raises(DataError, match=r"row 5 \(line 7\)"):
        load_dataset(DatasetRef(str(tmp_path / "a.csv")))


def write_splits(folder: Path, **splits: bytes) -> DatasetRef:
    for split, content in splits.items():
        (folder / f"{split}.csv").write_bytes(content)
    return DatasetRef(str(folder))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_class_that_train_lacks(tmp_path: Path, split: str) -> None:
    ref = write_splits(tmp_path, train=csv(), **{split: csv(row4="words,perhaps")})
    with pytest.raises(
        DataError, match=rf"{split}\.csv, column 'label': 1 row with classes that train does not have \(perhaps\): row 4 \(line 5\)"
    ):
        load_dataset(ref)


def test_labels_of_other_types_in_another_split(tmp_path: Path) -> None:
    numbers = csv().replace(b",yes\n", b",1\n").replace(b",no\n", b",0\n")
    with pytest.raises(DataError, match=r"train\.csv: words in 40 of 40 rows .*validation\.csv: numbers in 40 of 40"):
        load_dataset(write_splits(tmp_path, train=csv(), validation=numbers))


def test_a_folder_of_other_files_is_no_dataset(tmp_path: Path) -> None:
    """A few texts lie in the folders of most programs."""
    for name in ("src/LICENSE", "src/a.py", "src/b.py", "docs/readme.txt", "docs/index.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("words")
    with pytest.raises(DataError, match=r"holds no dataset; allowed: .* or of text files for each class \(.*/train/CLASS/\*\.txt"):
        load_dataset(DatasetRef(str(tmp_path)))


def test_text_files_that_are_no_utf8_are_counted(tmp_path: Path) -> None:
    for row in range(30):
        (tmp_path / "ab"[row % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[row % 2] / f"{row}.txt").write_bytes(b"caf\xe9" if row < 4 else b"tea")
    with pytest.raises(DataError, match=r"4 of the 30 text files in .* cannot be read: .*a/0\.txt is not UTF-8 text: byte 0xe9.*iconv"):
        load_dataset(DatasetRef(str(tmp_path)))


@pytest.mark.parametrize("name", ["pets.zip", "pets.tar", "pets.tar.gz"])
def test_an_archive_is_to_be_unpacked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(DataError, match=r"allowed: \.parquet.*Unpack it, and give the folder"):
        load_dataset(DatasetRef(str(tmp_path / name)))


def test_a_split_without_the_columns_of_train(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"validation\.csv lacks the column 'text' that .*train\.csv has; its columns are phrase, label"):
        load_dataset(write_splits(tmp_path, train=csv(), validation=csv("phrase,label")))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"validation.csv": csv()}, "but no train file"),
        ({"train.csv": csv(), "train.jsonl": jsonl(LABELLED)}, "more than one train split"),
        ({"train.csv": csv(), "dev.csv": csv(), "valid.csv": csv()}, "more than one validation split"),
        ({"one.csv": csv(), "two.csv": csv()}, "none is named for a split"),
        ({"readme.txt": b"hello"}, "holds no dataset; allowed: train/validation/test files"),
        ({"cat_1.png": b"a", "dog_1.png": b"b"}, r"\(file,label\)\. Its 2 images are in no folder of a class, and no table names them"),
        ({"train.csv": csv(), "dataset.json": b"{"}, r"dataset\.json is not valid JSON"),
        ({"train.csv": csv(), "dataset.json": b"[]"}, r"dataset\.json should hold an object"),
        ({"train.csv": csv(), "dataset.json": b'{"task": "clasification"}'},
         "task is 'clasification'; allowed: .*Did you mean 'classification'"),
        ({"train.csv": csv(), "dataset.json": b'{"metric": "f1"}'}, "metric is 'f1'; allowed: accuracy, macro_f1"),
        ({"train.csv": csv(), "dataset.json": b'{"task": "regression", "metric": "accuracy"}'}, "metric is 'accuracy'; allowed: spearman"),
        ({"train.csv": csv(), "dataset.json": b'{"task": "regression", "classes": ["a", "b"]}'}, "a regression has no classes"),
        ({"train.csv": csv(), "dataset.json": b'{"classes": ["yes", "yes"]}'}, "list of different names"),
        ({"train.csv": csv(), "dataset.json": b'{"classes": ["yes", "maybe"]}'},
         r"20 rows with a label outside the known classes \(yes, maybe\)"),
        ({"train.csv": csv(), "dataset.json": b'{"task": "regression"}'}, "40 rows with a label that is not a number"),
        ({"train.jsonl": jsonl([{"text": "x", "label": 3.0}] * 20), "dataset.json": b'{"task": "regression"}'},
         "every label is 3; there is nothing"),
        ({"train.jsonl": jsonl([*LABELLED, {"text": "x", "label": 2}]), "dataset.json": b'{"classes": ["no", "yes"]}'},
         r"1 row with a label outside the known classes \(0 to 1\): row 41 \(line 41\): '2'"),
    ],
)  # fmt: skip
def test_a_bad_folder_is_told(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_dataset(DatasetRef(str(tmp_path)))


def test_parquet_text_that_is_not_utf8(tmp_path: Path) -> None:
    good = pa.array([b"fine", b"caf\xe9"]).view(pa.string())
    pq.write_table(pa.table({"text": good, "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"column 'text', row 2: the text is not UTF-8"):
        load_dataset(DatasetRef(str(tmp_path / "a.parquet")))


def test_a_missing_column_that_was_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(csv())
    for ref, message in [
        (DatasetRef(str(tmp_path / "a.csv"), label_column="labels"), "'labels'; allowed: text, label. Did you mean 'label'"),
        (DatasetRef(str(tmp_path / "a.csv"), text_columns=("txt",)), "'txt'; allowed: text, label. Did you mean 'text'"),
        (DatasetRef(str(tmp_path / "a.csv"), text_columns=("text", "text", "text")), "names 3 columns"),
        (DatasetRef(str(tmp_path / "a.csv"), text_columns=("label",), label_column="label"), "cannot be both text and label"),
        (DatasetRef(str(tmp_path / "a.csv"), limit_train=0), "limit_train is 0"),
    ]:
        with pytest.raises(DataError, match=message):
            load_dataset(ref)


def image_folder(folder: Path, each: int = 10) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for row in range(each):
            Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(folder / name / f"{row:02}.png")
    return folder


def test_corrupt_image_files(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "pets")
    whole = (folder / "dog" / "03.png").read_bytes()
    (folder / "cat" / "05.png").write_bytes(b"nonsense")
    (folder / "dog" / "03.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as caught:
        load_dataset(DatasetRef(str(folder)), with_test=True)
    assert "cat/05.png" in str(caught.value)
    assert "dog/03.png" in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [(b"nonsense", "not an image"), (None, "no image"), (png()[:-30], "not an image"), (b"", "not an image")],
)
def test_corrupt_image_rows(tmp_path: Path, bad: bytes | None, reason: str) -> None:
    images: list[bytes | None] = [png(row) for row in range(30)]
    images[17] = bad
    pq.write_table(pa.table({"image": pa.array(images, pa.binary()), "label": [row % 2 for row in range(30)]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=rf"a\.parquet, column 'image': 1 row whose image cannot be decoded.*{reason}.*: row 18\."):
        load_dataset(DatasetRef(str(tmp_path / "a.parquet")), with_test=True)


def test_images_with_fractional_labels(tmp_path: Path) -> None:
    table = pa.table({"image": [png(row) for row in range(30)], "label": [row / 7 for row in range(30)]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="image regression is not supported"):
        load_dataset(DatasetRef(str(tmp_path / "a.parquet")))


def test_bad_images_leave_no_cache_behind(tmp_path: Path, isolated_cache: Path) -> None:
    folder = image_folder(tmp_path / "pets")
    (folder / "cat" / "05.png").write_bytes(b"nonsense")
    with pytest.raises(DataError):
        load_dataset(DatasetRef(str(folder)), with_test=True)
    (folder / "cat" / "05.png").write_bytes(png(9, (30, 20)))
    assert len(load_dataset(DatasetRef(str(folder))).train) == 16


def test_missing_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("no/such.csv", "./nowhere", str(tmp_path / "gone"), "~/nothing-of-this-name"):
        with pytest.raises(DataError, match="there is no file or folder"):
            load_dataset(DatasetRef(name))
    with pytest.raises(DataError, match="name is empty"):
        load_dataset(DatasetRef(" "))
