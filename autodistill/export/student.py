"""`load_student`: opens a student's folder, or its ONNX folder, for predictions."""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autodistill.assistant import STUDENT_WEIGHTS
from autodistill.errors import ModelError, UsageError, explained
from autodistill.export.asking import Arrays, Row
from autodistill.export.folder import ABOUT, SCHEMA, write_student
from autodistill.models import family_named
from autodistill.storage import user_path
from autodistill.target import Prediction
from autodistill.task_types import modality_of, target_of

BATCH = 64
ANOTHER_COPY = "its files are damaged or not a student's: write it again, or take another copy"


class Student:
    """A student, read from a folder. about: student.json. run: a function from arrays by input name to logits (B, C).

    modality, target: of its task. reader: reads rows as people give them. classes: the names of the classes or labels by index, None for a
    regression.
    """

    def __init__(self, folder: Path, about: dict[str, Any], run: Callable[[Arrays], np.ndarray], module: nn.Module | None) -> None:
        self.folder, self.about, self.run, self.module = folder, about, run, module
        self.task: str = about["task"]
        self.modality = modality_of(self.task)
        self.target = target_of(self.task, about["classes"], about.get("thresholds"), about.get("width", 0))
        self.classes = self.target.classes
        self.reader = self.modality.row_reader(folder, about)

    def encode(self, rows: Sequence[Row]) -> Arrays:
        """Rows as the model's inputs, padded to the longest.

        Raises:
            DataError: a row is of another kind than this student reads.
        """
        arrays = self.reader.arrays(rows)
        return {name: arrays[name] for name in self.about["inputs"]}

    def logits(self, rows: Sequence[Row], batch_size: int = BATCH) -> np.ndarray:
        """The student's logits for the rows, (N, C) float32; for a regression the scores (N, 1), in the dataset's units; for sentence
        embeddings the vectors (N, D), of length 1.

        rows: texts, pairs of texts, or images (paths, encoded bytes or (H, W, 3) uint8 of the student's size).

        Raises:
            DataError: a row is of another kind than this student reads.
            ModelError: the student's files are damaged.
        """
        if not rows:
            return np.zeros((0, self.target.width), dtype=np.float32)
        order = np.argsort(self.reader.sizes(rows), kind="stable")  # rows of similar size together, so that there is little padding
        by_place: dict[int, np.ndarray] = {}
        refusal = f"the student in {self.folder} cannot predict"
        for start in range(0, len(rows), batch_size):
            places = order[start : start + batch_size].tolist()
            arrays = self.encode([rows[place] for place in places])
            with explained(lambda reason: ModelError(f"{refusal} ({reason}); {ANOTHER_COPY}")):
                by_place |= dict(zip(places, self.run(arrays), strict=True))
        logits = np.stack([by_place[place] for place in range(len(rows))])
        if logits.shape[1] != self.target.width:
            raise ModelError(f"{refusal}: it has {logits.shape[1]} outputs, and {ABOUT} names {self.target.width}; {ANOTHER_COPY}")
        return logits

    def predictions(self, rows: Any) -> list[Prediction]:
        """The label and its probability, the labels, the score, or the vector, of each row; see `predict` for the forms of rows."""
        return list(self.target.predictions(self.logits(self.reader.listed(rows))))

    def predict(self, rows: Any) -> Any:
        """The label of each row, the list of its labels, the score of a regression, or the vector.

        rows: a list, an array, a pandas.Series or a pandas.DataFrame of texts, pairs of texts or images (see `logits`); or a single row.
        A DataFrame has its texts in the column `text` (for pairs also `text_b`), or has no other columns.

        Returns:
            (N,) labels, or float64 scores, in the form that scikit-learn's models return; if rows have several labels, a list that holds
            a list of labels for each row, the likeliest first; vectors are (N, D) float64. For a single row its label, its labels, its
            score, or its vector as a list.

        Raises:
            DataError: a row is of another kind than this student reads.
        """
        if self.reader.is_row(rows):
            return self.predictions([rows])[0].answer
        answers = [answer.answer for answer in self.predictions(rows)]
        return answers if self.target.has_several else np.array(answers)

    def predict_proba(self, rows: Any) -> np.ndarray:
        """The probability of each class or label, in the order of `classes`: (N, C) float64, for a single row (C,). rows: see `predict`.

        Raises:
            UsageError: the student gives scores or vectors, which have no probabilities.
            DataError: a row is of another kind than this student reads.
        """
        if not self.target.has_probabilities:
            raise UsageError("this student gives scores or vectors, which have no probabilities; `predict` gives them")
        if self.reader.is_row(rows):
            return self.predict_proba([rows])[0]
        shares = [answer.probabilities for answer in self.predictions(rows)]
        return np.array([[*(share or {}).values()] for share in shares], dtype=np.float64).reshape(len(shares), self.target.width)

    def score(self, rows: Any, labels: Sequence[Any]) -> float:
        """The student's score on rows with labels, by the dataset's metric. rows: see `predict`.

        labels: (N,) names of classes, lists of labels, or scores.

        Raises:
            UsageError: a label is not one of the student's, their number is not that of the rows, or the student gives vectors.
            DataError: a row is of another kind than this student reads.
        """
        listed = [rows] if self.reader.is_row(rows) else self.reader.listed(rows)
        truth = self.target.encoded(list(labels))
        if len(truth) != len(listed) or not len(truth):
            raise UsageError(f"there are {len(listed)} rows and {len(truth)} labels; give one label for each row, and at least one")
        metric = self.about.get("metric") or self.target.metrics[0]
        return self.target.evaluate(metric, self.logits(listed), truth)[metric]


