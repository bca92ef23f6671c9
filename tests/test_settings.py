"""The settings: one list of them, and everything that is made from it."""

from __future__ import annotations

import argparse
import inspect
import json
import runpy
import shlex
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pytest

import autodistill
from autodistill import keywords
from autodistill.api import search
from autodistill.cli.main import parser
from autodistill.cli.options import add_options, read_options
from autodistill.errors import DataError, RecipeError, SpaceError, UsageError
from autodistill.export.distill import distill
from autodistill.option import QUESTION, Settings, setting
from autodistill.recipe import Recipe
from autodistill.recommending import recommend
from autodistill.settings import DatasetSettings, DistillSettings, RecommendSettings, SearchSettings, default_name
from autodistill.space import Space
from autodistill.values import TEXT, many

DOCS = Path(__file__).parents[1] / "docs"
OLD = {
    "dataset": {"name": "data/reviews.csv", "limit_train": 1500, "seed": 3, "text_columns": ["body"], "label_column": None},
    "study": "reviews", "space": None, "teacher": "t", "trials": 72, "time_budget": None, "max_epochs": 3, "max_params": 3_026_666,
    "max_latency_ms": 2.5, "params_ratio": 7.5, "latency_ratio": None, "workers": 2, "cpus_per_trial": 1, "gpus_per_trial": None,
    "address": None, "studies_dir": "studies", "seed": 3, "keep": 3, "storage": None, "resume": False, "explore": False, "repeats": 3,
}  # fmt: skip
"""The settings of a study.json as it was written before there were keywords, options and files of one list."""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("study", "../other"),
        ("study", ""),
        ("trials", -1),
        ("trials", 2.5),
        ("max_epochs", 0),
        ("workers", 0),
        ("keep", 0),
        ("time_budget", 0),
        ("time_budget", float("nan")),
        ("max_latency_ms", -1.0),
        ("max_latency_ms", "1/0.5"),
        ("max_params", 0),
        ("max_params", "5X"),
        ("gpus_per_trial", 1.5),
        ("gpus_per_trial", -0.25),
        ("cpus_per_trial", 0),
        ("address", "ray://head:10001"),
        ("address", "head"),
        ("resume", "no"),
        ("text_columns", [1]),
        ("recipes", [3]),
    ],
)
def test_values_that_cannot_be_meant_are_named(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"^{name} is .*; it should be .*") as error:
        SearchSettings(**{"dataset": "d", name: value})
    assert repr(value) in str(error.value)


def test_what_there_is_not_and_what_is_missing_are_named() -> None:
    with pytest.raises(UsageError, match="'trails'; allowed: .* Did you mean 'trials'"):
        SearchSettings(dataset="d", trails=3)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="'max_latency'; it is called 'max_latency_ms' here"):
        SearchSettings(dataset="d", max_latency=3)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="--dataset is missing; give --dataset NAME|PATH"):
        SearchSettings()  # type: ignore[call-arg]
    with pytest.raises(UsageError, match=r"RECIPE is missing; give RECIPE \(a recipe's file"):
        DistillSettings(dataset="d", out="o")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="'random'; it should be a model that has learned something"):
        RecommendSettings(dataset="d", teacher="random")
    with pytest.raises(TypeError):
        autodistill.search()  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="Did you mean 'trials'"):
        autodistill.search("d", trails=3)  # type: ignore[call-arg]


def test_none_is_the_default() -> None:
    assert SearchSettings(dataset="d", **dict.fromkeys(name for name in SearchSettings.options() if name != "dataset")) == SearchSettings(
        dataset="d"
    )
    assert SearchSettings(dataset="data/Größe 2.csv").study == "Größe-2" == default_name("data/Größe 2.csv")


