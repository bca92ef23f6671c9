"""Data as people have it: every oddity is read as it is meant, told of, or asked about."""

from __future__ import annotations

import bz2
import datetime
import json
import lzma
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from autodistill.cache import MANIFEST, new_cached_folder
from autodistill.errors import DataError
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.tasks.images import decode

CSV = "text,label\n" + "".join(f"row {row},{'ab'[row % 2]}\n" for row in range(40))


def load(path: Path, **ref: Any) -> Dataset:
    return load_dataset(DatasetRef(str(path), **ref), with_test=True)


def labelled(path: Path, labels: Sequence[Any], texts: Sequence[str] | None = None) -> Path:
    """A csv file of these labels, or a parquet file, as the path ends."""
    texts = texts or [f"row {row}" for row in range(len(labels))]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": texts, "label": labels}), path)
    else:
        lines = [f'"{text}","{label}"' for text, label in zip(texts, labels, strict=True)]
        path.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    return path


# images


def seen(image: Image.Image, path: Path, **how: Any) -> np.ndarray:
    """The pixels of an image that is saved and read, 32 × 32."""
    image.save(path, **how)
    images = decode([str(path)], None, 32)
    assert not images.bad, images.bad
    return images.pixels[0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_a_viewer_shows_it(tmp_path: Path, orientation: int) -> None:
    """The marker of the EXIF standard says where the first row and column of the stored pixels belong."""
    shown = np.zeros((32, 32, 3), np.uint8)
    shown[:16, :16], shown[:16, 16:], shown[16:, :16] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = {
        1: shown, 2: shown[:, ::-1], 3: shown[::-1, ::-1], 4: shown[::-1], 5: shown.swapaxes(0, 1), 6: np.rot90(shown, 1),
        7: shown[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(shown, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(seen(Image.fromarray(np.ascontiguousarray(stored)), tmp_path / "a.png", exif=exif), shown)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "suffix"),
    [(np.uint16, 1000, 5080, ".png"), (np.uint16, 0, 65535, ".tiff"), (np.int32, -70000, 70000, ".tiff"), (np.float32, -0.5, 0.5, ".tiff")],
)
def test_more_than_8_bits_are_scaled_by_their_range(tmp_path: Path, dtype: Any, low: float, high: float, suffix: str) -> None:
    ramp = np.linspace(low, high, 32 * 32).reshape(32, 32).astype(dtype)
    found = seen(Image.fromarray(ramp), tmp_path / f"a{suffix}").astype(int)
    expected = np.linspace(0, 255, 32 * 32).reshape(32, 32, 1)
    assert np.abs(found - expected).max() <= 1


def test_a_pixel_that_is_not_finite_is_told(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / "a.tiff")
    assert decode([str(tmp_path / "a.tiff")], None, 32).bad == [(0, "a pixel is NaN or infinite")]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_are_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 32, 16))
    image.paste((0, 0, 0, 51), (0, 16, 32, 20))
    found = seen(image.quantize() if mode == "P" else image.convert(mode), tmp_path / "a.png")
    assert (found[:16] == 255).all()
    assert (found[16:20] == 255 - 51).all()
    assert (found[20:] == 0).all()


def test_what_was_done_to_images_is_told_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for row in range(30):
        path = tmp_path / "ab"[row % 2] / f"{row}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 255, (32, 32, 4), dtype=np.uint8)
        Image.fromarray(pixels if row < 20 else pixels[..., 0].astype(np.uint16)).save(path)
    for _ in range(2):  # the second time from the cache
        notes = load(tmp_path).notes
        assert "images: 20 have transparent parts, and were composed on white" in notes
        assert "images: 10 have more than 8 bits a pixel, and each was scaled by its own range to 0 … 255" in notes
    Image.new("RGBA", (32, 32), (1, 2, 3, 0)).save(tmp_path / "a" / "0.png")
    with pytest.raises(DataError, match=r"1 row whose image cannot be decoded \(all of it is transparent\): a/0\.png"):
        load(tmp_path)


# folders


