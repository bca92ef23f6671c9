from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from pathlib import Path

import pytest

from autodistill.components import TASKS, specs
from autodistill.errors import SpaceError
from autodistill.recipe import SLOTS, Recipe, Teacher
from autodistill.space import Domain, Space, shipped_spaces, space_tasks
from autodistill.task_types import target_of

SMALL = """\
version: 1
name: small
about: a test
tasks: [text-classification, text-regression]
parameters:
  teacher.model: {value: m}
  student.family: {choice: [cnn, bilstm], default: bilstm}
  student.layers: {int: [1, 3], default: 2, when: {student.family: bilstm}}
  objective.prediction.kind: {choice: [kl, mse, none]}
  objective.prediction.temperature: {float: [1.0, 16.0], log: true, when: {objective.prediction.kind: kl}}
  training.learning_rate: {float: [1.0e-4, 1.0e-2], log: true}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return file


SHIPPED = [(name, task) for name, text in shipped_spaces().items() for task in space_tasks(text)[2]]


@pytest.mark.parametrize(("name", "task"), SHIPPED)
def test_every_recipe_of_a_shipped_space_is_valid_and_comes_back(name: str, task: str) -> None:
    space = Space.load(name, task)
    rng = random.Random(7)
    for recipe in [space.defaults(), *(space.sample(rng) for _ in range(300))]:
        encoded = space.encode(recipe)
        assert space.suggest(lambda key, _, encoded=encoded: encoded[key]) == recipe
        assert recipe.task == task


@pytest.mark.parametrize(("name", "task"), SHIPPED)
def test_a_shipped_space_reaches_every_choice_it_names(name: str, task: str) -> None:
    space = Space.load(name, task).for_its_teachers()
    seen: Counter[tuple[str, object]] = Counter()
    rng = random.Random(0)

    def choose(key: str, domain: Domain) -> object:
        value = domain.at(rng.random())
        seen[key, value] += domain.kind == "choice"
        return value

    for _ in range(3000):
        space.suggest(choose)
    for key, domains in space.parameters.items():
        for index, domain in enumerate(domains):
            for choice in domain.choices:
                name = key if len(domains) == 1 else f"{key}#{index}"
                assert seen[name.replace(".kind", "") if domain.optional and choice == "none" else name, choice] > 0, (key, choice)


def test_the_shipped_spaces_hold_every_task() -> None:
    assert {task for _, task in SHIPPED} == set(TASKS)


def test_kinds_that_do_not_fit_the_task_are_left_out(path: Path) -> None:
    (kinds,) = Space.load(str(path), "text-regression").parameters["objective.prediction.kind"]
    assert kinds.choices == ("mse", "none")
    (kinds,) = Space.load(str(path), "text-classification").parameters["objective.prediction.kind"]
    assert kinds.choices == ("kl", "mse", "none")
    regression = Space.load("text", "text-regression")
    for slot in SLOTS:
        for domain in regression.parameters.get(f"objective.{slot}.kind", ()):
            assert set(domain.choices) <= {"none", *specs(f"objective.{slot}", "text-regression")}


def test_conditions_decide_what_is_asked(path: Path) -> None:
    space = Space.load(str(path), "text-classification")
    asked: list[str] = []

    def choose(key: str, domain: Domain) -> object:
        asked.append(key)
        return {"student.family": "cnn", "objective.prediction.kind": "none"}.get(key, domain.default)

    space.suggest(choose)
    assert asked == ["student.family", "objective.prediction.kind", "training.learning_rate"]


def test_samples_are_uniform_on_their_scale() -> None:
    rng = random.Random(1)
    log = Domain("float", 1.0, low=1e-4, high=1e-2, log=True)
    below = sum(log.at(rng.random()) < 1e-3 for _ in range(4000)) / 4000
    assert below == pytest.approx(0.5, abs=0.04)  # 1e-3 is the middle of the logarithmic scale
    whole = Domain("int", 1, low=1, high=5, step=2)
    assert {whole.at(rng.random()) for _ in range(100)} == {1, 3, 5}
    assert [whole.contains(value) for value in (1, 2, 3, 5, 7, True, "1")] == [True, False, True, True, False, False, False]


def test_a_recipe_outside_is_told_where_it_leaves(path: Path) -> None:
    space = Space.load(str(path), "text-classification")
    inside = space.defaults().model_dump()
    with pytest.raises(SpaceError, match=r"training.learning_rate is 0.5; in the space 'small' it is float from 0.0001 to 0.01, log"):
        space.encode(Recipe.parse(inside | {"training": inside["training"] | {"learning_rate": 0.5}}))
    with pytest.raises(SpaceError, match=r"training.epochs is 99; in the space 'small' it is 6"):
        space.encode(Recipe.parse(inside | {"training": inside["training"] | {"epochs": 99}}))
    assert space.contains(space.defaults())


def test_baselines_share_the_defaults_student() -> None:
    for name, task in SHIPPED:
        space = Space.load(name, task)
        baselines = space.baselines()
        hard = [] if target_of(task).decision_loss is None else ["pseudo_labels"]
        assert list(baselines) == ["no_kd", "plain_kd", *hard, "plain_kd_all", "defaults"]
        shares = {role: recipe.training.unlabelled_share > 0 for role, recipe in baselines.items()}
        assert [role for role, uses_them in shares.items() if not uses_them] == ["no_kd", "plain_kd"]
        assert list(space.without_unlabelled().baselines()) == ["no_kd", "plain_kd", "defaults"]
        assert {recipe.student for recipe in baselines.values()} == {space.defaults().student}
        assert baselines["no_kd"].objective.terms == {}
        assert set(baselines["plain_kd"].objective.terms) == {"prediction"}


def test_a_parameter_can_be_held(path: Path) -> None:
    space = Space.load(str(path), "text-classification").fixed("training.learning_rate", 0.5)
    assert space.sample(random.Random(0)).training.learning_rate == 0.5
    with pytest.raises(SpaceError, match="Did you mean 'training.learning_rate'"):
        space.fixed("training.learning_rat", 1.0)


def test_teachers_are_listed(path: Path) -> None:
    path.write_text(SMALL.replace("{value: m}", "{choice: [m, n]}"))
    assert [teacher.model for teacher in Space.load(str(path), "text-classification").teachers()] == ["m", "n"]
    path.write_text(SMALL + "  teacher.learning_rate: {float: [1.0e-5, 1.0e-4]}\n")
    with pytest.raises(SpaceError, match="teacher.learning_rate must be `choice` or `value`"):
        Space.load(str(path), "text-classification").teachers()


def test_a_teachers_fields_may_depend_on_its_model(path: Path) -> None:
    rates = "  teacher.learning_rate:\n    - {value: 2.0e-5, when: {teacher.model: n}}\n    - {value: 1.0e-4, when: {teacher.model: m}}\n"
    path.write_text(SMALL.replace("{value: m}", "{choice: [m, n, o]}") + rates)
    space = Space.load(str(path), "text-classification")
    teachers = space.teachers()
    assert [(teacher.model, teacher.learning_rate) for teacher in teachers] == [("m", 1e-4), ("n", 2e-5), ("o", 5e-5)]
    rng = random.Random(0)
    assert {space.sample(rng).teacher for _ in range(50)} == set(teachers)
    assert space.teacher_of("n") == teachers[1]
    assert space.teacher_of("another") == teachers[0]
    path.write_text(SMALL + "  teacher.epochs: {value: 1, when: {student.family: cnn}}\n")
    with pytest.raises(SpaceError, match=r"teacher\.epochs must be .* with conditions only on the teacher"):
        Space.load(str(path), "text-classification").teachers()


def test_several_teachers_are_a_choice_and_the_first_is_the_default(path: Path) -> None:
    space = Space.load(str(path), "text-classification").with_teacher_models(["x", "y"])
    assert [teacher.model for teacher in space.teachers()] == ["x", "y"]
    assert space.defaults().teacher.model == "x"
    assert {"teacher.model": "y"}.items() <= space.encode(Recipe.parse(space.defaults().model_dump() | {"teacher": {"model": "y"}})).items()
    one = Space.load(str(path), "text-classification").with_teacher_models(["y"])
    assert one.to_dict() == space.fixed("teacher.model", "y").to_dict()


def test_a_teachers_settings_can_depend_on_its_model(path: Path) -> None:
    rates = "  teacher.learning_rate: [{value: 0.1, when: {teacher.model: n}}, {value: 0.2}]\n"
    path.write_text(SMALL.replace("{value: m}", "{choice: [m, n]}") + rates)
    space = Space.load(str(path), "text-classification")
    assert [(teacher.model, teacher.learning_rate) for teacher in space.teachers()] == [("m", 0.2), ("n", 0.1)]
    path.write_text(SMALL + rates)
    space = Space.load(str(path), "text-classification")
    assert space.defaults().teacher.learning_rate == 0.2
    assert space.fixed("teacher.model", "n").defaults().teacher.learning_rate == 0.1


def test_fields_that_came_later_are_held_where_the_space_holds_them() -> None:
    space = Space.load("text", "text-classification")
    recorded = {"family": "bert", "layers": 2, "hidden_size": 384, "heads": 6, "init": "teacher"}
    assert space.fixed_later(recorded) == {"pooling": "mean"}  # heads are held too, and are as old as recipes
    assert space.fixed_later({"family": "cnn"}) == {"blocks": 3}
    assert space.fixed_later({"family": "static"}) == {}
    pairs = Space.load("text", "text-pair-regression").fixed("student.family", "cnn")
    assert pairs.fixed_later({"family": "cnn"}) == {}
    assert pairs.defaults().student.model_dump()["blocks"] == 0


def test_a_space_can_be_given_another_teacher(path: Path) -> None:
    teacher = Teacher(model="other", pooling="mean", max_steps=7)
    space = Space.load(str(path), "text-classification")
    changed = space.with_teacher(teacher)
    assert changed.teachers() == [teacher]
    assert {**changed.defaults().model_dump(), "teacher": None} == {**space.defaults().model_dump(), "teacher": None}


def test_a_space_with_a_random_teacher_is_the_same_but_for_its_teacher(path: Path) -> None:
    for space in (Space.load(str(path), "text-classification"), Space.load("image", "image-classification")):
        control = space.with_random_teacher()
        assert {teacher.init for teacher in control.teachers()} == {"random"}
        assert len(control.teachers()) == len(space.teachers())
        plain, random_one = space.defaults().model_dump(), control.defaults().model_dump()
        assert plain["teacher"] != random_one["teacher"]
        assert {**plain, "teacher": None} == {**random_one, "teacher": None}
        assert control.baselines()["no_kd"].teacher.init == "random"


def test_class_weights_are_the_teachers_and_the_students(path: Path) -> None:
    space = Space.load(str(path), "text-classification")
    weighted = space.with_class_weights("balanced")
    assert {part.class_weights for part in weighted.teachers()} == {"balanced"}
    assert {recipe.objective.class_weights for recipe in weighted.baselines().values()} == {"balanced"}
    assert space.with_class_weights("none").defaults().id == space.defaults().id
    with pytest.raises(SpaceError, match="class_weights is 'balanced', but text-regression has no classes"):
        Space.load("text", "text-regression").with_class_weights("balanced")


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("choice: [cnn, bilstm]", "choice: [cnn, bilstn]", 7, ["student.family", "'bilstn'", "bilstm"]),
        ("default: bilstm", "default: rnn", 7, ["student.family", "default is 'rnn'", "cnn, bilstm"]),
        ("int: [1, 3]", "int: [3, 1]", 8, ["student.layers", "[3, 1]", "low must not be above high"]),
        ("float: [1.0, 16.0]", "float: [0.0, 16.0]", 10, ["temperature", "log scale"]),
        ("float: [1.0, 16.0], log: true", "flaot: [1.0, 16.0], log: true", 10, ["'flaot'", "Did you mean 'float'"]),
        ("when: {student.family: bilstm}", "when: {student.famly: bilstm}", 8, ["'student.famly'", "not a parameter above"]),
        ("[1.0e-4, 1.0e-2]", "[1e-4, 1e-2]", 11, ["learning_rate", "two numbers", "1.0e-3, not 1e-3"]),
        ("version: 1", "version: 2", 1, ["version is 2"]),
        ("about: a test", "abuot: a test", 3, ["'abuot'", "Did you mean 'about'"]),
        ("[text-classification, text-regression]", "[text-clasification]", 4, ["'text-clasification'"]),
    ],
)  # fmt: skip
def test_an_error_names_file_line_key_value_and_what_is_allowed(path: Path, old: str, new: str, line: int, words: list[str]) -> None:
    assert old in SMALL
    path.write_text(SMALL.replace(old, new, 1))
    with pytest.raises(SpaceError) as error:
        Space.load(str(path), "text-classification")
    message = str(error.value)
    assert message.startswith(f"{path}:{line}: ")
    for word in words:
        assert word in message


def test_optional_kinds_are_none_in_half_of_the_recipes(path: Path) -> None:
    path.write_text(
        SMALL
        + "  objective.relation.kind: {optional: [rkd, sp, cc]}\n"
        + "  objective.contrastive.kind: {optional: [supcon, crd], default: crd}\n"
        + "  objective.contrastive.weight: {value: 0.5, when: {objective.contrastive.kind: supcon}}\n"
        + "  objective.attention.kind: {optional: [at]}\n"
    )
    space = Space.load(str(path), "text-classification")
    rng = random.Random(0)
    recipes = [space.sample(rng) for _ in range(2000)]
    kinds = Counter(recipe.objective.relation.name for recipe in recipes)
    assert kinds["none"] / 2000 == pytest.approx(1 / 2, abs=0.05)
    assert [kinds[kind] / 2000 for kind in ("rkd", "sp", "cc")] == pytest.approx([1 / 6] * 3, abs=0.04)
    assert space.defaults().objective.relation.name == "none"
    assert space.defaults().objective.contrastive.name == "crd"
    assert "objective.attention.kind" not in space.parameters  # at is for images: the slot has nothing for texts
    without = next(recipe for recipe in recipes if recipe.objective.relation.name == "none")
    assert "objective.relation.kind" not in space.encode(without)
    assert space.encode(without)["objective.relation"] == "none"
    for recipe in recipes[:50]:
        encoded = space.encode(recipe)
        assert space.suggest(lambda key, _, encoded=encoded: encoded[key]) == recipe
    outside = without.model_dump() | {"objective": without.model_dump()["objective"] | {"relation": {"kind": "trg"}}}
    with pytest.raises(SpaceError, match="objective.relation.kind is 'trg'; in the space 'small' it is one of rkd, sp, cc"):
        space.encode(Recipe.parse(outside))
    regression = Space.load(str(path), "text-regression")  # no supcon there, so no weight of it either
    assert "objective.contrastive.weight" not in regression.parameters
    path.write_text(SMALL + "  objective.relation.kind: {optional: [none, rkd]}\n")
    with pytest.raises(SpaceError, match="optional is \\['none', 'rkd'\\]; it is only for a `kind`"):
        Space.load(str(path), "text-classification")


def test_some_is_any_kind_but_none(path: Path) -> None:
    path.write_text(
        SMALL
        + "  objective.relation.kind: {optional: [rkd, sp]}\n"
        + "  objective.relation.weight:\n"
        + "    - {value: 25.0, when: {objective.relation.kind: rkd}}\n"
        + "    - {value: 7.0, when: {objective.relation.kind: some}}\n"
        + "  objective.contrastive.kind: {choice: [none]}\n"
        + "  objective.contrastive.weight: {value: 7.0, when: {objective.contrastive.kind: some}}\n"
    )
    space, rng = Space.load(str(path), "text-classification"), random.Random(0)
    parts = [space.sample(rng).objective.relation for _ in range(100)]
    assert {(part.name, getattr(part, "weight", None)) for part in parts} == {("none", None), ("rkd", 25.0), ("sp", 7.0)}
    assert "objective.contrastive.weight" not in space.parameters


def test_the_shipped_spaces_hold_every_objective_that_needs_nothing_of_the_user() -> None:
    for name, task in SHIPPED:
        space = Space.load(name, task)
        for slot in SLOTS:
            fitting = set(specs(f"objective.{slot}", task))
            listed = {choice for domain in space.parameters.get(f"objective.{slot}.kind", ()) for choice in domain.choices}
            assert listed - {"none"} <= fitting, (name, task, slot)
            if target_of(task).has_labels:  # for vectors there are those that compare vectors, or states
                assert listed - {"none"} == fitting, (name, task, slot)


def test_projection_none_is_proposed_where_the_widths_agree() -> None:
    space = Space.load("text", "text-pair-classification")
    rng = random.Random(0)
    counts: Counter[tuple[str, int]] = Counter()
    for _ in range(3000):
        recipe = space.sample(rng)
        if getattr(recipe.objective.intermediate, "projection", "") == "none":
            counts[recipe.student.name, recipe.student.hidden_size] += 1
    assert set(counts) == {("bert", 384)}
    others = [space.fixed("teacher.model", "another").sample(rng) for _ in range(1000)]
    free = {recipe.student.name for recipe in others if getattr(recipe.objective.intermediate, "projection", "") == "none"}
    assert free == {"shallow"}  # of the teacher's width, whatever that is


def test_unknown_spaces_and_wrong_tasks_are_errors() -> None:
    with pytest.raises(SpaceError, match="allowed: embedding, image, text. Did you mean 'text'"):
        Space.load("txt", "text-classification")
    with pytest.raises(SpaceError, match="space 'image' is for image-classification, image-multilabel, but the dataset is text-regression"):
        Space.load("image", "text-regression")


def test_a_space_filling_sequence_takes_every_stratum_of_each_parameter(path: Path) -> None:
    space = Space.load(str(path), "text-classification")
    recipes = list(itertools.islice(space.spread(3), 48))
    for start in range(0, 48, 12):  # each dozen: six of either family, one rate from each twelfth of the log scale
        dozen = recipes[start : start + 12]
        assert Counter(recipe.student.name for recipe in dozen) == {"cnn": 6, "bilstm": 6}
        rates = sorted(math.log(recipe.training.learning_rate / 1e-4) / math.log(100) for recipe in dozen)
        assert [int(12 * rate) for rate in rates] == list(range(12))
    layers = [recipe.student.layers for recipe in recipes if recipe.student.name == "bilstm"]
    assert Counter(layers[:24]) == {1: 8, 2: 8, 3: 8}  # counted where the parameter applies
    assert len({recipe.id for recipe in recipes}) == 48
    assert [recipe.id for recipe in itertools.islice(space.spread(3), 48)] == [recipe.id for recipe in recipes]
    assert next(space.spread(4)).id != recipes[0].id