def test_settings_survive_json_and_lose_passwords(tmp_path: Path) -> None:
    recipe = Space.load("text", "text-classification").defaults()
    asked = SearchSettings(
        dataset="d", study="s", studies_dir=tmp_path, storage="postgresql://me:secret@host:5432/db", time_budget="1h", gpus_per_trial=0.25,
        max_params="1/7.50", recipes=["mine.yaml", recipe], text_columns="body",
    )  # fmt: skip
    data = json.loads(json.dumps(asked.to_dict()))
    assert "secret" not in json.dumps(data)
    again = SearchSettings.from_dict(data)
    assert again == asked.model_copy(update={"storage": "postgresql://me:***@host:5432/db"})
    assert again.folder == tmp_path / "s"
    assert isinstance(again.recipes[1], Recipe)
    assert (data["time_budget"], data["max_params"], data["text_columns"]) == (3600.0, "1/7.5", ["body"])


def test_a_list_is_rows_in_python_and_files_everywhere_else(tmp_path: Path, isolated_cache: Path) -> None:
    rows = SearchSettings(dataset="d", unlabelled=["one text", "another"])
    (place,) = rows.unlabelled
    assert list(pd.read_parquet(place)["text"]) == ["one text", "another"]
    for paths in (["a.txt"], ["a.txt", "b.CSV.gz"], [tmp_path / "a"]):  # texts are not called like this
        with pytest.raises(UsageError, match=r"unlabelled is a list, which holds texts, and .* is a file; give it alone, or a tuple"):
            SearchSettings.read({"dataset": "d", "unlabelled": paths})
    with pytest.raises(UsageError, match=r"'rest' names the rest of the training rows; give it alone, or a tuple: \('rest',\)"):
        SearchSettings(dataset="d", unlabelled=["rest"])
    files = SearchSettings(dataset="d", unlabelled=("a.txt", "b.txt"))
    assert files.unlabelled == ("a.txt", "b.txt")
    assert read(tmp_path, "dataset: d\nunlabelled: [a.txt, b.txt]\n") == files
    assert read(tmp_path, "dataset: d\n", "--unlabelled", "a.txt", "--unlabelled", "b.txt") == files
    assert SearchSettings.from_dict(json.loads(json.dumps(files.to_dict()))) == files
    assert files.ref.unlabelled == (str(Path("a.txt").absolute()), str(Path("b.txt").absolute()))


def test_a_teachers_scores_may_be_a_table_in_python(tmp_path: Path, isolated_cache: Path) -> None:
    table = pd.DataFrame({"text": ["a film", "a plot"], "bad": [0.25, 1.0], "good": [0.75, 0.0]})
    for rows in (table, table.to_dict("list"), table.to_dict("records")):
        asked = SearchSettings(dataset="d", teacher_scores=rows)
        assert asked.teacher_scores is not None
        pd.testing.assert_frame_equal(pd.read_parquet(asked.teacher_scores), table)
        assert SearchSettings.from_dict(json.loads(json.dumps(asked.to_dict()))) == asked
    assert SearchSettings(dataset="d", teacher_scores=tmp_path / "a.csv").teacher_scores == str(tmp_path / "a.csv")
    with pytest.raises(UsageError, match="teacher_scores is a list that cannot be read; allowed: a path; or a DataFrame"):
        SearchSettings.read({"dataset": "d", "teacher_scores": [0.5, 0.5]})


def test_a_study_of_an_older_version_is_read() -> None:
    asked = SearchSettings.from_dict(OLD)
    assert (asked.dataset, asked.limit_train, asked.seed, asked.text_columns) == ("data/reviews.csv", 1500, 3, ("body",))
    assert (asked.max_params, asked.max_latency_ms, asked.max_epochs) == ("1/7.5", 2.5, 3)
    assert SearchSettings.from_dict(asked.to_dict()) == asked


def test_the_command_says_what_is_not_at_its_default_and_asks_the_same() -> None:
    assert SearchSettings(dataset="d").command_line() == "autodistill search --dataset d"
    asked = SearchSettings(
        dataset="-my data", text_columns=["a b", "-c"], max_params="2.3M", max_latency_ms="500us", time_budget="1.5h", recipes=["x.yaml"],
        cold=True, gpus_per_trial=0.25, study="s", studies_dir="out", seed=3,
    )  # fmt: skip
    words = shlex.split(asked.command_line())
    assert read_options(parser().parse_args(words[1:]), SearchSettings) == asked
    question = asked.command_line(QUESTION, always=("study",))
    assert question == (
        "autodistill search '--dataset=-my data' --text-column 'a b' --text-column=-c --max-params 2300000 --max-latency 0.5ms --seed 3 "
        "--time-budget 5400 --recipe x.yaml --cold --study s"
    )
    distilled = DistillSettings(recipe="r.yaml", dataset="d", out="o", control=False, workers=4, overwrite=True)
    assert distilled.command_line(QUESTION, always=("out",)) == "autodistill distill r.yaml --dataset d --no-control --out o"
    assert read_options(parser().parse_args(shlex.split(distilled.command_line())[1:]), DistillSettings) == distilled


