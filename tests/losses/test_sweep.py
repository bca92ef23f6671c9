"""What every objective must do, whatever its formula: each component of each objective slot, found by its signature.

An objective's positional parameters say what it is given; `given` makes each of them.
"""

from __future__ import annotations

import copy
import inspect
import math
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autodistill.components import Spec, slots, specs

STUDENT, TEACHER, CLASSES, ROWS, TOKENS = 32, 48, 5, 100, 7
SPECS = {
    f"{slot.removeprefix('objective.')} {kind}": spec
    for slot in slots()
    if slot.startswith("objective.")
    for kind, spec in specs(slot).items()
}
EVERY = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
MASKED = {name: spec for name, spec in SPECS.items() if "mask" in spec.inputs}
ORDERLESS = {name: spec for name, spec in SPECS.items() if "index" not in spec.inputs}
"""All but those with a memory, which draw other rows for each row in turn."""


def variants(spec: Spec) -> list[dict[str, Any]]:
    """The default fields, and those of each other choice of a field that has choices; MI-alpha also at its ends."""
    fields = {name: info.default for name, info in spec.fields.model_fields.items()}
    listed = [fields]
    for name, info in spec.fields.model_fields.items():
        choices = list(getattr(info.annotation, "__args__", ()))
        if name == "mi_alpha":
            choices = [0.0, 1.0]
        listed += [fields | {name: choice} for choice in choices if choice != info.default]
    return listed


def lengths(batch: int) -> Tensor:
    """Ragged: from 2 tokens to all."""
    return 2 + torch.arange(batch) % (TOKENS - 1)


