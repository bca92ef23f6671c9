"""A dataset on the disk, a fine-tuned teacher that is found in the cache, and recipes for them, all tiny."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tiny_teacher import WORDS, image_dataset, save_bert, save_distilbert, save_encoder, text_dataset

from autodistill.export.distill import Distilled, distill
from autodistill.recipe import Recipe

STUDENTS: dict[str, dict[str, Any]] = {
    "bert": {"family": "bert", "layers": 2, "hidden_size": 16, "heads": 2},
    "bert-mean": {"family": "bert", "layers": 2, "hidden_size": 16, "heads": 2, "pooling": "mean"},
    "bert-apart": {"family": "bert", "layers": 2, "hidden_size": 32, "heads": 4, "pooling": "teacher"},
    "cnn": {"family": "cnn", "embedding_size": 16, "channels": 8, "blocks": 2},
    "bilstm": {"family": "bilstm", "embedding_size": 16, "hidden_size": 8, "layers": 2},
    "static": {"family": "static", "embedding_size": 16, "hidden_size": 8, "ngrams": 3, "buckets": 64},
    "encoder": {"family": "encoder", "layers": 1},
}
LABELS = ("schlecht", "größer 👍")


class World:
    """`data`: its path. `folder`: where things may be written."""

    def __init__(self, folder: Path, task: str = "text-classification", base: str = "bert") -> None:
        self.folder, self.task, self.data = folder, task, str(folder / "data.parquet")
        made = text_dataset(160, pairs="pair" in task)
        columns: dict[str, Any] = {"text": made.train.texts}
        if made.train.text_pairs:
            columns["text_b"] = made.train.text_pairs
        if task.endswith("regression"):  # far from mean 0 and scale 1, and more values than classes could have
            columns["label"] = [300.0 + 80.0 * label + 0.25 * (row % 40) for row, label in enumerate(made.train.labels)]
        else:
            columns["label"] = [LABELS[label] for label in made.train.labels]
        pd.DataFrame(columns).to_parquet(self.data)
        source = save_distilbert(folder / "base") if base == "distilbert" else save_bert(folder / "base")
        self.teacher: dict[str, Any] = {"model": str(source), "epochs": 1, "learning_rate": 1e-3, "max_length": 16}

    def recipe(self, family: str = "cnn", epochs: int = 2, **changes: Any) -> Recipe:
        objective: dict[str, Any] = {"hard_label_weight": 0.5, "prediction": {"kind": "mse", "weight": 0.5}}
        training = {"epochs": epochs, "batch_size": 16, "learning_rate": 1e-2}
        part = STUDENTS.get(family, {"family": family}) | changes.pop("student", {})
        if family == "encoder":  # its tokenizer has other ids than the teacher's
            part |= {"model": str(save_encoder(self.folder / "encoder", "MPNet", WORDS[::-1]))}
        if family == "bert-apart":
            self.teacher |= {"pooling": "apart"}
        return Recipe.parse(
            {"task": self.task, "teacher": self.teacher, "student": part, "objective": objective, "training": training} | changes
        )

    def distill(self, recipe: Recipe, out: str = "out", **options: Any) -> Distilled:
        return distill(recipe, self.data, self.folder / out, **({"seeds": 1, "control": False} | options))


class ImageWorld(World):
    """Images in a folder for each class."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.task, self.data = folder, "image-classification", str(folder / "photos")
        made = image_dataset(60, size=size)
        assert made.train.images is not None
        for row, (pixels, label) in enumerate(zip(made.train.images, made.train.labels, strict=True)):
            place = Path(self.data, LABELS[label])
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{row}.png")
        self.teacher = {"model": "timm:resnet10t", "init": "scratch", "epochs": 1, "learning_rate": 1e-3}

    def recipe(self, family: str = "timm:lcnet_050", epochs: int = 1, **changes: Any) -> Recipe:
        return super().recipe(family, epochs, **changes)

    def pictures(self, rows: int) -> list[Path]:
        return sorted(Path(self.data).rglob("*.png"))[:rows]


def said_elsewhere(code: str, *words: str) -> np.ndarray:
    """The logits that a program prints as text, run in a process of its own; it may not have imported autodistill."""
    watched = f"import sys\n{code}\nassert not [name for name in sys.modules if name.startswith('autodistill')]\n"
    watched += "import numpy; numpy.savetxt(sys.stdout, logits if isinstance(logits, numpy.ndarray) else logits.detach().numpy())"
    done = subprocess.run([sys.executable, "-c", watched, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.loadtxt(done.stdout.splitlines(), ndmin=2)
