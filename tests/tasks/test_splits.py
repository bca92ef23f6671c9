"""Three splits: disjoint, complete, stratified, seeded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodistill.errors import DataError, RunError
from autodistill.target import Scores
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.tasks.splits import held_out, plan, stratified


def write(path: Path, rows: int, start: int = 0, label: object = None) -> None:
    """Rows with different texts and classes in the shares 60, 30 and 10 percent, or all with one label."""
    names = ["big"] * 6 + ["middle"] * 3 + ["small"]
    items = ({"text": f"text {row}", "label": names[row * 7 % 10] if label is None else label} for row in range(start, start + rows))
    path.write_text("\n".join(json.dumps(item) for item in items))


def texts(dataset: Dataset) -> list[set[str]]:
    return [set(split.texts or ()) for split in (dataset.train, dataset.validation, dataset.open_test())]


def test_one_table_becomes_three(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", 1000)
    dataset = load_dataset(DatasetRef(str(tmp_path / "a.jsonl")), with_test=True)
    parts = texts(dataset)
    assert [len(part) for part in parts] == [800, 100, 100]
    assert len(set.union(*parts)) == 1000
    assert dataset.classes == ("big", "middle", "small")
    for split in (dataset.train, dataset.validation, dataset.open_test()):
        np.testing.assert_allclose(np.bincount(split.labels) / len(split), [0.6, 0.3, 0.1], atol=0.01)
    assert dataset.notes == ("test: 100 rows held out, stratified, seed 0", "validation: 100 rows held out of train, stratified, seed 0")


def test_the_seed_decides(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", 300)
    one, again, other = (load_dataset(DatasetRef(str(tmp_path / "a.jsonl"), seed=seed), with_test=True) for seed in (1, 1, 2))
    assert one.fingerprint == again.fingerprint
    assert one.train.texts == again.train.texts
    assert texts(one) == texts(again)
    assert one.fingerprint != other.fingerprint
    assert texts(one)[1] != texts(other)[1]
    assert texts(one)[2] != texts(other)[2]


def test_three_files_stay_as_they_are(tmp_path: Path) -> None:
    for split, (rows, start) in {"train": (50, 0), "dev": (20, 50), "test": (30, 70)}.items():
        write(tmp_path / f"{split}.jsonl", rows, start)
    dataset = load_dataset(DatasetRef(str(tmp_path)), with_test=True)
    assert [len(part) for part in texts(dataset)] == [50, 20, 30]
    assert dataset.train.texts == [f"text {row}" for row in range(50)]
    assert not [note for note in dataset.notes if "held out" in note or "split" in note]


@pytest.mark.parametrize("label", [-1, None], ids=["minus one", "null"])
def test_hidden_test_labels(tmp_path: Path, label: object) -> None:
    write(tmp_path / "train.jsonl", 1000)
    write(tmp_path / "validation.jsonl", 60, 1000)
    rows = [json.dumps({"text": f"hidden {row}", "label": label}) for row in range(40)]
    (tmp_path / "test.jsonl").write_text("\n".join(rows))
    dataset = load_dataset(DatasetRef(str(tmp_path)), with_test=True)
    train, validation, test = texts(dataset)
    assert test == {f"text {row}" for row in range(1000, 1060)}
    assert (len(train), len(validation)) == (900, 100)
    assert train | validation == {f"text {row}" for row in range(1000)}
    assert any("test file has no labels" in note for note in dataset.notes)
    assert any("the validation split is the test split" in note for note in dataset.notes)


def test_a_test_file_without_a_label_column(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", 500)
    (tmp_path / "test.jsonl").write_text('{"text": "unlabelled"}')
    train, validation, test = texts(load_dataset(DatasetRef(str(tmp_path)), with_test=True))
    assert (len(train), len(validation), len(test)) == (300, 100, 100)
    assert len(train | validation | test) == 500


def test_no_validation(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", 2000)
    write(tmp_path / "test.jsonl", 100, 2000)
    train, validation, test = texts(load_dataset(DatasetRef(str(tmp_path)), with_test=True))
    assert (len(train), len(validation), len(test)) == (1800, 200, 100)
    assert not train & validation


def test_the_test_split_is_only_there_when_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", 300)
    dataset = load_dataset(DatasetRef(str(tmp_path / "a.jsonl")))
    with pytest.raises(RunError, match="without its test split"):
        dataset.open_test()
    with_test = load_dataset(DatasetRef(str(tmp_path / "a.jsonl")), with_test=True)
    assert with_test.fingerprint == dataset.fingerprint


def test_limit_train_takes_a_stratified_subset_of_the_same_train(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", 1000)
    whole = load_dataset(DatasetRef(str(tmp_path / "a.jsonl")), with_test=True)
    some = load_dataset(DatasetRef(str(tmp_path / "a.jsonl"), limit_train=200), with_test=True)
    assert np.bincount(some.train.labels).tolist() == [120, 60, 20]
    assert texts(some)[0] < texts(whole)[0]
    assert texts(some)[1:] == texts(whole)[1:]
    assert some.fingerprint != whole.fingerprint
    assert "train: 200 of 800 rows, stratified, seed 0; validation and test are whole" in some.notes
    assert load_dataset(DatasetRef(str(tmp_path / "a.jsonl"), limit_train=800)).fingerprint == whole.fingerprint


def test_a_class_with_one_row_stays_in_train(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", 200)
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('\n{"text": "alone", "label": "rare"}')
    dataset = load_dataset(DatasetRef(str(tmp_path / "a.jsonl"), limit_train=20), with_test=True)
    assert dataset.classes == ("big", "middle", "rare", "small")
    assert "alone" in (dataset.train.texts or ())


def test_a_regression_is_stratified_by_quantiles(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    items = [{"text": f"text {row}", "label": float(value)} for row, value in enumerate(rng.exponential(size=1000))]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(item) for item in items))
    dataset = load_dataset(DatasetRef(str(tmp_path / "a.jsonl")), with_test=True)
    assert (dataset.task, dataset.metric, dataset.classes, dataset.num_outputs) == ("text-regression", "spearman", None, 1)
    assert dataset.train.labels.dtype == np.float32
    edges = np.quantile([item["label"] for item in items], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])  # type: ignore[arg-type]
    for split in (dataset.validation, dataset.open_test()):
        np.testing.assert_allclose(np.bincount(np.searchsorted(edges, split.labels), minlength=10), 10, atol=1)


def test_rows_of_validation_that_stand_in_train_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", 50)
    write(tmp_path / "validation.jsonl", 20, 45)
    write(tmp_path / "test.jsonl", 20, 90)
    assert "5 of 20 validation rows are in train too" in load_dataset(DatasetRef(str(tmp_path))).notes


@pytest.mark.parametrize(("rows", "expected"), [(10, 2), (100, 20), (400, 80), (600, 100), (5000, 500)])
def test_how_much_is_held_out(rows: int, expected: int) -> None:
    assert held_out(rows) == expected


def test_too_few_rows() -> None:
    with pytest.raises(DataError, match="has 2 rows to train on and hold out from; at least 10"):
        plan({"all": np.array([0, 1])}, 0, None, "tiny")
    with pytest.raises(DataError, match="has 12 rows in train, too few to hold out a test split"):
        plan({"train": np.arange(12)}, 0, None, "tiny")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=80), st.floats(0.05, 0.95), st.booleans(), st.integers(0, 5))
def test_stratified_picks_shares(classes: list[int], share: float, leave_one: bool, seed: int) -> None:
    keys = np.array(classes)
    count = max(1, round(share * len(keys)))
    picked = stratified(keys, count, np.random.default_rng(seed), leave_one=leave_one)
    assert len(set(picked.tolist())) == len(picked) <= count
    assert np.all(np.diff(picked) > 0)
    names, sizes = np.unique(keys, return_counts=True)
    taken = np.array([np.sum(keys[picked] == name) for name in names])
    if leave_one:
        assert np.all(taken < sizes)
        assert len(picked) == min(count, int(np.sum(sizes - 1)))
    else:
        assert len(picked) == count
        if count >= len(names):
            assert np.all(taken >= 1)
    if leave_one and np.all(sizes * share + 1 < sizes):
        assert np.all(np.abs(taken - sizes * count / len(keys)) < 1 + 1e-9)


def test_strata_of_scores_are_equal_bins() -> None:
    bins = Scores().strata(np.random.default_rng(0).normal(size=200))
    assert np.bincount(bins).tolist() == [20] * 10
