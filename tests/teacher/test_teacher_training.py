"""Probe, floor, patience and calibration of a teacher's training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_teacher import image_dataset, save_bert, save_encoder, text_dataset

from autodistill.models.fitting import all_logits
from autodistill.recipe import Recipe, Teacher
from autodistill.tasks.base import Dataset
from autodistill.teacher import probe as probing
from autodistill.teacher.calibration import calibration_error
from autodistill.teacher.finetune import FinetunedTeacher, ProbeProgress, TeacherProgress, finetune_teacher
from autodistill.teacher.load import encode, load_teacher, untrained_teacher
from autodistill.teacher.probe import best_probe, fit_probe
from autodistill.teacher.rivals import linear_model
from autodistill.teacher.training import Judged, Rows, Training

CPU = torch.device("cpu")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save_encoder(tmp_path / "source", "Bert")


def asked(folder: Path, **fields: Any) -> Teacher:
    usual = {"model": str(folder), "pooling": "mean", "head_init": "probe", "epochs": 99, "max_steps": 40, "patience": 10, "max_length": 32}
    return Teacher(**usual | {"batch_size": 16, "learning_rate": 3e-3, "head_learning_rate": 1e-2} | fields)


def training(dataset: Dataset, teacher: Teacher) -> Training:
    torch.manual_seed(0)
    model, tokenizer = untrained_teacher(dataset, teacher)
    scaling = dataset.target.scaling(dataset.train.labels)
    parts = [
        Rows(encode(dataset, split, tokenizer, teacher), split.labels, dataset.target.to_learn(split.labels, scaling))
        for split in (dataset.train, dataset.validation)
    ]
    return Training(dataset, teacher, model, parts[0], parts[1], 0, CPU)


def logits_of(kept: FinetunedTeacher, dataset: Dataset, teacher: Teacher) -> np.ndarray:
    model, tokenizer = load_teacher(kept.folder)
    return all_logits(model, encode(dataset, dataset.validation, tokenizer, teacher), dataset.num_outputs, CPU).numpy()


class Scripted(Training):
    """A training whose looks at the validation rows have scores that are written here; its weights count the steps."""

    scores: tuple[float, ...] = ()

    def _looks(self, every: int, rows: torch.Tensor | None) -> Any:
        self.taken: list[int] = []
        for number, score in enumerate(self.scores, 1):
            step = min(number * every, self.steps)
            self.taken.append(step)
            with torch.no_grad():
                self.model.output_layer.bias.fill_(step)
            yield Judged(torch.zeros(len(self.validation), 2), {"accuracy": score}, score, 0.0)
            if step == self.steps:
                return

    def judge(self, rows: torch.Tensor | None = None) -> Judged:
        step = self.model.output_layer.bias[0].item()
        score = dict(zip(self.taken, self.scores, strict=False)).get(int(step), 0.0)
        return Judged(torch.zeros(len(self.validation), 2), {"accuracy": score}, score, 0.0)


def scripted(source: Path, scores: tuple[float, ...], **fields: Any) -> Scripted:
    made = training(text_dataset(64), asked(source, **fields))
    run = Scripted(made.dataset, made.teacher, made.model, made.train, made.validation, 0, CPU)
    run.scores = scores
    return run


def start(run: Training, right: int) -> Judged:
    """What a model says that is right about so many validation rows."""
    labels = torch.from_numpy(run.validation.labels)
    predicted = torch.where(torch.arange(len(labels)) < right, labels, 1 - labels)
    return run.judged(torch.nn.functional.one_hot(predicted, 2).float())


def test_it_ends_when_nothing_was_gained_for_the_patience_and_keeps_the_best(source: Path) -> None:
    run = scripted(source, (0.6, 0.7, 0.7, 0.65, 0.66, 0.69, 0.95), patience=8, batch_size=32)  # looks at every second step
    judged, step = run.until_no_gain(None)
    assert (judged.score, step) == (0.7, 4)
    assert run.taken == [2, 4, 6, 8, 10, 12]
    assert run.model.output_layer.bias.tolist() == [4, 4]


def test_it_ends_at_the_most_steps(source: Path) -> None:
    run = scripted(source, (0.1, 0.2, 0.3, 0.4), patience=8, max_steps=5, batch_size=32)
    judged, step = run.until_no_gain(None)
    assert (judged.score, step, run.taken) == (0.3, 5, [2, 4, 5])


def test_what_it_starts_with_is_the_floor(source: Path) -> None:
    run = scripted(source, (0.5, 0.5, 0.5), patience=8, max_steps=6, batch_size=32)  # as a model that always says the first class
    before = run.model.output_layer.bias.tolist()
    floor = start(run, 30)  # of 32: 0.9375
    judged, step = run.until_no_gain(floor)
    assert judged is floor
    assert (judged.score, step) == (0.9375, 0)
    assert run.model.output_layer.bias.tolist() == before


def saying(run: Training, right: set[int]) -> Judged:
    """What a model says that is right about these validation rows, and about no others."""
    labels = torch.from_numpy(run.validation.labels)
    is_right = torch.tensor([row in right for row in range(len(labels))])
    return run.judged(torch.nn.functional.one_hot(torch.where(is_right, labels, 1 - labels), 2).float())


@pytest.mark.parametrize(("gained", "lost"), [(1, 0), (1, 1), (4, 2), (7, 2), (9, 1), (14, 2), (14, 12), (2, 3)])
def test_a_score_is_clearly_better_if_it_gains_more_than_two_standard_errors(source: Path, gained: int, lost: int) -> None:
    """The closed form of the standard error of paired differences, of which `gained` are 1, `lost` are −1 and the others 0."""
    made = training(text_dataset(128), asked(source))
    rows = len(made.validation)
    assert rows == 64
    one, other = saying(made, set(range(gained)) | {60}), saying(made, set(range(gained, gained + lost)) | {60})
    difference = (gained - lost) / rows
    error = np.sqrt(((gained + lost) / rows - difference**2) / rows)
    assert abs(difference - 2 * error) > 0.25 * error, "the bootstrap would be too inexact to tell"
    assert made._is_better(one, other, 2.0) == (difference > 2 * error)


class Answering(Scripted):
    """A scripted training whose looks are right about the rows that are written here."""

    answers: tuple[set[int], ...] = ()

    def _looks(self, every: int, rows: torch.Tensor | None) -> Any:
        self.scores = tuple(saying(self, right).score for right in self.answers)
        for right, _ in zip(self.answers, super()._looks(every, rows), strict=False):
            yield saying(self, right)


@pytest.mark.parametrize(
    ("answers", "kept"),
    [
        ((set(range(20)), set(range(10, 31))), 4),  # one row more is right at the end
        ((set(range(21)), set(range(10, 30))), 4),  # one row fewer, of 22 that differ: by chance
        ((set(range(30)), set(range(20))), 2),  # ten rows fewer, and none is gained: the earlier weights are better
    ],
)
def test_the_last_weights_are_kept_unless_earlier_ones_are_clearly_better(source: Path, answers: Any, kept: int) -> None:
    made = training(text_dataset(64), asked(source, patience=8, max_steps=4, batch_size=32))
    run = Answering(made.dataset, made.teacher, made.model, made.train, made.validation, 0, CPU)
    run.answers = answers
    judged, step = run.until_no_gain(None)
    assert step == kept
    assert run.model.output_layer.bias.tolist() == [kept, kept]
    assert judged.score == len(answers[kept // 2 - 1]) / 32


def test_a_gain_over_the_start_is_kept(source: Path) -> None:
    run = scripted(source, (0.5, 0.8, 0.7), patience=8, max_steps=6, batch_size=32)
    judged, step = run.until_no_gain(start(run, 24))
    assert (judged.score, step) == (0.8, 4)


def test_the_start_does_not_count_for_the_patience(source: Path) -> None:
    """A good probe is first lost and then passed: five looks, of which the first four are below it."""
    run = scripted(source, (0.5, 0.6, 0.65, 0.7, 0.8, 0.7), patience=8, max_steps=12, batch_size=32)
    judged, step = run.until_no_gain(start(run, 24))  # of 32: 0.75
    assert (judged.score, step) == (0.8, 10)
    assert run.taken == [2, 4, 6, 8, 10, 12]


def test_whole_epochs_have_the_floor_too(source: Path) -> None:
    run = scripted(source, (0.5, 0.6), max_steps=None, epochs=2)
    judged, step = run.whole_epochs(start(run, 24))
    assert (judged.score, step) == (0.75, 0)
    run = scripted(source, (0.5, 0.8), max_steps=None, epochs=2)
    assert run.whole_epochs(start(run, 24))[1] == 2 * run.per_epoch


@pytest.mark.parametrize(
    ("fields", "steps"),
    [
        ({"epochs": 2, "max_steps": 100}, 4),  # two steps an epoch
        ({"epochs": 2, "max_steps": 3}, 3),
        ({"epochs": 2, "min_steps": 7, "max_steps": 100}, 7),
        ({"epochs": 2, "min_steps": 7, "max_steps": 5}, 5),
        ({"epochs": 0, "max_steps": 5}, 0),
    ],
)
def test_how_many_steps_there_are(source: Path, fields: dict[str, Any], steps: int) -> None:
    dataset, seen = text_dataset(32), list[Any]()
    kept = finetune_teacher(dataset, asked(source, patience=100, **fields), 0, device="cpu", progress=seen.append)
    taken = [now for now in seen if isinstance(now, TeacherProgress)]
    assert [now.step for now in taken[-1:]] == ([steps] if steps else [])
    same = asked(source, patience=100, epochs=50, max_steps=steps)
    assert finetune_teacher(dataset, same, 0, device="cpu") == replace(kept, reused=True)


def test_the_probe_is_the_head_that_training_starts_from(source: Path) -> None:
    dataset, teacher = text_dataset(96), asked(source, max_steps=0)
    kept = finetune_teacher(dataset, teacher, 0, device="cpu")
    probe = best_probe(training(dataset, teacher), ("mean",))
    logits = logits_of(kept, dataset, teacher)
    np.testing.assert_allclose(logits, probe.judged.logits.numpy(), atol=1e-4)
    assert kept.score == kept.probe_score == probe.judged.score
    assert (kept.step, kept.temperature, kept.calibration_error) == (0, 1.0, None)
    assert kept.calibration_error_before == pytest.approx(calibration_error(logits, dataset.validation.labels), abs=1e-5)
    model, source_model = load_teacher(kept.folder)[0], untrained_teacher(dataset, teacher)[0]
    for name, tensor in source_model.model.encoder.state_dict().items():  # type: ignore[union-attr]
        assert torch.equal(model.model.encoder.state_dict()[name], tensor)  # type: ignore[union-attr]


@pytest.mark.parametrize(("steps", "head_init", "chosen"), [(40, "probe", 1), (0, "probe", 2), (40, "random", 2)])
def test_fine_tuning_starts_from_the_strongest_penalty_that_is_level_with_the_best(
    source: Path, monkeypatch: pytest.MonkeyPatch, steps: int, head_init: str, chosen: int
) -> None:
    """Of three models, the k-th reads dimension k alone, which has the label's sign but for some rows: many, one, none."""
    job = training(text_dataset(96), asked(source, max_steps=steps, head_init=head_init))
    signs = {
        name: torch.from_numpy(2.0 * rows.labels - 1)[:, None].repeat(1, 3) for name, rows in (("t", job.train), ("v", job.validation))
    }
    signs["v"][: len(job.validation) // 3, 0] *= -1
    signs["v"][0, 1] *= -1
    models = [(np.outer([-1.0, 1.0], np.eye(3)[place]), np.zeros(2)) for place in range(3)]
    monkeypatch.setattr(type(job.dataset.target), "linear_models", lambda *_, **__: iter(models))
    for level, expected in ((1.5 / len(job.validation), chosen), (0.5 / len(job.validation), 2)):
        monkeypatch.setattr(probing, "LEVEL", level)
        weight = fit_probe(job, {"mean": signs["t"].float()}, {"mean": signs["v"].float()}).weight
        assert weight.abs().argmax(dim=1).tolist() == [expected] * 2


def test_the_pooling_is_that_of_the_best_probe_whatever_its_level_ones(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models a pooling: the first, of dimension 0, has the stronger penalty. `mean` has the best one, `cls` the better first one."""
    job = training(text_dataset(96), asked(source, max_steps=40))
    labels = {"t": 2.0 * torch.from_numpy(job.train.labels)[:, None] - 1, "v": 2.0 * torch.from_numpy(job.validation.labels)[:, None] - 1}
    train = {pooling: labels["t"].repeat(1, 2).float() for pooling in ("cls", "mean")}
    held = {pooling: labels["v"].repeat(1, 2).float() for pooling in ("cls", "mean")}
    for pooling, wrong in (("cls", (1, 1)), ("mean", (2, 0))):
        for place, rows in enumerate(wrong):
            held[pooling][:rows, place] *= -1
    models = [(np.outer([-1.0, 1.0], np.eye(2)[place]), np.zeros(2)) for place in range(2)]
    monkeypatch.setattr(type(job.dataset.target), "linear_models", lambda *_, **__: iter(models))
    for level, dimension in ((2.5 / len(job.validation), 0), (0.5 / len(job.validation), 1)):
        monkeypatch.setattr(probing, "LEVEL", level)
        probe = fit_probe(job, train, held)
        assert (probe.pooling, probe.weight.abs().argmax(dim=1).tolist()) == ("mean", [dimension] * 2)


def test_balanced_classes_of_a_teacher_weigh_its_loss_and_its_probe(source: Path) -> None:
    dataset = text_dataset(96)
    labels = dataset.train.labels
    dataset = replace(dataset, train=dataset.train.take(np.sort(np.concatenate([np.flatnonzero(labels == 0)[:6], np.flatnonzero(labels)]))))
    plain, weighted = (training(dataset, asked(source, class_weights=weights)) for weights in ("none", "balanced"))
    rows = torch.arange(len(plain.train))
    plain.model.eval(), weighted.model.eval()
    of_class = [plain._loss(rows[plain.train.labels == number]).item() for number in np.unique(plain.train.labels)]
    assert weighted._loss(rows).item() == pytest.approx(np.mean(of_class), rel=1e-5)
    vectors = torch.randn(len(rows), 8, generator=torch.Generator().manual_seed(0))
    probes = [fit_probe(job, {"mean": vectors}, {"mean": vectors[: len(job.validation)]}) for job in (plain, weighted)]
    chances = [(probe.bias - probe.bias.mean()).softmax(0)[0] for probe in probes]
    assert chances[1] > chances[0]  # the rare class is not held to be rare


def test_dead_dimensions_of_an_encoder_get_no_weight(source: Path) -> None:
    """all-MiniLM-L6-v2 has some, which vary by 1e-33 and 1e-9: weights of 1e30 left fine-tuning without any gradient after clipping."""
    job = training(text_dataset(96), asked(source))
    generator = np.random.default_rng(0)
    sizes = {"train": len(job.train), "held": len(job.validation)}
    alive = {name: torch.tensor(generator.normal(size=(rows, 12)), dtype=torch.float32) for name, rows in sizes.items()}
    noise = {name: torch.tensor(generator.normal(size=(rows, 2)) * [1e-33, 1e-9]).float() for name, rows in sizes.items()}
    mixed = {name: torch.cat([noise[name][:, :1], alive[name], noise[name][:, 1:]], dim=1) for name in sizes}
    probe, expected = (fit_probe(job, {"mean": vectors["train"]}, {"mean": vectors["held"]}) for vectors in (mixed, alive))
    assert torch.equal(probe.weight[:, [0, -1]], torch.zeros(len(probe.weight), 2))
    torch.testing.assert_close(probe.weight[:, 1:-1], expected.weight)
    torch.testing.assert_close(probe.bias, expected.bias)


def test_fine_tuning_gains_on_the_probe_and_is_told_of(source: Path) -> None:
    dataset, seen = text_dataset(300), list[Any]()
    kept = finetune_teacher(dataset, asked(source, max_steps=120, patience=60), 0, device="cpu", progress=seen.append)
    assert kept.probe_score is not None
    assert kept.probe_score < 0.9 < kept.score
    assert kept.step is not None
    assert kept.step > 0
    read = [now for now in seen if isinstance(now, ProbeProgress)]
    assert (read[-1].done, read[-1].rows) == (450, 450)
    steps = [now for now in seen if isinstance(now, TeacherProgress)]
    assert steps[-1].step <= 120 == steps[-1].steps
    about = json.loads((kept.folder / "teacher.json").read_text())
    assert {name: about[name] for name in ("probe_score", "linear_score", "step", "pooling")} == {
        "probe_score": kept.probe_score, "linear_score": kept.linear_score, "step": kept.step, "pooling": "mean",
    }  # fmt: skip
    assert finetune_teacher(dataset, asked(source, max_steps=120, patience=60), 0, device="cpu") == replace(kept, reused=True)


def test_logits_are_divided_by_the_temperature(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODISTILL_PRECISION", "float32")  # in which the written teacher is asked below
    dataset = text_dataset(96)
    plain, calibrated = (
        finetune_teacher(dataset, asked(source, max_steps=8, calibration=kind), 0, device="cpu") for kind in ("none", "temperature")
    )
    assert calibrated.temperature != 1.0
    before, after = logits_of(plain, dataset, asked(source)), logits_of(calibrated, dataset, asked(source))
    np.testing.assert_allclose(after * calibrated.temperature, before, rtol=1e-4, atol=1e-5)
    assert calibrated.metrics == plain.metrics
    assert calibrated.calibration_error == pytest.approx(calibration_error(after, dataset.validation.labels), abs=1e-6)
    assert calibrated.calibration_error_before == plain.calibration_error_before


def test_scores_are_probed_and_answered_in_their_own_units(source: Path) -> None:
    dataset = text_dataset(300, regression=True)  # scores of 100 and 150
    teacher = asked(source, calibration="temperature", max_steps=120, patience=60)
    kept = finetune_teacher(dataset, teacher, 0, device="cpu")
    answers = logits_of(kept, dataset, teacher)[:, 0]
    assert np.corrcoef(answers, dataset.validation.labels)[0, 1] > 0.6
    assert np.abs(answers - dataset.validation.labels).mean() < 20
    assert (kept.temperature, kept.calibration_error, kept.calibration_error_before) == (1.0, None, None)
    assert kept.probe_score is not None
    assert kept.linear_score is not None
    assert kept.score >= kept.probe_score


def test_the_head_has_a_learning_rate_of_its_own(source: Path) -> None:
    run = training(text_dataset(32), asked(source))
    groups = run._optimizer().param_groups
    of_head = {id(item) for item in run.model.output_layer.parameters()}
    rates = {group["lr"] for group in groups for item in group["params"] if id(item) in of_head}
    others = {group["lr"] for group in groups for item in group["params"] if id(item) not in of_head}
    assert (rates, others) == ({1e-2}, {3e-3})
    assert sum(len(group["params"]) for group in groups) == len(list(run.model.parameters()))


def test_a_random_teacher_is_neither_probed_nor_calibrated(source: Path) -> None:
    kept = finetune_teacher(text_dataset(32), asked(source, init="random", calibration="temperature"), 0, device="cpu")
    assert (kept.probe_score, kept.linear_score, kept.temperature) == (None, None, 1.0)


def test_images_are_probed_fine_tuned_and_calibrated() -> None:
    dataset = image_dataset()
    teacher = Teacher(
        model="timm:resnet10t",
        init="scratch",
        head_init="probe",
        epochs=2,
        max_steps=8,
        patience=8,
        batch_size=16,
        calibration="temperature",
    )
    kept = finetune_teacher(dataset, teacher, 0, device="cpu")
    assert kept.probe_score is not None
    assert kept.score >= kept.probe_score > 0.8  # random convolutions tell light at the top from light at the bottom
    assert kept.linear_score is not None
    assert kept.linear_score > 0.9
    assert kept.calibration_error is not None


@pytest.mark.parametrize(
    ("init", "batch_norm", "moves"), [("pretrained", "frozen", False), ("pretrained", "trained", True), ("scratch", "frozen", True)]
)
def test_the_statistics_of_a_pretrained_networks_batch_normalisation_stay(init: str, batch_norm: str, moves: bool) -> None:
    fields: dict[str, Any] = {"model": "timm:resnet10t", "epochs": 1, "max_steps": 4, "patience": 4, "batch_size": 16}
    built = training(image_dataset(), Teacher(init="scratch", **fields))
    asked_for = Teacher.model_validate({"init": init, "batch_norm": batch_norm, **fields})
    run = replace(built, teacher=asked_for)  # nothing is downloaded: the weights are random either way
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    for _ in run._looks(2, None):
        pass
    changed = {name for name, value in run.model.state_dict().items() if not torch.equal(value, before[name])}
    statistics = {name for name in before if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert statistics
    assert {name for name, _ in run.model.named_parameters()} <= changed
    assert changed & statistics == (statistics if moves else set())


def test_the_linear_model_reads_words(source: Path) -> None:
    dataset = text_dataset(300)  # one word tells
    predict = linear_model(dataset)
    assert predict is not None
    assert (predict(dataset.validation).argmax(axis=1) == dataset.validation.labels).mean() > 0.95
    blank = replace(dataset.train, texts=["?"] * len(dataset.train))
    assert linear_model(replace(dataset, train=blank)) is None


def test_the_old_head_is_what_old_recipes_mean(tmp_path: Path) -> None:
    source = save_bert(tmp_path / "bert", layers=2)
    old = {"model": str(source), "epochs": 1, "max_length": 32}
    kept = finetune_teacher(text_dataset(32), Teacher(**old), 0, device="cpu")
    assert (kept.pooling, kept.probe_score, kept.temperature) == ("model", None, 1.0)
    base = {"task": "text-classification", "student": {"family": "cnn"}}
    spelt = old | {"pooling": "model", "head_init": "random", "calibration": "none", "max_steps": None, "image_size": None}
    assert Recipe.parse(base | {"teacher": old}).id == Recipe.parse(base | {"teacher": spelt}).id
    for change in ({"pooling": "auto"}, {"head_init": "probe"}, {"max_steps": 0}, {"calibration": "temperature"}, {"patience": 7}):
        assert Recipe.parse(base | {"teacher": old | change}).id != Recipe.parse(base | {"teacher": old}).id
