"""The stages that a search and a distillation have in common: the teacher and its outputs, made or read from the cache, with events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autodistill.assistant import find_assistant
from autodistill.events import Listen, SearchMessage, Stage, StageProgress
from autodistill.facts import TeacherRef
from autodistill.models.text import TokenSample
from autodistill.recipe import Teacher
from autodistill.tasks.base import Dataset
from autodistill.tasks.scores import TeacherScores, read_scores
from autodistill.teacher.finetune import ProbeProgress, TeacherProgress
from autodistill.teacher.members import trained_teacher
from autodistill.teacher.outputs import OutputsProgress
from autodistill.teacher.plan import Taps
from autodistill.teacher.scored import scored_teacher
from autodistill.teacher.untaught import untaught_model
from autodistill.teacher_verdict import teacher_warning
from autodistill.teachers import Teachers, describe, short_name
from autodistill.train.agreement import agreement_count
from autodistill.train.data import Opened, prepare_outputs

FEW = 100
"""With fewer validation rows than this, and nothing else to compare students by, a warning says so."""
UNKNOWN = 0.05
"""A larger share of unknown tokens means that a tokenizer does not know the texts' script. (Tweets with emojis have .007, Chinese .8.)"""
PIECES = 3.5
"""With more tokens a word, a tokenizer spells the words letter by letter. (all-MiniLM-L6-v2: English tweets 1.9, German 2.2, Finnish 3.3,
Arabic 4.9, Russian 6.5.)"""
OTHER_LANGUAGE = 1.4
"""If a tokenizer makes this many times the tokens of another one, it was made for another language, or for other words. (Of German
all-MiniLM-L6-v2 makes 2.2 a word; a tokenizer for the language has whole words. Not measured: no other models can be had here.)"""
LETTERS = 15
"""With more letters a word, these are no words: addresses, sequences, languages without spaces."""


def tell_of_rows(data: Dataset, tell: Listen) -> None:
    """Report decisions about the rows, and points that users should check."""
    for note in data.notes:
        tell(SearchMessage(note))
    for warning in data.warnings:
        tell(SearchMessage(warning, "warning"))


def tell_of_tokens(data: Dataset, part: Teacher, tokenizer: Any, tell: Listen) -> None:
    """Report how much of the training texts is not read, if many are cut, and warn if the teacher does not know their script.

    tokenizer: the teacher's; None for images.
    """
    sample = data.modality.token_sample(data.train, tokenizer)
    if sample is None:
        return
    if note := cut_note(sample.counts, part.max_length):
        tell(SearchMessage(note))
    if warning := foreign_warning(sample, part.model):
        tell(SearchMessage(warning, "warning"))


def foreign_warning(sample: TokenSample, model: str) -> str | None:
    """A warning if the texts are in a script that the model's tokenizer does not know, or spells letter by letter; else None."""
    signs = _foreign_signs(sample)
    if not signs:
        return None
    return (
        f"{model} was hardly made for texts like these: {' and '.join(signs)}. Give a teacher of their language with --teacher, "
        "for example a multilingual encoder"
    )


def foreign_student(sample: TokenSample, of_teacher: TokenSample) -> str | None:
    """Why a pretrained student was hardly made for the texts, by how its tokenizer reads them and how its teacher's does; None if it may
    have been.
    """
    signs = _foreign_signs(sample)
    more = sample.pieces / max(of_teacher.pieces, 1)
    if more > OTHER_LANGUAGE:
        signs.append(f"it reads {more:.1f} times as many tokens as the teacher")
    return " and ".join(signs) or None


def _foreign_signs(sample: TokenSample) -> list[str]:
    signs = []
    if sample.unknown > UNKNOWN * sample.pieces:
        signs.append(f"{sample.unknown / sample.pieces:.0%} of their tokens are unknown to it")
    if sample.pieces > PIECES * sample.words and sample.letters < LETTERS * sample.words:
        signs.append(f"a word has {sample.pieces / sample.words:.1f} tokens on average")
    return signs


def cut_note(counts: Sequence[int], tokens: int) -> str | None:
    """A text for people if more than a tenth of the texts are cut; else None.

    counts: how many tokens the texts, or a sample of them, have before they are cut. tokens: how many are read.
    """
    cut = sum(count > tokens for count in counts)
    if cut <= len(counts) / 10:
        return None
    read = sum(min(count, tokens) for count in counts) / sum(counts)
    longer = f"{cut / len(counts):.0%} of the texts have more than {tokens} tokens"
    return f"{longer}, and their rest is not read (teacher.max_length); {read:.0%} of all tokens are read"


