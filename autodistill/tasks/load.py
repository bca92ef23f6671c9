"""From a reference to a checked dataset in three splits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autodistill.errors import DataError
from autodistill.recipe import TaskType
from autodistill.storage import digest
from autodistill.tasks.base import Dataset, DatasetRef, Split
from autodistill.tasks.columns import Columns, choose
from autodistill.tasks.find import find
from autodistill.tasks.images import Images, decoded
from autodistill.tasks.labels import Labels, are_hidden, encode
from autodistill.tasks.problems import Problems
from autodistill.tasks.source import Source
from autodistill.tasks.splits import REST, Part, plan, strata
from autodistill.tasks.tables import Table
from autodistill.tasks.unlabelled import Held, check_places, clean_images, clean_texts, image_table, read_texts_of, row_key, words_of

UNLABELLED_STREAM = 4
"""Of the random numbers that a limited number of unlabelled rows is drawn with (splits.py has the others)."""


def load_dataset(ref: DatasetRef, *, with_test: bool = False) -> Dataset:
    """Find a dataset, check every row of it, and give its splits.

    with_test: also keep the test split, for `Dataset.open_test`; only `distill` asks for it.

    Raises:
        DataError: the dataset is nowhere, cannot be reached, or has bad rows; every kind of problem is named with file,
            column and rows.
    """
    if ref.limit_train is not None and ref.limit_train < 2:
        raise DataError(f"limit_train is {ref.limit_train}; allowed: 2 or more, or none for all rows")
    if ref.limit_unlabelled is not None and ref.limit_unlabelled < 1:
        raise DataError(f"limit_unlabelled is {ref.limit_unlabelled}; allowed: 1 or more, or none for all rows")
    check_places(ref.unlabelled, ref.limit_train)
    source = find(ref.name)
    info = source.info
    problems = Problems()
    notes = list(source.notes)
    tables = dict(source.tables)
    base = "all" if "all" in tables else "train"
    columns = choose(tables[base], ref.text_columns or info.text_columns, ref.label_column or info.label_column)
    if "test" in tables and are_hidden(tables["test"], columns.label):
        del tables["test"]
        notes.append("the test file has no labels and is not used")
    _same_columns(tables, columns, base)
    unused = [name for name in tables[base].names if name not in (*columns.inputs, columns.label)]
    if unused:
        notes.append(f"columns not used: {', '.join(unused)} (text or image: {' + '.join(columns.inputs)}; label: {columns.label})")
    labels = encode(tables, columns.label, info, source.own, problems, notes)
    keep = {split: _with_text(table, columns, source, problems, notes) for split, table in tables.items()}
    problems.check(info.name)

    regression = labels.classes is None
    keys = {split: strata(labels.arrays[split][rows], regression) for split, rows in keep.items()}
    parts, decisions = plan(keys, ref.seed, ref.limit_train, info.name)
    notes += decisions
    parts = {split: Part(part.table, keep[part.table][part.rows]) for split, part in parts.items()}
    metric = info.metric or ("spearman" if regression else "accuracy")
    wanted = ("train", "validation", "test") if with_test else ("train", "validation")
    kept = {split: parts[split] for split in wanted}
    if columns.image is None:
        dataset = _text(ref, source, tables, columns, labels, kept, metric, notes)
    else:
        dataset = _image(ref, source, tables, columns.image, labels, kept, metric, notes)
    places = (*source.unlabelled, *ref.unlabelled)
    return _with_unlabelled(dataset, places, tables, columns, parts) if places else dataset


def _with_unlabelled(
    dataset: Dataset, places: Sequence[str], tables: dict[str, Table], columns: Columns, parts: dict[str, Part]
) -> Dataset:
    """The dataset with its rows without labels."""
    blank = np.array([-1 if dataset.classes is not None else np.nan], dtype=dataset.train.labels.dtype)
    files = [place for place in places if place != REST]
    limit = dataset.ref.limit_unlabelled
    notes: list[str] = []
    warning = None
    if REST in places and REST not in parts:
        notes.append("unlabelled: no training row is beyond the limit, so 'rest' adds none")
    rest = parts[REST] if REST in places and REST in parts else None
    if columns.image is None:
        texts = {split: _rows(tables, columns, parts[split]) for split in ("train", "validation", "test")}
        firsts, seconds, notes_of_files = read_texts_of(files, dataset.ref.text_columns, is_pair=len(columns.texts) == 2)
        notes += notes_of_files
        for column, values in zip(columns.texts, (firsts, seconds), strict=False):
            values += [] if rest is None else tables[rest.table].take(column, rest.rows)
        keys = {split: frozenset(row_key(*row) for row in rows) for split, rows in texts.items()}
        held = Held(**keys, words=words_of(row[0] for row in texts["train"]))
        unlabelled, more, warning = clean_texts(firsts, seconds if len(columns.texts) == 2 else None, held, blank)
    else:
        unlabelled, more = _unlabelled_images(dataset, files, rest, tables, columns.image, parts, blank)
    if limit is not None and limit < len(unlabelled):
        rows = np.sort(np.random.default_rng([dataset.ref.seed, UNLABELLED_STREAM]).permutation(len(unlabelled))[:limit])
        more.append(f"unlabelled: {limit:,} of {len(unlabelled):,} rows, at random, seed {dataset.ref.seed}")
        unlabelled = unlabelled.take(rows)
    contents = (
        [unlabelled.images.tobytes()] if unlabelled.images is not None else [_joined(unlabelled.texts), _joined(unlabelled.text_pairs)]
    )
    return replace(
        dataset,
        notes=(*dataset.notes, *notes, *more),
        warnings=(*dataset.warnings, *([warning] if warning else [])),
        unlabelled=unlabelled,
        unlabelled_fingerprint=digest("unlabelled-1", *contents),
    )


def _rows(tables: dict[str, Table], columns: Columns, part: Part) -> list[tuple[str, ...]]:
    return list(zip(*(tables[part.table].take(column, part.rows) for column in columns.texts), strict=True))


def _unlabelled_images(
    dataset: Dataset, files: list[str], rest: Part | None, tables: dict[str, Table], column: str, parts: dict[str, Part], blank: np.ndarray
) -> tuple[Split, list[str]]:
    problems = Problems()
    size = dataset.image_size
    assert size is not None
    images = {split: decoded(tables[part.table], column, part.rows, size, problems) for split, part in parts.items() if split != REST}
    problems.check(dataset.name)
    held = Held(*(frozenset(images[split].digests.tolist()) for split in ("train", "validation", "test")))  # type: ignore[union-attr]
    sources: list[tuple[Table, str, np.ndarray]] = [image_table(Path(file).expanduser()) for file in files]
    if rest is not None:
        sources.append((tables[rest.table], column, rest.rows))
    unlabelled, notes = clean_images(sources, size, held, blank, problems)
    problems.check(dataset.name)
    assert unlabelled is not None
    return unlabelled, notes


def _same_columns(tables: dict[str, Table], columns: Columns, base: str) -> None:
    for table in tables.values():
        missing = [name for name in (*columns.inputs, columns.label) if name not in table.names]
        if missing:
            raise DataError(
                f"{table.name} lacks the column {', '.join(map(repr, missing))} that {tables[base].name} has; "
                f"its columns are {', '.join(table.names)}"
            )


def _with_text(table: Table, columns: Columns, source: Source, problems: Problems, notes: list[str]) -> np.ndarray:
    """The rows that can be used: all, or in published sets those with a text."""
    empty: set[int] = set()
    for column in columns.texts:
        values = table.values(column)
        rows = [row for row, value in enumerate(values) if value is None or (isinstance(value, str) and not value.strip())]
        odd = [row for row, value in enumerate(values) if value is not None and not isinstance(value, str)]
        problems.rows(table, column, odd, "whose text is not text", "Write it as a string", values=True)
        problems.rows(table, column, _half_characters(values), "with half of a surrogate pair, which is no character", "Remove it")
        if source.own:
            problems.rows(table, column, rows, "with an empty text", "Fill them in or remove the rows")
        empty |= set(rows)
    if empty and not source.own:
        shown = ", ".join(table.place(row) for row in sorted(empty)[:5]) + (", …" if len(empty) > 5 else "")
        notes.append(f"{table.name}: {len(empty)} rows without text are left out: {shown}")
    return np.array([row for row in range(table.rows) if row not in empty], dtype=np.int64)


def _half_characters(values: list[Any]) -> list[int]:
    """Rows that no UTF-8 can hold: JSON may escape half of a surrogate pair."""
    texts = [value if isinstance(value, str) else "" for value in values]
    with contextlib.suppress(UnicodeEncodeError):
        "".join(texts).encode()
        return []
    return [row for row, text in enumerate(texts) if any("\ud800" <= letter <= "\udfff" for letter in text)]


def _text(
    ref: DatasetRef, source: Source, tables: dict[str, Table], columns: Columns, labels: Labels, parts: dict[str, Part], metric: str,
    notes: list[str],
) -> Dataset:  # fmt: skip
    splits: dict[str, Split] = {}
    for split, part in parts.items():
        texts = [tables[part.table].take(column, part.rows) for column in columns.texts]
        pairs = texts[1] if len(texts) == 2 else None
        splits[split] = Split(labels.arrays[part.table][part.rows], texts=texts[0], text_pairs=pairs)
    rows: dict[str, Iterable[Any]] = {
        split: item.texts if item.text_pairs is None else zip(item.texts or (), item.text_pairs, strict=True)  # type: ignore[misc]
        for split, item in splits.items()
        if split != "test"
    }
    contents = [_joined(texts) for split in ("train", "validation") for texts in (splits[split].texts, splits[split].text_pairs)]
    kind = "regression" if labels.classes is None else "classification"
    task: Any = f"text{'-pair' if len(columns.texts) == 2 else ''}-{kind}"
    return _dataset(ref, source, task, metric, labels, splits, contents, rows, None, notes)


def _image(
    ref: DatasetRef, source: Source, tables: dict[str, Table], column: str, labels: Labels, parts: dict[str, Part], metric: str,
    notes: list[str],
) -> Dataset:  # fmt: skip
    if labels.classes is None:
        raise DataError(
            f"dataset {source.info.name!r} has images with fractional labels; allowed: classes (image regression is not supported)"
        )
    problems = Problems()
    found: dict[str, Images] = {}
    size: int | None = None
    for split, part in parts.items():
        images = decoded(tables[part.table], column, part.rows, size, problems)
        if images is not None:
            found[split] = images
            size = size or images.pixels.shape[1]
    problems.check(source.info.name)
    splits = {split: Split(labels.arrays[part.table][part.rows], images=found[split].pixels) for split, part in parts.items()}
    rows: dict[str, Iterable[Any]] = {split: found[split].digests.tolist() for split in ("train", "validation")}
    contents = [found[split].digests.tobytes() for split in ("train", "validation")]
    return _dataset(ref, source, "image-classification", metric, labels, splits, contents, rows, size, notes)


def _joined(texts: list[str] | None) -> bytes:
    """Texts as bytes, with their lengths, so that two ways to cut the same letters differ."""
    if texts is None:
        return b""
    return np.array([len(text) for text in texts], dtype=np.int64).tobytes() + "".join(texts).encode()


def _dataset(
    ref: DatasetRef, source: Source, task: TaskType, metric: str, labels: Labels, splits: dict[str, Split], contents: list[bytes],
    rows: dict[str, Iterable[Any]], size: int | None, notes: list[str],
) -> Dataset:  # fmt: skip
    train = set(rows["train"])
    twice = sum(row in train for row in rows["validation"])
    if twice:
        notes.append(f"{twice} of {len(splits['validation'])} validation rows stand in train too")
    fingerprint = digest(
        task, "\n".join(labels.classes or ()), *(splits[split].labels.tobytes() for split in ("train", "validation")), *contents
    )
    return Dataset(
        name=source.info.name,
        task=task,
        metric=metric,
        classes=labels.classes,
        train=splits["train"],
        validation=splits["validation"],
        fingerprint=fingerprint,
        ref=replace(ref, name=source.place or ref.name),
        image_size=size,
        notes=tuple(notes),
        _test=splits.get("test"),
    )
