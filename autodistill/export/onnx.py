"""`autodistill export`: a student as an ONNX file, checked against torch on real rows, and on request with 8-bit weights."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from autodistill.assistant import STUDENT_WEIGHTS
from autodistill.errors import DataError, ModelError, RunError, UsageError, explained, not_allowed
from autodistill.events import Listen, Stage, StageProgress
from autodistill.export import qat as aware
from autodistill.export.asking import Arrays, Row
from autodistill.export.card import write_facts
from autodistill.export.folder import ABOUT
from autodistill.export.int8 import INT8_LOSS, KEPT, beside_float32, int8_advice, qat_result
from autodistill.export.latency import paired_latency, spread
from autodistill.export.quantise import quantise, quiet_packages
from autodistill.export.student import ANOTHER_COPY, Student, load_student, onnx_run
from autodistill.models import family_named
from autodistill.recipe import Recipe
from autodistill.storage import new_folder, user_path
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef, label_columns

FORMATS = ("onnx", "onnx-int8", "numpy")
FACTS = "export.json"
FILE = "model.onnx"
TOLERANCE = 1e-4
"""How far the file's logits may be from torch's, as a share of the largest logit (or of 1, if that is larger)."""
BATCHES = (1, 2, 17, 64)
CALIBRATION_ROWS = 256
"""Training rows that give the ranges of an int8 file's activations."""
Precision = Literal["float32", "int8", "numpy"]
"""What an exported folder holds: an ONNX file of 32- or 8-bit weights, or 32-bit weights for numpy."""
NUMPY_FILES = ("model.safetensors", "config.json", "load.py")
"""What an exported folder for numpy holds, beside what reading rows needs."""


@dataclass(frozen=True)
class Exported:
    """An exported folder, to be opened by `load_student`. facts: its export.json."""

    folder: Path
    facts: dict[str, Any]


def export(
    folder: str | Path,
    *,
    format: str = "onnx",
    int8: bool = False,
    qat: bool = False,
    dataset: str | None = None,
    overwrite: bool = False,
    listen: Listen | None = None,
) -> list[Exported]:
    """Write a student's folder as ONNX into FOLDER/onnx, and with int8 also into FOLDER/onnx-int8; or for numpy, into FOLDER/numpy.

    The inputs' batch and length are free. onnxruntime runs the file on the dataset's validation rows, at several lengths and batch
    sizes, and the file is refused if its logits differ from torch's. int8: weights and activations as 8-bit integers
    (`autodistill.export.quantise`, calibrated on training rows). Their logits do differ, so the loss of score on the validation rows is
    measured. The int8 file is recommended if it is faster than the float32 file on this machine and loses at most half a point
    (`INT8_LOSS`). Both numbers are reported.

    qat: where 8-bit weights lose more than that, the student is first trained for a few steps with its weights and activations rounded
    (`autodistill.export.qat`). It learns its own float32 outputs on the training rows, and the unlabelled ones that it was distilled with.
    Of the int8 files before and after, the one with the better score on the validation rows is kept. All three scores are in the
    folder's export.json, under `qat`.

    Args:
        folder: written by `distill`.
        format: onnx; onnx-int8, which is onnx with int8; or numpy, for students that a short load.py runs in numpy alone (static).
        int8: also write the quantised model.
        qat: quantisation-aware training; needs int8.
        dataset: where the validation rows, and for qat the training rows, come from; by default the dataset that the student was
            distilled on.
        overwrite: replace folders that an earlier export wrote.
        listen: called with each event of the run (autodistill.events).

    Raises:
        UsageError: the folder is no student's, the target exists, or the format is not supported, for this student or together with int8
            or qat.
        ModelError: the packages are missing (`pip install 'autodistill-kd[onnx]'`).
        DataError: the rows cannot be read.
        RunError: the logits differ, onnxruntime cannot write 8-bit weights, or the loss of the training is not finite.
    """
    tell: Listen = listen or (lambda event: None)
    if format not in FORMATS:
        raise UsageError(not_allowed("the format", format, FORMATS))
    int8 = int8 or format == "onnx-int8"
    if qat and not (int8 and format != "numpy"):
        raise UsageError(f"the format is {format}, and quantisation-aware training is for 8-bit weights; use the format onnx-int8")
    if format == "numpy":
        if int8:
            raise UsageError("the format is numpy, and int8 is of ONNX; leave int8 out, or export with the format onnx-int8")
        return [_export_numpy(_distilled(user_path(folder, UsageError).absolute()), dataset, overwrite, tell)]
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"{', '.join(missing)} is not installed, which exporting to ONNX needs; pip install 'autodistill-kd[onnx]'")
    folder = user_path(folder, UsageError).absolute()
    student = _distilled(folder)
    targets: dict[Precision, Path] = {"float32": folder / "onnx"}
    if int8:
        targets["int8"] = folder / "onnx-int8"
    for target in targets.values():
        _check_free(target, overwrite)
    data = _rows_read(student, dataset, tell, unlabelled=qat)
    exports: list[Exported] = []
    with contextlib.ExitStack() as stack:
        asides = {name: stack.enter_context(new_folder(target, "make the student's folder writable")) for name, target in targets.items()}
        for name, aside in asides.items():
            with Stage(tell, "onnx", f"writing {targets[name]}") as stage:
                if name == "float32":
                    write_onnx(student, data, aside / FILE)
                else:
                    quantise(asides["float32"] / FILE, aside / FILE, _calibration(student, data))
                plain = (asides["float32"], exports[0].facts) if exports else None
                facts = _checked(student, data, aside, name, plain) | {"folder": str(targets[name])}
                stage.end(_summary(facts))
            exports.append(Exported(targets[name], facts))
        if qat:
            facts = _trained_for_int8(student, data, asides, exports[0].facts, exports[1].facts, tell)
            write_facts(asides["int8"] / FACTS, facts)
            exports[1] = Exported(targets["int8"], facts | {"folder": str(targets["int8"])})
    return exports


