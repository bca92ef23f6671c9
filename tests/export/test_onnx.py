"""ONNX files hold what torch says; quantised ones say what they cost."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_teacher import BAD, GOOD, PLAIN, WORDS
from world import ImageWorld, World

from autodistill.cli.main import main
from autodistill.errors import DataError, ModelError, RunError, UsageError
from autodistill.export import onnx as exporting
from autodistill.export import qat
from autodistill.export.int8 import beside_float32, int8_advice
from autodistill.export.onnx import export
from autodistill.export.student import load_student

PAIRS = [("good film", "bad end " * 9), ("sad", "a lovely plot")]
LONE = ["good film", "bad end " * 9, "sad"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "task"),
    [
        ("bert", "text-pair-regression"),
        ("bert-mean", "text-pair-regression"),
        ("bert-apart", "text-pair-regression"),
        ("cnn", "text-classification"),
        ("cnn", "text-pair-regression"),
        ("bilstm", "text-classification"),
        ("bilstm", "text-pair-regression"),
        ("static", "text-classification"),
        ("static", "text-pair-regression"),
        ("encoder", "text-pair-regression"),
    ],
)
def test_onnx_says_what_torch_says_at_every_length_and_batch_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, task: str
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    world = World(tmp_path, task)
    student = {} if family == "encoder" else {"vocabulary": "trimmed"}
    done = world.distill(world.recipe(family, epochs=1, student=student))
    trains = (family, task) == ("cnn", "text-classification")
    monkeypatch.setattr(exporting, "INT8_LOSS", -1.0)  # any loss is too much
    monkeypatch.setattr(qat, "STEPS", 3)
    plain, small = export(done.folder, int8=True, qat=trains)
    if trains:
        assert small.facts["qat"]["steps"] == 3
        assert small.facts["qat"]["weights"] == [
            *(f"blocks.{place}.convolution.weight" for place in range(2)),
            "classifier.weight",
            *(f"convolutions.{place}.weight" for place in range(3)),
            "embedding.weight",
        ]
    rows: list[Any] = PAIRS if "pair" in task else LONE
    torch_says, onnx = done.open().logits(rows), load_student(plain.folder)
    scale = 100 if "pair" in task else 1
    np.testing.assert_allclose(onnx.logits(rows), torch_says, atol=1e-5 * scale)
    for row, wanted in zip(rows, torch_says, strict=True):  # alone, so of another length and batch
        np.testing.assert_allclose(onnx.logits([row])[0], wanted, atol=1e-5 * scale)
    shapes = {tuple(item["shape"]) for item in plain.facts["compared"]}
    assert len({batch for batch, _ in shapes}) > 2
    assert len({length for _, length in shapes}) > 2
    assert plain.facts["max_abs_difference"] == max(item["difference"] for item in plain.facts["compared"])
    assert plain.facts["validation"]["onnx"] == pytest.approx(plain.facts["validation"]["torch"])
    assert plain.facts["validation"]["torch"] == pytest.approx(done.facts["student"]["validation"])
    session = onnxruntime.InferenceSession(str(plain.folder / "model.onnx"))
    assert [item.name for item in session.get_inputs()] == done.open().about["inputs"]
    assert small.facts["precision"] == "int8"
    beside, latency = small.facts["beside_float32"], small.facts["latency_ms"]
    assert beside["speedup"] == pytest.approx(latency["onnx_float32"] / latency["onnx"])
    assert beside["loss"] == pytest.approx(plain.facts["validation"]["onnx"] - small.facts["validation"]["onnx"])
    assert np.isfinite(load_student(small.folder).logits(rows)).all()
    assert json.loads((small.folder / "export.json").read_text(encoding="utf-8"))["validation"] == small.facts["validation"]
    if family.startswith("bert"):  # transformers' format has a row for every token; the file has each row once
        import onnx as package

        shapes_kept = [list(item.dims) for item in package.load(str(plain.folder / "model.onnx")).graph.initializer]
        vocabulary, pieces = len(WORDS) + 5, len({*GOOD, *BAD, *PLAIN}) + 5  # with the special tokens
        width = 32 if family == "bert-apart" else 16
        assert [pieces, width] in shapes_kept
        assert [vocabulary, width] not in shapes_kept
    with pytest.raises(UsageError, match="exists; replace it with --overwrite"):
        export(done.folder)


@pytest.mark.slow
def test_an_image_student_goes_to_onnx_with_its_own_stem(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    world = ImageWorld(tmp_path, 28)
    done = world.distill(world.recipe())
    plain, small = export(done.folder, int8=True)
    pictures = world.pictures(5)
    torch_says = done.open().logits(pictures)
    np.testing.assert_allclose(load_student(plain.folder).logits(pictures), torch_says, atol=1e-4)
    assert np.abs(load_student(small.folder).logits(pictures) - torch_says).max() < 0.1 * np.ptp(torch_says)
    assert small.facts["bytes"] < 0.5 * plain.facts["bytes"]


@pytest.fixture
def student(tmp_path: Path) -> tuple[World, Path]:
    world = World(tmp_path)
    return world, world.distill(world.recipe("cnn", epochs=1)).folder


@pytest.mark.slow
def test_what_cannot_be_exported_is_refused(
    student: tuple[World, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world, folder = student
    with pytest.raises(UsageError, match=r"format is 'onx'; allowed: onnx, onnx-int8, numpy\. Did you mean 'onnx'"):
        export(folder, format="onx")
    for format in ("onnx", "numpy"):
        with pytest.raises(UsageError, match=f"the format is {format}, and quantisation-aware training is for 8-bit weights; use the"):
            export(folder, format=format, qat=True)
    with pytest.raises(UsageError, match="a cnn student does not run in numpy alone; export it with the format onnx"):
        export(folder, format="numpy")
    assert main(["export", str(folder / "nothing")]) == 2
    assert "is no folder" in capsys.readouterr().err

    # A file that says something else is not kept.
    monkeypatch.setattr(exporting, "TOLERANCE", 0.0)
    with pytest.raises(RunError, match="differ from torch's by"):
        export(folder)
    assert not (folder / "onnx").exists()
    monkeypatch.undo()

    Path(world.data).rename(world.folder / "moved.parquet")
    with pytest.raises(DataError, match="--dataset says where they are now"):
        export(folder)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find_spec(name))
    with pytest.raises(ModelError, match=r"onnxscript is not installed.*autodistill-kd\[onnx\]"):
        export(folder)


@pytest.mark.parametrize(
    ("milliseconds", "score", "words"),
    [
        (0.5, 0.896, "recommended: it is 2.00 times as fast as float32 here and it loses 0.0040"),
        (0.5, 0.91, "recommended: it is 2.00 times as fast as float32 here and it loses 0.0000"),
        (0.5, 0.894, "not recommended, use float32: it is 2.00 times as fast as float32 here and it loses 0.0060"),
        (1.1, 0.9, "not recommended, use float32: it is not faster than float32 here and it loses 0.0000"),
    ],
)
def test_int8_is_recommended_where_it_is_faster_and_as_good(milliseconds: float, score: float, words: str) -> None:
    beside = beside_float32({"torch": 3.0, "onnx_float32": 1.0, "onnx": milliseconds}, 0.9, score)
    assert int8_advice(beside) == f"{words} of the score (at most 0.005 is accepted)"


def test_the_rows_are_read_as_the_task_and_metric_that_the_student_was_made_with(tmp_path: Path) -> None:
    rows = [f"good {number},{number % 4 + 1}" for number in range(80)]
    (tmp_path / "stars.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    asked = {"limit_train": None, "seed": 0, "text_columns": None, "label_column": None, "task": "regression", "metric": "pearson"}
    given = {"name": str(tmp_path / "stars.csv"), **asked}
    (tmp_path / "distillation.json").write_text(json.dumps({"given": given}), encoding="utf-8")
    student: Any = SimpleNamespace(task="text-regression", classes=None)
    for name in (None, given["name"]):
        data = exporting._dataset(tmp_path, student, name)
        assert (data.task, data.metric) == ("text-regression", "pearson")
