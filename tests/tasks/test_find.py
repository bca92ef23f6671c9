"""Names lead to paths, mirrors, the catalog; and nowhere with a message that says where was looked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from autodistill.errors import DataError
from autodistill.tasks import catalog, images, load_dataset
from autodistill.tasks.base import DatasetRef

SHARED = Path(__file__).parents[3] / "shared" / "data"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not on this machine")


def mirror(folder: Path, name: str, *, info: dict[str, object] | None = None, texts: list[str] | None = None) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    texts = texts or [f"text {row}" for row in range(200)]
    pq.write_table(pa.table({"text": texts, "label": [row % 2 for row in range(len(texts))]}), place / "train.parquet")
    (place / "dataset.json").write_text(
        json.dumps(info or {"name": name, "task": "classification", "classes": ["no", "yes"], "source": "a test"})
    )
    return place


def test_mirrors_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror(tmp_path / "one", "letters")
    mirror(tmp_path / "two", "letters", info={"classes": ["false", "true"]})
    mirror(tmp_path / "two", "sst2")
    monkeypatch.setenv("AUTODISTILL_DATA", f"{tmp_path / 'missing'}{os.pathsep}{tmp_path / 'one'}{os.pathsep}{tmp_path / 'two'}")
    assert load_dataset(DatasetRef("letters")).classes == ("no", "yes")
    assert load_dataset(DatasetRef("sst2")).name == "sst2"


def test_a_path_goes_before_a_mirror_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror(tmp_path / "data", "letters")
    monkeypatch.setenv("AUTODISTILL_DATA", str(tmp_path / "data"))
    mirror(tmp_path / "here", "letters", info={"classes": ["false", "true"]})
    monkeypatch.chdir(tmp_path / "here")
    dataset = load_dataset(DatasetRef("letters"))
    assert dataset.classes == ("false", "true")
    assert any("letters is the path" in note for note in dataset.notes)
    (tmp_path / "here" / "digits").mkdir()
    with pytest.raises(DataError, match="holds no dataset.*digits was taken as the path .* which comes before the dataset of that name"):
        load_dataset(DatasetRef("digits"))


def test_rows_without_text_in_a_published_set_are_left_out_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {row}" if row not in (3, 50) else " " for row in range(200)]
    place = mirror(tmp_path, "letters", texts=texts)
    monkeypatch.setenv("AUTODISTILL_DATA", str(tmp_path))
    for name in ("letters", str(place)):
        dataset = load_dataset(DatasetRef(name), with_test=True)
        assert len(dataset.train) + len(dataset.validation) + len(dataset.open_test()) == 198
        assert any("2 rows without text are left out: row 4, row 51" in note for note in dataset.notes)
    (place / "dataset.json").write_text('{"classes": ["no", "yes"]}')
    with pytest.raises(DataError, match="2 rows with an empty text: row 4, row 51"):
        load_dataset(DatasetRef("letters"))


def test_a_published_set_may_have_rare_classes_in_test_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = mirror(tmp_path, "letters", info={"classes": ["no", "yes", "perhaps"], "source": "a test"})
    pq.write_table(pa.table({"text": ["one", "two"], "label": [0, 2]}), place / "test.parquet")
    monkeypatch.setenv("AUTODISTILL_DATA", str(tmp_path))
    dataset = load_dataset(DatasetRef("letters"), with_test=True)
    assert (dataset.num_outputs, dataset.open_test().labels.tolist()) == (3, [0, 2])
    assert "1 rows of test have classes that train does not have: perhaps" in dataset.notes
    (place / "dataset.json").write_text('{"classes": ["no", "yes", "perhaps"]}')
    with pytest.raises(DataError, match=r"1 row with classes that train does not have \(perhaps\)"):
        load_dataset(DatasetRef("letters"))


def test_the_reference_is_good_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = mirror(tmp_path / "data", "letters")
    (tmp_path / "elsewhere").mkdir()
    for name, variable, expected in [
        ("data/letters", "", str(place)),
        ("data/letters/train.parquet", "", str(place / "train.parquet")),
        ("letters", "data", str(place)),
        ("letters", str(tmp_path / "data"), "letters"),
    ]:
        monkeypatch.setenv("AUTODISTILL_DATA", variable)
        monkeypatch.chdir(tmp_path)
        dataset = load_dataset(DatasetRef(name, limit_train=50, seed=3))
        assert dataset.ref == DatasetRef(expected, limit_train=50, seed=3)
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert load_dataset(dataset.ref).fingerprint == dataset.fingerprint


def test_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror(tmp_path, "letters")
    monkeypatch.setenv("AUTODISTILL_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        load_dataset(DatasetRef("leters"))
    text = str(caught.value)
    tried = [f"no path leters in {Path.cwd()}", f"no folder leters in AUTODISTILL_DATA ({tmp_path})", "the catalog (", "the hub ("]
    assert [text.index(item) for item in tried] == sorted(text.index(item) for item in tried)
    assert "Did you mean 'letters'" in text


def test_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror(tmp_path, "letters", info={"task": "classification", "metric": "macro_f1", "classes": ["a", "b"], "source": "made for a test"})
    mirror(tmp_path, "sst2", info={"task": "classification"})
    (mirror(tmp_path, "broken") / "dataset.json").write_text("{")
    monkeypatch.setenv("AUTODISTILL_DATA", str(tmp_path))
    entries = {entry.name: entry for entry in catalog()}
    assert list(entries) == sorted(entries)
    assert {"digits", "movie-reviews", "ag_news", "cola", "cifar10"} <= set(entries)
    assert entries["cola"].metric == "matthews_correlation"
    assert entries["stsb"].task == "text pair regression"
    assert (entries["letters"].metric, entries["letters"].about) == ("macro_f1", "made for a test")
    assert entries["letters"].source == f"local ({tmp_path / 'letters'})"
    assert entries["sst2"].source.startswith("local")
    assert entries["broken"].about.startswith("cannot be used")


def test_digits() -> None:
    from sklearn.datasets import load_digits

    dataset = load_dataset(DatasetRef("digits"), with_test=True)
    assert dataset.train.images is not None
    assert (dataset.classes, dataset.image_size, dataset.metric) == (tuple("0123456789"), 32, "accuracy")
    assert len(dataset.train) + len(dataset.validation) + len(dataset.open_test()) == 1797
    assert dataset.train.images.shape == (1437, 32, 32, 3)
    data = load_digits()
    originals: dict[bytes, int] = {}
    for grey, label in zip(data.images, data.target, strict=True):
        image = Image.fromarray(np.round(grey * 255 / 16).astype(np.uint8)).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
        originals[np.asarray(image).tobytes()] = int(label)
    labels = {image.tobytes(): label for image, label in zip(dataset.train.images, dataset.train.labels.tolist(), strict=True)}
    assert labels.items() <= originals.items()
    assert len(labels) == 1437


@pytest.mark.slow
def test_movie_reviews() -> None:
    dataset = load_dataset(DatasetRef("movie-reviews"), with_test=True)
    splits = (dataset.train, dataset.validation, dataset.open_test())
    labels = {text: label for split in splits for text, label in zip(split.texts or (), split.labels.tolist(), strict=True)}
    counts = sum(np.bincount(split.labels) for split in splits)
    assert list(counts) == [5326, 5242]  # of 10,605; 37 have a mean of exactly 0
    assert dataset.classes == ("negative", "positive")
    assert labels["Effective but too tepid biopic"] == 0
    assert labels["If you sometimes like to go to the movies to have fun, Wasabi is a good place to start."] == 1


@shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task", "metric", "rows"),
    [
        ("sst2", "text-classification", "accuracy", (65349, 2000, 872)),
        ("trec", "text-classification", "accuracy", (4907, 545, 500)),
        ("rte", "text-pair-classification", "accuracy", (2241, 249, 277)),
        ("stsb", "text-pair-regression", "spearman", (5749, 1500, 1379)),
        ("cola", "text-classification", "matthews_correlation", (7696, 855, 1043)),
        ("cifar10", "image-classification", "accuracy", (4000, 2000, 10000)),
    ],
)
def test_shared_mirrors(monkeypatch: pytest.MonkeyPatch, name: str, task: str, metric: str, rows: tuple[int, int, int]) -> None:
    monkeypatch.setenv("AUTODISTILL_DATA", str(SHARED))
    dataset = load_dataset(DatasetRef(name, limit_train=4000 if name == "cifar10" else None), with_test=True)
    assert (dataset.task, dataset.metric) == (task, metric)
    assert (len(dataset.train), len(dataset.validation), len(dataset.open_test())) == rows
    if dataset.classes is not None and any("held out of train" in note for note in dataset.notes):
        shares = [np.bincount(split.labels, minlength=dataset.num_outputs) / len(split) for split in (dataset.train, dataset.validation)]
        np.testing.assert_allclose(*shares, atol=0.001)


@shared
def test_images_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODISTILL_DATA", str(SHARED))
    first = load_dataset(DatasetRef("cifar10", limit_train=500))
    monkeypatch.delattr(images, "decode")
    again = load_dataset(DatasetRef("cifar10", limit_train=500))
    assert again.fingerprint == first.fingerprint


def test_opening_text_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"text {row},{row % 2}\n" for row in range(60)))
    code = (
        "import sys; from autodistill.tasks.load import load_dataset; from autodistill.tasks.base import DatasetRef; "
        f"load_dataset(DatasetRef({str(tmp_path / 'a.csv')!r})); "
        "print([name for name in ('torch', 'ray', 'optuna', 'sklearn', 'datasets', 'PIL', 'unearth') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