def train_teacher(data: Dataset, part: Teacher, seed: int, tell: Listen) -> TeacherRef:
    """Train a teacher, or read it from the cache. Reports the progress, and a warning if the teacher is worse than simple models.

    If there is none (`teacher.init: self`), only what students take from its model is kept, and there is no score.
    """
    if part.is_self:
        with Stage(tell, "teacher", f"reading {part.model}") as stage:
            folder = untaught_model(data, part)
            stage.end(f"none; students take their tokenizer, and initial weights where they start from a teacher, from {part.title}")
        return TeacherRef(str(folder), None)

    def progress(now: TeacherProgress | ProbeProgress) -> None:
        if isinstance(now, ProbeProgress):
            tell(StageProgress("teacher", now.done, now.rows, "rows read by the frozen encoder, for its probe"))
            return
        score = "" if now.score is None else f", {data.metric} {now.score:.4f}"
        tell(StageProgress("teacher", now.step, now.steps, f"epoch {now.epoch} of {now.epochs}, loss {now.loss:.3f}{score}"))

    begins, done = _training_words(part)
    with Stage(tell, "teacher", f"{part.title}: {begins}") as stage:
        trained = trained_teacher(data, part, seed, progress=progress)
        ref = TeacherRef(
            str(trained.folder),
            trained.score,
            probe_score=trained.probe_score,
            linear_score=trained.linear_score,
            temperature=trained.temperature,
            calibration_error=trained.calibration_error,
            calibration_error_before=trained.calibration_error_before,
            member_scores=trained.member_scores,
            untaught=str(untaught_model(data, part, trained.folder)) if _gives_a_start(data, part) else "",
        )
        stage.end(describe(f"{part.title} {'found in the cache' if trained.reused else done}", data.metric, ref))
    if warning := teacher_warning(data.metric, ref, name=short_name(part.title)):
        if part.head_init == "own":
            warning += "; if its head was trained for something else, teacher.head_init: probe in a space file trains a new one"
        tell(SearchMessage(warning, "warning"))
    return ref


def _gives_a_start(data: Dataset, part: Teacher) -> bool:
    """Whether students may start from the weights that a teacher was fine-tuned from."""
    return data.modality.texts > 0 and data.target.has_labels and find_assistant(part.model) is None


def _training_words(part: Teacher) -> tuple[str, str]:
    """The words for what is done to a teacher, during it and afterwards."""
    if part.init == "random":
        return "with random weights", "left with random weights"
    if part.max_steps == 0 or (part.epochs == 0 and part.max_steps is None):
        return ("a probe", "probed") if part.head_init == "probe" else ("as it is", "as it is")
    return "fine-tuning", "fine-tuned"


def tell_of_teachers(teachers: Teachers, metric: str, tell: Listen) -> None:
    """Report how several teachers compare. For a single one its stage has reported everything."""
    if len(teachers) > 1:
        tell(SearchMessage(f"{len(teachers)} teachers to choose from: {'; '.join(teachers.descriptions(metric))}"))


def tell_of_agreement(data: Dataset, teachers: Teachers, tell: Listen) -> None:
    """Report that few rows have labels to compare students on, and what is done about it."""
    held_out, few = agreement_count(data), f"{len(data.validation):,} validation rows can hardly tell students apart"
    if held_out and teachers.judge is not None:
        tell(
            SearchMessage(
                f"{few}, so they are also compared by what the teacher says of {held_out:,} of the {data.unlabelled_rows:,} unlabelled "
                "rows, which none of them learns from"
            )
        )
    elif len(data.validation) < FEW and data.target.has_labels:
        way_out = "more labelled rows would" if data.unlabelled_rows else "more labelled rows would, or rows without labels (--unlabelled)"
        tell(SearchMessage(f"{few}; {way_out}", "warning"))


def read_teacher_scores(data: Dataset, path: str, tell: Listen) -> TeacherScores:
    """Read a file of a black-box teacher's scores, and report its contents.

    Raises:
        DataError: it cannot be read, or does not fit the dataset.
    """
    per_row, columns = data.modality.texts, data.ref.text_columns
    scores = read_scores(path, data.target, per_row=per_row, text_columns=columns, image_size=data.image_size)
    for note in (*scores.notes, f"teacher scores: {scores.kind} of {len(scores.rows):,} {'texts' if per_row else 'images'}"):
        tell(SearchMessage(note))
    return scores


def match_scores(data: Dataset, part: Teacher, scores: TeacherScores, tell: Listen) -> TeacherRef:
    """Make a file of scores the teacher of a dataset, and report how many rows have scores."""
    with Stage(tell, "teacher", "matching the teacher's scores with the rows") as stage:
        matched = scored_teacher(data, part, scores)
        score = "too few validation rows have scores to judge it" if matched.score is None else f"{data.metric} {matched.score:.4f}"
        stage.end(f"a file of scores: {matched.coverage}; {score}")
    return TeacherRef(str(matched.folder), matched.score)


def store_outputs(opened: Opened, part: Teacher, taps: Taps, tell: Listen) -> None:
    """Store those of the teacher's outputs for the training rows that any trial can need."""

    def progress(now: OutputsProgress) -> None:
        tell(StageProgress("outputs", now.done, now.rows, ", ".join(now.kinds)))

    with Stage(tell, "outputs", f"storing the outputs of {part.title} for the training rows") as stage:
        stage.end(prepare_outputs(opened, taps, progress))
