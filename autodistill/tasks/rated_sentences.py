"""Sentences rated by people, from vaderSentiment's source release on PyPI.

Each sentence of film reviews, product reviews, editorials and tweets was rated by about 20 people (tweets by more) from −4 to 4;
its target is their mean (Hutto and Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media
Text"). `movie-reviews` has the sign of the film reviews' mean, positive or negative; it leaves out the few with a mean of exactly 0.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from autodistill.errors import DataError
from autodistill.fetch import fetch_from_pypi
from autodistill.tasks.files import open_path
from autodistill.tasks.kept import kept, write_tables
from autodistill.tasks.source import Source

VERSION = "3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
RATINGS = {
    "movie-ratings": "movieReviewSnippets",
    "amazon-ratings": "amazonReviewSnippets",
    "editorial-ratings": "nytEditorialSnippets",
    "tweet-ratings": "tweets",
}
"""The files of ground truth in the release, by our names."""
_INNER = f"vaderSentiment-{VERSION}/additional_resources/hutto_ICWSM_2014.tar.gz"


def open_ratings(name: str) -> Source:
    """The sentences of one of RATINGS and their mean ratings, in one table.

    Raises:
        DataError: the release cannot be fetched from any index, or is not the expected one.
    """

    def write(folder: Path) -> None:
        means, texts = _rated(RATINGS[name])
        write_tables(folder, {"all": {"text": texts, "label": means}}, task="regression")

    return open_path(kept(name, write), own=False)


def open_movie_reviews() -> Source:
    """The film reviews' sentences and whether they are positive, in one table.

    Raises:
        DataError: the release cannot be fetched from any index, or is not the expected one.
    """

    def write(folder: Path) -> None:
        rows = [(text, int(mean > 0)) for mean, text in zip(*_rated(RATINGS["movie-ratings"]), strict=True) if mean != 0]
        texts, labels = zip(*rows, strict=True)
        write_tables(folder, {"all": {"text": texts, "label": labels}}, task="classification", classes=["negative", "positive"])

    return open_path(kept("movie-reviews", write), own=False)


def _rated(kind: str) -> tuple[list[float], list[str]]:
    """Mean ratings and sentences of a file of ground truth. Its lines have an id, a mean and a sentence."""
    release = fetch_from_pypi("vaderSentiment", VERSION, "*.tar.gz", SHA256)
    lines = [line.split("\t") for line in _ground_truth(release, f"hutto_ICWSM_2014/{kind}_GroundTruth.txt").splitlines()]
    return [float(mean) for _, mean, _ in lines], [text.strip() for _, _, text in lines]


def _ground_truth(release: Path, name: str) -> str:
    """A file of the archive inside the release, read without unpacking either."""
    with tarfile.open(release) as outer:
        archive = outer.extractfile(_INNER)
        if archive is None:
            raise DataError(f"{release} holds no {_INNER}")
        with tarfile.open(fileobj=io.BytesIO(archive.read())) as inner:
            file = inner.extractfile(name)
            if file is None:
                raise DataError(f"{release} holds no {name}")
            return file.read().decode("utf-8")