CONFIG = """\
dataset: reviews.csv
text_columns: [title, body]
max_params: 5M
max_latency_ms: 1/9.4
time_budget: 1h
recipes: one.yaml
cold: true
trials: 40
"""


def read(tmp_path: Path, text: str, *words: str) -> SearchSettings:
    (tmp_path / "search.yaml").write_text(text, encoding="utf-8")
    args = parser().parse_args(["search", "--config", str(tmp_path / "search.yaml"), *words])
    return read_options(args, SearchSettings)


def test_a_file_holds_settings_and_an_option_wins(tmp_path: Path) -> None:
    asked = read(tmp_path, CONFIG)
    assert asked == SearchSettings(
        dataset="reviews.csv", text_columns=("title", "body"), max_params=5_000_000, max_latency_ms="1/9.4", time_budget=3600,
        recipes=("one.yaml",), cold=True, trials=40,
    )  # fmt: skip
    changed = {"trials": 60, "recipes": ("a.yaml", "b.yaml"), "cold": False, "seed": 1}
    words = ["--trials", "60", "--recipe", "a.yaml", "--recipe", "b.yaml", "--no-cold", "--seed", "1"]
    assert read(tmp_path, CONFIG, *words) == asked.model_copy(update=changed)
    assert read(tmp_path, CONFIG, "--dataset", "other").study == "other"
    assert read(tmp_path, "", "--dataset", "d") == SearchSettings(dataset="d")
    assert read(tmp_path, "trials:\n", "--dataset", "d") == SearchSettings(dataset="d")
    assert read(tmp_path, json.dumps(SearchSettings(dataset="d", seed=4).to_dict())) == SearchSettings(dataset="d", seed=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset: d\ntrails: 3\n", r"search\.yaml:2: a setting is 'trails'; allowed: .*Did you mean 'trials'"),
        ("dataset: d\n\nmax-latency: 3\n", r"search\.yaml:3: a setting is 'max-latency'; it is called 'max_latency_ms' here"),
        ("dataset: d\ntop: 3\n", r"search\.yaml:2: a setting is 'top'; allowed:"),
        ("3: 4\n", r"search\.yaml:1: a setting is '3'"),
        ("dataset: d\ntrials: many\n", r"search\.yaml:2: trials is 'many'; it should be a whole number from 0"),
        ("dataset: d\nresume: sure\n", r"search\.yaml:2: resume is 'sure'; it should be true or false"),
        ("trials: 3\nstudy: 2024-01-01\n", r"search\.yaml:2: study: YAML reads '2024-01-01' as a date; put it in quotes"),
        ("dataset: d\ntrials: 3\ntrials: 4\n", r"search\.yaml:3: key 'trials' occurs twice; the first is on line 2"),
        ("dataset: [d\n", "search.yaml is not valid YAML"),
        ("- dataset\n", "search.yaml should hold settings, one `name: value` on each line"),
        ("trials: 3\n", "--dataset is missing; give --dataset NAME|PATH .*or `dataset` in a --config file"),
    ],
)
def test_what_a_file_cannot_mean_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file .*nowhere\.yaml"):
        SearchSettings.read({}, tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("function", "model", "own"),
    [
        (search, SearchSettings, {"listen", "verbose"}),
        (recommend, RecommendSettings, {"studies", "listen", "verbose"}),
        (distill, DistillSettings, {"listen", "verbose", "command"}),
    ],
)
def test_the_signature_shows_every_setting(function: Callable[..., Any], model: type[Settings], own: set[str]) -> None:
    parameters = inspect.signature(function).parameters
    assert set(parameters) == set(model.options()) | own
    for name, option in model.options().items():
        nothing = None if function is distill and name in ("dataset", "out") else inspect.Parameter.empty  # a study has a dataset
        assert parameters[name].default == (nothing if option.required else option.default)
        assert f"\n    {name}: " in str(function.__doc__)


