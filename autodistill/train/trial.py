"""One trial, from a recipe to a score: read it from top to bottom."""

from __future__ import annotations

import functools
import gc
import json
import math
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autodistill.augment.mixup import Mix
from autodistill.errors import DivergedError
from autodistill.models import build_student, family_of
from autodistill.models.base import Batch, Outputs, StudentModule, full_precision, mixed_precision, pick_device, to_device
from autodistill.models.fitting import all_logits, cpu_threads, warmup_and_decay
from autodistill.models.form import TrialReads
from autodistill.models.saved import save_student
from autodistill.recipe import Recipe
from autodistill.records import Point
from autodistill.train.assignment import Assignment, Report, TrialResult
from autodistill.train.batches import Batches
from autodistill.train.checkpoint import Best, read_checkpoint, write_checkpoint
from autodistill.train.cost import count_flops, count_parameters
from autodistill.train.data import TrialData, open_data, places
from autodistill.train.device_steps import DeviceSteps
from autodistill.train.graphs import Recorder, recorder_for
from autodistill.train.objective import BatchLabels, Objective
from autodistill.train.optimizers import Dot, training_optimizer
from autodistill.train.reading import ReadBatch, read_batches
from autodistill.train.resident import ResidentViews, resident_budget
from autodistill.train.schedule import Schedule
from autodistill.train.taps import reads_single_tokens, student_taps, teacher_taps

GRADIENT_NORM = 1.0


def run_trial(assignment: Assignment, report: Report) -> TrialResult:
    """Train one student as its recipe says, report each epoch, keep the best epoch's weights.

    Raises:
        DivergedError: the loss is not a finite number.
        SystemExit: from `report`, if the search has stopped the trial.
    """
    with cpu_threads(assignment.threads):
        try:
            return _run(assignment, report)
        finally:
            if torch.cuda.is_available():  # the worker process stays: free the memory for its next trial and for other workers
                gc.collect()  # recorded steps and their trainer refer to each other
                torch.cuda.empty_cache()


def _run(assignment: Assignment, report: Report) -> TrialResult:
    began = time.perf_counter()
    recipe, device = assignment.recipe, pick_device(assignment.device)
    data = open_data(assignment)
    seconds = {"data": time.perf_counter() - began, "outputs": 0.0, "training": 0.0, "evaluation": 0.0}

    torch.manual_seed(assignment.seed)
    student = build_student(recipe, data.context).to(device)
    trainer = Trainer(recipe, student, data, device, min(recipe.training.epochs, assignment.max_epochs), assignment.seed)
    best: Best | None = None
    done, file = 0, None if assignment.checkpoint is None else Path(assignment.checkpoint)
    if file is not None:
        done, best = read_checkpoint(file, trainer)
    for epoch in range(done + 1, trainer.epochs + 1):
        turn = time.perf_counter()
        losses = trainer.train_epoch(epoch)
        trained = time.perf_counter()
        logits = all_logits(student, data.validation, data.num_outputs, device)  # in float32, as the student that is kept
        metrics = data.dataset.target.evaluate(data.metric, logits.numpy(), data.dataset.validation.labels)
        validation_loss = data.validation_loss(logits)
        compared = _compared(student, data, metrics[data.metric], device)
        now = time.perf_counter()
        seconds["training"] += trained - turn
        seconds["evaluation"] += now - trained
        point = Point(
            epoch=epoch,
            score=metrics[data.metric],
            train_loss=sum(losses.values()),
            validation_loss=validation_loss,
            seconds=now - began,
            losses=losses,
            **compared,
        )
        if best is None or point.rank_score > best.point.rank_score:
            best = Best(point, metrics, trainer.form.copy_weights(), logits)
        if file is not None:
            write_checkpoint(file, trainer, epoch, best)
        report(point)
    trainer.form.restore()
    seconds["outputs"] = data.outputs_seconds
    assert best is not None, "a recipe has at least one epoch"

    point = best.point
    if assignment.student_folder is not None:
        facts = {"score": point.score, "metric": data.metric, "classes": data.classes, "task": recipe.task, "seed": assignment.seed}
        facts |= {"target_mean": data.opened.scaling.mean, "target_scale": data.opened.scaling.scale}
        tuned = data.dataset.target.tuned(data.metric, best.logits.numpy(), data.dataset.validation.labels)
        facts |= {} if tuned.thresholds is None else {"thresholds": tuned.thresholds}
        save_student(Path(assignment.student_folder), best.weights, recipe, data.context, facts)
    flops = count_flops(student, to_device(data.validation.batch(data.typical_row), device))
    costs = count_parameters(student), flops, seconds, trainer.notes
    return TrialResult(point.score, point.epoch, best.metrics, *costs, agreement=point.agreement, standing=point.standing)


