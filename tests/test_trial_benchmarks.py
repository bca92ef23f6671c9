"""The benchmarks of a trial's cost: that the loops held against each other do the same thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_teacher import save_bert, text_dataset

from autodistill.recipe import Recipe
from autodistill.train.data import open_inputs

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import trial_world

    teacher = {"model": str(save_bert(tmp_path / "bert")), "max_length": 32}
    data = text_dataset(64)
    student = {"family": "bert", "layers": 2, "hidden_size": 16, "heads": 2}
    part = Recipe.parse({"task": data.task, "teacher": teacher, "student": student}).teacher
    return trial_world.World("text", open_inputs(data, part, teacher["model"]), teacher)


STUDENT = {"family": "bert", "layers": 2, "hidden_size": 16, "heads": 2}


@pytest.mark.usefixtures("float32")
def test_every_loop_starts_from_the_same_loss(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without dropout and without the MI term, whose critics are drawn anew, ours, torchdistill and TextBrewer agree."""
    pytest.importorskip("torchdistill")
    pytest.importorskip("textbrewer")
    import trial_arms

    monkeypatch.setitem(trial_arms.MI, "weight", 0.0)
    monkeypatch.setitem(trial_arms.OBJECTIVES["text"]["stored"], "intermediate", trial_arms.MI | {"tokens": "cls"})
    rows = torch.arange(16)
    losses = {}
    for name in ("stored", "live", "torchdistill_same_batches", "textbrewer"):
        arm: Any = trial_arms.build_arm(name, world, STUDENT, 16, "cpu", 1)
        (arm.trainer.student if hasattr(arm, "trainer") else arm.student).eval()
        if name == "stored":
            teacher = arm.trainer.data.view(0).teacher_batch(rows).logits
        losses_of = arm.step(rows)
        losses[name] = sum(float(value) for value in losses_of.values()) if isinstance(losses_of, dict) else float(losses_of)
    assert losses["live"] == pytest.approx(losses["stored"], rel=1e-4)
    assert losses["torchdistill_same_batches"] == pytest.approx(losses["stored"], rel=1e-4)
    kl = trial_arms.KL
    log_p = (teacher / kl["temperature"]).log_softmax(dim=1)
    entropy = -(log_p.exp() * log_p).sum(dim=1).mean().item()  # TextBrewer's KD loss is a cross-entropy, which is so much more than KL
    expected = losses["stored"] + kl["weight"] * kl["temperature"] ** 2 * entropy
    assert losses["textbrewer"] == pytest.approx(expected, rel=1e-4)


def test_the_plain_loops_start_from_the_same_loss(world: Any) -> None:
    import trial_arms

    rows = torch.arange(16)
    ours: Any = trial_arms.build_arm("plain", world, STUDENT, 16, "cpu", 1)
    by_hand: Any = trial_arms.build_arm("hand_written", world, STUDENT, 16, "cpu", 1)
    ours.trainer.student.eval()
    by_hand.student.eval()
    assert float(by_hand.step(rows)) == pytest.approx(float(ours.step(rows)["hard_label"]), rel=1e-5)


def test_the_slope_is_the_power(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import growth

    sizes = [1000, 4000, 16000]
    for power in (0.0, 0.5, 1.0, 2.0):
        assert growth.slope(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)
    costs = [growth.Cost(axis, size, 2.0 * size, 1.0 * size, 10) for axis in growth.AXES for size in (1, 2, 4)]
    assert all(slopes["trial"] == pytest.approx(1.0) for slopes in growth.slopes(costs).values())
    assert "| training rows | 4 | 8.00 | 800.0 | 4.00 | 1.00 | 1.00 |" in growth.table(costs, [0.0])
    assert len(growth.figure(costs).data) == len(growth.AXES) + 1


def test_ratios_are_taken_within_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import trial_cost

    # by round, its steps; in some rounds the plain arm has taken more steps than the other, and it had one round more
    times = {
        "stored": {0: [1.5, 0.5], 1: [20.0], 3: [200.0], 4: [2.2], 5: [4.0]},
        "plain": {0: [0.5, 0.5, 9.0], 1: [10.0], 2: [50.0], 3: [100.0, 7.0], 4: [1.0, 5.0], 5: [1.0, 1.0]},
    }
    assert trial_cost._ratio(times, "stored", "plain") == {"median": 2.0, "lower_quartile": 2.0, "upper_quartile": 2.2}
