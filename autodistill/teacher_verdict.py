"""Whether a teacher has anything to teach: its score beside those of models that cost next to nothing."""

from __future__ import annotations

import math

from autodistill.facts import TeacherRef

_LINEAR, _PROBE, _STUDENT = (
    "a linear model without an encoder",
    "its own frozen encoder with a linear probe",
    "the student without a teacher",
)


def teacher_warning(metric: str, teacher: TeacherRef, student_score: float | None = None, name: str = "") -> str | None:
    """A sentence, with the way out, where a teacher is below a linear model, its own probe or a student that had none; else None.

    All scores are on the validation split, in the dataset's metric, and higher is better. student_score: of the student without a teacher
    (the baseline `no_kd`), where it has been trained. name: of the teacher, where there may be several.
    """
    if teacher.score is None or not math.isfinite(teacher.score):
        return None
    rivals = {_LINEAR: teacher.linear_score, _PROBE: teacher.probe_score, _STUDENT: student_score}
    above = {name: score for name, score in rivals.items() if score is not None and score > teacher.score}
    if not above:
        return None
    listing = " and ".join(f"{name} ({score:.4f})" for name, score in sorted(above.items(), key=lambda item: -item[1]))
    return f"The teacher {f'{name} ' if name else ''}({metric} {teacher.score:.4f}) knows less than {listing}: {_way_out(set(above))}"


def _way_out(above: set[str]) -> str:
    if above == {_PROBE}:
        return "fine-tuning did it harm; keep the probe with teacher.head_init: probe and teacher.max_steps: 0, or lower its learning rate"
    if above == {_STUDENT}:
        return "distilling from it can only hold the student back; give a stronger one with --teacher, or take the student as it is"
    return "distilling from it is of little use; give a stronger one with --teacher, or more labelled rows"
