"""The teacher is a black box: an API, a language model, people. Only its scores are needed.

    python examples/teacher_scores.py reviews.csv more.txt

Here a linear model of scikit-learn stands for the black box. Put your own calls into `ask`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

import autodistill


def ask(teacher: Pipeline, texts: Sequence[str]) -> pd.DataFrame:
    """The teacher's probabilities: a row for each text, and a column for each class."""
    return pd.DataFrame(teacher.predict_proba(texts), columns=[str(name) for name in teacher.classes_])


def main(labelled: str, unlabelled: str) -> None:
    """Write the scores to a file, and search with it as the teacher."""
    rows = pd.read_csv(labelled)
    more = Path(unlabelled).read_text(encoding="utf-8").splitlines()
    teacher = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000)).fit(rows["text"], rows["label"])

    texts = [*rows["text"], *more]
    scores = pd.concat([pd.DataFrame({"text": texts}), ask(teacher, texts)], axis=1).drop_duplicates("text")
    scores.to_parquet("scores.parquet")

    study = autodistill.search(rows, unlabelled=more, teacher_scores="scores.parquet", study="black-box", trials=20, max_params="5M")
    print(study.verdict)
    print(study.recommended.to_yaml())


if __name__ == "__main__":
    main(*sys.argv[1:])