@pytest.mark.parametrize(
    ("model", "typed"),
    [
        (SearchSettings, keywords.SearchKeywords),
        (RecommendSettings, keywords.RecommendKeywords),
        (DistillSettings, keywords.DistillKeywords),
    ],
)
def test_the_keywords_that_type_checkers_see_are_the_settings(model: type[Settings], typed: Any) -> None:
    assert set(typing.get_type_hints(typed)) == {name for name, option in model.options().items() if not option.required}
    assert not typed.__required_keys__


def test_what_is_written_from_the_settings_is_up_to_date() -> None:
    script = runpy.run_path(str(DOCS / "settings.py"))
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == script["page"](), "run python docs/settings.py"
    assert Path(str(keywords.__file__)).read_text(encoding="utf-8") == script["code"](), "run python docs/settings.py"


def test_a_setting_is_added_in_one_place(tmp_path: Path) -> None:
    class More(DatasetSettings):
        """A field more."""

        command = "more"
        unlabelled: Annotated[tuple[str, ...], many(TEXT)] = setting((), "rows without labels", "PATH")

    command = argparse.ArgumentParser()
    add_options(command, More)
    asked = read_options(command.parse_args(["--dataset", "d", "--unlabelled", "a.txt", "--unlabelled", "b.txt"]), More)
    assert asked.unlabelled == ("a.txt", "b.txt")
    assert asked.command_line() == "autodistill more --dataset d --unlabelled a.txt --unlabelled b.txt"
    (tmp_path / "more.yaml").write_text("dataset: d\nunlabelled: [a.txt, b.txt]\n")
    assert More.read({}, tmp_path / "more.yaml") == asked
    assert "--unlabelled PATH" in command.format_help()


def test_files_that_are_named_are_checked_before_the_dataset_is_read(tmp_path: Path) -> None:
    SearchSettings(dataset="d", space="image", teacher="timm:resnet18").check()
    with pytest.raises(SpaceError, match="Did you mean 'text'"):
        SearchSettings(dataset="d", space="txet").check()
    (tmp_path / "own.yaml").write_text("version: 1\n")
    with pytest.raises(SpaceError, match=r"own\.yaml: the key 'name' is missing"):
        RecommendSettings(dataset="d", space=tmp_path / "own.yaml").check()
    head = "version: 1\nname: own\nabout: a test\ntasks: [text-regression]\nparameters:\n"
    (tmp_path / "own.yaml").write_text(head + "  teacher.model: {value: t}\n  student.family: {value: cnn}\n")
    with pytest.raises(SpaceError, match=r"the parameter is 'training\.epochs'; allowed: teacher\.model, student\.family"):
        SearchSettings(dataset="d", space=tmp_path / "own.yaml", max_epochs=3).check()
    with pytest.raises(DataError, match=r"there is no file or folder .*more\.csv"):
        DistillSettings(recipe="r.yaml", dataset="d", out="o", unlabelled=str(tmp_path / "more.csv")).check()
    with pytest.raises(DataError, match=r"teacher_scores: there is no file .*scores\.csv"):
        SearchSettings(dataset="d", teacher_scores=str(tmp_path / "scores.csv")).check()
    with pytest.raises(UsageError, match="a file of scores has no size"):
        SearchSettings(dataset="d", teacher_scores="scores.csv", max_params="1/7.5").check()
    with pytest.raises(RecipeError, match=r"there is no file .*mine\.yaml"):
        SearchSettings(dataset="d", recipes=str(tmp_path / "mine.yaml")).check()
    with pytest.raises(UsageError, match="task is regression, and the metric is 'auroc'; allowed: spearman, pearson"):
        SearchSettings(dataset="d", task="regression", metric="auroc").check()


