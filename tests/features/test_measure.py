"""`dataset_features` on made datasets whose truth is known."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_teacher import image_dataset, save_bert, text_dataset

from autodistill.errors import ModelError, UsageError
from autodistill.features import FEATURES, OF_LABELS, dataset_features, measure
from autodistill.features.counts import text_features
from autodistill.target import Classes, Scores
from autodistill.tasks.base import Dataset, DatasetRef, Split


def made(train: Split, validation: Split, classes: int | None, metric: str = "accuracy") -> Dataset:
    kind = "text-regression" if classes is None else "text-classification" if train.images is None else "image-classification"
    names = None if classes is None else tuple(f"class {number}" for number in range(classes))
    size = None if train.images is None else train.images.shape[1]
    return Dataset("made", kind, metric, names, train, validation, f"made-{len(train)}", DatasetRef("made"), size)  # type: ignore[arg-type]


def test_every_task_has_every_feature_and_no_other(tmp_path: Path) -> None:
    encoder = str(save_bert(tmp_path / "bert"))
    assert all(meaning.strip() and "\n" not in meaning for meaning in FEATURES.values())
    seen = {}
    for data in (
        text_dataset(), text_dataset(pairs=True), text_dataset(regression=True), text_dataset(pairs=True, regression=True), image_dataset(),
    ):  # fmt: skip
        measured = dataset_features(data, encoder=encoder)
        assert list(measured) == list(FEATURES)
        assert all(isinstance(value, float) and math.isfinite(value) for value in measured.values())
        assert measured["is_pair"] == ("pair" in data.task)
        assert measured["is_regression"] == ("regression" in data.task)
        assert measured["is_image"] == data.task.startswith("image")
        assert measured["probe_gain"] == pytest.approx(measured["probe_score"] - measured["majority_score"])
        assert measured["surface_gain"] == pytest.approx(measured["probe_score"] - measured["surface_score"])
        seen[data.task] = measured
    assert all(len({measured[name] for measured in seen.values()}) > 1 for name in FEATURES)  # none is a constant
    assert seen["text-classification"]["surface_score"] > 0.9  # one word tells the classes apart
    assert seen["image-classification"]["probe_score"] == 1.0
    assert seen["text-regression"]["surface_score"] > 0.8  # two target values: no order within a value


def test_without_labels_what_needs_none_is_measured_and_the_rest_is_missing(tmp_path: Path) -> None:
    encoder, labelled = str(save_bert(tmp_path / "bert")), text_dataset()
    bare = {
        name: replace(split, labels=np.full((len(split), 1), np.nan, dtype=np.float32))
        for name, split in (("train", labelled.train), ("validation", labelled.validation))
    }
    data = replace(labelled, task="text-embedding", metric="teacher_agreement", classes=None, fingerprint="bare", **bare)
    measured, usual = dataset_features(data, encoder=encoder), dataset_features(labelled, encoder=encoder)
    assert set(OF_LABELS) < set(FEATURES)
    assert list(measured) == [name for name in FEATURES if name not in OF_LABELS]
    assert measured == pytest.approx({name: usual[name] for name in measured})  # the same rows


def test_labels() -> None:
    images = np.zeros((120, 8, 8, 3), dtype=np.uint8)
    balanced = made(Split(np.arange(120) % 4, images=images), Split(np.arange(4), images=images[:4]), 4)
    measured = balanced.target.features(balanced.train.labels)
    assert measured == pytest.approx(
        {
            "log_rows": math.log10(120), "log_rows_per_class": math.log10(30), "log_classes": 2.0, "imbalance": 0.0,
            "majority_share": 0.25, "label_entropy": 1.0, "is_regression": 0.0,
        }
    )  # fmt: skip
    skewed = balanced.target.features(np.repeat([0, 1], [90, 30]))  # and no row of two classes
    assert skewed["imbalance"] == pytest.approx(math.log10(3))
    assert skewed["majority_share"] == 0.75
    assert skewed["label_entropy"] == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(4))
    even = Scores().features(np.linspace(0, 5, 120, dtype=np.float32))
    assert (even["label_entropy"], even["log_classes"], even["imbalance"]) == (pytest.approx(1.0), 0.0, 0.0)


def test_texts() -> None:
    sample = Split(np.zeros(2, dtype=np.int64), texts=["The cat, the dog!", "a b"], text_pairs=["a cat", "c"])
    measured = text_features(sample, np.array([6, 3]))
    assert measured["words_mean"] == 4.5
    assert measured["words_p90"] == pytest.approx(3 + 0.9 * 3)
    assert measured["pieces_per_word"] == 1.0
    assert measured["log_vocabulary"] == pytest.approx(math.log10(1 + 6))
    assert measured["type_token_ratio"] == pytest.approx(6 / 9)
    assert measured["pair_overlap"] == pytest.approx((1 / 4 + 0) / 2)


def test_type_token_ratio_is_of_the_same_number_of_words_whatever_the_rows() -> None:
    words = np.random.default_rng(0).integers(0, 1000, 20_000).astype(str)
    ratios = []
    for size in (5, 50):
        texts = [" ".join(row) for row in words.reshape(-1, size)]
        ratios.append(text_features(Split(np.zeros(len(texts)), texts=texts), np.ones(len(texts)))["type_token_ratio"])
    assert ratios == [pytest.approx(len(set(words[:5000])) / 5000)] * 2


def test_shuffled_labels_are_at_chance_and_more_rows_help_a_hard_task() -> None:
    data = image_dataset(rows=800)
    rng = np.random.default_rng(3)

    def relabelled(noise: float) -> Dataset:
        splits = [replace(split, labels=np.where(rng.random(len(split)) < noise, rng.integers(0, 2, len(split)), split.labels))
                  for split in (data.train, data.validation)]  # fmt: skip
        return replace(data, train=splits[0], validation=splits[1], fingerprint=f"noise {noise}")

    chance = dataset_features(relabelled(1.0))
    for name in ("probe_score", "knn_score", "surface_score"):
        assert chance[name] == pytest.approx(0.5, abs=3.5 * math.sqrt(0.25 / 400))
    assert chance["separability"] == pytest.approx(0, abs=0.01)
    noisy = dataset_features(relabelled(0.2))
    assert noisy["probe_score"] == pytest.approx(0.9, abs=0.08)
    assert noisy["separability"] > chance["separability"]


def test_the_metric_is_the_datasets_own() -> None:
    data = image_dataset()
    random = replace(data, train=replace(data.train, labels=np.zeros(64, dtype=np.int64)), metric="matthews_correlation", fingerprint="x")
    measured = dataset_features(random)
    assert (measured["probe_score"], measured["majority_score"], measured["knn_score"]) == (0.0, 0.0, 0.0)
    assert dataset_features(replace(random, metric="accuracy"))["majority_score"] == pytest.approx((data.validation.labels == 0).mean())


def test_same_numbers_every_time_and_other_rows_with_another_seed(isolated_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = image_dataset(rows=400)
    first = dataset_features(data, rows=60)
    files = list((isolated_cache / "features").glob("*/features.json"))
    assert [json.loads(file.read_text()) for file in files] == [first]
    monkeypatch.setenv("AUTODISTILL_CACHE", str(isolated_cache / "another"))
    assert dataset_features(data, rows=60) == first
    monkeypatch.setenv("AUTODISTILL_CACHE", str(isolated_cache))
    assert dataset_features(data, rows=60, seed=1)["intrinsic_dimension"] != first["intrinsic_dimension"]
    monkeypatch.setattr(measure, "_measure", lambda *_: pytest.fail("measured although it is in the cache"))
    assert dataset_features(data, rows=60) == first
    with pytest.raises(pytest.fail.Exception):
        dataset_features(replace(data, fingerprint="other rows"), rows=60)
    monkeypatch.setattr(measure, "VERSION", measure.VERSION + 1)
    with pytest.raises(pytest.fail.Exception):
        dataset_features(data, rows=60)


def test_the_sample_is_stratified_and_never_of_the_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    data = image_dataset(rows=400)
    monkeypatch.setattr(Dataset, "open_test", lambda self: pytest.fail("the test split was opened"))
    labels = np.repeat([0, 1], [360, 40])
    kept = measure._sample(replace(data.train, labels=labels), 100, Classes(), np.random.default_rng(0))
    assert np.bincount(kept.labels).tolist() == [90, 10]
    assert dataset_features(data, rows=100)["probe_score"] == 1.0


def test_what_may_be_missing(tmp_path: Path) -> None:
    encoder = str(save_bert(tmp_path / "bert"))
    zeros = np.zeros(40, dtype=np.int64)
    empty = ["", " ", "?!", "\n"] * 10
    sets = [
        made(Split(zeros + np.arange(40) % 2, texts=empty), Split(zeros[:8], texts=empty[:8]), 3),  # no words, a class that no row has
        made(Split(zeros, texts=["the same"] * 40), Split(zeros[:1] + 1, texts=["good"]), 2),  # one class, one text, one held-out row
        made(Split(zeros + 0.5, texts=empty), Split(np.arange(4.0), texts=["good"] * 4), None, "spearman"),  # a constant target
    ]
    for number, data in enumerate(sets):
        measured = dataset_features(replace(data, fingerprint=str(number)), encoder=encoder)
        assert list(measured) == list(FEATURES)
        assert all(math.isfinite(value) for value in measured.values())
    assert measured["probe_score"] == 0.0


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rows is 5; allowed: 20 or more"):
        dataset_features(image_dataset(), rows=5)
    with pytest.raises(ModelError, match="there is no such folder"):
        dataset_features(text_dataset(), encoder=str(tmp_path / "nothing"))


def test_importing_the_features_imports_nothing_heavy() -> None:
    code = (
        "import sys, autodistill.features; print([name for name in ('torch', 'sklearn', 'transformers', 'scipy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