def load_student(folder: str | Path) -> Student:
    """Open a folder that `distill` wrote, one that `export` wrote for ONNX or numpy, or a study's best/.

    Raises:
        UsageError: the folder holds no student.
        ModelError: its files cannot be read, or onnxruntime is missing.
    """
    folder = user_path(folder, UsageError)
    if (folder / STUDENT_WEIGHTS).exists():
        return _searched(folder)
    if not (folder / ABOUT).exists():
        there = "is no folder" if not folder.is_dir() else f"holds no student ({ABOUT})"
        raise UsageError(f"{folder} {there}; give a folder that `autodistill distill` or `autodistill export` wrote, or a study's best/")
    with explained(lambda reason: ModelError(f"the student in {folder} cannot be opened ({reason}); {ANOTHER_COPY}")):
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if about["schema"] > SCHEMA:
            raise ModelError(f"{folder} was written by a newer autodistill (schema {about['schema']}, this one reads {SCHEMA}); upgrade it")
        if about["format"] == "onnx":
            return Student(folder, about, onnx_run(folder / "model.onnx"), None)
        if about["format"] == "numpy":
            return Student(folder, about, numpy_run(family_named(about["family"]).numpy_loader, folder), None)
        module = family_named(about["family"]).open(folder, about)
        return Student(folder, about, torch_run(module), module)


def _searched(folder: Path) -> Student:
    """A search's student. It is first written as `distill` would write it, and then opened."""
    from autodistill.models.saved import load_saved_student

    refusal = f"the student in {folder} cannot be opened"
    with tempfile.TemporaryDirectory() as place, explained(lambda reason: ModelError(f"{refusal} ({reason}); {ANOTHER_COPY}")):
        write_student(Path(place), load_saved_student(folder))
        student = load_student(place)
    student.folder = folder
    return student


def torch_run(module: nn.Module) -> Callable[[Arrays], np.ndarray]:
    """A module as a function of arrays."""

    def run(arrays: Arrays) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = module(*(torch.from_numpy(value) for value in arrays.values())).float().numpy()
        return logits

    return run


def numpy_run(loader: str | None, folder: Path) -> Callable[[Arrays], np.ndarray]:
    """A numpy folder as a function of arrays. loader: the module that its load.py is a copy of."""
    if loader is None:
        raise ValueError("its family has no students for numpy")
    model = importlib.import_module(loader).load(folder)[0]

    def run(arrays: Arrays) -> np.ndarray:
        types = arrays.get("token_type_ids", np.zeros_like(arrays["input_ids"]))
        logits: np.ndarray = model(arrays["input_ids"], arrays["attention_mask"], types)
        return logits

    return run


def onnx_run(path: Path, threads: int = 0) -> Callable[[Arrays], np.ndarray]:
    """An ONNX file as a function of arrays. threads: 0 lets onnxruntime choose.

    Raises:
        ModelError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ModelError("onnxruntime is not installed; pip install 'autodistill-kd[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda arrays: session.run(None, arrays)[0]
