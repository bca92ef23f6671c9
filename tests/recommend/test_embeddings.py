"""Studies of sentence embeddings, whose datasets have no labels: into the library, out of it again, and recommended from."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from autodistill.dashboards.page_all import render_all
from made import make_study
from recorded import dataset_facts, study
from tiny_teacher import as_sentence_transformer, save_encoder, texts

from autodistill import recommending, recording
from autodistill.errors import StudyError
from autodistill.features import FEATURES, OF_LABELS, dataset_features
from autodistill.recommender.candidates import comparable
from autodistill.recommender.evaluate import evaluate
from autodistill.recommender.library import load
from autodistill.recommender.methods import METHODS
from autodistill.recommender.recommender import Recommender, new_dataset
from autodistill.recommender.table import from_studies, recipe_frame
from autodistill.space import Space
from autodistill.study_folder import write_about
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef

TASK = "text-embedding"
SPACE = """
version: 1
name: small
about: a static student
tasks: [text-embedding]
parameters:
  teacher.model: {value: TEACHER}
  teacher.init: {value: pretrained}
  teacher.pooling: {value: auto}
  teacher.epochs: {value: 0}
  teacher.max_length: {value: 16}
  student.family: {value: static}
  student.embedding_size: {choice: [16, 32], default: 16}
  objective.hard_label_weight: {value: 0.0}
  objective.prediction.kind: {choice: [cosine, mse], default: cosine}
  objective.prediction.weight: {float: [0.5, 5.0], log: true, default: 1.0}
  training.epochs: {value: 8}
  training.learning_rate: {float: [3.0e-4, 1.0e-2], log: true, default: 2.0e-3}
"""


@pytest.mark.slow
def test_a_study_without_labels_is_recorded_and_recommended_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = str(as_sentence_transformer(save_encoder(tmp_path / "base", "Bert"), "mean"))
    rows = {"text": texts(150)[0], "text_b": texts(150, seed=1)[0], "score": np.random.default_rng(0).uniform(0, 5, 150)}
    pd.DataFrame(rows).to_parquet(tmp_path / "pairs.parquet")
    data = load_dataset(DatasetRef(str(tmp_path / "pairs.parquet"), task="embedding"))
    for module in (recording, recommending):
        monkeypatch.setattr(module, "dataset_features", functools.partial(dataset_features, encoder=teacher))

    made = make_study(tmp_path / "studies", study(0, 12, TASK).records)
    facts = {"name": data.name, "fingerprint": data.rows_fingerprint, "task": TASK, "metric": data.metric, "train_rows": len(data.train)}
    settings = {**made.about["settings"], "dataset": str(tmp_path / "pairs.parquet"), "task": "embedding"}
    write_about(made.folder, made.about | {"dataset": facts, "settings": settings, "sessions": []})
    entry = load(recording.add_study(made.folder, library=tmp_path / "library"))
    assert list(entry.features) == [name for name in FEATURES if name not in OF_LABELS]
    assert entry.records == made.trial_records

    labelled = [study(number, 8) for number in (3, 4)]
    (tmp_path / "space.yaml").write_text(SPACE.replace("TEACHER", teacher))
    asked = {"task": "embedding", "space": str(tmp_path / "space.yaml"), "max_params": 13_000, "top": 2}
    advice = recommending.recommend(str(tmp_path / "pairs.parquet"), studies=[entry, *labelled], **asked)
    assert advice.metric == "sts_spearman"
    assert advice.learnt_from.endswith(f"recipes on 1 datasets, 1 of them {TASK}")
    for item in advice.recipes:
        assert (item.recipe.task, item.nearest) == (TASK, ("s",))
        assert item.params is not None
        assert item.params <= 13_000
    with pytest.raises(StudyError, match="no recorded study is of text-embedding data.*recorded: text-classification"):
        recommending.recommend(str(tmp_path / "pairs.parquet"), studies=labelled, **asked)


def test_those_with_labels_and_those_without_learn_nothing_from_each_other() -> None:
    labelled, without = [study(number, 4) for number in range(3)], [study(number, 4, TASK) for number in (3, 4)]
    assert comparable([*without, *labelled], "image-classification") == labelled
    assert comparable([*without, *labelled], TASK) == without
    alone, mixed = (evaluate(from_studies(studies), methods=["nearest"]) for studies in (labelled, [*labelled, *without]))
    assert [item for item in mixed.outcomes if item.dataset in ("set0", "set1", "set2")] == alone.outcomes
    assert {item.dataset for item in mixed.outcomes} == {f"set{number}" for number in range(5)}
    assert len(evaluate(from_studies([*labelled, without[0]]), methods=["nearest"]).of("nearest")) == 3  # one alone cannot be held out


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_ranks_where_features_are_missing(method: str) -> None:
    """Also in a table of both kinds, and for a dataset of which less is known than of those in it."""
    studies = [study(0, 8), study(1, 8), study(3, 8, TASK), replace(study(4, 8), features={})]
    recommender = Recommender(studies, method=method)
    for task, space in ((TASK, "embedding"), ("text-classification", "text")):
        points = Space.load(space, task).without_unlabelled()
        frame = recipe_frame(recipe.model_dump() for recipe in points.baselines().values())
        for facts in ({}, {"log_rows": 3.0}, dataset_facts(2)):
            target = new_dataset(points, facts)
            assert np.isfinite(recommender.predictor.method.merit(frame, target)).all()
            assert np.isfinite(recommender.predictor.scale.values(np.zeros(1), target)).all()
            assert not np.isnan(recommender.predictor.scale.datasets.distances(target)).any()


def test_the_page_of_all_studies_says_which_features_are_missing() -> None:
    page = render_all([study(0, 6), study(1, 6), study(3, 6, TASK)])
    assert page.count("1 of 3 features are missing") == 1
