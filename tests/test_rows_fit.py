"""A space for a dataset with many labels, and the number of steps on its rows."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from autodistill.errors import RecipeError
from autodistill.recipe import Recipe
from autodistill.rows_fit import MORE, SHARE, fit_rows
from autodistill.space import Domain, Space

SHARES = {0.5, 0.8, 0.9}


@pytest.fixture(params=["text", "image"])
def space(request: pytest.FixtureRequest) -> Space:
    """A shipped space."""
    return Space.load(request.param, f"{request.param}-classification")


def recipe(**training: Any) -> Recipe:
    base = {
        "task": "text-classification",
        "teacher": {"model": "any"},
        "student": {"family": "cnn"},
        "objective": {"prediction": {"kind": "kl"}},
    }
    return Recipe.parse(base | {"training": training})


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "allowed", "default"),
    [
        (500, 6000, SHARES, 0.8),
        (1500, 6000, {0.5, 0.8}, 0.8),  # .8 of the rows
        (2000, 6000, {0.5, 0.8}, 0.8),  # .75, which .8 is near enough
        (2600, 6000, {0.5}, 0.5),
        (6000, 6000, {0.5}, 0.5),
        (6000, 2000, {0.25}, 0.25),
        (60000, 100, {0.01}, 0.01),
    ],
)
def test_a_batch_has_no_more_unlabelled_rows_than_the_dataset(
    space: Space, labelled: int, unlabelled: int, allowed: set[float], default: float
) -> None:
    fitted, note = fit_rows(space, labelled, unlabelled)
    shares = {float(value) for domain in fitted.parameters[SHARE] for value in domain.values}
    assert shares == allowed
    assert fitted.defaults().training.unlabelled_share == default
    assert (note is None) == (default == 0.8)
    recipes = [fitted.sample(random.Random(seed)) for seed in range(200)]
    recipes += [*fitted.baselines().values()]
    share = unlabelled / (labelled + unlabelled)
    assert {item.training.unlabelled_share for item in recipes} <= {0.0, *allowed}
    assert max(item.training.unlabelled_share for item in recipes) <= max(share + MORE, 0.01)


def test_nothing_is_asked_of_unlabelled_rows_that_are_not_there(space: Space) -> None:
    assert fit_rows(space, 500, 0) == (space.without_unlabelled(), None)


def test_a_share_that_a_space_fixes_stays(space: Space) -> None:
    fixed = space.fixed(SHARE, 0.8)
    assert fit_rows(fixed, 6000, 100) == (fixed, None)


def test_a_range_of_shares_stays(space: Space) -> None:
    share = Domain("float", 0.5, low=0.1, high=0.9)
    ranged = replace(space, parameters={**space.parameters, SHARE: (share,)})
    assert fit_rows(ranged, 6000, 100) == (ranged, None)
    assert [domain.largest for domain in (share, *space.fixed(SHARE, 0.8).parameters[SHARE], *space.parameters[SHARE])] == [0.9, 0.8, 0.9]


@pytest.mark.parametrize(
    ("training", "labelled", "unlabelled", "steps"),
    [
        ({"epochs": 3}, 100, 900, 12),  # three passes over the labelled rows, of four batches each
        ({"epochs": 4, "steps": 10}, 10**6, 0, 12),  # a whole number for each epoch
        ({"epochs": 4, "steps": 100, "passes": 2}, 1000, 0, 100),  # two passes have 63
        ({"epochs": 4, "steps": 100, "passes": 2}, 3200, 0, 200),
        ({"epochs": 4, "steps": 100, "passes": 2}, 3200, 3200, 200),  # its unlabelled rows are not read
        ({"epochs": 4, "steps": 100, "passes": 2, "unlabelled_share": 0.5}, 3200, 3200, 400),
        (
            {"epochs": 4, "steps": 100, "passes": 2, "unlabelled_share": 0.5, "unlabelled_choice": "diverse", "unlabelled_keep": 0.25},
            3200,
            3200,
            252,  # 4,000 rows twice are 250 batches, in four equal parts
        ),
        ({"epochs": 4, "steps": 100, "passes": 2, "batch_size": 64}, 6400, 0, 200),
        ({"epochs": 4, "steps": 100, "passes": 2, "max_steps": 160}, 3200, 0, 160),
        ({"epochs": 4, "steps": 100, "passes": 0.5}, 12800, 0, 200),
    ],
)
def test_how_many_steps_there_are_on_many_rows(training: dict[str, Any], labelled: int, unlabelled: int, steps: int) -> None:
    part = recipe(**training).training
    assert part.epochs * part.steps_per_epoch(labelled, unlabelled) == steps


@pytest.mark.parametrize(
    ("training", "why"),
    [
        ({"passes": 4}, "passes is 4, but steps is 0"),
        ({"steps": 10, "max_steps": 20}, "max_steps is 20, but passes is 0"),
        ({"steps": 10, "passes": 4, "max_steps": 9}, "max_steps is 9 and steps 10"),
        ({"steps": 10, "passes": -1}, "passes"),
    ],
)
def test_lengths_that_contradict_each_other_are_refused(training: dict[str, Any], why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        recipe(**training)


def test_the_shipped_spaces_train_longer_on_many_rows(space: Space) -> None:
    training = space.defaults().training
    lengths = {rows: 8 * training.steps_per_epoch(2000, rows - 2000) for rows in (5000, 8000, 16000, 32000, 10**6)}
    assert lengths == {5000: 1000, 8000: 1000, 16000: 2000, 32000: 4000, 10**6: 4000}
    shorter = space.with_epochs(2).defaults().training
    assert (shorter.steps, shorter.passes, shorter.max_steps) == (250, 1, 1000)
    assert 2 * shorter.steps_per_epoch(2000, 14000) == 500
