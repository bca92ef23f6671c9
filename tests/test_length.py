"""How long a recipe is trained: what a space says of it, with fewer epochs, and for recipes from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autodistill.recipe import Recipe
from autodistill.space import Domain, Space


@pytest.mark.parametrize(
    ("domain", "share", "whole", "scaled"),
    [
        (Domain("value", 1000), 0.25, True, Domain("value", 250)),
        (Domain("value", 0), 0.25, True, Domain("value", 0)),
        (Domain("value", 4), 0.125, False, Domain("value", 0.5)),
        (Domain("choice", 10, choices=(10, 30)), 0.5, True, Domain("choice", 5, choices=(5, 15))),
        (Domain("choice", 2, choices=(2, 3), when=(("a.b", (1,)),)), 0.01, True, Domain("value", 1, when=(("a.b", (1,)),))),
        (Domain("int", 20, low=10, high=40, step=10), 0.5, True, Domain("int", 10, low=5, high=20, step=5)),
        (Domain("int", 750, low=250, high=1000, step=250), 1.0, True, Domain("int", 750, low=250, high=1000, step=250)),
        (Domain("int", 750, low=250, high=1000, step=250), 1 / 3, True, Domain("int", 249, low=83, high=333, step=83)),
        (Domain("int", 4, low=1, high=8), 0.25, False, Domain("float", 1.0, low=0.25, high=2.0)),
        (Domain("value", None), 0.5, True, Domain("value", None)),
        (Domain("float", 2.0, low=1.0, high=4.0, log=True), 0.5, False, Domain("float", 1.0, low=0.5, high=2.0, log=True)),
    ],
)
def test_numbers_of_a_domain_change_in_proportion(domain: Domain, share: float, whole: bool, scaled: Domain) -> None:
    assert domain.scaled(share, whole) == scaled
    assert scaled.contains(scaled.default)


@pytest.mark.parametrize(
    ("path", "value"), [("teacher.init", "random"), ("teacher.scores", "0123456789abcdef"), ("teacher.model", "my/encoder")]
)
def test_only_layers_of_the_fine_tuned_default_teacher_learn_in_fewer_steps(path: str, value: str) -> None:
    copied = Space.load("text", "text-classification").fixed("student.family", "bert").fixed("student.hidden_size", 384)
    copied = copied.fixed("objective.intermediate.kind", "none")  # a file of scores has no states
    ours, others = copied.defaults().training, copied.fixed(path, value).defaults().training
    assert (ours.steps, ours.passes) == (500, 1)
    assert (others.steps, others.passes) == (1000, 4)
    narrow = copied.fixed("student.hidden_size", 256).defaults().training
    pairs = Space.load("text", "text-pair-classification").defaults()
    assert {(narrow.steps, narrow.passes), (pairs.training.steps, pairs.training.passes)} == {(1000, 4)}
    assert pairs.student.own["hidden_size"] == 384


def test_a_recipe_from_elsewhere_keeps_its_length_where_the_space_has_it() -> None:
    space = Space.load("text", "text-classification")
    copied = space.fixed("student.family", "bert").fixed("student.hidden_size", 384)

    def length(recipe: Recipe, here: Space, **training: Any) -> tuple[Any, ...]:
        data = recipe.model_dump()
        found = here.length_for(data | {"training": data["training"] | training})
        return tuple(found[name] for name in ("epochs", "steps", "passes", "max_steps"))

    for steps, ours in ((250, 250), (500, 500), (1000, 1000), (77, 500)):
        assert length(copied.defaults(), space, steps=steps, passes=0.0, max_steps=0, epochs=3) == (8, ours, 1, 4000)
        assert length(space.defaults(), space, steps=steps) == (8, 1000, 4, 4000)  # a cnn has no choice
    elsewhere = replace(space, parameters={path: own for path, own in space.parameters.items() if path != "training.max_steps"})
    assert length(space.defaults(), elsewhere, max_steps=9) == (8, 1000, 4, 0)  # the space does not ask, so what a recipe has by default


def test_fewer_epochs_are_fewer_steps_too() -> None:
    space = Space.load("text", "text-classification")
    usual, short = (item.defaults().training for item in (space, space.with_epochs(2)))
    assert (usual.epochs, usual.steps) == (8, 1000)
    assert (short.epochs, short.steps) == (2, 250)
    copied = space.fixed("student.family", "bert").fixed("student.hidden_size", 384)
    ours = [item.parameters["training.steps"][1].choices for item in (copied, copied.with_epochs(4), copied.with_epochs(2))]
    assert ours == [(500, 250, 1000), (250, 125, 500), (125, 62, 250)]
    usual, short = (item.defaults().training for item in (copied, copied.with_epochs(4)))
    assert (usual.steps, usual.passes, usual.max_steps) == (500, 1, 4000)
    assert (short.steps, short.passes, short.max_steps) == (250, 0.5, 2000)
    unbound = space.fixed("training.max_steps", 0).fixed("training.passes", 0)
    by_epochs = unbound.fixed("training.steps", 0).with_epochs(3).defaults().training
    assert (by_epochs.epochs, by_epochs.steps) == (3, 0)
