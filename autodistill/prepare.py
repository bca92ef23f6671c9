"""What searching, recommending and distilling start from: the dataset, the space, the teachers and their outputs, the limits.

Each step can also be called alone; `prepare` runs them all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autodistill.assistant import find_assistant
from autodistill.errors import DataError, ModelError, RecipeError
from autodistill.events import Listen, SearchMessage, Stage
from autodistill.facts import DatasetFacts, TeacherRef
from autodistill.image_fit import fit_images
from autodistill.limit_fit import LimitFit
from autodistill.limits import Limits
from autodistill.models import family_of
from autodistill.models.base import StudentModule, precision
from autodistill.models.pretrained import pretrained_entry
from autodistill.models.sources import config_layers, config_size, config_width, head_labels
from autodistill.models.start import check_start, sizes_of, student_in
from autodistill.recipe import Recipe, Teacher
from autodistill.rows_fit import fit_rows
from autodistill.settings import DatasetSettings, SpaceSettings
from autodistill.settings.space import RANDOM
from autodistill.space import FAMILY, INIT, Space, shipped_spaces
from autodistill.stages import (
    foreign_student,
    match_scores,
    read_teacher_scores,
    store_outputs,
    tell_of_agreement,
    tell_of_rows,
    tell_of_teachers,
    tell_of_tokens,
    train_teacher,
)
from autodistill.start_fit import fit_start, folders_of
from autodistill.storage import user_path
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset
from autodistill.tasks.scores import TeacherScores
from autodistill.teacher.load import load_teacher, untrained_ensemble
from autodistill.teacher.own_head import AS_IT_COMES, are_unnamed, labels_differ
from autodistill.teacher.plan import Taps, store_budget
from autodistill.teacher_fit import fit_depths, without_larger
from autodistill.teachers import Teachers
from autodistill.token_fit import comparing_tokens, pretrained_students, without_single_tokens, without_student, without_value
from autodistill.train.agreement import agreement_count
from autodistill.train.data import Opened, open_inputs
from autodistill.train.feasible import Feasibilities, model_cost
from autodistill.train.student_tokens import reads_other_tokens
from autodistill.train.taps import space_taps
from autodistill.width_fit import fit_widths


@dataclass(frozen=True)
class Prepared:
    """The result of `prepare`.

    teachers: empty if none was fine-tuned. opened: the rows as each teacher reads them, with its outputs stored. feasible: checks an
    untrained student against the limits. fit: gives recipes over them a smaller student.
    """

    data: Dataset
    space: Space
    teachers: Teachers
    opened: dict[Teacher, Opened]
    limits: Limits
    feasible: Feasibilities
    fit: LimitFit

    @property
    def facts(self) -> DatasetFacts:
        """The facts about the dataset that records contain."""
        data = self.data
        return DatasetFacts(
            data.name,
            data.rows_fingerprint,
            data.task,
            data.metric,
            len(data.train),
            data.unlabelled_rows,
            len(data.validation),
            data.constant_score,
            agreement_count(data) if self.teachers.judge else 0,
        )


def prepare(settings: SpaceSettings, tell: Listen, *, fine_tune: bool = True, earlier: Limits | None = None) -> Prepared:
    """Prepare everything that the settings ask for.

    Args:
        settings: the user's settings.
        tell: called with the events of the stages.
        fine_tune: fine-tune the teachers and store their outputs; else they stay untrained, and only their costs are measured (those of
            vectors are scored, too).
        earlier: limits of the study that is resumed. Its milliseconds stay, because a new measurement of the teacher would differ.

    Raises:
        UserError: the dataset, the space, the teacher or the limits cannot work.
    """
    precision(), store_budget()  # environment variables that are wrong end here
    data = read_data(settings, tell)
    space = keep_own_heads(settings, open_space(settings, data, tell), data, tell)
    space = fit_starts(space, data)
    for part in {(teacher.model, teacher.max_length): teacher for teacher in space.teachers()}.values():
        tell_of_tokens(data, part, data.modality.open_tokenizer(data.modality.source(part)), tell)
    if fine_tune and not data.modality.texts:
        space = fit_networks(space.for_its_teachers(), tell)
    is_share = isinstance(settings.max_params, str) or isinstance(settings.max_latency_ms, str)
    teachers = measured = Teachers()
    if data.ref.teacher_scores is not None:  # the scores are stored as they are, and have no size
        space, teachers = teach_by_scores(data, space, data.ref.teacher_scores, tell)
        opened = open_taught(data, teachers, None, tell)
    elif settings.has_no_teacher:
        space, teachers = without_teachers(data, space, settings.seed, tell)
        opened = open_taught(data, teachers, None, tell)
    elif fine_tune or not data.target.has_labels:  # a teacher of vectors is used as it is, and only it knows how wide they are
        space = fit_tokens(fit_to_teachers(space, data, tell), data, tell)
        check_limits(settings, data, space)
        teachers = teach(data, space.teachers(), settings.seed, tell)
        opened = open_taught(data, teachers, space_taps(space) if fine_tune else None, tell)
        teachers = measured = Teachers({part: _measured(ref, load_teacher(ref.folder)[0], opened[part]) for part, ref in teachers.items()})
        tell_of_teachers(teachers, data.metric, tell)
    else:
        space = fit_tokens(fit_to_teachers(space, data, tell), data, tell)
        opened = {part: open_inputs(data, part, data.modality.source(part)) for part in space.teachers()}
        if is_share:
            blank = TeacherRef("", None)
            measured = Teachers({part: _measured(blank, untrained_ensemble(data, part), inputs) for part, inputs in opened.items()})
    if fine_tune:
        tell_of_agreement(data, teachers, tell)
    latency = settings.max_latency_ms if earlier is None or earlier.max_latency_ms is None else earlier.max_latency_ms
    limits = Limits.asked(settings.max_params, latency, measured.costs)
    if is_share:
        tell(SearchMessage(f"limits on the student: {limits.text()} ({measured.shares(settings.max_params, settings.max_latency_ms)})"))
    feasible = Feasibilities(limits, opened)
    return Prepared(data, space, teachers, opened, limits, feasible, LimitFit(space, feasible, limits, settings.seed))


def check_limits(settings: SpaceSettings, data: Dataset, space: Space) -> None:
    """Before a teacher is trained: check that a student keeps the limits that are numbers. Shares of the teacher's costs come later.

    Raises:
        StudyError: no student does.
    """
    params, latency = settings.max_params, settings.max_latency_ms
    limits = Limits(None if isinstance(params, str) else params, None if isinstance(latency, str) else latency)
    if limits != Limits() and data.target.has_labels:
        opened = {part: open_inputs(data, part, data.modality.source(part)) for part in space.teachers()}
        _ = LimitFit(space, Feasibilities(limits, opened), limits, settings.seed).defaults  # the error, if no student does


def _measured(ref: TeacherRef, model: StudentModule, opened: Opened) -> TeacherRef:
    """A teacher with its measured costs."""
    params, latency = model_cost(model, opened)
    return dataclasses.replace(ref, params=params, latency_ms=latency)


def read_data(settings: DatasetSettings, tell: Listen, *, with_test: bool = False) -> Dataset:
    """The dataset, read and checked; with_test: report bad rows of the test split too."""
    with Stage(tell, "data", f"reading {settings.dataset}") as stage:
        data = load_dataset(settings.ref, with_test=with_test)
        stage.end(f"{data.name}: {data.task}, {len(data.train):,} training and {len(data.validation):,} validation rows, {data.metric}")
    tell_of_rows(data, tell)
    return data


def open_space(settings: SpaceSettings, data: Dataset, tell: Listen) -> Space:
    """The space for the dataset's task and its rows, with the user's settings."""
    if data.modality.texts:  # a space and recorded studies know these models by their whole names
        settings = settings.model_copy(update={"teacher": tuple(map(_whole_name, settings.teacher))})
    space = settings.open_space(data.target.space or data.modality.name, data.task)
    space, note = fit_rows(space, len(data.train), data.unlabelled_rows)
    if note:
        tell(SearchMessage(note))
    return fit_images(space, data.image_size)


def keep_own_heads(settings: SpaceSettings, space: Space, data: Dataset, tell: Listen) -> Space:
    """The space in which teachers that the user names and that were trained for this task teach as they come, with their own heads.

    What a space file of the user's own says of teachers is not changed.

    Raises:
        ModelError: a model cannot be fetched.
    """
    is_named = bool(settings.teacher) and settings.teacher != (RANDOM,) and not settings.has_no_teacher and data.ref.teacher_scores is None
    is_shipped = settings.space is None or settings.space in shipped_spaces()
    if not (is_named and is_shipped and data.modality.texts and data.target.has_labels):
        return space
    for model in dict.fromkeys(teacher.model for teacher in space.teachers()):
        if find_assistant(model) is not None:
            continue
        labels = head_labels(data.modality.source(space.teacher_of(model)))
        if labels is None:
            continue
        if data.target.places_among(labels) is not None:
            space = space.with_teacher_fields(model, AS_IT_COMES)
            told = f"the teacher {model} brings a head for this task, so it teaches as it comes, without further training"
            if are_unnamed(labels) and len(labels) > 1:
                told += " (LABEL_0 is taken for 0, and so on; if they mean something else, name them in its config.json, under id2label)"
            tell(SearchMessage(told))
            continue
        instead = "a new head is trained; if they mean the same, name them alike in its config.json (id2label)"
        tell(SearchMessage(f"{labels_differ(model, labels, data.target)}, so {instead}", "warning"))
    return space


def _whole_name(model: str) -> str:
    """The hub id of a model that is named by its short name; else the name as it is."""
    entry = None if user_path(model, ModelError).is_dir() else pretrained_entry("text", model)
    return model if entry is None else entry.model


def fit_starts(space: Space, data: Dataset) -> Space:
    """The space, adapted to the folders that its students may start from: only students of the folder's family and sizes do.

    Raises:
        RecipeError: a folder holds no student, or one that reads other tokens than a teacher.
        SpaceError: the space has only students that do not fit a folder.
    """
    for folder in folders_of(space):
        part = student_in(user_path(folder, RecipeError)).model_copy(update={"init": folder})
        for teacher in space.teachers():
            check_start(part, data.modality.open_tokenizer(data.modality.source(teacher)), teacher.model)
        space = fit_start(space, folder, part.name, sizes_of(part))
    return space


def fit_tokens(space: Space, data: Dataset, tell: Listen) -> Space:
    """The space, adapted to its pretrained students. If a student's tokenizer differs from the teacher's, no objective compares single
    tokens. Students whose model is not available, or was made for another language, are left out, if there are others.

    Raises:
        ModelError: the model of the only students, or of a teacher, is not available.
    """
    for part, teacher in pretrained_students(space):
        recipe = Recipe.parse({"task": space.task, "teacher": teacher.model_dump(), "student": part})
        tokenizer = data.modality.open_tokenizer(data.modality.source(teacher))
        others = without_student(space, part["family"], part["model"])
        try:
            differ = reads_other_tokens(recipe.student, space.task, tokenizer)
        except ModelError as cause:
            if others is None:
                raise
            space = others
            tell(SearchMessage(f"left out: {cause}", "warning"))
            continue
        if not differ:
            continue
        if others is not None and (why := _why_foreign(data, recipe, tokenizer)) is not None:
            space = others
            tell(SearchMessage(f"left out: the student {part['model']}, which was hardly made for texts like these: {why}"))
            continue
        left_out = ", ".join(comparing_tokens(space))
        space = without_single_tokens(space, part["model"], teacher.model)
        who = f"for the student {part['model']} with the teacher {teacher.model}"
        tell(SearchMessage(f"left out {who}, because their tokenizers differ and these objectives compare single tokens: {left_out}"))
    return space


def _why_foreign(data: Dataset, recipe: Recipe, teacher_tokenizer: Any) -> str | None:
    """Why a recipe's pretrained student was hardly made for the texts; None if it may have been."""
    source = family_of(recipe.student).source(recipe.student)
    assert source is not None
    own, other = (data.modality.token_sample(data.train, one) for one in (data.modality.open_tokenizer(source), teacher_tokenizer))
    return None if own is None or other is None else foreign_student(own, other)


