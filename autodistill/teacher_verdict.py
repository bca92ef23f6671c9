"""Whether a teacher can help: its score compared with those of models that cost next to nothing."""

from __future__ import annotations

import math

from autodistill.facts import TeacherRef

_LINEAR, _PROBE, _STUDENT = (
    "a linear model without an encoder",
    "its own frozen encoder with a linear probe",
    "the student without a teacher",
)


def teacher_warning(metric: str, teacher: TeacherRef, student_score: float | None = None, name: str = "") -> str | None:
    """A warning, with the way out, if a teacher scores below a linear model, its own probe or a student without a teacher; else None.

    All scores are on the validation split, in the dataset's metric, and higher is better. student_score: of the student without a teacher
    (the baseline `no_kd`), if it was trained. name: of the teacher, if there may be several.
    """
    if teacher.score is None or not math.isfinite(teacher.score):
        return None
    rivals = {_LINEAR: teacher.linear_score, _PROBE: teacher.probe_score, _STUDENT: student_score}
    above = {name: score for name, score in rivals.items() if score is not None and score > teacher.score}
    if not above:
        return None
    listing = " and ".join(f"{name} ({score:.4f})" for name, score in sorted(above.items(), key=lambda item: -item[1]))
    return f"The teacher {f'{name} ' if name else ''}({metric} {teacher.score:.4f}) scores lower than {listing}: {_way_out(set(above))}"


def _way_out(above: set[str]) -> str:
    if above == {_PROBE}:
        return "fine-tuning harmed it; keep the probe with teacher.head_init: probe and teacher.max_steps: 0, or lower its learning rate"
    if above == {_STUDENT}:
        return "distilling from it can only hold the student back; give a stronger one with --teacher, or take the student as it is"
    return "distilling from it is of little use; give a stronger one with --teacher, or more labelled rows"
