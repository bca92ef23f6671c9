from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from recorded import study

from autodistill.errors import DataError
from autodistill.recipe import Recipe
from autodistill.recommender.replay import Blackbox


def test_the_objective_says_of_recorded_recipes_what_was_recorded() -> None:
    entry = study(1, recipes=40, noise=0.0)
    blackbox = Blackbox(entry)
    curves, pace = blackbox.run([Recipe.parse(record.recipe) for record in entry.records])
    recorded = np.array([[point.score for point in record.curve] for record in entry.records])
    assert curves.shape == (43, 8)
    assert np.allclose(curves, recorded)  # trees grown to single trials
    assert np.allclose(pace, 1.0)
    assert 0.4 < blackbox.fidelity < 1.0


def test_curves_that_ended_early_hold_their_last_score() -> None:
    entry = study(1, recipes=12)
    short = entry.records[5].model_copy(update={"curve": entry.records[5].curve[:3]})
    records = [*entry.records[:5], short, *entry.records[6:]]
    curves, _ = Blackbox(dataclasses.replace(entry, records=records)).run([Recipe.parse(short.recipe)])
    assert curves[0, 2:].tolist() == pytest.approx([short.curve[-1].score] * 6)


def test_too_few_trials_are_told() -> None:
    with pytest.raises(DataError, match="'set1' has 5 complete trials with curves; 10 or more"):
        Blackbox(study(1, recipes=2))
