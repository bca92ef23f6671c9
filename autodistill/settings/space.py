"""The settings of the space: where recipes come from, and which students may be proposed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

from autodistill.assistant import find_assistant
from autodistill.components import TASKS
from autodistill.errors import DataError, SpaceError, UsageError
from autodistill.option import WHAT, setting
from autodistill.recipe import SELF, ClassWeights
from autodistill.settings.dataset import DatasetSettings
from autodistill.settings.scores_file import no_scores, with_scores_file
from autodistill.space import Space, shipped_spaces, space_tasks
from autodistill.storage import user_path
from autodistill.tasks.base import DatasetRef
from autodistill.values import COUNT_OR_SHARE, MILLISECONDS_OR_SHARE, SCORES, TEXT, many, one_of, whole
from autodistill.yamlfile import load_yaml

RANDOM = "random"
"""The name of the control among the teachers: the space's own model with random weights."""


class SpaceSettings(DatasetSettings):
    """The space: where recipes come from, and which students may be proposed."""

    space: Annotated[str | None, TEXT] = setting(
        None, "the search space (default: the shipped one for the task; see `autodistill spaces`)", "NAME|PATH", WHAT
    )
    teacher: Annotated[tuple[str, ...], many(TEXT)] = setting(
        (),
        "a transformers model (hub id or folder), timm:NAME for images, `random` for a control that is not trained, or `self` for none: "
        "students learn from their own past predictions; may be repeated, for several teachers to choose from",
        "MODEL",
        WHAT,
    )
    max_params: Annotated[int | str | None, COUNT_OR_SHARE] = setting(
        None, "the most parameters of a student, or a share of the teacher's", "5M|1/7.5", WHAT
    )
    max_latency_ms: Annotated[float | str | None, MILLISECONDS_OR_SHARE] = setting(
        None, "the longest time of a student for one row on this machine, or a share of the teacher's", "2ms|1/9.4", WHAT, "--max-latency"
    )

    teacher_scores: Annotated[str | None, SCORES] = setting(
        None, "a file of a teacher's scores for texts or images, instead of a network: see docs/data.md", "FILE", WHAT
    )
    max_length: Annotated[int | None, whole(8)] = setting(None, "read at most N tokens of each text (default: the space's, 128)", "N", WHAT)
    class_weights: Annotated[str | None, one_of(*get_args(ClassWeights))] = setting(
        None,
        "the weights of the classes in the loss on hard labels, for teachers and students: balanced means by inverse frequency, for "
        "classes of very different sizes (default: the space's)",
        "balanced|none",
        WHAT,
    )

    @property
    def ref(self) -> DatasetRef:
        """A reference with which a worker opens the same rows."""
        return with_scores_file(super().ref, self.teacher_scores)

    @property
    def has_no_teacher(self) -> bool:
        """Whether students learn from themselves."""
        return self.teacher == (SELF,)

    def open_space(self, shipped: str, task: str) -> Space:
        """The space for a task, with these settings in place of its own. shipped: the name of the default space.

        Raises:
            SpaceError: there is no such space, it does not validate, it is not for the task, it lacks a parameter that should be fixed,
                class weights are set and the task has no classes, or the most tokens of a text and its rows are images.
            UsageError: a teacher is a finished student that reads another number of tokens.
            StudyError: a teacher is a study without a best student, or a study of images.
        """
        space = Space.load(self.space or shipped, task)
        if self.class_weights is not None:
            space = space.with_class_weights(self.class_weights)
        if self.max_length is not None:
            space = space.with_max_length(self.max_length)
        if self.teacher == (RANDOM,):
            return space.with_random_teacher()
        if self.has_no_teacher:  # `prepare` leaves out what needs one, and says what
            return space
        space = space.with_teacher_models(self.teacher) if self.teacher else space
        for model in dict.fromkeys(teacher.model for teacher in space.teachers()):
            assistant = find_assistant(model)
            if assistant is None:
                continue
            read = assistant.fields["max_length"]
            if self.max_length not in (None, read):
                raise UsageError(
                    f"max_length is {self.max_length}, but the teacher {model} is a finished student that reads {read} tokens; leave it out"
                )
            space = space.with_assistant(model, assistant.fields, assistant.has_attention)
        return space

    def check(self) -> None:
        """Check what can be checked before the dataset is read, including the space.

        Raises:
            DataError: a file of unlabelled rows, or of a teacher's scores, does not exist.
            UsageError: a teacher is named twice, or `random` beside others; or there are a teacher's scores, and what needs a network.
            SpaceError: the space cannot be read.
        """
        super().check()
        twice = [model for number, model in enumerate(self.teacher) if model in self.teacher[:number]]
        if twice:
            raise UsageError(f"teacher names {twice[0]!r} twice; name each model once")
        for name, what in ((RANDOM, "a control"), (SELF, "a search without a teacher")):
            if name in self.teacher and len(self.teacher) > 1:
                raise UsageError(f"teacher is `{name}` with other teachers, but {what} needs its own search; leave out the others, or it")
        if self.has_no_teacher and (isinstance(self.max_params, str) or isinstance(self.max_latency_ms, str)):
            raise UsageError("a limit is a share of the teacher's, but the teacher is `self`, which has no size; give limits as numbers")
        if self.teacher_scores is not None and self.has_no_teacher:
            raise UsageError("teacher is `self`, which means none, and teacher_scores is one; leave one of them out")
        if self.teacher_scores is not None:
            if isinstance(self.max_params, str) or isinstance(self.max_latency_ms, str):
                raise UsageError("a limit is a share of the teacher's, but a file of scores has no size; give limits as numbers")
            if not user_path(self.teacher_scores, DataError).is_file():
                raise DataError(no_scores(self.teacher_scores))
        if self.space is not None:
            self.open_space(self.space, _first_task(self.space))


def _first_task(space: str) -> str:
    """One of the tasks that a space declares. If it declares none, any task: reading the space then reports that error."""
    shipped = shipped_spaces()
    if space in shipped:
        return space_tasks(shipped[space])[2][0]
    if not Path(space).is_file():
        return TASKS[0]
    data = load_yaml(Path(space), SpaceError).data
    tasks = data.get("tasks") if isinstance(data, dict) else None
    return next((task for task in tasks if task in TASKS), TASKS[0]) if isinstance(tasks, list) else TASKS[0]
