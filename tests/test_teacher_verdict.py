from __future__ import annotations

import math

import pytest

from autodistill.facts import TeacherRef
from autodistill.teacher_verdict import teacher_warning


def ref(score: float | None, probe: float | None = 0.8, linear: float | None = 0.7) -> TeacherRef:
    return TeacherRef("", score, probe_score=probe, linear_score=linear)


@pytest.mark.parametrize(
    ("teacher", "student"),
    [(ref(0.9), 0.85), (ref(0.9), None), (ref(0.8), 0.8), (ref(0.9, None, None), None), (ref(None), 0.9), (ref(math.nan), 0.9)],
)
def test_a_teacher_that_knows_more_or_as_much_is_not_warned_of(teacher: TeacherRef, student: float | None) -> None:
    assert teacher_warning("accuracy", teacher, student) is None


def test_all_that_know_more_are_named_the_best_one_first() -> None:
    assert teacher_warning("accuracy", ref(0.754, 0.91, 0.775), 0.86) == (
        "The teacher (accuracy 0.7540) scores lower than its own frozen encoder with a linear probe (0.9100) and the student without a "
        "teacher (0.8600) and a linear model without an encoder (0.7750): distilling from it is of little use; give a stronger one with "
        "--teacher, or more labelled rows"
    )


def test_the_way_out_depends_on_who_knows_more() -> None:
    below_probe, below_student, below_words = (
        teacher_warning("spearman", ref(0.75)),
        teacher_warning("spearman", ref(0.82), 0.85),
        teacher_warning("spearman", ref(0.65, None), 0.6),
    )
    assert below_probe is not None
    assert "teacher.max_steps: 0" in below_probe
    assert below_student is not None
    assert below_student.endswith("or take the student as it is")
    assert below_words is not None
    assert below_words.startswith("The teacher (spearman 0.6500) scores lower than a linear model without an encoder (0.7000): ")