def fit_networks(space: Space, tell: Listen) -> Space:
    """The space without families of students that always start from pretrained weights of their own which cannot be had, if there are
    others. (For texts `fit_tokens` does this.)

    Raises:
        ModelError: those of the only family cannot.
    """
    for name in dict.fromkeys(str(name) for domain in space.parameters[FAMILY] for name in domain.values):
        inits = {init for domain in space.parameters.get(INIT, ()) if domain.applies({FAMILY: name}) for init in domain.values}
        if len(inits) > 1:
            continue  # it can also start from something else
        student = {"family": name, "init": inits.pop()} if inits else {"family": name}
        part = Recipe.parse({"task": space.task, "teacher": {"model": space.teachers()[0].model}, "student": student}).student
        try:
            family_of(part).pretrained_weights(part)
        except ModelError as cause:
            others = without_value(space, FAMILY, name)
            if others is None:
                raise
            space = others
            tell(SearchMessage(f"left out: {cause}", "warning"))
    return space


def fit_to_teachers(space: Space, data: Dataset, tell: Listen) -> Space:
    """The space for its teachers, without students that would be wider than the teacher that they start from, or that have more than half
    of the layers of the one that they are made of.

    Raises:
        ModelError: a teacher's model is not available.
        SpaceError: all students that start from a teacher are wider than it, or all are made of too many of its layers.
    """
    space = space.for_its_teachers()
    if not data.modality.texts:
        return space
    sources = {teacher.model: data.modality.source(teacher) for teacher in space.teachers()}
    scored = {teacher.model for teacher in space.teachers() if teacher.scores is not None}  # of these the model only gives a tokenizer
    assistants = {model: own for model in sources if model not in scored and (own := find_assistant(model)) is not None}
    networks = {model: folder for model, folder in sources.items() if model not in scored and model not in assistants}
    space = fit_depths(space, dict.fromkeys(sources) | {model: config_layers(folder) for model, folder in networks.items()})
    widths = {model: config_width(folder) for model, folder in sources.items()}
    space, notes = fit_widths(space, {model: width for model, width in widths.items() if width is not None})
    known = {part["model"]: pretrained_entry("text", part["model"]) for part, _ in pretrained_students(space)}
    sizes = {model: config_size(folder) for model, folder in networks.items()} | {model: own.size for model, own in assistants.items()}
    space, more = without_larger(space, sizes, {model: entry.parameters for model, entry in known.items() if entry is not None})
    for note in (*notes, *more):
        tell(SearchMessage(note))
    return space.for_its_teachers()


