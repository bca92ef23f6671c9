from __future__ import annotations

import json
from pathlib import Path

import pytest

from autodistill.errors import RecipeError
from autodistill.recipe import Recipe
from autodistill.recipe.parts import FORMS, Component, LayerMapped, Mixing, Projected, TokenReading, Viewed, Weighted, bases

TEXT = """\
version: 1
task: text-classification
teacher:  {model: sentence-transformers/all-MiniLM-L6-v2, epochs: 2, learning_rate: 5.0e-5}
student:  {family: bert, layers: 3, hidden_size: 192, heads: 6, init: teacher}
objective:
  hard_label_weight: 0.2
  prediction:   {kind: kl, weight: 0.8, temperature: 3.0}
  intermediate: {kind: mi, mi_alpha: 0.5, weight: 0.1, layer_map: skip, tokens: cls}
  contrastive:  {kind: none}
  attention:    {kind: none}
augmentation: {kind: random, strength: 0.1, copies: 2, mixup: 0.0}
training: {epochs: 6, batch_size: 32, learning_rate: 3.0e-4, weight_decay: 0.01, warmup: 0.1}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(TEXT)
    return file


def test_the_designs_example_loads_and_is_complete(path: Path) -> None:
    recipe = Recipe.load(path)
    assert recipe.student.own["layers"] == 3
    assert recipe.objective.intermediate.own["mi_alpha"] == 0.5
    assert recipe.objective.intermediate.own["critic"]  # filled in
    assert set(recipe.objective.terms) == {"prediction", "intermediate"}


def test_yaml_and_json_come_back_the_same(path: Path, tmp_path: Path) -> None:
    recipe = Recipe.load(path)
    again = tmp_path / "again.yaml"
    again.write_text(recipe.to_yaml())
    assert Recipe.load(again) == recipe
    assert Recipe.parse(json.loads(recipe.canonical_json())).id == recipe.id


def test_the_id_says_what_is_said_and_not_how(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    lines = TEXT.splitlines()
    other.write_text("\n".join([lines[1], lines[0], *lines[2:]]).replace("  contrastive:  {kind: none}\n", ""))
    assert Recipe.load(other).id == Recipe.load(path).id
    other.write_text(TEXT.replace("temperature: 3.0", "temperature: 3.5"))
    assert Recipe.load(other).id != Recipe.load(path).id


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("kind: kl,", "kind: kll,", 7, ["objective.prediction.kind", "'kll'", "kl", "mse"]),
        ("temperature: 3.0", "temperature: -1", 7, ["objective.prediction.temperature", "-1", "greater than 0"]),
        ("weight: 0.8", "wieght: 0.8", 7, ["objective.prediction.wieght", "0.8"]),
        ("mi_alpha: 0.5", "mi_alpha: 1.5", 8, ["objective.intermediate.mi_alpha", "1.5", "less than or equal to 1"]),
        ("layer_map: skip", "layer_map: skp", 8, ["objective.intermediate.layer_map", "'skp'", "skip", "last"]),
        ("family: bert", "family: brt", 4, ["student.family", "'brt'", "bert", "cnn", "bilstm"]),
        ("epochs: 6", "epochs: six", 12, ["training.epochs", "'six'", "integer"]),
        ("warmup: 0.1", "warmup: 0.1, beta: 2", 12, ["training.beta", "2", "not permitted"]),
        ("task: text-classification", "task: text-clasification", 2, ["task", "'text-clasification'", "text-classification"]),
        ("model: sentence-transformers/all-MiniLM-L6-v2, ", "", 3, ["teacher.model", "required"]),
    ],
)  # fmt: skip
def test_an_error_names_file_line_key_value_and_what_is_allowed(path: Path, old: str, new: str, line: int, words: list[str]) -> None:
    assert old in TEXT
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(RecipeError) as error:
        Recipe.load(path)
    message = str(error.value)
    assert message.startswith(f"{path}:{line}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_key_that_stands_twice_is_an_error(path: Path) -> None:
    path.write_text(TEXT + "training: {epochs: 3}\n")
    with pytest.raises(RecipeError, match=r":13: key 'training' occurs twice; the first is on line 12"):
        Recipe.load(path)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text"])
def test_a_file_that_is_no_mapping_is_an_error(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(RecipeError, match="should be a mapping"):
        Recipe.load(path)


def test_broken_yaml_and_missing_files_are_errors(path: Path) -> None:
    path.write_text("task: [a")
    with pytest.raises(RecipeError, match="not valid YAML"):
        Recipe.load(path)
    with pytest.raises(RecipeError, match="there is no file"):
        Recipe.load(path.with_name("missing.yaml"))


def _data(**changes: object) -> dict[str, object]:
    data: dict[str, object] = {"task": "text-classification", "teacher": {"model": "m"}, "student": {"family": "bilstm"}}
    return data | changes


def test_objectives_that_do_not_fit_the_task_are_refused_with_the_reason() -> None:
    with pytest.raises(RecipeError, match="'kl' does not fit text-regression; fitting ones: .*mse"):
        Recipe.parse(_data(task="text-regression", objective={"prediction": {"kind": "kl"}}))
    with pytest.raises(RecipeError, match="'bilstm' does not fit image-classification"):
        Recipe.parse(_data(task="image-classification"))
    with pytest.raises(RecipeError, match="label_smoothing has no meaning for text-regression"):
        Recipe.parse(_data(task="text-regression", objective={"label_smoothing": 0.1}))
    for part in ({"objective": {"class_weights": "balanced"}}, {"teacher": {"model": "m", "class_weights": "balanced"}}):
        with pytest.raises(RecipeError, match="class_weights has no meaning for text-regression"):
            Recipe.parse(_data(task="text-regression", **part))


def test_images_have_no_cls_states() -> None:
    image = {"task": "image-classification", "student": {"family": "timm:resnet10t"}, "augmentation": {"kind": "none"}}
    with pytest.raises(
        RecipeError, match=r"tokens is 'cls' \(its default\), which image-classification does not have; set it to 'mean' or 'tokens'"
    ):
        Recipe.parse(_data(**image, objective={"intermediate": {"kind": "pkd"}}))
    assert Recipe.parse(_data(**image, objective={"intermediate": {"kind": "pkd", "tokens": "mean"}})).objective.terms


def test_only_pairs_have_a_mean_of_each_text() -> None:
    objective = {"intermediate": {"kind": "pkd", "tokens": "texts"}}
    with pytest.raises(
        RecipeError, match="tokens is 'texts', which text-classification does not have; set it to 'cls' or 'mean' or 'tokens'"
    ):
        Recipe.parse(_data(objective=objective))
    assert Recipe.parse(_data(task="text-pair-classification", objective=objective)).objective.terms


def test_a_student_with_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(RecipeError, match="nothing to learn from"):
        Recipe.parse(_data(objective={"hard_label_weight": 0.0}))
    with pytest.raises(RecipeError, match="nothing to learn from"):
        Recipe.parse(_data(objective={"hard_label_weight": 0.0, "prediction": {"kind": "kl", "weight": 0.0}}))


def test_a_recipe_keeps_its_id_when_fields_are_added() -> None:
    """The ids that recipes had before students had a `vocabulary`."""
    for family, recorded in {"bert": "273608a22ca7", "cnn": "fef55f46c096", "bilstm": "b71e3fc2d98e"}.items():
        assert Recipe.parse(_data(student={"family": family})).id == recorded
        assert Recipe.parse(_data(student={"family": family, "vocabulary": "full"})).id == recorded
        assert Recipe.parse(_data(student={"family": family, "vocabulary": "trimmed"})).id != recorded
    assert Recipe.parse(_data(student={"family": "timm:x"}, task="image-classification")).id == "20f3c2bcebfe"
    for layers, same in [({}, True), ({"layers": None}, True), ({"layers": 2}, False)]:
        objective = {"intermediate": {"kind": "mi"} | layers, "attention": {"kind": "mse"} | layers}
        assert (Recipe.parse(_data(student={"family": "bert"}, objective=objective)).id == "f68011f50abe") is same


def test_recipes_do_not_change() -> None:
    recipe = Recipe.parse(_data())
    with pytest.raises(ValueError, match="frozen"):
        recipe.task = "text-regression"


@pytest.mark.parametrize(
    ("slot", "part", "forms"),
    [
        ("prediction", {"kind": "kl"}, {Weighted}),
        ("intermediate", {"kind": "mse"}, {Weighted, LayerMapped, TokenReading, Projected}),
        ("intermediate", {"kind": "cka"}, {Weighted, LayerMapped, TokenReading}),  # it drops the projection
        ("attention", {"kind": "mse"}, {Weighted, LayerMapped}),
        ("attention", {"kind": "minilm"}, {Weighted}),  # it drops the layer map
        ("relation", {"kind": "none"}, set()),
    ],
)
def test_a_part_is_of_the_classes_whose_fields_it_has(slot: str, part: dict[str, object], forms: set[type[Component]]) -> None:
    parsed = Recipe.parse(_data(student={"family": "bert"}, objective={slot: part})).objective.slots[slot]
    assert {form for form in FORMS if isinstance(parsed, form)} == forms
    assert {form for form, names in FORMS.items() if names <= set(type(parsed).model_fields)} == forms


def test_augmentations_have_views_and_all_can_mix() -> None:
    none, words = (Recipe.parse(_data(augmentation={"kind": kind})).augmentation for kind in ("none", "random"))
    assert isinstance(none, Mixing)
    assert not isinstance(none, Viewed)
    assert isinstance(words, Mixing)
    assert isinstance(words, Viewed)


def test_fields_that_come_together_are_dropped_together() -> None:
    with pytest.raises(TypeError, match="layer_map, layers come together"):
        bases(["weight", "layers"])
