"""Rows with several labels each: a student that gives a list of labels, with thresholds of its own.

    python examples/several_labels.py tickets.csv

The file has the columns `text` and `label`, and a label is like `billing;urgent` (or empty, for none).
"""

import sys

import pandas as pd

import autodistill


def main(table: str) -> None:
    """Train the recipe that the space starts with, without a search, and look at its answers."""
    rows = pd.read_csv(table, keep_default_na=False)
    rows["label"] = [[label for label in text.split(";") if label] for text in rows["label"]]

    recipe = autodistill.Space.load("text", "text-multilabel").defaults()
    done = autodistill.distill(recipe, rows, out="tickets-student", seeds=1, task="multilabel", overwrite=True)
    print(f"test {done.facts['dataset']['metric']} {done.facts['student']['test']:.4f}")

    student = autodistill.load_student(done.folder)
    for answer in student.predictions(list(rows["text"][:3])):
        print(answer.labels, answer.probabilities)


if __name__ == "__main__":
    main(sys.argv[1])
