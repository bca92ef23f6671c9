from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from recorded import study

from autodistill.errors import DataError
from autodistill.recommender.table import flatten, from_studies, make_table
from autodistill.space import Space


def rows(**changes: list) -> pd.DataFrame:
    values = {
        "dataset": ["a", "a", "a", "b"],
        "score": [0.5, 0.7, 0.9, 0.4],
        "kind": ["x", "x", "y", "x"],
        "rate": [1.0, 1.0, math.nan, 2.0],
    }
    return pd.DataFrame(values | changes)


def test_repeated_runs_are_averaged_also_where_a_field_is_missing() -> None:
    doubled = pd.concat([rows(), rows()[2:3].assign(score=0.7)])
    table = make_table(doubled, ["kind", "rate"])
    assert table.datasets.tolist() == ["a", "a", "b"]
    assert table.scores.tolist() == pytest.approx([0.6, 0.8, 0.4])
    assert table.groups == ["a", "b"]
    assert pd.api.types.is_float_dtype(table.recipes["rate"])


def test_groups_tasks_and_teachers_belong_to_datasets() -> None:
    table = make_table(rows(group=["g", "g", "g", "h"], task=["t"] * 4, teacher_score=[0.8, 0.8, 0.8, 0.0]), ["kind"])
    assert table.without_groups({"g"}).names == ["b"]
    assert table.target("b").task == "t"
    assert table.teacher_scores[0] == 0.8
    assert np.isnan(table.teacher_scores[-1])  # a teacher of score 0 has no retention
    with pytest.raises(DataError, match=r"'a' has more than one group: g, h"):
        make_table(rows(group=["g", "h", "g", "h"]), ["kind"])


def test_scores_must_be_numbers() -> None:
    with pytest.raises(DataError, match="'bad'"):
        make_table(rows(score=[0.1, "bad", 0.2, 0.3]), ["kind"])
    with pytest.raises(DataError, match="no rows"):
        make_table(rows()[:0], ["kind"])


def test_flat_recipes_name_fields_by_path() -> None:
    objective = {"prediction": {"kind": "kl", "kernels": [3, 5]}, "weight": 1.0}
    flat = flatten({"version": 1, "task": "t", "teacher": {"model": "m", "epochs": 3, "min_steps": 9}, "objective": objective})
    fields = {"objective.prediction.kind": "kl", "objective.prediction.kernels": "[3, 5]", "objective.weight": 1.0}
    assert flat == fields | {"teacher.model": "m"}


def test_studies_give_complete_trials_and_the_worst_score_to_diverged_ones() -> None:
    entry = study(0, recipes=6)
    records = list(entry.records)
    worst = min(record.score for record in records[:7])
    records[7] = records[7].model_copy(update={"state": "pruned"})
    records[8] = records[8].model_copy(update={"state": "fail", "reason": "DivergedError: the loss is nan", "score": None})
    table = from_studies([type(entry)(**{**vars(entry), "records": records})])
    assert len(table) == 8
    assert table.scores[-1] == worst
    assert table.features.loc["set0", "probe_score"] == entry.features["probe_score"]
    assert "objective.prediction.temperature" in table.recipes


def test_recorded_recipes_get_the_fields_that_came_later() -> None:
    """Else none would be found among candidates, which have them."""
    recipe = Space.load("text", "text-classification").without_unlabelled().fixed("student.family", "cnn").defaults()
    older = recipe.model_dump()
    assert older["student"].pop("blocks") == 3
    gone = recipe.model_dump() | {"student": {"family": "of-a-package-that-is-gone", "blocks": 2}}
    entry = study(0, recipes=2)
    records = [entry.records[0].model_copy(update={"recipe": data, "score": 0.5}) for data in (older, gone)]
    table = from_studies([replace(entry, records=records)])
    assert table.recipes["student.blocks"].tolist() == [0.0, 2.0]
    assert records[0].recipe == older  # what is recommended from it gets the space's value
