"""What a resumed study may not be asked anew."""

from __future__ import annotations

from typing import Any

import pytest

from autodistill.errors import StudyError
from autodistill.recipe import ADDED, Teacher
from autodistill.tuning.resuming import refuse_differences


def about(teacher: dict[str, Any], **measured: Any) -> dict[str, Any]:
    settings = dict.fromkeys(("seed", "max_epochs", "max_params", "max_latency_ms", "teacher_scores"))
    dataset = dict.fromkeys(("task", "metric", "fingerprint", "unlabelled_fingerprint", "unlabelled"))
    return {
        "study": "s",
        "settings": settings,
        "dataset": dataset,
        "teachers": [teacher | measured],
        "space": {"name": "text", "parameters": {}},
    }


def test_a_study_from_before_a_field_of_the_teacher_goes_on() -> None:
    now = Teacher(model="m").model_dump()
    before = {name: value for name, value in now.items() if ("teacher", name) not in ADDED}
    refuse_differences(about(before, score=0.9, folder="/a"), about(now, score=0.8, folder="/b", probe_score=0.7))


@pytest.mark.parametrize("change", [{"pooling": "mean"}, {"max_steps": 0}, {"learning_rate": 1.0}])
def test_another_teacher_is_refused(change: dict[str, Any]) -> None:
    teacher = Teacher(model="m").model_dump()
    with pytest.raises(StudyError, match="teachers was"):
        refuse_differences(about(teacher), about(teacher | change))