def pictures(folder: Path, *classes: str, count: int = 6, suffix: str = ".png") -> Path:
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for row in range(count):
            image = Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))
            image.save(folder / name / f"{row}{suffix}", format="jpeg" if suffix == ".jfif" else "png")
    return folder


@pytest.mark.parametrize(
    ("folders", "about", "classes"),
    [
        (("train", "bus"), None, ("bus", "train")),
        (("test", "train"), {"classes": ["train", "test"]}, ("train", "test")),
        (("train/train", "train/bus", "test/train", "test/bus"), None, ("bus", "train")),
    ],
)
def test_classes_called_like_splits(tmp_path: Path, folders: tuple[str, ...], about: Any, classes: tuple[str, ...]) -> None:
    pictures(tmp_path, *folders)
    if about:
        (tmp_path / "dataset.json").write_text(json.dumps(about))
    assert load(tmp_path).classes == classes


def test_folders_that_may_be_splits_or_classes_are_asked_about(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r'hold images and no folders of classes: are they splits.*dataset\.json: \{"classes": \["test", "train"'
    ):
        load(pictures(tmp_path, "train", "test"))


def test_a_folder_without_classes_beside_splits_is_told(tmp_path: Path) -> None:
    pictures(tmp_path, "train/a", "train/b", "test", "extra")
    assert "folders not used, which hold no split with class folders: extra, test" in load(tmp_path).notes


def test_what_systems_leave_is_ignored_and_told(tmp_path: Path) -> None:
    pictures(tmp_path, "cat", "dog", "__MACOSX", "Thumbnails", "cat/.ipynb_checkpoints")
    for name in (".DS_Store", "Thumbs.db", "cat/._0.png", "dog/Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    dataset = load(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert sum(map(len, (dataset.train, dataset.validation, dataset.open_test()))) == 12
    [note] = [note for note in dataset.notes if note.startswith("ignored")]
    assert note.endswith(".DS_Store, Thumbnails, Thumbs.db, __MACOSX, cat/._0.png and 2 more")


def test_what_lies_beside_the_images_of_classes_is_noted(tmp_path: Path) -> None:
    """Images in no class, files that are no images, and empty folders: in the folder of a dataset, of a split, of unlabelled rows."""
    for folder in (pictures(tmp_path / "a", "cat", "dog"), pictures(tmp_path / "b", "train/cat", "train/dog", "test/cat") / "train"):
        (folder / "bird").mkdir()
        for name in ("outside.png", "cat/1.heic", "dog/labels.txt", "README.md"):
            (folder / name).write_bytes((folder / "cat" / "0.png").read_bytes())
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "1.heic").write_bytes(b"x")
    Image.new("RGB", (32, 32), "red").save(tmp_path / "more" / "0.png")
    for name, inside in {"a": "", "b": "train/"}.items():
        notes = load(tmp_path / name, unlabelled=(str(tmp_path / "more"),)).notes
        assert f"images not used, which are in no folder of a class: {inside}outside.png" in notes
        assert f"folders not used, which hold no images: {inside}bird" in notes
        [unread] = [note for note in notes if note.startswith("files not used")]
        assert unread.endswith(f".tiff): {inside}cat/1.heic, {inside}dog/labels.txt")
        assert any(note.startswith("unlabelled: files not used") and note.endswith(": 1.heic") for note in notes)


def test_what_systems_leave_among_tables_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(CSV)
    (tmp_path / "._data.csv").write_bytes(b"\0" * 20)
    (tmp_path / "about.json").write_text("{}")
    dataset = load(tmp_path)
    assert "ignored, as files of the system or of a viewer: ._data.csv" in dataset.notes


def test_the_caches_own_list_of_files_is_not_mentioned(tmp_path: Path) -> None:
    with new_cached_folder(tmp_path / "kept") as aside:
        (aside / "data.csv").write_text(CSV)
    assert (tmp_path / "kept" / MANIFEST).exists()
    assert not [note for note in load(tmp_path / "kept").notes if "ignored" in note]


@pytest.mark.parametrize("suffix", [".jfif", ".PNG"])
def test_endings_of_images(tmp_path: Path, suffix: str) -> None:
    assert load(pictures(tmp_path, "a", "b", suffix=suffix)).classes == ("a", "b")