def _compared(student: StudentModule, data: TrialData, score: float, device: torch.device) -> dict[str, float]:
    """The agreement and the standing of an epoch's `Point`; nothing where students are compared by the validation split alone."""
    if data.agreement is None:
        return {}
    logits = all_logits(student, data.read.train, data.num_outputs, device, data.agreement.rows)
    agreement = data.agreement.measure(logits.numpy())
    return {"agreement": agreement, "standing": data.agreement.standing(score, agreement)}


def _not_recorded(recipe: Recipe) -> str | None:
    """What of a recipe makes a step differ from the one that was recorded, other than its rows; None if nothing does."""
    if recipe.training.optimizer != "adamw":
        return f"training.optimizer: {recipe.training.optimizer}"
    return "objective.self_distillation, of which the share grows," if recipe.objective.self_distillation else None


class Trainer:
    """A student in training, with its objective, optimizer and schedule.

    resident_bytes: what the training rows may take on the device, if batches are to be made there; None for `resident_budget`. recorder:
    records steps on rows that are there, by default CUDA graphs, if rows may be on a GPU.
    """

    def __init__(
        self,
        recipe: Recipe,
        student: StudentModule,
        data: TrialData,
        device: torch.device,
        epochs: int,
        seed: int,
        *,
        resident_bytes: int | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.recipe, self.student, self.data, self.device = recipe, student, data, device
        self.epochs = epochs if recipe.objective.teaches else 1  # a student that learns nothing is only looked at
        self.taps = student_taps(recipe)
        self.family = family_of(recipe.student)
        reads = TrialReads(data.token_ids(), data.context.pad_id, self.taps, reads_single_tokens(recipe))
        self.form = self.family.training_form(student, reads)
        self.order = torch.Generator().manual_seed(seed)
        self.mixing = np.random.default_rng(seed)
        self.objective = self._objective().to(device)
        if resident_bytes is None:
            resident_bytes = resident_budget() if device.type == "cuda" else 0
        recorder = recorder or (recorder_for(device) if resident_bytes else None)
        refusal = _not_recorded(recipe)
        by_table = recorder is not None and refusal is None
        self.optimizer = training_optimizer([student, self.objective], recipe.training, capturable=by_table)
        self.batches = Batches(data, epochs, self.order)
        steps = epochs * self.batches.per_epoch
        factor = warmup_and_decay(steps, recipe.training.warmup)
        self.schedule = Schedule(self.optimizer, factor, steps, device if by_table else None)
        self.resident = ResidentViews(data.train_labels, device, resident_bytes)
        self._recorder = recorder if by_table else None
        self._notes: dict[str, None] = {}
        if recorder is not None and refusal is not None:
            self._notes[f"{refusal} is not recorded as CUDA graphs"] = None

    def _objective(self) -> Objective:
        """It is built after a dry run on two rows, which shows how many layers there are and how wide they are."""
        rows = torch.arange(min(2, self.data.rows))
        view = self.data.view(0)
        batch = to_device(view.batch(rows), self.device)
        self.student.eval()
        with torch.no_grad():
            student = self.data.side(self.student(batch, taps=self.taps), batch)
        if view.teacher_outputs is not None:
            shape = view.teacher_outputs.shape
            view = self.data.view(0, teacher_taps(self.recipe, student.layers, student.attention_layers, shape))
        teacher_outputs = view.teacher_batch(rows)
        teacher = None if teacher_outputs is None else self.data.side(to_device(teacher_outputs, self.device), batch)
        return Objective(self.recipe, student, teacher, self.data.split_facts(view))

    def _stateful(self) -> dict[str, Any]:
        return {"student": self.student, "objective": self.objective, "optimizer": self.optimizer, "schedule": self.schedule}

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on, as tensors, numbers and texts."""
        random: dict[str, Any] = {"torch": torch.get_rng_state(), "mixing": json.dumps(self.mixing.bit_generator.state)}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        return {name: part.state_dict() for name, part in self._stateful().items()} | {"form": self.form.state(), "random": random}

    def resume(self, state: dict[str, Any], epochs: int) -> None:
        """Go on from a `state` after this many epochs. The batches of these epochs are drawn again, as their order is of one stream."""
        for epoch in range(1, epochs + 1):
            self.batches.of_epoch(epoch, self.data.view(epoch - 1))
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])
        self.form.resume(state["form"])
        torch.set_rng_state(state["random"]["torch"].cpu())
        self.mixing.bit_generator.state = json.loads(state["random"]["mixing"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random"]["cuda"].cpu(), self.device)

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the epoch's view; returns the mean of each weighted term. Nothing happens if the recipe has none."""
        if not self.recipe.objective.teaches:
            return {}
        view = self.data.view(epoch - 1)
        self.student.train()
        self.objective.train()
        self.objective.progress = epoch / self.epochs
        batches = self.batches.of_epoch(epoch, view)
        resident = self.resident.get(view)
        if resident is not None and self.recipe.augmentation.mixup == 0:
            totals = self.device_steps.take(resident, batches, lambda step: self.batches.has_hard_labels(epoch, step))
        elif resident is not None:
            self._notes["mixup is drawn on the CPU, so its steps are not recorded as CUDA graphs"] = None
            totals = self._learn_all(map(resident.read, batches), epoch)
        else:
            totals = self._learn_all(read_batches(lambda rows: self.read(rows, epoch), batches, self.device), epoch)
        losses = {name: total / len(batches) for name, total in totals.items()}
        if not math.isfinite(sum(losses.values())):
            bad = ", ".join(f"{name} {value}" for name, value in losses.items() if not math.isfinite(value))
            raise DivergedError(f"the loss is not a finite number in epoch {epoch}: {bad}; a smaller learning rate or weight may help")
        return losses

    @functools.cached_property
    def device_steps(self) -> DeviceSteps:
        """The steps on rows that are on the device. It refers to the trainer, so it is only made where it is needed."""
        return DeviceSteps(self.descend, self.data.places, self._stepped, self._recorder)

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the trial runs more slowly on a GPU than it could, and why: for the study's log."""
        made = vars(self).get("device_steps")
        refusals = [] if made is None or made.refusal is None else [f"its steps are not recorded as CUDA graphs: {made.refusal}"]
        return (*self._notes, *self.resident.refusals, *refusals)

    def _learn_all(self, reads: Iterable[ReadBatch], epoch: int) -> dict[str, float]:
        """One step on each batch of an epoch; returns the sum of each weighted term."""
        totals: dict[str, Tensor] = {}
        for step, read in enumerate(reads):
            for name, value in self.learn(read, self.batches.has_hard_labels(epoch, step)).items():
                totals[name] = totals[name] + value if name in totals else value
        return {name: float(value) for name, value in totals.items()}

    def step(self, rows: Tensor, epoch: int) -> dict[str, Tensor]:
        """One optimizer step on some rows, in the epoch's view; returns each weighted term."""
        return self.learn(self.read(rows, epoch), self.batches.has_hard_labels(epoch, 0))

    def read(self, rows: Tensor, epoch: int) -> ReadBatch:
        """The rows, on the CPU."""
        view = self.data.view(epoch - 1)
        return ReadBatch(rows, self.data.train_labels[rows], view.batch(rows), view.teacher_batch(rows))

    def learn(self, read: ReadBatch, hard_labels: bool = True) -> dict[str, Tensor]:
        """One optimizer step on a batch; returns each weighted term. hard_labels: whether they count in this step."""
        batch, teacher_outputs, labels = read.batch, read.teacher_outputs, read.labels
        augmentation = self.recipe.augmentation
        mixed: AbstractContextManager[None] = nullcontext()
        if augmentation.mixup > 0:
            mix = self.data.dataset.modality.mix(batch, augmentation.mixing, augmentation.mixup, self.mixing)
            batch, teacher_outputs = mix.batch(batch), None if teacher_outputs is None else mix.outputs(teacher_outputs)
            batch_labels = self._mixed_labels(read, mix)
            mixed = mix.embeddings(self.family.word_table(self.student))
        else:
            batch_labels = BatchLabels(labels, read.rows, **self.data.places(read.rows))
        teacher_outputs = None if teacher_outputs is None else to_device(teacher_outputs, self.device)
        with mixed:
            parts = self.descend(to_device(batch, self.device), teacher_outputs, batch_labels.to(self.device), hard_labels)
        self._stepped()
        return parts

    def _mixed_labels(self, read: ReadBatch, mix: Mix) -> BatchLabels:
        """The labels of mixed rows. A row has teacher outputs only if its partner has them too."""
        labelled, scored = self.data.labelled(read.rows), self.data.scored(read.rows)
        return BatchLabels(
            read.labels,
            read.rows,
            read.labels[mix.partner],
            mix.share,
            labelled=None if labelled is None else places(labelled),
            partner_labelled=None if labelled is None else places(labelled[mix.partner]),
            scored=None if scored is None else places(scored & scored[mix.partner]),
        )

    def descend(self, batch: Batch, teacher_outputs: Outputs | None, labels: BatchLabels, hard_labels: bool) -> dict[str, Tensor]:
        """The optimizer's step on a batch that is on the device; returns each weighted term. Nothing of it needs the CPU's memory, unless
        the student, an objective or the optimizer does.
        """
        with mixed_precision(self.student, self.device):
            student_outputs = self.student(batch, taps=self.taps)
        teacher = None if teacher_outputs is None else self.data.side(teacher_outputs, batch)
        loss, parts = self.objective(self.data.side(full_precision(student_outputs), batch), teacher, labels, hard_labels)
        self._backward(loss, parts)
        self.schedule.advance()
        self.optimizer.step()
        return {name: value.detach() for name, value in parts.items()}

    def _stepped(self) -> None:
        """After a step, on the CPU."""
        self.form.stepped(1.0 - self.schedule.rate * self.optimizer.param_groups[0]["weight_decay"])
        self.schedule.stepped()

    def _backward(self, loss: Tensor, parts: dict[str, Tensor]) -> None:
        """The gradients of the loss, clipped. parts: its terms."""
        if isinstance(self.optimizer, Dot):
            of_teacher = [value for name, value in parts.items() if name != "hard_label"]
            self.optimizer.backward(parts.get("hard_label"), torch.stack(of_teacher).sum() if of_teacher else None)
        else:
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        norm = nn.utils.clip_grad_norm_(self.student.parameters(), GRADIENT_NORM)
        if isinstance(self.optimizer, Dot):
            self.optimizer.scale(self.student.parameters(), (GRADIENT_NORM / (norm + 1e-6)).clamp(max=1.0))  # as clip_grad_norm_ does
