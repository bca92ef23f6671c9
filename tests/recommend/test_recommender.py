from __future__ import annotations

import dataclasses
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from benchmark_scripts import opened
from recorded import dataset_facts, study, trial, true_retention

from autodistill.errors import StudyError
from autodistill.limit_fit import LimitFit
from autodistill.limits import Feasibility, Limits
from autodistill.recipe import Recipe
from autodistill.recommender.candidates import alike, comparable, recorded_recipes
from autodistill.recommender.encoding import RecipeEncoder
from autodistill.recommender.library import RecordedStudy
from autodistill.recommender.reasons import drivers
from autodistill.recommender.recommender import APART, Recommender, new_dataset
from autodistill.recommender.table import NewDataset, recipe_frame
from autodistill.rows_fit import fit_rows
from autodistill.space import FAMILY, TEACHER, Space
from autodistill.token_fit import without_value

SPACE = Space.load("text", "text-classification").without_unlabelled()


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return Recommender([study(number) for number in range(5)], method="forest")


def test_what_is_recommended_is_good_where_nobody_has_searched(recommender: Recommender) -> None:
    facts = dataset_facts(7)
    recommendation = recommender.recommend(facts, SPACE)
    assert len(recommendation.recipes) == 5
    values = [true_retention(item.recipe, facts) for item in recommendation.recipes]
    sampled = sorted(true_retention(recipe, facts) for recipe in recommender.candidates(SPACE, inside=True))
    assert values[0] > sampled[int(0.9 * len(sampled))]
    for item in recommendation.recipes:
        assert SPACE.contains(item.recipe)
        low, high = item.interval
        assert low < item.retention < high
        assert len(item.nearest) == 3
        assert item.reasons.startswith("like set")
    assert recommendation.warnings == []


def test_a_student_without_a_teacher_is_no_recommendation(recommender: Recommender) -> None:
    """It is recorded with every study, and where it did well it would be among the first."""
    alone = SPACE.baselines()["no_kd"]
    assert alone in recorded_recipes(recommender.studies, SPACE)
    candidates = recommender.candidates(SPACE, inside=True)
    assert candidates[0] == SPACE.defaults()
    assert alone not in candidates
    assert not [recipe for recipe in candidates if set(recipe.objective.slots.values()) == set(alone.objective.slots.values())]


def test_the_recipes_are_no_copies_of_each_other(recommender: Recommender) -> None:
    recipes = recommender.recommend(dataset_facts(7), SPACE).recipes
    frame = recipe_frame(item.recipe.model_dump() for item in recipes)
    candidates = recipe_frame(recipe.model_dump() for recipe in recommender.candidates(SPACE, inside=True))
    apart = RecipeEncoder(candidates).distances(frame, frame)
    assert min(apart[row, other] for row in range(5) for other in range(row)) >= APART


def test_drivers_are_the_swaps_to_the_defaults_part(recommender: Recommender) -> None:
    best = recommender.recommend(dataset_facts(7), SPACE, top=1).recipes[0]
    for name, gain in best.drivers:
        assert abs(gain) >= 0.001, name
    target = NewDataset(SPACE.task, pd.Series(dataset_facts(7)))
    data = SPACE.defaults().model_dump()
    random_start = Recipe.parse(data | {"student": data["student"] | {"init": "random"}})
    both = recipe_frame(item.model_dump() for item in (random_start, SPACE.defaults()))
    values = recommender.predictor.scale.values(recommender.predictor.method.merit(both, target), target)
    named = dict(drivers(recommender.predictor, random_start, SPACE, target, float(values[0])))
    assert named["student cnn (init random)"] == pytest.approx(values[0] - values[1])
    assert named["student cnn (init random)"] < -0.01  # the truth is -0.04


