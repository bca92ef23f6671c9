"""`load_student`: a student's folder, or its ONNX folder, opened to be asked."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autodistill.errors import DataError, ModelError, UsageError
from autodistill.export.folder import ABOUT, SCHEMA, write_student
from autodistill.models import family_named
from autodistill.models.image import normalise
from autodistill.tasks.base import Split
from autodistill.tasks.images import decode

Arrays = dict[str, np.ndarray]
Row = str | tuple[str, str] | Path | bytes | np.ndarray
BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """What a student says of one row. label: the likeliest class. probabilities: of every class. score: of a regression, in its units."""

    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    score: float | None = None


class Student:
    """A student, read from a folder. about: student.json. run: from arrays by input name to logits (B, C)."""

    def __init__(self, folder: Path, about: dict[str, Any], run: Callable[[Arrays], np.ndarray], module: nn.Module | None) -> None:
        self.folder, self.about, self.run, self.module = folder, about, run, module
        self.task: str = about["task"]
        self.classes: tuple[str, ...] | None = tuple(about["classes"]) if about["classes"] else None
        self._tokenizer: Any = None
        if not self.is_image:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    @property
    def is_image(self) -> bool:
        """Whether it reads images."""
        return self.task.startswith("image")

    @property
    def is_pair(self) -> bool:
        """Whether it reads pairs of texts."""
        return "pair" in self.task

    def encode(self, rows: Sequence[Row]) -> Arrays:
        """Rows as the model's inputs, padded to the longest.

        Raises:
            DataError: a row is not what this student reads.
        """
        arrays = self._images(rows) if self.is_image else self._texts(rows)
        return {name: arrays[name] for name in self.about["inputs"]}

    def _texts(self, rows: Sequence[Row]) -> Arrays:
        for number, row in enumerate(rows):
            fits = isinstance(row, tuple) and len(row) == 2 if self.is_pair else isinstance(row, str)
            if not fits:
                raise DataError(f"row {number + 1} is {row!r}; this student reads {'pairs of texts' if self.is_pair else 'texts'}")
        found = self._tokenizer.encode_batch([list(row) if isinstance(row, tuple) else row for row in rows])
        arrays = {"input_ids": [item.ids for item in found], "attention_mask": [item.attention_mask for item in found]}
        arrays["token_type_ids"] = [item.type_ids for item in found]
        return {name: np.asarray(value, dtype=np.int64) for name, value in arrays.items()}

    def _images(self, rows: Sequence[Row]) -> Arrays:
        size = self.about["image_size"]
        if all(isinstance(row, np.ndarray) and row.shape == (size, size, 3) for row in rows):
            pixels = np.stack([np.asarray(row) for row in rows])
        else:
            values: list[Any] = [str(row) if isinstance(row, Path) else row for row in rows]
            images, bad = decode(values, None, size)
            if bad:
                raise DataError("; ".join(f"{values[row]!r} is no image that can be read: {why}" for row, why in bad[:5]))
            pixels = images.pixels
        return {"pixel_values": normalise(pixels, self.about["mean"], self.about["std"]).pixels.contiguous().numpy()}

    def logits(self, rows: Sequence[Row], batch_size: int = BATCH) -> np.ndarray:
        """What the student says of the rows, (N, C) float32; of a regression (N, 1), in the dataset's units.

        rows: texts, pairs of texts, or images (paths, encoded bytes or (H, W, 3) uint8 of the student's size).
        """
        if not rows:
            return np.zeros((0, len(self.classes or ("score",))), dtype=np.float32)
        sizes = [sum(map(len, row)) if isinstance(row, tuple) else len(row) if isinstance(row, str) else 0 for row in rows]
        order = np.argsort(sizes, kind="stable")  # rows of like length together, so that little is padded
        found: dict[int, np.ndarray] = {}
        for start in range(0, len(rows), batch_size):
            places = order[start : start + batch_size].tolist()
            found |= dict(zip(places, self.run(self.encode([rows[place] for place in places])), strict=True))
        return np.stack([found[place] for place in range(len(rows))])

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        """The label and its probability, or the score, of each row; see `logits` for what rows may be."""
        return list(self._told(self.logits(rows)))

    def _told(self, logits: np.ndarray) -> Iterator[Prediction]:
        for row in logits.astype(np.float64):
            if self.classes is None:
                yield Prediction(score=float(row[0]))
                continue
            shares = np.exp(row - row.max())
            shares /= shares.sum()
            best = int(shares.argmax())
            named = {name: float(share) for name, share in zip(self.classes, shares, strict=True)}
            yield Prediction(self.classes[best], float(shares[best]), named)


def load_student(folder: str | Path) -> Student:
    """Open a folder that `distill` wrote, an ONNX folder that `export` wrote, or a study's best/.

    Raises:
        UsageError: the folder holds no student.
        ModelError: its files cannot be read, or onnxruntime is missing.
    """
    folder = Path(folder).expanduser()
    if (folder / "student.safetensors").exists():
        return _searched(folder)
    if not (folder / ABOUT).exists():
        there = "is no folder" if not folder.is_dir() else f"holds no student ({ABOUT})"
        raise UsageError(f"{folder} {there}; give a folder that `autodistill distill` or `autodistill export` wrote, or a study's best/")
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if about["schema"] > SCHEMA:
            raise ModelError(f"{folder} was written by a newer autodistill (schema {about['schema']}, this one reads {SCHEMA}); upgrade it")
        if about["format"] == "onnx":
            return Student(folder, about, onnx_run(folder / "model.onnx"), None)
        module = family_named(about["family"]).open(folder, about)
        return Student(folder, about, torch_run(module), module)
    except (OSError, ValueError, KeyError, RuntimeError) as cause:
        raise ModelError(f"the student in {folder} cannot be opened: {type(cause).__name__}: {cause}") from None


def _searched(folder: Path) -> Student:
    """A search's student: written as distill would, and opened from there."""
    from autodistill.train.students import load_student as load_searched

    with tempfile.TemporaryDirectory() as place:
        write_student(Path(place), load_searched(folder))
        found = load_student(place)
    found.folder = folder
    return found


def given_rows(split: Split, places: np.ndarray) -> list[Row]:
    """Some rows of a split, as people would give them."""
    if split.images is not None:
        return [split.images[place] for place in places]
    assert split.texts is not None
    if split.text_pairs is None:
        return [split.texts[place] for place in places]
    return [(split.texts[place], split.text_pairs[place]) for place in places]


def torch_run(module: nn.Module) -> Callable[[Arrays], np.ndarray]:
    """A module as a function of arrays."""

    def run(arrays: Arrays) -> np.ndarray:
        with torch.inference_mode():
            said: np.ndarray = module(*(torch.from_numpy(value) for value in arrays.values())).float().numpy()
        return said

    return run


def onnx_run(path: Path, threads: int = 0) -> Callable[[Arrays], np.ndarray]:
    """An ONNX file as a function of arrays; threads 0 is onnxruntime's choice.

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
