"""Which columns hold the texts, the image and the label: as the user says, or guessed if only one choice is possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autodistill.errors import DataError, listed, not_allowed
from autodistill.tasks.class_folders import ends_like_image
from autodistill.tasks.tables import Table

TEXTS = (
    "text",
    "sentence",
    "review",
    "content",
    "comment",
    "tweet",
    "utterance",
    "document",
    "message",
    "phrase",
    "question",
    "query",
    "body",
)
PAIRS = (
    ("text_a", "text_b"), ("text1", "text2"), ("sentence1", "sentence2"), ("sentence_a", "sentence_b"), ("premise", "hypothesis"),
    ("question1", "question2"), ("question", "sentence"), ("question", "answer"), ("question", "passage"), ("query", "passage"),
    ("query", "document"),
)  # fmt: skip
LABELS = ("label", "labels", "class", "target", "category", "intent", "sentiment", "score", "rating", "stars", "emotion", "topic", "y")
IMAGES = ("image", "img", "picture", "photo")
_BOTH = ({"0", "1"}, {"0.0", "1.0"}, {"false", "true"})
_SAMPLE = 100
_NEED_NONE = " Sentence embeddings need no labels: --task embedding."
_IGNORED = ("id", "idx", "index", "guid", "unnamed: 0", "")


@dataclass(frozen=True)
class Columns:
    """The columns that are read. Either `texts` (one or two names) or `image` is set.

    labels: one column, or for several labels per row a column of 0 and 1 for each.
    """

    labels: tuple[str, ...]
    texts: tuple[str, ...] = ()
    image: str | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that a model reads."""
        return (self.image,) if self.image is not None else self.texts


def choose(table: Table, texts: tuple[str, ...] | None, labels: tuple[str, ...], several: bool = False) -> Columns:
    """Find the columns of a table. texts, labels: the user's choice, None and () to guess. several: whether rows have several labels.

    Raises:
        DataError: a named column does not exist, no column fits, or more than one column could be meant.
    """
    _check_names(table, texts, labels)
    labels = labels or _labels(table, {name.lower(): name for name in reversed(table.names)}, texts or (), several)
    inputs = choose_inputs(table, texts, *labels)
    if isinstance(inputs, str):
        return Columns(labels, image=inputs)
    for name in inputs:
        _check_texts(table, name)
    return Columns(labels, inputs)


def choose_inputs(table: Table, texts: tuple[str, ...] | None, *labels: str | None) -> tuple[str, ...] | str:
    """Find the columns of the texts (a tuple of one or two names), or the column of the images (a name), apart from the labels'.

    Raises:
        DataError: as for `choose`.
    """
    _check_names(table, texts, [label for label in labels if label])
    if texts is not None:
        both = [label for label in labels if label in texts]
        if both:
            raise DataError(f"{table.name}: column {both[0]!r} cannot be both text and label; name another one with --label-column")
        return texts[0] if len(texts) == 1 and _names_images(table, texts[0]) else tuple(texts)
    free = {name.lower(): name for name in reversed(table.names) if name not in labels}
    images = [free[key] for key in IMAGES if key in free]
    inputs = [names for names in _texts(free) if not any(_names_images(table, name) for name in names)]
    if not images and not inputs:
        images = [name for name in free.values() if _names_images(table, name)]
    if len(images) == 1 and not inputs:
        return images[0]
    if len(inputs) == 1 and not images:
        return inputs[0]
    if not images and not inputs:
        rest = [name for key, name in free.items() if key not in _IGNORED]
        if len(rest) == 1 and all(isinstance(value, str) for value in table.values(rest[0])[:100]):
            return (rest[0],)
        raise DataError(
            f"{table.name} has no column that is recognised as text or image; its columns are {', '.join(table.names)}. "
            "Rename the one you mean to text (pairs: text and text_b) or image, or name it with --text-column."
            f"{_separator(table)}"
        )
    candidates = [" + ".join(item) for item in inputs] + images
    raise DataError(
        f"{table.name}: more than one column could be the input ({', '.join(candidates)}). "
        "Rename the one you mean to text (pairs: text and text_b), or name it with --text-column"
    )


