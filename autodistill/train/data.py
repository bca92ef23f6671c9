"""What a trial reads: the rows as the student reads them, view by view, and the teacher's outputs for them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autodistill.augment.views import ORIGINAL, Reader, view_count, view_key
from autodistill.errors import RecipeError
from autodistill.models import family_of
from autodistill.models.base import Batch, Inputs, Outputs, StudentContext
from autodistill.models.pooled import read_head
from autodistill.models.reread import same_tokens
from autodistill.models.sides import Side
from autodistill.models.start import check_start
from autodistill.recipe import Recipe, Teacher
from autodistill.target import Scaling
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef
from autodistill.teacher.embedding import taught
from autodistill.teacher.outputs import OutputsProgress, TeacherOutputs, ensure_outputs
from autodistill.teacher.plan import Taps
from autodistill.teacher.scored import ScoredOutputs, has_scores
from autodistill.train.agreement import Agreement, agreement_count
from autodistill.train.assignment import Assignment
from autodistill.train.choice import chosen_rows
from autodistill.train.objective import SplitFacts
from autodistill.train.student_tokens import check_tokens


@dataclass(frozen=True)
class Opened:
    """A dataset as one teacher reads it, or as a student with a tokenizer of its own does. A worker keeps it from trial to trial.

    train: the labelled rows, then the unlabelled ones. folder: the teacher's. scaling: the scale on which students learn the training
    targets. own_readings: the same rows as read by students with a tokenizer of their own, by the folder of that tokenizer.
    """

    dataset: Dataset
    tokenizer: Any
    train: Inputs
    validation: Inputs
    context: StudentContext
    folder: Path
    scaling: Scaling
    own_readings: dict[Path, Opened] = field(default_factory=dict, compare=False, repr=False)


def open_inputs(dataset: Dataset, teacher: Teacher, folder: str | Path) -> Opened:
    """Encode a dataset's splits for a fine-tuned teacher, or read them from the cache. If it has no labels: `taught` by the teacher."""
    folder, modality = Path(folder), dataset.modality
    tokenizer = modality.open_tokenizer(folder)
    train, validation = (modality.encode(split, teacher, tokenizer) for split in (dataset.all_training_rows, dataset.validation))
    if not dataset.target.has_labels:
        dataset = taught(dataset, teacher, folder, tokenizer, validation)
    scaling = dataset.target.scaling(dataset.train.labels)
    context = StudentContext(
        task=dataset.task,
        num_outputs=dataset.num_outputs,
        max_length=teacher.max_length,
        ends=head.ends if (head := read_head(folder)) else None,
        target_mean=scaling.mean,
        target_scale=scaling.scale,
        teacher=folder,
        **modality.student_fields(train, tokenizer),
    )
    return Opened(dataset, tokenizer, train, validation, context, folder, scaling)


def read_by_student(opened: Opened, recipe: Recipe) -> Opened:
    """The dataset as a recipe's student reads it. opened: the dataset as the recipe's teacher reads it.

    A student with a tokenizer of its own has its own encoded rows, cut to the same number of tokens. If that tokenizer gives every text the
    teacher's ids, both share the same rows.

    Raises:
        ModelError: the student's model is not available.
        DataError, RunError: see `Modality.encode`.
    """
    is_of_teacher = "teacher_layers" in recipe.student.spec.options  # then the teacher's configuration is kept with the student
    source = opened.folder if is_of_teacher else family_of(recipe.student).source(recipe.student)
    if source is None:
        return opened
    if source not in opened.own_readings:
        opened.own_readings[source] = _reread(opened, recipe.teacher, source)
    return opened.own_readings[source]


def _reread(opened: Opened, teacher: Teacher, source: Path) -> Opened:
    dataset, modality = opened.dataset, opened.dataset.modality
    tokenizer = modality.open_tokenizer(source)
    if same_tokens(opened.tokenizer, tokenizer):
        return replace(opened, context=replace(opened.context, source=source), own_readings={})
    train, validation = (modality.encode(split, teacher, tokenizer) for split in (dataset.all_training_rows, dataset.validation))
    context = replace(opened.context, source=source, **modality.student_fields(train, tokenizer))
    return replace(opened, tokenizer=tokenizer, train=train, validation=validation, context=context, own_readings={})


@functools.lru_cache(maxsize=2)
def _dataset(ref: DatasetRef) -> Dataset:
    return load_dataset(ref)


@functools.lru_cache(maxsize=8)
def _opened(ref: DatasetRef, teacher: Teacher, folder: str) -> Opened:
    return open_inputs(_dataset(ref), teacher, folder)


