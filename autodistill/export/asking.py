"""What people give a student to read, and where its answers go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autodistill.errors import DataError, UsageError, not_allowed
from autodistill.export.student import Prediction, Row, Student
from autodistill.tasks.columns import choose_inputs
from autodistill.tasks.files import IMAGE_SUFFIXES, looks_like_path, read_texts
from autodistill.tasks.tables import SUFFIXES, read_table

OUT = (".csv", ".tsv", ".jsonl", ".parquet")


def read_rows(student: Student, inputs: Sequence[str], text_columns: tuple[str, ...] | None = None) -> list[Row]:
    """Rows from what stands on a command line: texts, one file of texts, or images.

    A name that ends like a file is one, and has to be there. Of a txt file, every line that is not blank is a text. For a student of
    pairs, every two texts are one row.

    Raises:
        DataError: a file is not there or cannot be read, or it does not hold what the student reads.
        UsageError: an odd number of texts for a student of pairs, or more than one file.
    """
    if student.is_image:
        return list(_images(inputs))
    files = [name for name in inputs if _is_file(name)]
    if files and len(inputs) > 1:
        raise UsageError(f"{files[0]} is a file and stands among {len(inputs)} inputs; give one file alone, or texts")
    if files:
        return _file(student, Path(files[0]).expanduser(), text_columns)
    for text in inputs:
        if not text.strip():
            raise UsageError("a text is empty; give one with words")
    if not student.is_pair:
        return list(inputs)
    if len(inputs) % 2:
        raise UsageError(f"{len(inputs)} texts were given, and this student reads pairs; give an even number, each text before its other")
    return list(zip(inputs[::2], inputs[1::2], strict=True))


def _is_file(name: str) -> bool:
    return looks_like_path(name) and Path(name).suffix.lower() in (*SUFFIXES, ".txt") and not name.endswith((" ", "…"))


def _images(inputs: Sequence[str]) -> list[Path]:
    paths = [Path(name).expanduser() for name in inputs]
    for path in paths:
        if not path.is_file():
            raise DataError(f"there is no image {path}; this student reads image files ({', '.join(IMAGE_SUFFIXES)})")
    return paths


def _file(student: Student, path: Path, text_columns: tuple[str, ...] | None) -> list[Row]:
    wanted = "pairs of texts" if student.is_pair else "texts"
    if path.suffix.lower() == ".txt":
        if student.is_pair:
            raise DataError(f"{path} has one text a line, and this student reads pairs; give a csv with the columns text and text_b")
        if not path.is_file():
            raise DataError(f"there is no file {path}")
        return [line for line in read_texts(path) if line.strip()]
    table = read_table(path)
    columns = choose_inputs(table, text_columns)
    if isinstance(columns, str) or len(columns) != (2 if student.is_pair else 1):
        found = columns if isinstance(columns, str) else " + ".join(columns)
        raise DataError(f"{path}: the input is {found}, and this student reads {wanted}; name the columns with --text-column")
    found_rows = list(zip(*(table.values(name) for name in columns), strict=True))
    for number, row in enumerate(found_rows):
        for name, value in zip(columns, row, strict=True):
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"{path}, column {name!r}, {table.place(number)}: {value!r} is no text; fill it in or remove the row")
    return [(row[0], row[1]) if student.is_pair else row[0] for row in found_rows]


def check_out(path: Path) -> None:
    """Refuse a file that the answers cannot be written to.

    Raises:
        UsageError: for its suffix or its folder.
    """
    if path.suffix.lower() not in OUT:
        raise UsageError(not_allowed("the type of --out", path.suffix or "none", OUT))
    if not path.expanduser().absolute().parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}; make it, or give another file")


def write_answers(path: Path, rows: Sequence[Row], answers: Sequence[Prediction]) -> None:
    """Write the rows with their labels and probabilities, or scores, as the suffix says."""
    import pandas as pd

    columns: dict[str, list[object]] = {}
    pairs = [row for row in rows if isinstance(row, tuple)]
    if pairs:
        columns = {"text": [pair[0] for pair in pairs], "text_b": [pair[1] for pair in pairs]}
    else:
        columns = {"image" if isinstance(rows[0], Path) else "text": [str(row) for row in rows]}
    if answers[0].label is None:
        columns["score"] = [answer.score for answer in answers]
    else:
        columns |= {"label": [answer.label for answer in answers], "probability": [answer.probability for answer in answers]}
    frame = pd.DataFrame(columns)
    match path.suffix.lower():
        case ".parquet":
            frame.to_parquet(path, index=False)
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True, force_ascii=False)
        case suffix:
            frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