def _check_names(table: Table, texts: tuple[str, ...] | None, labels: Sequence[str]) -> None:
    for name in (*(texts or ()), *labels):
        if name not in table.names:
            raise DataError(f"{table.name}: " + not_allowed("a named column", name, table.names))
    if texts is not None and len(texts) not in (1, 2):
        raise DataError(f"text_columns names {len(texts)} columns ({', '.join(texts)}); allowed: one, or two for pairs of texts")
    if texts is not None and len(set(texts)) < len(texts):
        raise DataError(f"text_columns names {texts[0]!r} twice; name each column once (two different ones for pairs of texts)")
    twice = [name for place, name in enumerate(labels) if name in labels[:place]]
    if twice:
        raise DataError(f"label_column names {twice[0]!r} twice; name each column once (several ones for several labels per row)")


def _check_texts(table: Table, column: str) -> None:
    """Refuse a column of paths of text files in place of texts.

    Raises:
        DataError: it is one.
    """
    names = _first_values(table, column)
    are_paths = all(isinstance(name, str) and name.lower().endswith(".txt") for name in names)
    if names and are_paths and ((table.folder or Path()) / names[0]).is_file():
        raise DataError(
            f"{table.name}, column {column!r} holds the paths of text files, such as {names[0]!r}; write the texts into the table, or "
            "put the files into a folder for each class, without the table"
        )


def _first_values(table: Table, column: str) -> list[Any]:
    """Those of the first values of a column that are not empty; none of a column whose values may be big."""
    if table.is_big(column):
        return []
    return [value for value in table.take(column, np.arange(min(table.rows, _SAMPLE))) if value is not None and value != ""]


def _names_images(table: Table, column: str) -> bool:
    """Whether the first values of a column that are not empty are names of files of images."""
    names = _first_values(table, column)
    return bool(names) and all(isinstance(name, str) and ends_like_image(Path(name)) for name in names)


def _texts(free: dict[str, str]) -> list[tuple[str, ...]]:
    if "text" in free:  # our own names take precedence
        return [(free["text"], free["text_b"])] if "text_b" in free else [(free["text"],)]
    pairs = [(free[one], free[two]) for one, two in PAIRS if one in free and two in free]
    paired = {name for pair in pairs for name in pair}
    return [*pairs, *((free[key],) for key in TEXTS if key in free and free[key] not in paired)]


def _labels(table: Table, lower: dict[str, str], texts: tuple[str, ...], several: bool) -> tuple[str, ...]:
    for own in ("label", "labels"):
        if own in lower and lower[own] not in texts:
            return (lower[own],)
    candidates = [lower[key] for key in LABELS if key in lower and lower[key] not in texts]
    if len(candidates) == 1:
        return (candidates[0],)
    if candidates:
        raise DataError(
            f"{table.name}: more than one column could be the label ({', '.join(candidates)}). "
            "Rename the one you mean to label, or name it with --label-column"
        )
    of_labels = [name for name in table.names if name not in texts and name.lower() not in (*_IGNORED, *IMAGES) and _is_label(table, name)]
    if several and len(of_labels) > 1:
        return tuple(of_labels)
    question = (
        f" If {listed(of_labels)}, which hold 0 and 1 alone, are labels of which a row may have several, answer with --task multilabel, or "
        "name each with --label-column."
        if len(of_labels) > 1
        else ""
    )
    if table.is_file_each:
        raise DataError(
            f"folder {table.name} holds {table.rows:,} text files, and no folder of a class: put them into a folder for each class "
            f"({Path(table.name).name}/CLASS/*.txt).{_NEED_NONE}"
        )
    raise DataError(
        f"{table.name} has no label column; its columns are {', '.join(table.names)}. Rename the one you mean to label, "
        f"or name it with --label-column.{question}{_NEED_NONE}{_separator(table)}"
    )


def _is_label(table: Table, column: str) -> bool:
    """Whether a column holds 0 and 1 alone, both of them."""
    if table.class_names(column) is not None:
        return False
    seen: set[str] = set()
    for value in table.values(column):
        seen.add(str(value)[:6].strip().lower())
        if not any(seen <= both for both in _BOTH):
            return False
    return len(seen) > 1


def _separator(table: Table) -> str:
    """A hint for a csv file without a header, or with a separator other than the comma."""
    if len(table.names) == 1 and not table.typed:
        for sign, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
            if sign in table.names[0]:
                return f" The file seems to be separated by {name}: save it as .csv with commas or as .tsv with tabs."
    return "" if table.typed else " (The first line of the file names the columns.)"