def packed(name: str) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        return bytes(pa.Codec(name).compress(data, asbytes=True))

    return pack


ROWS = [{"text": f"row {row}", "label": "ab"[row % 2]} for row in range(40)]
COLUMNS = {name: [row[name] for row in ROWS] for name in ("text", "label")}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("A.CSV", CSV.encode()),
        ("A.csv.gz", packed("gzip")(CSV.encode())),
        ("A.csv.bz2", bz2.compress(CSV.encode())),
        ("A.csv.XZ", lzma.compress(CSV.encode())),
        ("A.ndjson", "\n".join(map(json.dumps, ROWS)).encode()),
        ("A.ndjson.xz", lzma.compress("\n".join(map(json.dumps, ROWS)).encode())),
        ("A.csv.zst", packed("zstd")(CSV.encode())),
        ("A.json", json.dumps(ROWS).encode()),
        ("A.json", json.dumps(COLUMNS).encode()),
        ("A.json", json.dumps({name: dict(enumerate(column)) for name, column in COLUMNS.items()}).encode()),
        ("A.json", "\n".join(map(json.dumps, ROWS)).encode()),
        ("A.JSONL.gz", packed("gzip")("\n".join(map(json.dumps, ROWS)).encode())),
        ("A.csv", CSV.encode("utf-16")),
        ("A.csv", b"\xfe\xff" + CSV.encode("utf-16-be")),
        ("A.csv", CSV.encode("utf-32")),
    ],
)  # fmt: skip
def test_endings_and_encodings_of_tables(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "plain.csv").write_text(CSV)
    (tmp_path / name).write_bytes(content)
    found, expected = load(tmp_path / name), load(tmp_path / "plain.csv")
    assert (found.name, found.fingerprint) == ("A", expected.fingerprint)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", CSV.encode("utf-16-le"), r"UTF-16LE without a byte order mark .*\(iconv -f utf-16le -t utf-8\)"),
        ("a.csv", CSV.replace("row", "ä\u0105").encode("utf-16-le"), "UTF-16LE without"),
        ("a.jsonl", '{"text": "日本"}'.encode("utf-16-be"), "UTF-16BE without"),
        ("a.csv", CSV.replace("row", "日本").encode("utf-32-le"), "UTF-32LE without"),
        ("a.csv", CSV.replace("row", "ä").encode("latin-1"), r"not UTF-8 text: byte 0xe4 at offset 11, line 2; .*if it is in Latin-1"),
        ("a.txt.gz", packed("gzip")(b"one text"), "has no label column"),
        ("a.csv", b"\xff\xfea\x00\x00\xd8", "begins as UTF-16 and is damaged at byte 4"),
        ("a.csv.gz", packed("gzip")(CSV.encode())[:-20], r"a\.csv\.gz cannot be unpacked \(gzip\)"),
        ("a.csv.zst", CSV.encode(), r"a\.csv\.zst cannot be unpacked \(zstd\)"),
        ("a.csv.xz", CSV.encode(), r"a\.csv\.xz cannot be unpacked \(xz\)"),
        ("a.csv.xz", lzma.compress(CSV.encode())[:-20], r"a\.csv\.xz cannot be unpacked \(xz\)"),
        ("a.parquet.gz", b"x", r"'\.gz'; allowed: .* files of text may be compressed \(\.gz, \.bz2, \.zst, \.xz\)"),
        ("a.json", b'{"data": [1, 2], "n": 3}', "holds a JSON dict that is no table"),
        ("a.json", b"[1, 2]", "row 1 holds a JSON int"),
        ("a.json", b'[{"text": ', "is not valid JSON"),
        ("a.json", b"[" * 100_000, "is not valid JSON"),
        ("a.jsonl", b'{"text": "a", "\\ud800": 1}', "half of a surrogate pair"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/dev/null", "is neither a file nor a folder"),
        ("/", "is the root of all folders"),
        ("a" * 300 + ".csv", "cannot be opened as a file or folder: File name too long"),
        ("a" * 300, "cannot be opened as a file or folder: File name too long"),
        ("~nobody-of-this-name/x.csv", "~nobody-of-this-name is no user of this machine"),
        ("a\0b.csv", "cannot be opened as a file or folder"),
    ],
)
def test_paths_that_lead_to_no_dataset(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(Path(name))
    if name.startswith(("a", "~")):
        with pytest.raises(DataError, match=message):
            load_dataset(DatasetRef("sst2", unlabelled=(name,)))


# labels


@pytest.mark.parametrize(
    ("labels", "task", "classes"),
    [
        (["007", "7", "12", "x"], None, ("007", "12", "7", "x")),
        (["007", "7", "12"], None, ("007", "12", "7")),
        (["01", "0.5"], None, None),
        (["01", "02"], "regression", None),
        ([1, 2, 3], "regression", None),
        (["a", "b", "a,b"], "classification", ("a", "a,b", "b")),
        (["Boston", "Austin, TX", "Dallas, TX"], None, ("Austin, TX", "Boston", "Dallas, TX")),
    ],
)
def test_labels_of_a_csv_file(tmp_path: Path, labels: list[Any], task: str | None, classes: tuple[str, ...] | None) -> None:
    assert load(labelled(tmp_path / "a.csv", labels * 20), task=task).classes == classes


def test_stars_with_one_fraction_are_a_question(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.csv", [*[1, 2, 3, 4, 5] * 12, 4.5])
    with pytest.raises(DataError, match=r"1 of 61 labels are fractions \(row 61 \(line 62\): 4\.5\).*from 1 to 5: .*--task regression"):
        load(path)
    assert load(path, task="regression").classes is None
    assert load(path, task="classification").classes == ("1", "2", "3", "4", "4.5", "5")


def test_task_goes_before_what_dataset_json_says(tmp_path: Path) -> None:
    labelled(tmp_path / "train.csv", [0, 1, 2] * 20)
    (tmp_path / "dataset.json").write_text(json.dumps({"classes": ["x", "y", "z"], "metric": "macro_f1"}))
    assert (load(tmp_path).metric, load(tmp_path).classes) == ("macro_f1", ("x", "y", "z"))
    assert load(tmp_path, metric="auroc").metric == "auroc"
    assert (load(tmp_path, task="regression").metric, load(tmp_path, task="regression").classes) == ("spearman", None)
    with pytest.raises(DataError, match="is a regression: metric is 'auroc'; allowed: spearman, pearson"):
        load(tmp_path, task="regression", metric="auroc")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (pa.array([Decimal(f"{row % 3}.00") for row in range(40)]), ("0", "1", "2")),
        (pa.array([Decimal(f"{row}.25") for row in range(40)]), None),
        (pa.array(["x", "y"] * 20).dictionary_encode(), ("x", "y")),
        (pa.array([5, 7] * 20).dictionary_encode(), ("5", "7")),
        (pa.array([datetime.date(2020, 1, 1 + row % 3) for row in range(40)]), "40 rows with a date or a time as the label"),
        (pa.array([datetime.datetime(2020, 1, 1 + row % 3) for row in range(40)]), "40 rows with a date or a time as the label"),
        (pa.array([["a"], ["a", "b"]] * 20), ("a", "b")),
        (pa.array([{"a": 1}] * 40), "40 rows with several labels, or a structure"),
        (pa.array([b"a", b"b"] * 20), "40 rows with a label that is not a word, a number or true/false"),
    ],
)  # fmt: skip
def test_types_of_labels_of_a_parquet_file(tmp_path: Path, values: Any, found: Any) -> None:
    path = labelled(tmp_path / "a.parquet", values)
    if isinstance(found, str):
        with pytest.raises(DataError, match=found):
            load(path)
    else:
        assert load(path).classes == found