def test_a_swapped_student_is_trained_for_as_long_as_the_space_says() -> None:
    space = Space.load("text", "text-classification")
    half = space.fixed("student.family", "bert").fixed("student.hidden_size", 384).fixed("training.steps", 250).defaults()
    frames: list[pd.DataFrame] = []

    def merit(frame: pd.DataFrame, target: NewDataset) -> np.ndarray:
        frames.append(frame)
        return np.zeros(len(frame))

    stub: Any = SimpleNamespace(method=SimpleNamespace(merit=merit), scale=SimpleNamespace(values=lambda merits, target: merits))
    target = NewDataset(space.task, pd.Series(dataset_facts(7)))
    named = [name for name, _ in drivers(stub, half, space, target, 0.5)]
    [frame] = frames
    steps = dict(zip(named, frame["training.steps"], strict=True))
    assert steps.pop("student bert") == 1000  # those of the cnn that is in its place
    assert set(steps.values()) == {250}
    of_its_width = space.fixed("student.family", "bert").fixed("student.hidden_size", 384)
    assert dict(drivers(stub, half, of_its_width, target, 0.5)) == {"training (steps 250)": 0.5}


def test_limits_are_kept_and_told_where_nothing_keeps_them(recommender: Recommender) -> None:
    def feasible(recipe: Recipe) -> Feasibility:
        params = 1000 if recipe.student.name == "bilstm" else 9000
        return Limits(max_params=2000).check(params, 1.5)

    recipes = recommender.recommend(dataset_facts(7), SPACE, feasible=feasible).recipes
    assert {(item.recipe.student.name, item.params, item.latency_ms) for item in recipes} == {("bilstm", 1000, 1.5)}
    with pytest.raises(StudyError, match="none of .* recipes keeps the limits; the smallest student has 9,000 parameters"):
        recommender.recommend(dataset_facts(7), SPACE, feasible=lambda recipe: Limits(max_params=10).check(9000, None))


def test_recorded_recipes_over_the_limits_are_recommended_with_smaller_students(recommender: Recommender) -> None:
    """Every recipe with the full vocabulary is too large, as the space's defaults and all recorded ones are."""

    class Trimmed:
        limits = Limits(max_params=2000)

        def __call__(self, recipe: Recipe) -> Feasibility:
            return self.limits.check(1000 if recipe.student.own["vocabulary"] == "trimmed" else 9000, 1.5)

    large = SPACE.fixed("student.vocabulary", "full")
    rng = random.Random(0)
    tried = [*(large.sample(rng) for _ in range(6)), SPACE.defaults()]
    studies = [
        dataclasses.replace(item, records=[trial(item.name, place, recipe, 0.8 + place / 100) for place, recipe in enumerate(tried)])
        for item in recommender.studies
    ]
    fit, target = LimitFit(SPACE, Trimmed(), Trimmed.limits), NewDataset(SPACE.task, pd.Series(dataset_facts(7)))
    few = Recommender(studies)
    chosen, unfitted = (
        [recipe for recipe, _ in few.choose(target, SPACE, top=7, feasible=fit.feasible, fit=given)] for given in (fit, None)
    )
    assert {recipe.student.vocabulary for recipe in [*chosen, *unfitted]} == {"trimmed"}
    data = tried[-2].model_dump()
    budget = {name: getattr(SPACE.defaults().training, name) for name in ("epochs", "steps", "passes", "max_steps")}
    best = Recipe.parse(data | {"student": data["student"] | {"vocabulary": "trimmed"}, "training": data["training"] | budget})
    assert chosen[0] == fit.defaults
    assert best in chosen
    assert not {best, fit.defaults} & set(unfitted)


def test_another_task_gets_valid_recipes_a_warning_and_wider_intervals(recommender: Recommender) -> None:
    space = Space.load("text", "text-regression").without_unlabelled()
    recommendation = recommender.recommend(dataset_facts(3), space, inside=False)
    assert ["no study of text-regression is recorded" in text for text in recommendation.warnings] == [True]
    assert all(item.recipe.task == "text-regression" for item in recommendation.recipes)
    assert all(item.recipe.objective.prediction.name != "kl" for item in recommendation.recipes)
    same = recommender.recommend(dataset_facts(3), SPACE).recipes[0].interval
    assert recommendation.recipes[0].interval[1] - recommendation.recipes[0].interval[0] > 1.5 * (same[1] - same[0])


