"""Steps on rows that lie on the device: that they are the usual steps, and which of them can be recorded."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_trial import STUDENTS, World
from tiny_teacher import text_dataset
from torch import nn

from autodistill.errors import UsageError
from autodistill.models import build_student
from autodistill.models.fitting import all_logits, warmup_and_decay
from autodistill.models.image import EncodedImages
from autodistill.recipe import Recipe
from autodistill.tasks import load_dataset
from autodistill.train.assignment import Assignment
from autodistill.train.data import open_data
from autodistill.train.resident import LENGTHS, ResidentView, ResidentViews, bytes_of, padded_lengths, resident_budget
from autodistill.train.schedule import Schedule
from autodistill.train.trial import Trainer

CPU = torch.device("cpu")
PLENTY = 10**9
MIX = {"hard_label_weight": 0.5, "prediction": {"kind": "kl", "weight": 0.5}, "intermediate": {"kind": "mi", "weight": 0.1}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """With 200 unlabelled rows."""
    folder = tmp_path_factory.mktemp("world")
    made = World(folder, "text-classification")
    texts = text_dataset(200, seed=5).train.texts or []
    pd.DataFrame({"text": [f"{text} film" for text in texts]}).drop_duplicates().to_parquet(folder / "more.parquet")
    made.ref = dataclasses.replace(made.ref, unlabelled=(str(folder / "more.parquet"),))
    made.dataset = load_dataset(made.ref)
    return made


def recipe(world: World, student: str = "cnn", objective: dict[str, Any] = MIX, **training: Any) -> Recipe:
    """A batch of each length and of each number of labelled rows."""
    options = {"epochs": 1, "batch_size": 16, "learning_rate": 3e-3}
    return world.recipe(student, objective=objective, training=options | training)


def trainer(world: World, one: Recipe, device: torch.device = CPU, **options: Any) -> Trainer:
    """Without dropout: on rows with more padding it draws other numbers."""
    data = open_data(Assignment(one, world.ref, 0, 9, world.folder, device=str(device)))
    torch.manual_seed(0)
    student = build_student(one, data.context).to(device)
    for module in student.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return Trainer(one, student, data, device, one.training.epochs, 0, **options)


def trained(world: World, one: Recipe, **options: Any) -> tuple[list[dict[str, float]], torch.Tensor, Trainer]:
    """The losses of each epoch, and the student's logits on the validation rows after the last."""
    made = trainer(world, one, **options)
    losses = [made.train_epoch(epoch) for epoch in range(1, one.training.epochs + 1)]
    logits = all_logits(made.student, made.data.validation, made.data.num_outputs, CPU)
    return losses, logits, made


