from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from autodistill.errors import DataError
from autodistill.recommender.foreign import read_foreign
from autodistill.recommender.table import KEYS

RUNS = pd.DataFrame(
    {
        "task": ["sst2"] * 3 + ["stsb"] * 2, "acc": [0.9, 0.8, 0.7, 0.5, None], "loss": ["kl", "kl", None, "mse", "mse"],
        "lr": [1e-4, 1e-4, 1e-3, 1e-4, 1e-5], "rows": [100, 100, 100, 7, 7], "type": ["c", "c", "c", "r", "r"], "id": list("vwxyz"),
    }
)  # fmt: skip


def read(folder: Path, mapping: str, runs: pd.DataFrame = RUNS, suffix: str = ".csv"):
    path = folder / f"runs{suffix}"
    if suffix == ".jsonl":
        runs.to_json(path, orient="records", lines=True)
    elif suffix == ".parquet":
        runs.to_parquet(path)
    else:
        runs.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    (folder / "mapping.yaml").write_text(mapping)
    return read_foreign(path, folder / "mapping.yaml")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_a_mapping_says_what_the_columns_are(tmp_path: Path, suffix: str) -> None:
    foreign = read(
        tmp_path, "dataset: task\nscore: acc\ntask: type\nfeatures: [rows]\nignore: [id]\ndefaults: [{loss: kl}]\n", suffix=suffix
    )
    table = foreign.table
    assert table.names == ["sst2", "stsb"]
    assert list(table.recipes.columns) == ["loss", "lr"]
    assert table.scores.tolist() == pytest.approx([0.85, 0.7, 0.5])
    assert table.about["task"].tolist() == ["c", "r"]
    assert table.features["rows"].tolist() == [100, 7]
    assert foreign.notes == ["1 rows without a score are left out", "1 repeated runs are averaged into 3 recipes"]
    assert foreign.defaults is not None
    assert foreign.defaults.to_dict("records") == [{"loss": "kl"}]


def test_values_by_dataset_and_lower_is_better(tmp_path: Path) -> None:
    mapping = "dataset: task\nscore: acc\nrecipe: [loss, lr]\ntask: {sst2: single, stsb: pair}\nhigher_is_better: false\n"
    table = read(tmp_path, mapping).table
    assert table.scores.tolist() == pytest.approx([-0.85, -0.7, -0.5])
    assert table.about["task"].tolist() == ["single", "pair"]
    mapping = "dataset: task\nscore: acc\nrecipe: [loss, lr]\nteacher_score: {sst2: 0.9, stsb: 0.8}\ngroup: type\n"
    table = read(tmp_path, mapping).table
    assert table.about["teacher_score"].tolist() == [0.9, 0.8]
    assert table.groups == ["c", "r"]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("score: acc", "the key 'dataset' is missing"),
        ("dataset: tusk\nscore: acc", "is 'tusk'; allowed: .*Did you mean 'task'"),
        ("dataset: task\nscores: acc", "a key is 'scores'.*Did you mean 'score'"),
        ("dataset: task\nscore: acc\nversion: 9", "version is 9"),
        ("dataset: task\nscore: loss\nrecipe: [lr]", "holds no number"),
        ("dataset: task\nscore: acc\nrecipe: lr", "recipe is 'lr'; it should be a list of columns, or the word rest"),
        ("dataset: task\nscore: acc\nrecipe: [lr, laer]", "a column of recipe is 'laer'"),
        ("dataset: task\nscore: acc\nrecipe: [task]", "'task' is already named as something else"),
        ("dataset: task\nscore: acc\nhigher_is_better: 'no'", "higher_is_better is 'no'; allowed: true, false"),
        ("dataset: task\nscore: acc\ntask: {sst2: a}", "task has no value for the dataset 'stsb'"),
        ("dataset: task\nscore: acc\ntask: {sst2: a, stbs: b}", "a dataset is 'stbs'.*Did you mean 'stsb'"),
        ("dataset: task\nscore: acc\nfeatures: [lr]", "'lr' differs within the dataset 'sst2'"),
        ("dataset: task\nscore: acc\ndefaults: [{los: kl}]", "a recipe field is 'los'"),
        ("dataset: task\nscore: acc\ndefaults: kl", "defaults should be a list"),
        ("dataset: task\nscore: acc\ngroup: {sst2: a, stsb: a}", "all rows are of one group"),
        ("- dataset", "should be a mapping"),
        ("dataset: [", "not valid YAML"),
    ],
)
def test_a_bad_mapping_is_told(tmp_path: Path, mapping: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, mapping)


@pytest.mark.parametrize("name", [name for name in KEYS if name not in ("dataset", "score")])
def test_a_recipe_field_may_have_the_name_of_a_column_of_ours(tmp_path: Path, name: str) -> None:
    runs = RUNS.rename(columns={"task": "data"}).rename(columns={"lr": name})
    table = read(tmp_path, f"dataset: data\nscore: acc\nrecipe: [loss, {name}]\n", runs).table
    assert list(table.recipes.columns) == ["loss", f"recipe.{name}"]


def test_names_of_runs_are_no_recipe_fields(tmp_path: Path) -> None:
    runs = pd.concat([RUNS.assign(acc=0.5, id=[f"{turn}{name}" for name in RUNS["id"]]) for turn in range(6)])
    with pytest.raises(DataError, match="the column 'id' differs in nearly every row"):
        read(tmp_path, "dataset: task\nscore: acc\n", runs)


def test_a_bad_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text("dataset: task\nscore: acc\n")
    with pytest.raises(DataError, match="there is no file"):
        read_foreign(tmp_path / "none.csv", tmp_path / "mapping.yaml")
    (tmp_path / "runs.xls").write_text("x")
    with pytest.raises(DataError, match=r"the file type is '.xls'; allowed: .csv"):
        read_foreign(tmp_path / "runs.xls", tmp_path / "mapping.yaml")
    (tmp_path / "runs.parquet").write_text("x")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        read_foreign(tmp_path / "runs.parquet", tmp_path / "mapping.yaml")