def test_a_task_a_metric_and_weights_of_classes() -> None:
    asked = SearchSettings(dataset="a.csv", task="classification", metric="macro_f1", class_weights="balanced")
    assert (asked.ref.task, asked.ref.metric) == ("classification", "macro_f1")
    assert asked.command_line() == ("autodistill search --dataset a.csv --task classification --metric macro_f1 --class-weights balanced")
    assert asked.open_space("text", "text-classification").defaults().objective.class_weights == "balanced"
    for name, value in (("task", "embeddings"), ("metric", "bleu"), ("class_weights", "inverse")):
        with pytest.raises(UsageError, match=f"{name} is '{value}'; it should be one of"):
            SearchSettings(dataset="d", **{name: value})


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x", "a" * 300])
def test_a_path_that_nothing_can_have_is_told_of_wherever_it_is_given(name: str) -> None:
    with pytest.raises(DataError, match="is no user of this machine|File name too long"):
        SearchSettings(dataset="d", teacher_scores=name).check()
    with pytest.raises(RecipeError, match="is no user of this machine|File name too long"):
        DistillSettings(dataset="d", recipe=name, out="o").check()
    with pytest.raises(UsageError, match="is no user of this machine|File name too long"):
        SearchSettings.read({"dataset": "d"}, config=name)


def test_teachers_are_one_or_several() -> None:
    assert SearchSettings(dataset="d").teacher == ()
    assert SearchSettings(dataset="d", teacher="a").teacher == ("a",)
    several = SearchSettings(dataset="d", teacher=["a", "b"])
    assert several.teacher == ("a", "b")
    assert "--teacher a --teacher b" in several.command_line()
    assert SearchSettings.from_dict(several.to_dict()) == several
    with pytest.raises(UsageError, match="teacher names 'a' twice"):
        SearchSettings(dataset="d", teacher=["a", "b", "a"]).check()
    with pytest.raises(UsageError, match="`random` with other teachers"):
        SearchSettings(dataset="d", teacher=["a", "random"]).check()
    with pytest.raises(UsageError, match="a model that has learned something"):
        RecommendSettings(dataset="d", teacher=["a", "random"])


def test_distill_takes_the_rows_of_the_study_that_its_recipe_lies_in(tmp_path: Path) -> None:
    asked = {"dataset": "reviews.csv", "limit_train": 500, "unlabelled": ["rest"], "text_columns": ["body"], "seed": 3, "trials": 9}
    (tmp_path / "study.json").write_text(json.dumps({"schema": 2, "settings": asked}), encoding="utf-8")
    for recipe in (tmp_path, str(tmp_path / "recommended.yaml")):
        settings = DistillSettings(recipe=recipe, out="o")
        assert (settings.dataset, settings.limit_train, settings.seed) == ("reviews.csv", 500, 3)
        assert (settings.unlabelled, settings.text_columns) == (("rest",), ("body",))
    assert DistillSettings(recipe=tmp_path, out="o", seed=4).seed == 4
    other = DistillSettings(recipe=tmp_path, out="o", dataset="imdb")
    assert (other.dataset, other.limit_train, other.unlabelled) == ("imdb", None, ())  # another dataset has rows of its own
    with pytest.raises(UsageError, match="--dataset is missing; give --dataset"):
        DistillSettings(recipe=tmp_path / "elsewhere" / "recipe.yaml", out="o")


def test_distill_can_train_longer_than_the_recipe_says() -> None:
    recipe = Space.load("image", "image-classification").defaults()  # on many rows it asks for more steps
    assert recipe.training.steps_per_epoch(50_000) * recipe.training.epochs == 4000
    asked = DistillSettings(recipe=recipe, dataset="d", out="o")
    assert asked.load_recipe() == recipe
    longer = asked.model_copy(update={"steps": 9600}).load_recipe()
    assert longer.training.steps_per_epoch(50_000) * longer.training.epochs == 9600
    assert longer.model_dump() | {"training": None} == recipe.model_dump() | {"training": None}
    assert longer.id != recipe.id
    with pytest.raises(UsageError, match="steps is 0"):
        DistillSettings(recipe=recipe, dataset="d", out="o", steps=0)