class TrialData:
    """The rows of one trial. A view is made, and the teacher's outputs for it are stored, when an epoch first asks for it.

    opened: the rows as the teacher reads them. read: the rows as the student reads them. unlabelled: (U,) int64, the numbers of the
    unlabelled rows that a student may learn from. judge: the folder of the teacher by whose decisions students are compared, None if they
    are not.

    Raises:
        RecipeError: the student has another tokenizer than the teacher, and an objective compares them token by token.
        ModelError: the student's model is not available.
    """

    def __init__(
        self, opened: Opened, recipe: Recipe, *, device: str = "auto", threads: int | None = None, judge: str | Path | None = None
    ) -> None:
        self.opened, self.recipe, self.device, self.threads = opened, recipe, device, threads
        check_tokens(recipe, opened.tokenizer)
        check_start(recipe.student, opened.tokenizer, recipe.teacher.model)
        self.read = read_by_student(opened, recipe)
        self.dataset, self.context = opened.dataset, self.read.context
        self.rows, self.metric, self.classes = len(self.dataset.train), self.dataset.metric, self.dataset.classes
        self.all_rows = len(opened.train)
        self.num_outputs = self.dataset.num_outputs
        self.train_labels, self.validation_labels = (
            self.dataset.target.to_learn(split.labels, opened.scaling)
            for split in (self.dataset.all_training_rows, self.dataset.validation)
        )
        self.validation = self.read.validation
        self.typical_row = self.validation.median_row()
        self.outputs_seconds = 0.0
        self._views: dict[int, TrainView] = {}
        self._taps = Taps()
        self.agreement = None if judge is None else self._agreement(Path(judge))
        held_out = torch.arange(0) if self.agreement is None else self.agreement.rows
        every = torch.arange(self.rows, self.all_rows)
        self.unlabelled = every[~torch.isin(every, held_out)]

    def _agreement(self, judge: Path) -> Agreement | None:
        """What students are compared by beside the validation split, as a teacher decides; None if that split is enough."""
        if not agreement_count(self.dataset):
            return None
        outputs = self._outputs_of(judge, self.opened.train, ORIGINAL, Taps())
        return Agreement.of(self.dataset, outputs.column("logits"), outputs.is_scored if isinstance(outputs, ScoredOutputs) else None)

    def _outputs_of(self, teacher: Path, inputs: Inputs, view: str, taps: Taps) -> TeacherOutputs | ScoredOutputs:
        """A teacher's outputs for a view of the training rows: from its file of scores, or stored. teacher: its folder."""
        if has_scores(teacher):
            return ScoredOutputs(teacher, inputs, self.dataset.modality)
        return ensure_outputs(self.dataset, "train", inputs, teacher, view=view, taps=taps, device=self.device, threads=self.threads)

    def side(self, outputs: Outputs, batch: Batch) -> Side:
        """A model's outputs on a batch, as objectives read them. Outputs that are vectors are themselves the embedding."""
        outputs = replace(outputs, embedding=outputs.logits) if self.dataset.target.are_vectors else outputs
        return self.dataset.modality.side(outputs, batch)

    def validation_loss(self, logits: Tensor) -> float:
        """The target's loss on the validation labels; logits (N, C) are on the student's scale."""
        return float(self.dataset.target.loss(logits, self.validation_labels))

    def view(self, epoch: int, taps: Taps | None = None) -> TrainView:
        """The view that an epoch (from 0) reads. taps: which teacher outputs the recipe needs; remembered for later epochs."""
        if taps is not None and taps != self._taps:
            self._taps = taps
            self._views.clear()
        copy = epoch % view_count(self.recipe.augmentation)
        if copy not in self._views:
            began = time.perf_counter()
            self._views[copy] = self._make(copy)
            self.outputs_seconds += time.perf_counter() - began
        return self._views[copy]

    def _make(self, copy: int) -> TrainView:
        opened, augmentation, seed = self.opened, self.recipe.augmentation, self.dataset.ref.seed
        reader = Reader(opened.tokenizer, self.context.max_length, opened.folder, self.recipe.teacher.model, self.device)
        rows, modality = self.dataset.all_training_rows, self.dataset.modality
        inputs = modality.view(rows, opened.train, reader, augmentation, copy, seed)
        own = inputs
        if self.read.train is not opened.train:
            same = inputs is opened.train
            own = self.read.train if same else modality.reread_view(rows, inputs, reader, self.read.tokenizer, augmentation, copy, seed)
        if not self.recipe.objective.terms:
            return TrainView(own, None, opened.scaling)
        teacher_outputs = self._outputs_of(opened.folder, inputs, view_key(augmentation, copy, seed), self._taps)
        return TrainView(own, teacher_outputs, opened.scaling)

    def token_ids(self) -> tuple[Tensor, ...] | None:
        """The token ids of all rows that the student reads; None if rows have no tokens or if these change from view to view."""
        train = self.read.train
        lengths = train.lengths
        if lengths is None or self.recipe.augmentation.name != "none":
            return None
        with_others = self.recipe.training.unlabelled_share > 0 or self.agreement is not None
        read = self.all_rows if with_others else self.rows
        return train.ids[: int(lengths[:read].sum())], self.validation.ids

    def unlabelled_rows(self, view: TrainView) -> Tensor:
        """The numbers of the unlabelled rows that the recipe uses, (K,) int64.

        Raises:
            RecipeError: it uses some, and the dataset has none.
        """
        training = self.recipe.training
        if training.unlabelled_share == 0:
            return torch.arange(0)
        if self.all_rows == self.rows:
            raise RecipeError(
                f"training.unlabelled_share is {training.unlabelled_share}, and the dataset {self.dataset.name!r} has no unlabelled rows; "
                "give some with --unlabelled, or set it to 0"
            )
        assert view.teacher_outputs is not None, "a recipe that uses unlabelled rows has objectives"
        rows = self.unlabelled
        scored = self.scored(rows)
        if scored is not None:
            rows = rows[scored]
        if training.unlabelled_choice == "all":
            return rows
        logits, embeddings = (view.teacher_outputs.column(name)[rows] for name in ("logits", "embedding"))
        seed = self.dataset.ref.seed
        return rows[chosen_rows(training.unlabelled_choice, training.unlabelled_keep, logits, embeddings, seed)]

    def places(self, rows: Tensor) -> dict[str, Any]:
        """Where in a batch the rows are that have what others lack, by the names of `BatchLabels`: `labelled` (L,), `scored` (S,) int64.

        A name that all rows have is left out. rows: (B,) int64, on the CPU.
        """
        having = {"labelled": self.labelled(rows), "scored": self.scored(rows)}
        return {name: places(part) for name, part in having.items() if part is not None}

    def labelled(self, rows: Tensor) -> Tensor | None:
        """Which rows have a label, (B,) bool; None if all do."""
        labelled = rows < self.rows
        return None if bool(labelled.all()) else labelled

    def scored(self, rows: Tensor) -> Tensor | None:
        """Which rows have scores in a file of teacher scores, (B,) bool; None if the teacher is a network, which has outputs for all."""
        teacher_outputs = self.view(0).teacher_outputs
        if not isinstance(teacher_outputs, ScoredOutputs) or bool(teacher_outputs.is_scored[rows].all()):
            return None
        return teacher_outputs.is_scored[rows]

    def split_facts(self, view: TrainView) -> SplitFacts:
        """What the modules of objectives may ask about the training split, in this view: facts of its labelled rows, and the number of all
        rows, including unlabelled ones.
        """

        def teacher_column(name: str) -> Tensor:
            assert view.teacher_outputs is not None, "only a recipe with objectives asks"
            return view.teacher_outputs.column(name)[: self.rows]

        return {
            "classes": lambda: self.num_outputs,
            "rows": lambda: self.all_rows,
            "labels": lambda: self.train_labels[: self.rows],
            "teacher_embeddings": lambda: teacher_column("embedding"),
            "teacher_logits": lambda: self.opened.scaling.apply(teacher_column("logits")),
        }