def _distilled(folder: Path) -> Student:
    if (folder / STUDENT_WEIGHTS).exists():
        raise UsageError(
            f"{folder} holds a search's student, which is trained only for the search; train it in full with "
            f"`autodistill distill`, which is given the study's folder, and export the folder that it writes"
        )
    student = load_student(folder)
    if student.module is None or student.folder != folder or not (folder / ABOUT).exists():
        raise UsageError(f"{folder} is not what `autodistill distill` wrote; give such a folder")
    return student


def _check_free(target: Path, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists; replace it with --overwrite")


def _rows_read(student: Student, dataset: str | None, tell: Listen, *, unlabelled: bool = False) -> Dataset:
    with Stage(tell, "data", "reading the rows") as stage:
        data = _dataset(student.folder, student, dataset, unlabelled=unlabelled)
        stage.end(f"{data.name}: {len(data.validation):,} validation rows")
    return data


def _export_numpy(student: Student, dataset: str | None, overwrite: bool, tell: Listen) -> Exported:
    """A folder with what numpy opens alone: the weights, their description, the tokenizer and load.py."""
    name, target = student.about["family"], student.folder / "numpy"
    if family_named(name).numpy_loader is None:
        raise UsageError(
            f"the format is numpy, and a {name} student does not run in numpy alone; "
            "export it with the format onnx, which needs onnxruntime and no torch"
        )
    _check_free(target, overwrite)
    data = _rows_read(student, dataset, tell)
    with new_folder(target, "make the student's folder writable") as aside, Stage(tell, "onnx", f"writing {target}") as stage:
        for file in NUMPY_FILES:
            shutil.copy(student.folder / file, aside / file)
        facts = _checked(student, data, aside, "numpy") | {"folder": str(target)}
        stage.end(_summary(facts))
    return Exported(target, facts)


def _dataset(folder: Path, student: Student, name: str | None, *, unlabelled: bool = False) -> Dataset:
    """The dataset that a student was distilled on, or another (`name`). unlabelled: with the unlabelled rows that it had, of its own."""
    file = folder / "distillation.json"
    with explained(lambda reason: ModelError(f"{file} cannot be read ({reason}), and names the rows that check an export; {ANOTHER_COPY}")):
        origin = json.loads(file.read_text(encoding="utf-8"))["given"]
        columns = origin["text_columns"]
        read = {"seed": origin["seed"], "task": origin.get("task"), "metric": origin.get("metric")}  # older folders lack the last two
        own = {
            "limit_train": origin["limit_train"],
            "text_columns": tuple(columns) if columns else None,
            "label_column": label_columns(origin["label_column"]) or None,
            "label_separator": origin.get("label_separator"),
        }
        if unlabelled:
            own |= {"unlabelled": tuple(origin.get("unlabelled") or ()), "limit_unlabelled": origin.get("limit_unlabelled")}
    try:
        data = load_dataset(DatasetRef(origin["name"], **own, **read) if name is None else DatasetRef(name, **read))
    except DataError as cause:
        raise DataError(f"{cause}\nThe rows are needed to check the export; --dataset says where they are now") from None
    if (data.task, data.classes) != (student.task, student.classes):
        raise DataError(f"{data.name} is {data.task} with other labels than the student's ({student.task}); give its own dataset")
    return data


def traceable(student: Student) -> nn.Module:
    """A fresh copy of the student's module, in the form that is traced."""
    opened = load_student(student.folder).module
    assert opened is not None
    return family_named(student.about["family"]).ready_for_onnx(opened)


def write_onnx(student: Student, data: Dataset, path: Path, module: nn.Module | None = None) -> None:
    """Trace the student with free batch and length, and write it as one file. module: with other weights, from `traceable`."""
    module = traceable(student) if module is None else module
    rows = _rows(data)
    arrays = student.encode([rows[place] for place in spread(_by_size(student, rows), 3)])
    free = torch.export.Dim.DYNAMIC
    shapes = tuple(dict.fromkeys(student.reader.free_axes, free) for _ in arrays)
    inputs = tuple(torch.from_numpy(value) for value in arrays.values())
    with quiet_packages():
        program = torch.onnx.export(
            module, inputs, dynamo=True, input_names=list(arrays), output_names=["logits"], dynamic_shapes=shapes, verbose=False
        )
        assert program is not None
        program.save(str(path), external_data=False)


def _calibration(student: Student, data: Dataset) -> list[Arrays]:
    """The inputs of some training rows, drawn with a seed, each alone: without padding, as a row that is asked alone."""
    places = np.random.default_rng(0).permutation(len(data.train))[:CALIBRATION_ROWS]
    return [student.encode([row]) for row in data.modality.rows(data.train, np.sort(places))]


def _trained_for_int8(
    student: Student, data: Dataset, folders: Mapping[Precision, Path], plain: dict[str, Any], small: dict[str, Any], tell: Listen
) -> dict[str, Any]:
    """Train the student to be rounded, if 8-bit weights lose too much, and keep the better int8 file. Returns its facts, with `qat`.

    folders: the exported ones. plain, small: their facts, of float32 and int8.

    Raises:
        UsageError: none of the student's weights can be trained so.
    """
    before = {"float32": plain["validation"]["onnx"], "int8": small["validation"]["onnx"]}
    if small["beside_float32"]["loss"] <= INT8_LOSS:
        return small | {"qat": {"steps": 0, "validation": before, "kept": "int8"}}
    with Stage(tell, "qat", "training with rounded weights") as stage, tempfile.TemporaryDirectory() as place:
        aside, recipe = Path(place), Recipe.load(student.folder / "recipe.yaml").training
        module, rows = traceable(student), data.all_training_rows
        grids = aware.rounded_weights(module, folders["int8"] / FILE)
        if not grids:
            raise UsageError(
                f"none of the 8-bit weights in the file of this {student.about['family']} student is one of its own parameters, so they "
                "cannot be trained; export it without --qat"
            )
        aware.fine_tune(
            module,
            grids,
            lambda places: student.encode(data.modality.rows(rows, places)),
            len(rows),
            student.target.soft_loss,
            batch_size=recipe.batch_size,
            learning_rate=aware.RATE * recipe.learning_rate,
            step_done=lambda step, loss: tell(StageProgress("qat", step, aware.STEPS, f"loss {loss:.4f}")),
        )
        write_onnx(student, data, aside / "float32.onnx", module)
        quantise(aside / "float32.onnx", aside / FILE, _calibration(student, data))
        trained = _checked(student, data, aside, "int8", (folders["float32"], plain))
        scores = before | {"int8_after_qat": trained["validation"]["onnx"]}
        is_better = scores["int8_after_qat"] > scores["int8"]
        if is_better:
            shutil.copy(aside / FILE, folders["int8"] / FILE)
        about = {"steps": aware.STEPS, "rows": len(rows), "weights": sorted(grids)}
        facts = (trained if is_better else small) | {"qat": about | {"validation": scores, "kept": KEPT[is_better]}}
        stage.end(qat_result(facts["qat"]))
    return facts


def _checked(
    student: Student, data: Dataset, folder: Path, precision: Precision, plain: tuple[Path, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Complete an exported folder around its file, and return how it compares with torch.

    plain: the float32 folder and its facts, for the comparison with 8-bit weights.

    Raises:
        RunError: the logits differ from torch's by more than the tolerance, where the weights do not have 8 bits.
    """
    form, file = ("numpy", "model.safetensors") if precision == "numpy" else ("onnx", FILE)
    about = student.about | {"format": form} | ({} if precision == "numpy" else {"precision": precision})
    (folder / ABOUT).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in student.reader.files:
        shutil.copy(student.folder / name, folder / name)
    written = load_student(folder)
    rows = _rows(data)
    order = _by_size(student, rows)
    compared: list[dict[str, Any]] = []
    largest = 0.0
    for size in sorted({min(size, len(rows)) for size in BATCHES}):
        for places in _groups(order, size):
            arrays = student.encode([rows[place] for place in places])
            meant = student.run(arrays)
            apart = float(np.abs(written.run(arrays) - meant).max())
            largest = max(largest, float(np.abs(meant).max()))
            compared.append({"shape": list(next(iter(arrays.values())).shape), "difference": apart})
    worst, allowed = max(item["difference"] for item in compared), TOLERANCE * max(1.0, largest)
    if precision != "int8" and not worst <= allowed:
        raise RunError(f"the {form} student's logits differ from torch's by {worst:.2g}, more than {allowed:.2g}; it is not kept")
    labels = student.target.taught(data.validation.labels, student.logits(rows))  # without labels, torch is what is agreed with
    target, models = student.target, (("torch", student), (form, written))
    scores = {name: target.evaluate(data.metric, model.logits(rows), labels)[data.metric] for name, model in models}
    alone = student.encode([rows[order[len(rows) // 2]]])
    single = onnx_run(folder / FILE, threads=1) if form == "onnx" else written.run
    calls: dict[str, Callable[[], object]] = {"torch": lambda: student.run(alone), form: lambda: single(alone)}
    if plain is not None:
        float32 = onnx_run(plain[0] / FILE, threads=1)
        calls["onnx_float32"] = lambda: float32(alone)
    latency = paired_latency(calls)
    facts = {
        "format": form,
        "precision": "float32" if precision == "numpy" else precision,
        "bytes": (folder / file).stat().st_size,
        "max_abs_difference": worst,
        "tolerance": None if precision == "int8" else allowed,
        "compared": compared,
        "metric": data.metric,
        "validation": scores,
        "latency_ms": latency,
        "latency_of": f"one row of shape {next(iter(alone.values())).shape[1:]}, one CPU thread",
    }
    if plain is not None:
        facts["beside_float32"] = beside_float32(latency, plain[1]["validation"]["onnx"], scores["onnx"])
    write_facts(folder / FACTS, facts)
    return facts


def _summary(facts: dict[str, Any]) -> str:
    latency, scores, form = facts["latency_ms"], facts["validation"], facts["format"]
    parts = [f"{facts['bytes'] / 1e6:.2f} MB", f"logits within {facts['max_abs_difference']:.2g} of torch's"]
    parts.append(f"{facts['metric']} {scores[form]:.4f} on validation (torch {scores['torch']:.4f})")
    parts.append(f"{latency[form]:.3g} ms (torch {latency['torch']:.3g} ms)")
    if "beside_float32" in facts:
        parts.append(int8_advice(facts["beside_float32"]))
    return ", ".join(parts)


def _rows(data: Dataset) -> list[Row]:
    """The validation rows, in the form in which people give them."""
    return data.modality.rows(data.validation, np.arange(len(data.validation)))


def _by_size(student: Student, rows: Sequence[Row]) -> np.ndarray:
    """The indices of the rows, from the smallest to the largest row, (N,) int64."""
    return np.argsort(student.reader.sizes(rows), kind="stable")


def _groups(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Batches of the smallest rows, of the middle, of the largest, and of rows of all sizes. order: from `_by_size`."""
    middle = (len(order) - size) // 2
    yield order[:size]
    yield order[middle : middle + size]
    yield order[-size:]
    yield spread(order, size)
