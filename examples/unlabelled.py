"""Few labels and many rows without: what do the others add?

    python examples/unlabelled.py reviews.csv more.txt

`more.txt` has a text on each line. On these rows the student learns from the teacher alone.
"""

import sys
from pathlib import Path

import pandas as pd

import autodistill


def main(labelled: str, unlabelled: str) -> None:
    """Search with both, and compare the baselines with and without the unlabelled rows."""
    rows = pd.read_csv(labelled)
    texts = Path(unlabelled).read_text(encoding="utf-8").splitlines()
    study = autodistill.search(rows, unlabelled=texts, study="unlabelled", trials=20, max_params="5M")

    arms = {
        "no_kd": "no teacher, labelled rows",
        "plain_kd": "plain distillation, labelled rows",
        "pseudo_labels": "the teacher's decisions as labels, all rows",
        "plain_kd_all": "plain distillation, all rows",
        "defaults": "the space's defaults, all rows",
    }
    for role, about in arms.items():
        baseline = study.baselines.get(role)
        if baseline is not None and baseline.score is not None:
            print(f"{baseline.score:.4f}  {about}")
    if study.best is not None:
        print(f"{study.best.score:.4f}  the best of the search")
    print(study.verdict)


if __name__ == "__main__":
    main(*sys.argv[1:])
