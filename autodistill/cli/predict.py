"""`autodistill predict`: predict with a student."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from autodistill.errors import UsageError
from autodistill.report import texts

EPILOG = """examples:
  autodistill predict sst2-student "a gorgeous, witty, seductive movie"
  autodistill predict pairs-student "a man sleeps" "nobody is awake"     (students of pairs: every two texts are one)
  autodistill predict sst2-student reviews.csv --out labelled.csv
  autodistill predict mail-student mails/ --out labelled.csv             (a text in each file)
  autodistill predict digits-student one.png two.png
  autodistill predict digits-student more/ --out labelled.csv
"""

SHOWN = 6
"""How many numbers of a vector are printed; `--json` and `--out` give all."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "predict",
        help="predict with a student",
        description=(
            "Print a student's label and its probability (or its labels, its score, or its vector) for texts, files of texts, or images."
        ),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("folder", metavar="DIR", help="a student's folder, its onnx/ folder, or a study's best/")
    command.add_argument(
        "inputs",
        metavar="TEXT|FILE",
        nargs="+",
        help=(
            "texts; one csv, tsv, jsonl, parquet or txt file (each line a text); a folder of text files (each file a text); or images, "
            "folders of images, and tables of their paths"
        ),
    )
    command.add_argument("--text-column", metavar="NAME", action="append", help="the file's column of texts; twice for pairs of texts")
    command.add_argument("--out", metavar="FILE", help="write a csv, tsv, jsonl or parquet file instead of printing")
    command.add_argument("--json", action="store_true", help="one JSON list on stdout, with the probabilities of all classes")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Predict, and print or write the predictions."""
    from autodistill.export.asking import check_out, write_answers
    from autodistill.export.student import load_student

    student = load_student(args.folder)
    if args.out is not None:
        check_out(Path(args.out))
    given = student.reader.read(args.inputs, None if args.text_column is None else tuple(args.text_column))
    rows, file_of = given.rows, {} if given.files is None else {"file": given.files}
    if not rows:
        raise UsageError(f"there is nothing to predict: {args.inputs[0]} has no rows")
    predictions = student.predictions(rows)
    if args.out is not None:
        write_answers(Path(args.out), file_of | student.reader.columns(rows), predictions)
    listed: list[dict[str, Any]] = [
        {name: values[place] for name, values in file_of.items()}
        | {"input": list(row) if isinstance(row, tuple) else str(row)}
        | {name: value for name, value in dataclasses.asdict(prediction).items() if value is not None}
        for place, (row, prediction) in enumerate(zip(rows, predictions, strict=True))
    ]
    if args.json:
        print(json.dumps(listed, indent=2, ensure_ascii=False))
    elif args.out is not None:
        print(f"{texts.plural(len(rows), 'row')} written to {args.out}")
    else:
        for item in listed:
            print(f"{_shown(item)}\t{texts.clean(item.get('file') or _joined(item['input']))}")
    return 0


def _shown(item: dict[str, Any]) -> str:
    """An answer in a line; of a vector its first numbers."""
    if "vector" in item:
        numbers = [f"{number:.4f}" for number in item["vector"]]
        return " ".join([*numbers[:SHOWN], "…"] if len(numbers) > SHOWN else numbers)
    if "score" in item:
        return f"{item['score']:.4f}"
    if "labels" in item:
        named = (f"{texts.clean(label)} {item['probabilities'][label]:.4f}" for label in item["labels"])
        return ", ".join(named) or "(none)"
    return f"{texts.clean(item['label'])}\t{item['probability']:.4f}"


def _joined(row: str | list[str]) -> str:
    return " | ".join(row) if isinstance(row, list) else row