def inputs_for(spec: Spec, batch: int, dtype: torch.dtype, padding: int = 0) -> dict[str, Any]:
    """Random inputs. The same seed gives the same values, with `padding` further masked positions of other values behind them."""
    torch.manual_seed(batch)
    projected = "projection" not in spec.options.get("drop", ()) and spec.slot == "objective.intermediate"
    inputs: dict[str, Any] = {}
    for name in spec.inputs:
        side, _, what = name.partition("_")
        width = TEACHER if side == "teacher" or projected else STUDENT
        heads = 4 if side == "teacher" else 2
        tokens = "mask" in spec.inputs
        shape: tuple[int, ...] | None = {
            "logits": (batch, CLASSES),
            "embedding": (batch, width),
            "state": (batch, TOKENS, width) if tokens else (batch, width),
            "maps": (batch, width, 4, 4),
            "queries": (batch, heads, TOKENS, width // heads),
            "keys": (batch, heads, TOKENS, width // heads),
            "values": (batch, heads, TOKENS, width // heads),
        }.get(what)
        if name == "labels":
            inputs[name] = torch.randint(CLASSES, (batch,))
        elif name == "index":
            inputs[name] = torch.randperm(ROWS)[:batch]
        elif name == "mask":
            inputs[name] = torch.arange(TOKENS + padding) < lengths(batch)[:, None]
        elif what == "states":
            inputs[name] = [torch.randn(batch, width).to(dtype).requires_grad_() for _ in range(2)]
        elif shape is not None:
            value = torch.randn(shape)
            if padding and what in ("state", "queries", "keys", "values"):
                value = torch.cat([value, torch.full((*shape[:-2], padding, shape[-1]), 7.0)], dim=-2)
            inputs[name] = value.to(dtype).requires_grad_()
        else:
            assert name in modules(spec), f"{spec.kind} asks for {name!r}, which this sweep does not know; add it to `given`"
    return inputs


def modules(spec: Spec) -> dict[str, Callable[..., nn.Module]]:
    return getattr(spec.load(), "modules", {})


def built(spec: Spec, fields: dict[str, Any], dtype: torch.dtype = torch.float32) -> dict[str, nn.Module]:
    torch.manual_seed(1)
    built_modules = {}
    for name, build in modules(spec).items():
        wanted = inspect.signature(build).parameters
        fit = {
            "teacher_embeddings": torch.randn(ROWS, TEACHER),
            "teacher_logits": torch.randn(ROWS, CLASSES),
            "labels": torch.arange(ROWS) % CLASSES,
        }
        fit = {key: value for key, value in fit.items() if key in wanted}
        built_modules[name] = build(STUDENT, TEACHER, classes=CLASSES, rows=ROWS, **fit, **fields).to(dtype)
    return built_modules


def tensors(inputs: dict[str, Any], side: str) -> list[Tensor]:
    flat: list[Tensor] = []
    for name, value in inputs.items():
        if name.startswith(side):
            flat += value if isinstance(value, list) else [value]
    return flat


def evaluate(spec: Spec, inputs: dict[str, Any], built_modules: dict[str, nn.Module], fields: dict[str, Any]) -> Tensor:
    """The value, from a copy of the modules (some remember), with the same random numbers each time."""
    torch.manual_seed(2)
    return spec.load()(**inputs, **copy.deepcopy(built_modules), **fields)


def value_and_gradients(
    spec: Spec, inputs: dict[str, Any], built_modules: dict[str, nn.Module], fields: dict[str, Any]
) -> tuple[Tensor, list[Tensor]]:
    value = evaluate(spec, inputs, built_modules, fields)
    student = tensors(inputs, "student_")
    gradients = torch.autograd.grad(value, student, allow_unused=True)
    return value.detach(), [
        torch.zeros_like(tensor) if gradient is None else gradient for tensor, gradient in zip(student, gradients, strict=True)
    ]


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("batch", [1, 2, 16, 64])
def test_values_and_gradients_are_finite_and_the_teacher_gets_none(spec: Spec, batch: int, dtype: torch.dtype) -> None:
    for fields in variants(spec):
        inputs, parts = inputs_for(spec, batch, dtype), built(spec, fields)
        torch.manual_seed(2)
        value = spec.load()(**inputs, **parts, **fields)
        assert value.shape == ()
        assert value.dtype == torch.float32, "sums over a batch are made in full precision"
        assert value.isfinite(), fields
        if value.requires_grad:
            value.backward()
        for tensor in tensors(inputs, "student_"):
            assert tensor.grad is None or tensor.grad.isfinite().all(), fields
        for tensor in tensors(inputs, "teacher_"):
            assert tensor.grad is None or not tensor.grad.any(), fields
        for part in parts.values():
            for parameter in part.parameters():
                assert parameter.grad is None or parameter.grad.isfinite().all(), fields
        if batch >= 16:
            assert any(tensor.grad is not None and tensor.grad.any() for tensor in tensors(inputs, "student_")), "the student learns"


ROWS_AT_THE_EDGE: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": torch.zeros_like,
    "one row of zeros": lambda rows: rows.index_fill(0, torch.tensor([1]), 0.0),
    "one row almost of zeros": lambda rows: torch.cat([1e-9 * rows[:1], rows[1:]]),
    "equal rows": lambda rows: rows[:1].expand_as(rows),
    "equal numbers": lambda rows: torch.full_like(rows, 0.1),
    "two equal rows": lambda rows: torch.cat([rows[:1], rows[:1], rows[2:]]),
    "rows equal but for rounding": lambda rows: rows[:1] * (1 + 1e-6 * torch.randn_like(rows)),
}
"""What dead networks, collapsed students, empty texts and a text that comes twice give."""


def largest(gradients: list[Tensor]) -> float:
    return max(gradient.abs().max().item() for gradient in gradients)


@EVERY
@pytest.mark.parametrize("sides", [("student_",), ("teacher_",), ("student_", "teacher_")], ids=["student", "teacher", "both"])
@pytest.mark.parametrize("edge", ROWS_AT_THE_EDGE)
def test_gradients_are_bounded_where_rows_have_no_direction(spec: Spec, edge: str, sides: tuple[str, ...]) -> None:
    """By a hundred times those on ordinary rows: one such row must not rule the batch, nor what Adam remembers."""
    for fields in variants(spec):
        parts = built(spec, fields)
        _, ordinary = value_and_gradients(spec, inputs_for(spec, 6, torch.float32), parts, fields)
        inputs = inputs_for(spec, 6, torch.float32)
        for side in sides:
            for tensor in tensors(inputs, side):
                tensor.data = ROWS_AT_THE_EDGE[edge](tensor.data).contiguous()
        value, gradients = value_and_gradients(spec, inputs, parts, fields)
        assert value.isfinite(), fields
        assert largest(gradients) <= 100 * max(largest(ordinary), 1e-3), fields


@pytest.mark.parametrize("spec", MASKED.values(), ids=MASKED)
@pytest.mark.parametrize("left", [0, 1, 6], ids=["no token", "one token", "one row without a token"])
def test_batches_of_few_tokens_or_none(spec: Spec, left: int) -> None:
    for fields in variants(spec):
        parts = built(spec, fields)
        _, ordinary = value_and_gradients(spec, inputs_for(spec, 6, torch.float32), parts, fields)
        inputs = inputs_for(spec, 6, torch.float32)
        inputs["mask"][1] = False
        if left < 6:
            inputs["mask"][:] = False
            inputs["mask"][0, :left] = True
        value, gradients = value_and_gradients(spec, inputs, parts, fields)
        assert value.isfinite(), fields
        assert largest(gradients) <= 100 * max(largest(ordinary), 1e-3), fields
        if left == 0:
            assert not any(gradient.any() for gradient in gradients), "nothing to learn from"


@pytest.mark.parametrize("spec", [spec for spec in SPECS.values() if "labels" in spec.inputs], ids=lambda spec: spec.kind)
def test_batches_of_one_class(spec: Spec) -> None:
    for fields in variants(spec):
        inputs, parts = inputs_for(spec, 6, torch.float32), built(spec, fields)
        inputs["labels"].zero_()
        value, gradients = value_and_gradients(spec, inputs, parts, fields)
        assert value.isfinite(), fields
        assert all(gradient.isfinite().all() for gradient in gradients), fields


@pytest.mark.parametrize("spec", MASKED.values(), ids=MASKED)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("batch", [2, 16, 64])
def test_padding_does_not_count(spec: Spec, batch: int, dtype: torch.dtype, tolerance: float) -> None:
    for fields in variants(spec):
        parts = built(spec, fields)
        value, gradients = value_and_gradients(spec, inputs_for(spec, batch, dtype), parts, fields)
        padded = inputs_for(spec, batch, dtype, padding=5)
        other, other_gradients = value_and_gradients(spec, padded, parts, fields)
        assert other.item() == pytest.approx(value.item(), rel=tolerance, abs=tolerance), fields
        mask = padded["mask"]
        for short, long in zip(gradients, other_gradients, strict=True):
            largest = short.abs().max().item()
            assert (long[..., :TOKENS, :] - short).abs().max().item() <= 10 * tolerance * largest + 1e-12, fields
            where = mask[:, None, :, None] if long.dim() == 4 else mask[:, :, None]
            assert not (long * ~where).any(), fields


@pytest.mark.parametrize("spec", ORDERLESS.values(), ids=ORDERLESS)
@pytest.mark.parametrize("batch", [2, 16, 64])
def test_the_order_of_the_batch_does_not_count(spec: Spec, batch: int) -> None:
    for fields in variants(spec):
        inputs, parts = inputs_for(spec, batch, torch.float32), built(spec, fields)
        turned = {name: [item.flip(0) for item in value] if isinstance(value, list) else value.flip(0) for name, value in inputs.items()}
        value = evaluate(spec, inputs, parts, fields).item()
        assert evaluate(spec, turned, parts, fields).item() == pytest.approx(value, rel=1e-4, abs=1e-5), fields


@EVERY
def test_gradients_are_right(spec: Spec) -> None:
    """Against differences of values, in float64."""
    for fields in variants(spec):
        inputs, parts = inputs_for(spec, 3, torch.float64), built(spec, fields, torch.float64)
        for part in parts.values():
            part.eval()
        for tensor in tensors(inputs, "teacher_"):
            tensor.requires_grad_(False)
        student = tensors(inputs, "student_")

        def value(*_changed: Tensor, inputs: dict = inputs, parts: dict = parts, fields: dict = fields) -> Tensor:
            return evaluate(spec, inputs, parts, fields)

        # gradcheck changes the tensors in place, so `inputs` holds the changed ones
        assert torch.autograd.gradcheck(value, tuple(student), fast_mode=True, atol=1e-4, rtol=1e-3), fields


def gradient_against_cross_entropy(spec: Spec) -> float:
    """Norm of the term's gradient on the student's tensor over that of cross-entropy's: batch 32, widths 192 and 384, 4 classes.

    Logits are N(0, 1), made by a linear head from features N(0, 1); states are N(0, 1) on both sides.
    """
    torch.manual_seed(0)
    rows, classes = 32, 4
    projected = "projection" not in spec.options.get("drop", ()) and spec.slot == "objective.intermediate"
    width = 384 if projected else 192
    features, head = torch.randn(rows, width, requires_grad=True), torch.randn(classes, width) / math.sqrt(width)
    labels = torch.randint(classes, (rows,))
    logits = features @ head.T
    states, teacher_logits = torch.randn(rows, 384), torch.randn(rows, classes)
    inputs = {
        "student_logits": logits, "teacher_logits": teacher_logits, "labels": labels, "mask": None,
        "student_state": features, "teacher_state": states, "student_embedding": features, "teacher_embedding": states,
    }  # fmt: skip
    fields = variants(spec)[0]
    fit = {"teacher_embeddings": torch.randn(500, 384), "teacher_logits": torch.randn(500, classes), "labels": torch.arange(500) % classes}
    parts = {name: build(192, 384, classes=classes, rows=500, **fit, **fields) for name, build in modules(spec).items()}
    value = spec.load()(**{name: inputs[name] for name in spec.inputs if name in inputs}, **parts, **fields)
    on = logits if "student_logits" in spec.inputs else features
    norms = [torch.autograd.grad(loss, on, retain_graph=True)[0].norm().item() for loss in (value, F.cross_entropy(logits, labels))]
    return norms[0] / norms[1]


@pytest.mark.parametrize("name", [name for name in SPECS if name.split()[0] in ("prediction", "intermediate")])
def test_the_scale_is_what_the_docstring_says(name: str) -> None:
    """Each Scale line ends with the measured ratio, and says so where the weight wants a log scale."""
    doc = inspect.getdoc(SPECS[name].load()) or ""
    scale = " ".join(doc.split("Scale:")[1].split("Source:")[0].split())
    stated = re.search(r"gradient ([0-9.]+) × cross-entropy's", scale)
    measured = gradient_against_cross_entropy(SPECS[name])
    assert stated, f"{name}: write 'gradient {measured:.2g} × cross-entropy's' into its Scale line"
    assert measured == pytest.approx(float(stated[1]), rel=0.3)
    assert 1 / 30 < measured < 30 or "log scale" in scale


@EVERY
def test_the_docstring_is_whole(spec: Spec) -> None:
    doc = inspect.getdoc(spec.load()) or ""
    parts = ["Shapes:", "Formula:", "Scale:", "Source:", "When:"]
    places = [doc.find(f"\n{part}") for part in parts]
    assert -1 not in places, f"missing: {[part for part, place in zip(parts, places, strict=True) if place < 0]}"
    assert places == sorted(places)
    assert re.search(r"Source:[^\n]*(19|20)\d\d", doc), "authors and year"


def test_every_objective_is_in_the_docs() -> None:
    """docs/objectives.md is what docs/objectives.py writes, and has a row for each objective."""
    script = Path(__file__).parents[2] / "docs" / "objectives.py"
    written = script.with_suffix(".md").read_text(encoding="utf-8")
    for name, spec in SPECS.items():
        section = written.partition(f"\n## {name.split()[0]}\n")[2].partition("\n## ")[0]
        assert f"\n| `{spec.kind}` | {spec.summary} |" in section, f"docs/objectives.md lacks {name}: run python docs/objectives.py"
    assert written == runpy.run_path(str(script))["page"](), "docs/objectives.md is behind the docstrings: run python docs/objectives.py"