def test_unlike_data_are_told_and_widen_the_interval(recommender: Recommender) -> None:
    usual, factor = recommender.unlike(NewDataset(SPACE.task, pd.Series(dataset_facts(3))))
    assert (usual, factor) == ([], 1.0)
    (warning,), factor = recommender.unlike(NewDataset(SPACE.task, pd.Series(dataset_facts(3) | {"log_rows": 12.0})))
    assert "unlike anything recorded" in warning
    assert factor > 1


def test_a_much_longer_training_than_any_recorded_is_told(recommender: Recommender) -> None:
    target = NewDataset(SPACE.task, pd.Series(dataset_facts(3)))
    assert recommender.unlike(target, 3000, 8) == ([], 1.0)  # recorded: 8 epochs on 1,000 rows
    (warning,), factor = recommender.unlike(target, 3001, 8)
    assert "8 epochs on 1,000 rows, this one would have 8 on 3,001" in warning
    assert factor == 1.5


def test_another_modality_and_an_empty_library_are_errors(recommender: Recommender) -> None:
    with pytest.raises(StudyError, match=r"no recorded study is of image data.*recorded: text-classification"):
        recommender.recommend({}, Space.load("image", "image-classification"))
    with pytest.raises(StudyError, match="no recorded studies to learn from"):
        Recommender([])


