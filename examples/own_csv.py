"""A CSV of your own becomes a small student.

    python examples/own_csv.py reviews.csv

The file has the columns `text` and `label`. If yours are called otherwise, give `text_columns="body", label_column="stars"` to the search.
"""

import sys

import autodistill


def main(rows: str) -> None:
    """Search, train the winner in full, and ask it."""
    study = autodistill.search(rows, study="reviews", trials=20, max_params="5M", max_latency_ms="5ms")
    print(study.verdict)
    print(study.leaderboard())

    done = autodistill.distill(study.folder, out="reviews-student")  # the study knows its rows; the test split is opened once, here
    print(f"test score {done.facts['student']['test']:.4f}, in {done.folder}")

    student = autodistill.load_student("reviews-student")
    print(student.predict(["a gorgeous, witty film", "two hours that I want back"]))


if __name__ == "__main__":  # the search's workers import this file
    main(sys.argv[1])