class TrainView:
    """One view of the training rows, as the student reads it, and the teacher's outputs for it (None if the recipe needs no teacher)."""

    def __init__(self, inputs: Inputs, teacher_outputs: TeacherOutputs | ScoredOutputs | None, scaling: Scaling) -> None:
        self.inputs, self.teacher_outputs, self.scaling = inputs, teacher_outputs, scaling
        self.lengths = inputs.lengths

    @property
    def is_stored(self) -> bool:
        """Whether all of it is stored: no teacher runs with the batches."""
        return not isinstance(self.teacher_outputs, TeacherOutputs) or not self.teacher_outputs.plan.live

    def batch(self, rows: Tensor) -> Batch:
        """The rows as the student reads them."""
        return self.inputs.batch(rows)

    def teacher_batch(self, rows: Tensor) -> Outputs | None:
        """The teacher's outputs for the rows, on the student's scale."""
        return None if self.teacher_outputs is None else self.scaled(self.teacher_outputs.batch(rows))

    def scaled(self, outputs: Outputs) -> Outputs:
        """The teacher's outputs on the student's scale."""
        return replace(outputs, logits=self.scaling.apply(outputs.logits))


def places(mask: Tensor) -> Tensor:
    """The places of the rows that a mask (B,) keeps, (R,) int64."""
    return mask.nonzero()[:, 0]


def open_data(assignment: Assignment) -> TrialData:
    """The data of a trial.

    Raises:
        RecipeError: the assignment names no teacher. Even a student that learns from labels alone reads the teacher's tokens.
    """
    if assignment.teacher is None:
        raise RecipeError("the assignment has no fine-tuned teacher's folder; train_teacher makes one")
    opened = _opened(assignment.dataset, assignment.recipe.teacher, assignment.teacher)
    return TrialData(opened, assignment.recipe, device=assignment.device, threads=assignment.threads, judge=assignment.judge)


def prepare_outputs(opened: Opened, taps: Taps, progress: Callable[[OutputsProgress], None]) -> str:
    """Store the teacher's outputs for the original rows. Returns a sentence: what is stored and what will be computed live."""
    teacher_outputs = ensure_outputs(opened.dataset, "train", opened.train, opened.folder, taps=taps, progress=progress)
    plan = teacher_outputs.plan
    stored = sum(plan.bytes[kind] for kind in plan.stored)
    text = f"{', '.join(plan.stored)} of {len(teacher_outputs):,} rows stored ({stored / 1e6:,.1f} MB)"
    return f"{text}; {plan.message}" if plan.message else text


def median_row(inputs: Inputs) -> Tensor:
    """The row of median length, as a batch of one row number."""
    return inputs.median_row()