def teach(data: Dataset, parts: Iterable[Teacher], seed: int, tell: Listen) -> Teachers:
    """The teachers, each fine-tuned or found in the cache."""
    return Teachers({part: train_teacher(data, part, seed, tell) for part in parts})


def teach_by_scores(data: Dataset, space: Space, path: str, tell: Listen) -> tuple[Space, Teachers]:
    """A file of scores as the teacher: the space without components that need more of a teacher than logits, and its teachers."""
    scores = read_teacher_scores(data, path, tell)
    left_out = space.needing_states()
    space = fit_to_teachers(space.with_teacher_scores(scores.fingerprint), data, tell)
    tell(SearchMessage(f"left out, because they read a teacher's states, which a file of scores does not have: {', '.join(left_out)}"))
    return space, Teachers({part: match_scores(data, part, scores, tell) for part in space.teachers()})


def without_teachers(data: Dataset, space: Space, seed: int, tell: Listen) -> tuple[Space, Teachers]:
    """The space of students that learn from themselves, and what they take their tokenizer and initial weights from.

    Raises:
        SpaceError: the task does not have one class per row.
    """
    left_out = space.left_out_without_teacher()
    space = fit_tokens(fit_to_teachers(space.with_self_teacher().without_unlabelled(), data, tell), data, tell)
    objectives = [name for name in left_out if name != "mixup"]
    tell(
        SearchMessage(f"left out: the {len(objectives)} objectives that need a teacher, and mixup, as mixed rows have no past predictions")
    )
    if data.unlabelled is not None:
        tell(
            SearchMessage(f"the {data.unlabelled_rows:,} unlabelled rows are not used: only a teacher could say what is in them", "warning")
        )
    return space, teach(data, space.teachers(), seed, tell)


