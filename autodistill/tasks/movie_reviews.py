"""`movie-reviews`: the rated sentences inside vaderSentiment's source release on PyPI.

Each of the 10,605 sentences of film reviews was rated by about 20 people from -4 to 4 (Hutto and Gilbert 2014, "VADER");
here it is positive or negative by the sign of the mean, and the few with a mean of exactly 0 are left out.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from autodistill.errors import DataError
from autodistill.fetch import fetch_from_pypi
from autodistill.tasks.files import open_path
from autodistill.tasks.kept import kept
from autodistill.tasks.source import Source

VERSION = "3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
_INNER = f"vaderSentiment-{VERSION}/additional_resources/hutto_ICWSM_2014.tar.gz"
_FILE = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"


def open_movie_reviews() -> Source:
    """The sentences in one table.

    Raises:
        DataError: the release can be fetched from no index, or is not the expected one.
    """
    return open_path(kept("movie-reviews", _write), own=False)


def _write(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts, labels = [], []
    for line in _ground_truth(fetch_from_pypi("vaderSentiment", VERSION, "*.tar.gz", SHA256)).splitlines():
        _, mean, sentence = line.split("\t")
        if float(mean) != 0:
            texts.append(sentence.strip())
            labels.append(int(float(mean) > 0))
    pq.write_table(pa.table({"text": texts, "label": labels}), folder / "all.parquet")
    (folder / "dataset.json").write_text(json.dumps({"task": "classification", "classes": ["negative", "positive"]}), encoding="utf-8")


def _ground_truth(release: Path) -> str:
    """The file in the archive in the release, read without unpacking either."""
    with tarfile.open(release) as outer:
        archive = outer.extractfile(_INNER)
        if archive is None:
            raise DataError(f"{release} holds no {_INNER}")
        with tarfile.open(fileobj=io.BytesIO(archive.read())) as inner:
            file = inner.extractfile(_FILE)
            if file is None:
                raise DataError(f"{release} holds no {_FILE}")
            return file.read().decode("utf-8")
