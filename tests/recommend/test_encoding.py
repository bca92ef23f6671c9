from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from autodistill.recommender.encoding import DatasetEncoder, RecipeEncoder
from autodistill.recommender.table import NewDataset, make_table

RECIPES = pd.DataFrame(
    {"kind": ["a", "b", "b"], "rate": [1e-4, 1e-3, 1e-2], "depth": [np.nan, 1.0, 3.0], "fixed": ["same"] * 3, "none": [None] * 3}
)


def test_gower_distances_by_hand() -> None:
    apart = RecipeEncoder(RECIPES).distances(RECIPES, RECIPES)
    # kind differs (1), rate half of the log range (.5), depth on one side only (1): of 3 fields
    assert apart[0, 1] == pytest.approx((1 + 0.5 + 1) / 3)
    assert apart[1, 2] == pytest.approx((0 + 0.5 + 1) / 3)
    assert np.diag(apart).tolist() == [0, 0, 0]
    both_without = RecipeEncoder(RECIPES).distances(RECIPES[:1], RECIPES[:1].assign(kind="b"))
    assert both_without[0, 0] == pytest.approx(1 / 2)  # depth is missing in both and counts nothing


def test_codes_hold_missing_and_unknown_values_apart() -> None:
    encoder = RecipeEncoder(RECIPES)
    codes = encoder.encode(RECIPES)
    assert codes.shape == (3, 4)  # rate, depth, kind a, kind b; what never varies is left out
    assert codes[0].tolist() == [0.0, -1.0, 1.0, 0.0]
    assert encoder.encode(pd.DataFrame({"kind": ["new"], "rate": [1e-3]}))[0].tolist() == pytest.approx([0.5, -1.0, 0.0, 0.0])


def datasets(**features: list[float]) -> DatasetEncoder:
    names = ["a", "b", "c"]
    rows = pd.DataFrame(
        {"dataset": names, "score": [1.0] * 3, "task": ["text-classification"] * 2 + ["image-classification"], "x": [1, 2, 3]}
    )
    return DatasetEncoder(make_table(rows, ["x"], pd.DataFrame(features, index=names)))


def test_dataset_distances_are_in_standard_deviations_and_never_cross_modalities() -> None:
    encoder = datasets(size=[0.0, 3.0, 6.0], constant=[1.0, 1.0, 1.0])
    deviation = np.std([0, 3, 6])
    target = NewDataset("text-classification", pd.Series({"size": 3.0, "unheard of": 5.0}))
    assert encoder.distances(target)[:2].tolist() == pytest.approx([3 / deviation, 0.0])
    assert np.isinf(encoder.distances(target)[2])
    pair = NewDataset("text-pair-classification", pd.Series({"size": 3.0}))
    assert encoder.distances(pair)[1] == pytest.approx(1.0)
    assert encoder.usual_distance() == pytest.approx(3 / deviation)


def test_without_features_only_tasks_tell_datasets_apart() -> None:
    encoder = datasets()
    assert encoder.distances(NewDataset("text-classification", pd.Series(dtype=float))).tolist() == [0.0, 0.0, np.inf]
    assert encoder.usual_distance() == 0.0


def test_a_missing_feature_is_neither_a_likeness_nor_a_difference() -> None:
    encoder = datasets(size=[0.0, 3.0, 6.0], score=[1.0, np.nan, 2.0])
    size, score = np.std([0, 3, 6]), np.std([1, 2])  # of the datasets that have it
    target = NewDataset("text-classification", pd.Series({"size": 6.0, "score": 2.0}))
    both, common = math.sqrt(((6 / size) ** 2 + (1 / score) ** 2) / 2), 3 / size
    assert encoder.distances(target).tolist() == pytest.approx([both, common, np.inf])
    nothing_known = encoder.distances(NewDataset("text-classification", pd.Series(dtype=float)))
    assert nothing_known.tolist() == pytest.approx([math.sqrt(2), math.sqrt(2), np.inf])
    assert encoder.distances(NewDataset("text-classification", pd.Series({"score": 1.0})))[:2].tolist() == pytest.approx([0, math.sqrt(2)])
    assert encoder.usual_distance() == pytest.approx(common)


def test_the_codes_of_a_missing_feature_and_of_one_at_the_mean_differ() -> None:
    encoder = datasets(size=[0.0, 3.0, 6.0], score=[1.0, np.nan, 2.0])
    codes = encoder.encode_recorded()
    assert codes[:, :3].tolist() == [[pytest.approx(-np.sqrt(1.5)), -1.0, 0.0], [0.0, 0.0, 1.0], [pytest.approx(np.sqrt(1.5)), 1.0, 0.0]]
    at_the_mean = encoder.encode(NewDataset("text-classification", pd.Series({"size": 3.0, "score": 1.5})))
    assert at_the_mean.tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]  # size, score, score is missing, image, text
    assert encoder.encode(NewDataset("text-classification", pd.Series({"size": 3.0}))).tolist() == [0.0, 0.0, 1.0, 0.0, 1.0]
    assert datasets(size=[0.0, 3.0, 6.0]).encode_recorded().shape == (3, 3)  # nothing is missing: no more columns