@pytest.mark.parametrize("sign", [",", ";", "|"])
def test_texts_of_several_labels_are_asked_about(tmp_path: Path, sign: str) -> None:
    path = labelled(tmp_path / "a.csv", ["a", "b", f"a{sign}b"] * 20)
    question = rf"separated by '\{sign}' \(row 3 \(line 4\): .*--label-separator '\{sign}' .*--task classification"
    with pytest.raises(DataError, match=question):
        load(path)
    assert load(path, task="classification").classes == tuple(sorted(("a", "b", f"a{sign}b")))
    path = labelled(tmp_path / "b.csv", ["a", f"a{sign} b"] * 20)  # as many labels after splitting as before, but one stands alone
    with pytest.raises(DataError, match=rf"separated by '\{sign}' \(row 2"):
        load(path)
    assert load(path, task="multilabel").classes == ("a", "b")


def test_half_a_surrogate_pair_in_a_label(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": f"row {row}", "label": "x\ud800"[: row % 2 + 1]}) for row in range(40)))
    with pytest.raises(DataError, match="20 rows with half of a surrogate pair in the label"):
        load(tmp_path / "a.jsonl")


def test_names_of_classes_that_are_doubtful(tmp_path: Path) -> None:
    one, two = load(labelled(tmp_path / "a.csv", ["Pos", "pos", "nan", "neg"] * 20)).warnings
    assert one.startswith("classes whose names differ only in case or in the form of their letters: 'Pos' and 'pos';")
    assert two.startswith("a class is called 'nan'")
    assert not load(labelled(tmp_path / "b.csv", ["pos", "neg"] * 20)).warnings


@pytest.mark.parametrize(
    ("labels", "doubtful"),
    [
        (("pos", "neg", "Unlabeled"), "'Unlabeled'"),
        (("0", "1", "2", "-1"), "'-1'"),
        (("-1", "0", "1"), None),
        (("-2", "-1", "1", "2"), None),
        (("1", "2", "3", "-1"), "'-1'"),
        (("2", "3", "4", "-1"), None),
    ],
)
def test_classes_that_people_write_for_no_label(tmp_path: Path, labels: tuple[str, ...], doubtful: str | None) -> None:
    warnings = load(labelled(tmp_path / "a.csv", [*labels] * 20)).warnings
    assert [warning.partition(":")[0] for warning in warnings] == ([f"a class is called {doubtful}"] if doubtful else [])
    if doubtful:
        assert "--unlabelled rest" in warnings[0]


# rows


def test_a_text_with_nothing_to_read_is_empty(tmp_path: Path) -> None:
    texts = [f"row {row}" for row in range(38)]
    with pytest.raises(DataError, match=r"2 rows with an empty text: row 1 \(line 2\), row 2 \(line 3\)"):
        load(labelled(tmp_path / "a.csv", ["a", "b"] * 20, ["\u200b\u200c", "\x07 \ufeff", *texts]))


def test_splits_with_little_to_say_are_noted(tmp_path: Path) -> None:
    labelled(tmp_path / "train.csv", ["a"] * 60 + ["b"] * 4)
    labelled(tmp_path / "test.csv", ["a"] * 60 + ["b"] * 4)
    labelled(tmp_path / "validation.csv", ["a"] * 20, [f"held {row}" for row in range(20)])
    notes = load_dataset(DatasetRef(str(tmp_path))).notes
    assert "64 of 64 test rows are in train too" in notes
    assert "classes with fewer than 10 training rows: 'b' (4)" in notes
    assert "validation has no row of 'b': no score says how well that is learned" in notes
    [proposal] = [note for note in notes if "of the class 'a'" in note]
    assert proposal.startswith("94% of the training rows are of the class 'a', and accuracy hardly counts the others: macro_f1")
    assert not [note for note in load_dataset(DatasetRef(str(tmp_path), metric="macro_f1")).notes if "of the class 'a'" in note]


@pytest.mark.parametrize(
    "metadata", ["[]", "hello", "{", '{"info": []}', '{"info": {"features": {"label": {"_type": "ClassLabel"}}}}',
                 '{"info": {"features": {"label": {"_type": "ClassLabel", "names": [1, 2]}}}}']
)  # fmt: skip
def test_metadata_of_a_parquet_file_that_says_nothing(tmp_path: Path, metadata: str) -> None:
    table = pa.table({"text": [f"row {row}" for row in range(40)], "label": [row % 2 for row in range(40)]})
    pq.write_table(table.replace_schema_metadata({b"huggingface": metadata.encode()}), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet").classes == ("0", "1")
