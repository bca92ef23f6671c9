"""The stages that a search and a distillation have in common: the teacher and its outputs, found or made, and told of."""

from __future__ import annotations

import time

from autodistill import events
from autodistill.events import Listen, SearchMessage, StageFinished, StageProgress, StageStarted
from autodistill.facts import TeacherRef
from autodistill.recipe import Teacher
from autodistill.tasks.base import Dataset
from autodistill.teacher.finetune import TeacherProgress, finetune_teacher
from autodistill.teacher.outputs import OutputsProgress
from autodistill.teacher.plan import Taps
from autodistill.train.data import Opened, prepare_outputs


class Stage:
    """Tells a stage's start and, when it ends well, its end and duration."""

    def __init__(self, tell: Listen, stage: events.Stage, text: str) -> None:
        self.tell, self.stage, self.text = tell, stage, text

    def __enter__(self) -> Stage:
        self.began = time.monotonic()
        self.tell(StageStarted(self.stage, self.text))
        return self

    def end(self, text: str) -> None:
        """Say what came of it."""
        self.text = text

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.tell(StageFinished(self.stage, time.monotonic() - self.began, self.text))


def tell_of_rows(data: Dataset, tell: Listen) -> None:
    """Tell what was decided about the rows, and what people should look at."""
    for note in data.notes:
        tell(SearchMessage(note))
    for warning in data.warnings:
        tell(SearchMessage(warning, "warning"))


def train_teacher(data: Dataset, part: Teacher, seed: int, tell: Listen) -> TeacherRef:
    """Fine-tune a teacher, or find it, telling how far it is."""

    def progress(now: TeacherProgress) -> None:
        score = "" if now.score is None else f", {data.metric} {now.score:.4f}"
        tell(StageProgress("teacher", now.step, now.steps, f"epoch {now.epoch} of {now.epochs}, loss {now.loss:.3f}{score}"))

    trains = part.init != "random"
    with Stage(tell, "teacher", f"fine-tuning {part.model}" if trains else f"{part.model} with random weights") as stage:
        found = finetune_teacher(data, part, seed, progress=progress)
        how = "found in the cache" if found.reused else "fine-tuned" if trains else "left with random weights"
        stage.end(f"{part.model} {how}, {data.metric} {found.score:.4f}")
    return TeacherRef(str(found.folder), found.score)


def store_outputs(opened: Opened, part: Teacher, taps: Taps, tell: Listen) -> None:
    """Store what the teacher says of the training rows, as far as any trial can ask for it."""

    def progress(now: OutputsProgress) -> None:
        tell(StageProgress("outputs", now.done, now.rows, ", ".join(now.kinds)))

    with Stage(tell, "outputs", f"storing what {part.model} says of the training rows") as stage:
        stage.end(prepare_outputs(opened, taps, progress))
