"""Smaller students for recipes over the limits."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from autodistill.errors import StudyError
from autodistill.limit_fit import LimitFit
from autodistill.limits import Feasibility, Limits
from autodistill.recipe import Recipe
from autodistill.space import Space

SHIPPED = Space.load("text", "text-classification")
SPACE = SHIPPED.fixed("student.vocabulary", "full")
PIECES = 1000


def fit_of(space: Space, sized: Sized, seed: int = 0) -> LimitFit:
    return LimitFit(space, sized, sized.limits, seed)


@dataclass
class Sized:
    """A limit on a number that stands for a student's parameters: those of its vectors, and of what reads them."""

    max_params: int
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        self.limits = Limits(max_params=self.max_params)

    def __call__(self, recipe: Recipe) -> Feasibility:
        own = recipe.student.own
        vectors = own.get("embedding_size", own.get("hidden_size"))
        pieces = PIECES // 4 if own["vocabulary"] == "trimmed" else PIECES
        return self.limits.check(vectors * pieces + own.get("channels", 0) * vectors + own.get("layers", 0), None)


def recipe(family: str, **fields: object) -> Recipe:
    defaults = SPACE.fixed("student.family", family).defaults()
    return Recipe.parse(defaults.model_dump() | {"student": defaults.student.model_dump() | fields})


def test_a_recipe_within_the_limits_stays() -> None:
    fit = fit_of(SPACE, Sized(200 * PIECES))
    assert fit(SPACE.defaults()) == fit.defaults == SPACE.defaults()


def test_each_family_has_its_defaults_within_the_limits() -> None:
    others = {family: SPACE.fixed("student.family", family).defaults() for family in ("bilstm", "bert", "static")}
    assert list(fit_of(SPACE, Sized(1000 * PIECES)).of_families()) == list(others.values())
    assert list(fit_of(SPACE, Sized(1000 * PIECES)).of_families({"bert", "cnn"})) == [others["bilstm"], others["static"]]
    fit = fit_of(SPACE, Sized(110 * PIECES))
    assert list(fit.of_families()) == [fit(others["bilstm"]), fit(others["static"])]  # half of the teacher has no narrower substitute
    assert {recipe.student.own["embedding_size"] for recipe in fit.of_families()} == {64}


@pytest.mark.parametrize("seed", range(3))
def test_the_student_keeps_its_family_and_what_it_can_of_its_own_fields(seed: int) -> None:
    fit = fit_of(SPACE, Sized(110 * PIECES), seed)
    own = recipe("cnn", embedding_size=192)
    fitted = fit(own)
    assert fitted == recipe("cnn", embedding_size=64)  # 128 is too large; the channels, the start and the rest of the recipe stay
    assert fit.defaults == Recipe.parse(SPACE.defaults().model_dump() | {"student": fitted.student.model_dump()})


def test_of_equally_near_students_the_largest_is_taken() -> None:
    fit = fit_of(SPACE, Sized(150 * PIECES))
    fitted = fit(recipe("cnn", embedding_size=192, channels=64))
    assert fitted == recipe("cnn", embedding_size=128, channels=64)


def test_a_family_without_a_student_within_the_limits_gives_none_and_the_default_is_of_another() -> None:
    fit = fit_of(SPACE.fixed("student.embedding_size", 192).fixed("student.channels", 64), Sized(191 * PIECES))
    assert fit(recipe("cnn", embedding_size=192)) is None
    assert fit.defaults.student.name == "bert"
    assert fit.defaults.student.hidden_size == 128
    assert fit.defaults.objective == SPACE.fixed("student.family", "bert").defaults().objective


PAIRS = Space.load("text", "text-pair-regression")


def test_a_student_made_of_its_teachers_layers_keeps_their_width() -> None:
    assert PAIRS.defaults().student.own["hidden_size"] == 384
    trimmed = fit_of(PAIRS, Sized(100 * PIECES)).defaults.student.own  # its pieces alone count a quarter
    assert (trimmed["hidden_size"], trimmed["vocabulary"]) == (384, "trimmed")
    smaller = fit_of(PAIRS, Sized(95 * PIECES))
    assert smaller(PAIRS.defaults()) is None
    assert smaller.defaults.student.name == "static"
    assert smaller.defaults.student.own["vocabulary"] == "trimmed"
    of_family = PAIRS.fixed("student.family", "static").defaults()
    assert smaller.defaults.objective == of_family.objective
    assert smaller.defaults.training == of_family.training  # at the rate of its family, not at that of a transformer
    assert smaller.defaults.training.learning_rate > PAIRS.defaults().training.learning_rate


def test_one_with_random_weights_need_not_keep_it() -> None:
    own = Recipe.parse(PAIRS.fixed("student.init", "random").defaults().model_dump())
    fitted = fit_of(PAIRS.fixed("student.init", "random"), Sized(95 * PIECES))(own)
    assert fitted is not None
    assert fitted.student.own["hidden_size"] < 384


def test_limits_that_no_student_keeps_are_refused_with_the_smallest() -> None:
    with pytest.raises(
        StudyError, match=r"no student of the space 'text' keeps the limits \(max_params 10\): the smallest of 200 has 64,0"
    ):
        _ = fit_of(SPACE, Sized(10)).defaults


def test_a_family_that_the_space_lacks_gives_none() -> None:
    only_static = SPACE.fixed("student.family", "static")
    assert fit_of(only_static, Sized(110 * PIECES))(recipe("cnn", embedding_size=192)) is None


def test_a_smaller_vocabulary_comes_before_narrower_vectors() -> None:
    fitted = fit_of(SHIPPED, Sized(110 * PIECES))(recipe("cnn", embedding_size=192))
    assert fitted == recipe("cnn", embedding_size=192, vocabulary="trimmed")


def test_without_limits_nothing_is_measured() -> None:
    def measured(recipe: Recipe) -> Feasibility:
        raise AssertionError(recipe.id)

    own = recipe("cnn", embedding_size=192)
    fit = LimitFit(SPACE, measured, Limits())
    assert (fit(own), fit.defaults) == (own, SPACE.defaults())
