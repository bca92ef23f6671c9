"""Where models multiply in bfloat16, and how near the results are to those in float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_teacher import save_bert, save_tokenizer, text_dataset

from autodistill.errors import UsageError
from autodistill.models import base, build_student
from autodistill.models.base import StudentContext, StudentModule, full_precision, mixed_precision, precision
from autodistill.models.text import encode_split
from autodistill.recipe import Recipe
from autodistill.teacher.load import load_teacher
from autodistill.teacher.outputs import Taps, ensure_outputs

CPU = torch.device("cpu")
TAPS = Taps(pooled=frozenset({"mean"}), tokens=(2,), attention=(1,))


@pytest.fixture(params=[True, False])
def capable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the CPU says that it multiplies in bfloat16. Any CPU can do it, some of them slowly."""
    monkeypatch.setattr(base, "cpu_has_bfloat16", lambda: request.param)
    return bool(request.param)


def student(family: str) -> StudentModule:
    recipe = Recipe.parse({"task": "text-classification", "teacher": {"model": "m"}, "student": {"family": family, "init": "random"}})
    return build_student(recipe, StudentContext("text-classification", num_outputs=3, vocab_size=50))


def test_only_large_matrices_are_multiplied_in_bfloat16_and_only_where_the_cpu_can(capable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def dtype(family: str) -> torch.dtype:
        with mixed_precision(student(family), CPU):
            return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype

    assert dtype("bert") == (torch.bfloat16 if capable else torch.float32)
    assert dtype("cnn") == dtype("bilstm") == torch.float32
    monkeypatch.setenv("AUTODISTILL_PRECISION", "float32")
    assert dtype("bert") == torch.float32
    monkeypatch.setenv("AUTODISTILL_PRECISION", "half")
    with pytest.raises(UsageError, match="AUTODISTILL_PRECISION is 'half'; allowed: auto or float32"):
        precision()


@pytest.mark.parametrize("budget", [0, 10**9], ids=["live", "stored"])
def test_teacher_outputs_are_near_those_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    dataset, teacher = text_dataset(40), save_bert(tmp_path / "teacher")
    assert dataset.train.texts is not None
    rows = encode_split(dataset.train.texts, None, save_tokenizer(tmp_path / "tok"), 16)
    every = torch.arange(len(rows))
    with torch.inference_mode():
        exact = load_teacher(teacher)[0](rows.batch(every), taps=frozenset({"states", "attention"}))
    monkeypatch.setattr(base, "cpu_has_bfloat16", lambda: True)
    outputs = ensure_outputs(dataset, "train", rows, teacher, taps=TAPS, budget_bytes=budget, device="cpu").batch(every)
    mask = rows.batch(every).mask
    for near, wanted in (
        (outputs.logits, exact.logits),
        (outputs.embedding, exact.embedding),
        (outputs.states[2][mask], exact.states[2][mask]),
        (outputs.queries[1].transpose(1, 2)[mask], exact.queries[1].transpose(1, 2)[mask]),
    ):
        assert near.dtype == torch.float32
        error = ((near - wanted).pow(2).mean() / wanted.pow(2).mean()).sqrt().item()
        assert 1e-5 < error < 0.03  # bfloat16 has 8 digits in base 2: 2^-9 a rounding, and a few of them


def test_outputs_of_both_kinds_become_float32() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vectors = torch.ones(2, 2) @ torch.ones(2, 2)
    outputs = full_precision(base.Outputs(torch.ones(2, 2), vectors, states=[vectors]))
    assert {outputs.logits.dtype, outputs.embedding.dtype, outputs.states[0].dtype} == {torch.float32}