def test_a_single_study_recommends_with_an_unbounded_interval() -> None:
    recommendation = Recommender([study(0)], method="nearest").recommend(dataset_facts(0), SPACE, top=2)
    assert [item.interval for item in recommendation.recipes] == [(float("-inf"), float("inf"))] * 2


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("text-classification", ["plain KD", "PKD", "TinyBERT-like", "MiniLM-like"]),
        ("text-pair-regression", ["plain KD", "PKD", "TinyBERT-like", "MiniLM-like"]),
        ("image-classification", ["plain KD", "PKD"]),
    ],
)
def test_default_recipes_fit_every_task(task: str, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    default_recipes = opened("usual_recipes", monkeypatch).default_recipes
    space = Space.load("image" if task.startswith("image") else "text", task)
    defaults = default_recipes(space.defaults())
    assert list(defaults) == names
    assert defaults["PKD"].objective.intermediate.tokens == ("mean" if space.task.startswith("image") else "cls")
    assert defaults["plain KD"].objective == space.baselines()["plain_kd"].objective
    assert len({recipe.id for recipe in defaults.values()}) == len(names)


def test_what_many_datasets_have_recorded_and_what_a_search_found_on_one_take_turns() -> None:
    rng = random.Random(6)
    common, bad, lucky = (SPACE.sample(rng) for _ in range(3))
    studies = []
    for number in range(4):
        made = study(number, recipes=12)
        records = [trial(made.name, 100, common, 0.85), trial(made.name, 101, bad, 0.1)]
        records += [trial(made.name, 102, lucky, 0.99, role="search")] if number == 0 else []
        studies.append(dataclasses.replace(made, records=[*made.records, *records]))
    target = NewDataset(SPACE.task, pd.Series(dataset_facts(7)))
    chosen = [recipe.id for recipe, _ in Recommender(studies, method="forest").choose(target, SPACE, top=20)]
    proven = {recipe.id for recipe in SPACE.baselines().values()} | {common.id}
    assert chosen[0] in proven
    assert {common.id, lucky.id} <= set(chosen)
    for count in range(1, 5):  # never more of the others than of the proven, as long as there are some
        assert sum(recipe in proven for recipe in chosen[:count]) >= count / 2
    assert bad.id not in chosen  # everywhere, and known to be bad
    # Only as many studies as hold it are needed where there are fewer than PROVEN.
    alone = [recipe.id for recipe, _ in Recommender(studies[:1], method="portfolio").choose(target, SPACE, top=1)]
    assert alone == [lucky.id]


def taught_by(made: RecordedStudy, model: str) -> RecordedStudy:
    """A study with another teacher."""
    records = [item.model_copy(update={"recipe": item.recipe | {"teacher": {"model": model}}}) for item in made.records]
    return dataclasses.replace(made, records=records)


def test_recorded_recipes_keep_their_teacher_where_the_space_has_it() -> None:
    own = "sentence-transformers/all-MiniLM-L6-v2"
    changed = taught_by(study(1), "unknown")
    recommender = Recommender([study(0), changed, study(2)], method="forest")
    space = SPACE.with_teacher_models(["first", own])
    recorded = recorded_recipes(recommender.studies, space)
    assert {recipe.teacher for recipe in recorded} == set(space.teachers())
    assert sum(recipe.teacher.model == "first" for recipe in recorded) == len({Recipe.parse(item.recipe).id for item in changed.records})
    assert {recipe.teacher.model for recipe in recommender.candidates(space, inside=True)} == {"first", own}


def test_recorded_students_that_the_space_leaves_out_are_no_candidates(recommender: Recommender) -> None:
    """As a pretrained encoder that is larger than the teacher, or knows another language."""
    families = {recipe.student.name for recipe in recorded_recipes(recommender.studies, SPACE)}
    assert {"cnn", "bert"} <= families
    space = without_value(SPACE, FAMILY, "bert")
    assert space is not None
    assert {recipe.student.name for recipe in recorded_recipes(recommender.studies, space)} == families - {"bert"}
    of_two = SPACE.with_teacher_models([SPACE.defaults().teacher.model, "small"])
    domains = [
        dataclasses.replace(domain, when=((f"{TEACHER}model", ("small",)),)).without({"bert"}, "cnn") for domain in SPACE.parameters[FAMILY]
    ]
    of_one = of_two.with_first(FAMILY, domains)
    recorded = recorded_recipes([*recommender.studies, taught_by(study(1), "small")], of_one)
    assert {(recipe.teacher.model, recipe.student.name) for recipe in recorded if recipe.student.name == "bert"} == {
        (SPACE.defaults().teacher.model, "bert")
    }
    assert any(recipe.teacher.model == "small" for recipe in recorded)


def test_the_defaults_come_first_unless_recorded_studies_show_a_better_recipe() -> None:
    target, default = new_dataset(SPACE, dataset_facts(7)), SPACE.defaults()
    better = default.model_copy(update={"training": default.training.model_copy(update={"learning_rate": 3e-3})})

    def first(gains: list[float]) -> str:
        studies = []
        for number, gain in enumerate(gains):
            made = study(number, recipes=12)
            scores = {default: 0.8, better: 0.8 + gain}
            own = [trial(made.name, 100 + place, recipe, score) for place, (recipe, score) in enumerate(scores.items())]
            others = [record for record in made.records if record.recipe_id != default.id]
            spread = zip(others, np.linspace(0.5, 0.8, len(others)), strict=True)
            records = [record.model_copy(update={"score": float(score)}) for record, score in spread]
            studies.append(dataclasses.replace(made, records=[*records, *own]))
        return Recommender(studies).choose(target, SPACE, top=1)[0][0].id

    assert first([0.02] * 6) == better.id
    assert first([0.02] * 3 + [-0.02] * 3) == default.id  # no better on average
    assert first([0.05] * 4 + [-0.03] * 2) == default.id  # better on average, worse on a third


def test_studies_without_unlabelled_rows_say_nothing_of_a_dataset_with_some(recommender: Recommender) -> None:
    space = Space.load("text", "text-classification")
    recommendation = recommender.recommend(dataset_facts(3), space)
    assert recommendation.recipes[0].recipe == space.defaults()
    assert recommendation.warnings == ["no recorded study of text-classification had unlabelled rows, so the space's defaults come first"]
    assert recommender.recommend(dataset_facts(3), SPACE).warnings == []


def test_studies_of_the_same_teacher_count_alone_if_they_are_enough() -> None:
    def taught(number: int, model: str, task: str = "text-classification") -> RecordedStudy:
        return dataclasses.replace(taught_by(study(number), model), task=task)

    small, pair = [taught(number, "small") for number in range(3)], taught(3, "large", "text-pair-classification")
    large, images = (
        [taught(number, "large") for number in range(2)],
        [taught(number, "large", "image-classification") for number in range(3)],
    )
    everything = [*small, *large, pair, *images]
    assert comparable(everything, "text-classification", {"small"}) == small
    assert comparable(everything, "text-classification", {"large"}) == [*large, pair]
    assert comparable(everything, "text-classification", {"large", "small"}) == [*small, *large, pair]
    for teachers in ((), {"unknown"}):
        assert comparable(everything, "text-classification", teachers) == everything
    assert comparable(everything, "text-multilabel", {"small"}) == small  # they have the same rows
    assert comparable(everything, "text-pair-regression", {"small"}) == everything  # none of these has the same rows
    assert comparable([*small, *large, *images], "text-classification", {"large"}) == [*small, *large, *images]  # two are too few


def test_under_a_file_of_scores_recorded_recipes_lose_their_objectives_on_states() -> None:
    defaults = SPACE.fixed("student.family", "cnn").defaults()
    assert defaults.objective.intermediate.name == "mi"
    made = study(0)
    recorded = dataclasses.replace(made, records=[trial("set0", 0, defaults, 0.9)])
    space = SPACE.with_teacher_scores("abc")
    first, *_ = recorded_recipes([recorded], space)
    assert first.teacher.scores == "abc"
    assert first.objective.intermediate.name == "none"
    assert first.objective.prediction == defaults.objective.prediction
    assert space.contains(first)


def test_few_studies_with_unlabelled_rows_recommend_what_they_have_proven() -> None:
    space = Space.load("text", "text-classification")
    target = new_dataset(space, dataset_facts(7))
    rng = random.Random(5)
    proven = [space.sample(rng) for _ in range(3)]
    others = [study(number) for number in range(7)]  # without unlabelled rows
    studies = []
    for number in range(20, 23):
        name = f"set{number}"
        tried = [*proven, space.defaults(), *(space.sample(rng) for _ in range(8))]
        scores = [0.9, 0.89, 0.88, *(0.6 + 0.02 * place for place in range(9))]
        records = [trial(name, place, recipe, score) for place, (recipe, score) in enumerate(zip(tried, scores, strict=True))]
        studies.append(dataclasses.replace(study(number), name=name, records=records))
    recommender = Recommender([*others, *studies])
    assert alike([*others, *studies], space.task, True) == studies
    assert alike([*others, *studies], space.task, False) == others
    assert len(alike([*others, *studies[:2]], space.task, True)) == 9  # two are too few: all of the modality
    chosen = [recipe.id for recipe, _ in recommender.choose(target, space, top=3)]
    assert set(chosen) == {recipe.id for recipe in proven}
    *_, fourth = recommender.choose(target, space, top=4)
    assert fourth[0] == space.defaults()  # recorded on all three, with the lowest score


def test_recorded_recipes_get_the_length_and_at_most_the_share_of_unlabelled_rows_of_the_space() -> None:
    usual = Space.load("text", "text-classification")
    assert usual.defaults().training.unlabelled_share == 0.8
    space, _ = fit_rows(usual, 6000, 2000)
    recorded = usual.fixed("training.passes", 0.0).fixed("training.max_steps", 0).fixed("training.steps", 77)
    rng = random.Random(5)
    studies = [
        dataclasses.replace(study(number), records=[trial("set", place, recorded.sample(rng), 0.8 + place / 100) for place in range(9)])
        for number in range(20, 23)
    ]
    recipes = Recommender(studies).candidates(space, inside=False, sampled=0)
    using = [recipe.training for recipe in recipes[1:] if recipe.training.unlabelled_share]
    assert using
    assert {training.unlabelled_share for training in using} == {0.25}
    lengths = {(recipe.training.steps, recipe.training.passes, recipe.training.max_steps) for recipe in recipes}
    assert lengths == {(1000, 4.0, 4000), (500, 1.0, 4000)}
    copied = {"family": "bert", "hidden_size": 384, "init": "teacher"}.items()
    for recipe in recipes:
        assert (recipe.training.steps == 500) == (copied <= recipe.student.model_dump().items())
