"""Damaged and odd files of every kind that is read: whatever is wrong with one, nothing but our own errors comes of it.

The seed is the day's, so that the files differ from day to day; a failure names it. `FUZZ_SEED=20260101 FUZZ_FILES=2000 pytest
tests/tasks/test_fuzz.py` makes more of another day's.
"""

from __future__ import annotations

import bz2
import datetime
import decimal
import functools
import gzip
import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import SEED, check, surprise

from autodistill.target import Classes, Labels
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef
from autodistill.tasks.scores import read_scores

FILES = int(os.environ.get("FUZZ_FILES", "40"))
"""Files of each kind."""
ROWS = [{"text": f"a text of row {row}", "label": "ab"[row % 2], "score": row / 7} for row in range(16)]
ODD = (
    *(b"\x00", b"\xff", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\xc3", b"\xe2\x80\x8b", b'"\\ud800"', b"\\ud800"),
    *(b"", b'"', b'""', b"'", b",", b"\t", b"\r", b"\n", b"\r\n", b"[", b"]", b"{", b"}", b"[" * 2000, b'{"a":' * 2000, b"[" * 100_000),
    *(b"NaN", b"Infinity", b"-1e999", b"9" * 400, b"1" * 5000, b"null", b"true", b"[]", b"{}", b'["a"]', b'{"a": 1}'),
    *(b"007", b"4.5", b"nan", b"text", b"label", b"text,label\n", b"x" * 3000),
)
"""What is put into files: marks of encodings, halves of characters, brackets without end, numbers without end, names."""
CELLS: tuple[Any, ...] = (
    None, True, 0, -1, 2**62, 0.5, float("nan"), float("inf"), "", " ", "a", "\u200b", "x" * 500, b"\xff", [], ["a", "b"], [None], {"a": 1},
    decimal.Decimal("1.50"), datetime.date(2020, 1, 1), datetime.datetime(9999, 12, 31), datetime.timedelta(days=1),
)  # fmt: skip
METADATA: tuple[Any, ...] = ([], {}, "text", None, {"info": []}, {"info": {"features": {"label": []}}},
                             {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "a"]}}}},
                             {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}}})  # fmt: skip


def csv(rng: random.Random, sign: str = ",") -> bytes:
    return "\n".join([sign.join(ROWS[0]), *(sign.join(map(str, row.values())) for row in ROWS), ""]).encode()


def lines(rng: random.Random) -> bytes:
    rows = [{name: rng.choice([value] * 99 + [rng.choice(CELLS[:12])]) for name, value in row.items()} for row in ROWS]
    return "\n".join(map(json.dumps, rows)).encode()


def array(rng: random.Random) -> bytes:
    columns: Any = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    return json.dumps(rng.choice([ROWS, columns, {name: dict(enumerate(column)) for name, column in columns.items()}])).encode()


def table(rng: random.Random) -> bytes:
    """A parquet file with columns of any type under any name."""
    columns: dict[str, Any] = {}
    for name in ("text", "label", rng.choice(["score", "text_b", "7", "a.b", "image", ""])):
        if rng.random() < 0.7:
            columns[name] = pa.array([str(ROWS[row].get(name, row)) for row in range(16)])
            continue
        cell = rng.choice(CELLS)
        try:
            columns[name] = pa.array([rng.choice([cell, cell, None]) for _ in ROWS])
        except pa.ArrowException:
            columns[name] = pa.array([b"a"] * 16)
        if rng.random() < 0.3 and not pa.types.is_nested(columns[name].type) and not pa.types.is_null(columns[name].type):
            columns[name] = columns[name].dictionary_encode()
    made = pa.table(columns)
    if rng.random() < 0.5:
        made = made.replace_schema_metadata({"huggingface": rng.choice([json.dumps(rng.choice(METADATA)), "no json", "[" * 5000])})
    buffer = io.BytesIO()
    pq.write_table(made, buffer)
    return buffer.getvalue()


def archive(rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.csv", csv(rng))
    return buffer.getvalue()


def about(rng: random.Random) -> bytes:
    known = {"task": "classification", "metric": "accuracy", "classes": ["a", "b"], "source": "x"}
    odd = [*CELLS[:12], ["a", "b"], ["a"], [1], ["\ud800", "b"], {"a": 1}, "regression", "pearson"]
    return json.dumps({name: rng.choice([value] * 30 + odd) for name, value in known.items() if rng.random() < 0.7}).encode()


KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "a.csv": csv,
    "a.tsv": lambda rng: csv(rng, "\t"),
    "a.jsonl": lines,
    "a.json": array,
    "a.parquet": table,
    "a.csv.gz": lambda rng: gzip.compress(csv(rng)),
    "a.csv.bz2": lambda rng: bz2.compress(csv(rng)),
    "a.jsonl.zst": lambda rng: bytes(pa.Codec("zstd").compress(lines(rng), asbytes=True)),
    "a.zip": archive,
    "dataset.json": about,
}


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, moved, cut or put in; or none."""
    for _ in range(rng.choice([0, 0, 1, 2, 5])):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice([0, 1, 5, 50, len(data)]))
        piece = rng.choice([rng.choice(ODD), data[start:end] * 2, b"", bytes(rng.randrange(256) for _ in range(3)), data[start:end][::-1]])
        data = data[:start] + piece + data[end:]
    return data


def asked(path: Path, rng: random.Random) -> DatasetRef:
    """A dataset, or unlabelled rows beside a good one, with settings that need not fit."""
    odd: dict[str, list[Any]] = {
        "text_columns": [("text",), ("text", "label"), ("text", "text"), ("nothing",), ("7",)],
        "label_column": ["label", "score", "text", "", ("label", "score")],
        "label_separator": [",", "a"],
        "task": ["classification", "regression", "multilabel"],
        "metric": ["macro_f1", "auroc", "spearman"],
        "limit_train": [5],
    }
    fields = {name: rng.choice(values) for name, values in odd.items() if rng.random() < 0.15}
    if path.name == "dataset.json":
        return DatasetRef(str(path.parent), **fields)
    if rng.random() < 0.2:
        return DatasetRef(str(path.parent / "good"), unlabelled=(str(path),))
    return DatasetRef(str(path), **fields)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_our_errors_comes_of_a_damaged_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "good").mkdir()
    for folder in (tmp_path, tmp_path / "good"):
        (folder / "train.csv").write_bytes(csv(random.Random()))
    surprises = {}
    for number in range(FILES):
        rng = random.Random(f"{SEED} {kind} {number}")
        path = tmp_path / kind
        path.write_bytes(mutated(KINDS[kind](rng), rng))
        surprises[number] = surprise(functools.partial(read, path, rng))
    check(surprises, kind)


def read(path: Path, rng: random.Random) -> None:
    """Read a file as a dataset, as unlabelled rows or as scores."""
    if rng.random() < 0.15 and path.name != "dataset.json":
        read_scores(path, rng.choice([Classes, Labels])(("a", "b")), per_row=1, text_columns=None)
    else:
        load_dataset(asked(path, rng), with_test=True)