class Repeats:
    """A recorder that takes the step again when it is replayed, and counts."""

    def __init__(self) -> None:
        self.replayed = self.recorded = 0

    def session(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            step()

        return replay


@pytest.mark.parametrize("share", [0.0, 0.75])
@pytest.mark.parametrize("student", STUDENTS)
def test_a_trial_by_row_numbers_is_the_usual_trial(world: World, student: str, share: float) -> None:
    one = recipe(world, student, unlabelled_share=share)
    usual, logits, _ = trained(world, one)
    losses, same_logits, made = trained(world, one, resident_bytes=PLENTY)
    assert made.resident.taken == bytes_of(made.data.view(0), made.data.train_labels)
    if student in ("cnn", "bilstm"):  # padding adds nothing to their sums
        assert losses == usual
        assert torch.equal(same_logits, logits)
    for before, after in zip(usual, losses, strict=True):
        assert after == pytest.approx(before, rel=1e-5, abs=1e-6)
    torch.testing.assert_close(same_logits, logits, rtol=1e-4, atol=1e-5)


def test_recorded_steps_are_the_usual_steps(world: World) -> None:
    one = recipe(world, "static", epochs=6, unlabelled_share=0.5, stages="unlabelled-labelled", steps=60)
    usual, logits, _ = trained(world, one)
    repeats = Repeats()
    losses, same_logits, made = trained(world, one, resident_bytes=PLENTY, recorder=repeats)
    assert made.device_steps.refusal is None
    assert made.device_steps.recorded == repeats.recorded > 1
    assert repeats.replayed > 30  # of 60
    assert [list(epoch) for epoch in losses] == [list(epoch) for epoch in usual]  # hard labels count in the last stage alone
    for before, after in zip(usual, losses, strict=True):
        assert after == pytest.approx(before, rel=1e-4, abs=1e-6)  # the learning rate is a float32 number here
    torch.testing.assert_close(same_logits, logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("student", "objective", "why"),
    [
        ("bert", MIX, None),
        ("bilstm", MIX, "models/bilstm.py: forward packs sequences"),
        ("cnn", {"contrastive": {"kind": "crd", "negatives": "bank"}}, "losses/memory.py: normaliser reads a number"),
        ("cnn", {"intermediate": {"kind": "mi", "tokens": "tokens"}}, "losses/tensors.py: positions makes a tensor whose size depends"),
        ("cnn", MIX, "out of luck"),
    ],
)
def test_what_cannot_be_recorded_is_found_and_named_once(
    world: World, student: str, objective: dict[str, Any], why: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    repeats = Repeats()
    if why == "out of luck":

        def fail(step: Callable[[], None]) -> Callable[[], None]:
            raise RuntimeError("out of luck\nmore lines")

        repeats.record = fail  # type: ignore[method-assign]
    with caplog.at_level("INFO", "autodistill.train.device_steps"):
        losses, _, made = trained(world, recipe(world, student, objective, epochs=3), resident_bytes=PLENTY, recorder=repeats)
    assert all(np.isfinite(list(epoch.values())).all() for epoch in losses)
    assert (made.device_steps.refusal is None) == (why is None)
    assert (repeats.recorded > 0) == (why is None)
    assert len(caplog.messages) == (why is not None)
    if why is not None:
        assert why in str(made.device_steps.refusal)
        assert why in caplog.messages[0]


@pytest.mark.parametrize(("part", "name"), [({"augmentation": {"mixup": 0.5}}, "mixup"), ({"training": {"optimizer": "sgd"}}, "sgd")])
def test_what_is_never_recorded_trains_all_the_same(world: World, part: dict[str, Any], name: str) -> None:
    one = Recipe.parse(recipe(world).model_dump() | part)
    usual, logits, _ = trained(world, one)
    repeats = Repeats()
    losses, same_logits, made = trained(world, one, resident_bytes=PLENTY, recorder=repeats)
    assert repeats.recorded == 0
    assert any(name in note for note in made.notes)
    for before, after in zip(usual, losses, strict=True):
        assert after == pytest.approx(before, rel=1e-4, abs=1e-5)
    torch.testing.assert_close(same_logits, logits, rtol=1e-3, atol=1e-4)


def test_batches_have_one_of_a_few_lengths(world: World) -> None:
    mix = {
        "prediction": {"kind": "kl"},
        "attention": {"kind": "minilmv2", "relation_heads": 4},
        "intermediate": {"kind": "mse", "tokens": "tokens"},
    }
    view = trainer(world, recipe(world, "bert", mix)).data.view(0)
    resident = ResidentView(view, torch.arange(len(view.inputs)), CPU)
    lengths = view.lengths
    assert lengths is not None
    for rows in torch.argsort(lengths).split(16):
        longest, read = int(lengths[rows].max()), resident.read(rows)
        padded = read.batch.mask.shape[1]
        assert longest <= padded <= 1.5 * longest + 4
        usual, outputs = view.batch(rows), view.teacher_batch(rows)
        assert torch.equal(read.batch.ids[:, :longest], usual.ids)
        assert torch.equal(read.batch.mask.sum(1), usual.mask.sum(1))
        assert torch.equal(read.labels, rows)
        assert outputs is not None
        assert read.teacher_outputs is not None
        assert torch.equal(read.teacher_outputs.logits, outputs.logits)
        for mine, stored in ((read.teacher_outputs.keys[-1], outputs.keys[-1]), (read.teacher_outputs.states[-1], outputs.states[-1])):
            assert torch.equal(mine[..., :longest, :], stored)
            assert not mine[..., longest:, :].any()
    for longest in range(1, 3000, 7):
        steps = padded_lengths(longest)
        assert steps[-1] == longest
        assert all(after <= 1.5 * before for before, after in itertools.pairwise(steps))
    assert len(padded_lengths(max(LENGTHS))) == len(LENGTHS)


def test_images_are_normalised_on_the_device_as_on_the_cpu() -> None:
    images = EncodedImages(np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8))
    rows = torch.tensor([4, 0, 8])
    assert torch.equal(images.to(CPU).batch(rows).pixels, images.batch(rows).pixels)
    assert images.bytes == images.images.size


def test_rows_that_do_not_fit_stay_where_they_are(world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    view = trainer(world, recipe(world)).data.view(0)
    labels = torch.arange(len(view.inputs))
    size = bytes_of(view, labels)
    assert ResidentViews(labels, CPU, size).get(view) is not None
    with caplog.at_level("INFO", "autodistill.train.resident"):
        assert ResidentViews(labels, CPU, size - 1).get(view) is None
    assert "AUTODISTILL_RESIDENT_BYTES" in caplog.text
    assert resident_budget() == 0
    monkeypatch.setenv("AUTODISTILL_RESIDENT_BYTES", "lots")
    with pytest.raises(UsageError, match="AUTODISTILL_RESIDENT_BYTES is 'lots'; allowed: a number of bytes"):
        resident_budget()


def test_a_table_of_rates_gives_each_step_its_rate() -> None:
    factor = warmup_and_decay(12, 0.25)

    def schedule(device: torch.device | None) -> Schedule:
        groups = [{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(2)]
        return Schedule(torch.optim.AdamW(groups, lr=0.3), factor, 12, device)

    numbers, table = schedule(None), schedule(CPU)
    for step in range(13):
        assert {group["lr"] for group in numbers.optimizer.param_groups} == {0.3 * factor(step)}
        table.advance()
        assert [float(group["lr"]) for group in table.optimizer.param_groups] == pytest.approx([0.3 * factor(step)] * 2)
        assert table.rate == numbers.rate == 0.3 * factor(step)
        numbers.stepped()
        table.stepped()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("student", ["bert", "cnn", "static"])
def test_a_graph_takes_the_steps_that_are_taken_one_by_one(world: World, student: str) -> None:
    one = recipe(world, student, epochs=6)
    device = torch.device("cuda")

    def run(recorder: Any) -> tuple[list[dict[str, float]], Trainer]:
        made = trainer(world, one, device=device, resident_bytes=PLENTY, recorder=recorder)
        return [made.train_epoch(epoch) for epoch in range(1, 7)], made

    graphs, by_graphs = run(None)
    eager, one_by_one = run(Repeats())
    assert by_graphs.device_steps.refusal is None
    assert by_graphs.device_steps.recorded > 0
    for before, after in zip(eager, graphs, strict=True):
        assert after == pytest.approx(before, rel=1e-2, abs=1e-3)  # in bfloat16
    weights = one_by_one.form.copy_weights()
    for name, value in by_graphs.form.copy_weights().items():
        torch.testing.assert_close(value, weights[name], rtol=1e-2, atol=1e-2)