def with_scores(recipe: Recipe, scores: TeacherScores, path: str, tell: Listen) -> Recipe:
    """A recipe whose teacher is a file of scores. path: the file.

    Raises:
        DataError: the recipe's teacher is another file of scores.
        RecipeError: the recipe needs more of its teacher than logits.
    """
    if recipe.teacher.scores is None:
        scored = Recipe.parse(recipe.model_dump() | {"teacher": recipe.teacher.model_dump() | {"scores": scores.fingerprint}})
        tell(SearchMessage(f"the scores in {path} replace the recipe's teacher, which is not trained; the recipe's id is now {scored.id}"))
        return scored
    if recipe.teacher.scores != scores.fingerprint:
        raise DataError(
            f"{path} holds other scores (fingerprint {scores.fingerprint}) than those that the recipe {recipe.id} was made with "
            f"({recipe.teacher.scores}); give that file, or remove `teacher.scores` from the recipe to distil from this one"
        )
    return recipe


def open_taught(data: Dataset, teachers: Mapping[Teacher, TeacherRef], taps: Taps | None, tell: Listen) -> dict[Teacher, Opened]:
    """The rows as each teacher reads them. taps: which of its outputs to store; None for none."""
    opened = {part: open_inputs(data, part, ref.folder) for part, ref in teachers.items()}
    for part, inputs in opened.items():
        if taps is not None:
            store_outputs(inputs, part, taps, tell)
    return opened
