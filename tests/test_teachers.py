"""The teachers of a study: their names, costs and scores, and the search that chooses between two of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made import make_study, record
from tiny_teacher import save_bert, save_rows

import autodistill
from autodistill.errors import StudyError
from autodistill.events import Event, SearchMessage
from autodistill.facts import TeacherRef
from autodistill.limits import Limits
from autodistill.recipe import Recipe, Teacher
from autodistill.report.leaderboard import rows
from autodistill.study_report import render, summary
from autodistill.teachers import Teachers, short_name

SMALL, BIG = Teacher(model="org/small"), Teacher(model="org/big", max_steps=0)


def two() -> Teachers:
    small = TeacherRef("/a", 0.8, 1_000, 5.0, probe_score=0.7, linear_score=0.6)
    return Teachers({SMALL: small, BIG: TeacherRef("/b", 0.9, 3_000, 4.0, linear_score=0.6)})


def test_they_are_read_as_study_json_has_them() -> None:
    written = json.loads(json.dumps({"teachers": two().to_list()}))
    assert dict(Teachers.of_study(written)) == dict(two())
    assert list(Teachers.of_study(written)) == [SMALL, BIG]
    older = Teachers.of_study({"teacher_score": 0.5, "teachers": [{"model": "m", "epochs": 3, "params": 7}]})
    assert dict(older) == {Teacher(model="m", epochs=3): TeacherRef("", 0.5, 7)}
    assert Teachers.of_study({}).best == TeacherRef("", None)


def test_a_name_says_what_tells_them_apart() -> None:
    assert list(two().names.values()) == ["org/small", "org/big"]
    ref = TeacherRef("", 0.9)
    same = Teachers({BIG: ref, BIG.model_copy(update={"max_steps": 300}): ref, SMALL: ref})
    assert list(same.names.values()) == ["org/big (max_steps 0)", "org/big (max_steps 300)", "org/small"]
    assert short_name("org/big (init a/b)") == "big (init a/b)"
    assert two().descriptions("accuracy") == [
        "small, accuracy 0.8000 (its frozen probe 0.7000, a linear model without it 0.6000)",
        "big, accuracy 0.9000 (a linear model without it 0.6000)",
    ]


def test_an_ensemble_says_what_it_gains() -> None:
    part = Teacher(model="org/small", members=("org/small", "org/big", "org/small"))
    ref = TeacherRef("", 0.9, probe_score=0.7, member_scores=(0.8, 0.875, 0.85))
    assert ref.ensemble_gain == pytest.approx(0.025)
    assert TeacherRef("", 0.9).ensemble_gain is None
    teachers = Teachers({part: ref})
    assert teachers.descriptions("accuracy") == [
        "2 × small + big, accuracy 0.9000 (+0.0250 over its best member's 0.8750, its frozen probe 0.7000)"
    ]
    assert dict(Teachers.of_study(json.loads(json.dumps({"teachers": teachers.to_list()})))) == dict(teachers)


def test_the_best_is_the_one_of_the_highest_score() -> None:
    assert two().best.folder == "/b"
    unknown = Teachers({SMALL: TeacherRef("/a", None), BIG: TeacherRef("/b", float("nan")), Teacher(model="c"): TeacherRef("/c", -1.0)})
    assert unknown.best.folder == "/c"
    assert two().of({"teacher": SMALL.model_dump()}).folder == "/a"
    assert two().of({"teacher": {"model": "another"}}).folder == "/b"


def test_a_share_says_of_which_teacher_it_is() -> None:
    assert Limits.asked("1/10", "1/2", two().costs) == Limits(100, 2.0)
    assert two().shares("1/10", "1/2") == (
        "1/10 of the parameters of small, the smallest teacher and 1/2 of the latency of big, the fastest teacher"
    )
    assert two().shares(100, None) == ""
    assert Teachers({SMALL: TeacherRef("", 0.8, 1_000, 5.0)}).shares("1/10", None) == "1/10 of its parameters"


def test_the_leaderboard_and_the_page_name_each_teacher(tmp_path: Path) -> None:
    recipes = [record(0).recipe | {"teacher": part.model_dump()} for part in two()]
    records = [record(0, "no_kd", 0.7), record(1, score=0.75, recipe=recipes[0]), record(2, score=0.85, recipe=recipes[1])]
    shown = rows(records, Limits(), two(), 61.0)
    assert [(row.name, row.score, row.student, row.seconds) for row in shown[:2]] == [
        ("teacher", 0.8, "org/small", None),
        ("teacher", 0.9, "org/big", None),
    ]
    assert [row.objective.rpartition(", of ")[2] for row in shown[2:4]] == ["big", "small"]
    study = make_study(tmp_path, records)
    study.about["teachers"] = two().to_list()
    page = render(study)
    for line in two().descriptions("score"):
        assert line in page
    assert [(item["name"], item["score"], item["probe_score"]) for item in summary(study, {})["teachers"]] == [
        ("org/small", 0.8, 0.7),
        ("org/big", 0.9, None),
    ]


SPACE = """\
version: 1
name: small
about: a test
tasks: [text-classification]
parameters:
  teacher.model: {{value: {teacher}}}
  teacher.max_length: {{value: 32}}
  teacher.max_steps:
    - {{value: 0, when: {{teacher.model: {teacher}}}}}
    - {{value: 8}}
  teacher.head_init: {{value: probe}}
  student.family: {{value: cnn}}
  student.init: {{value: random}}
  student.embedding_size: {{value: 16}}
  student.channels: {{choice: [8, 16, 32]}}
  objective.prediction.kind: {{choice: [kl, mse]}}
  training.epochs: {{value: 1}}
  training.learning_rate: {{float: [1.0e-3, 1.0e-2], log: true}}
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_chooses_between_two_teachers(tmp_path: Path, one_ray: None) -> None:
    rows_file = save_rows(tmp_path / "rows.parquet")
    first, second = (str(save_bert(tmp_path / name, layers=layers, seed=layers)) for name, layers in (("first", 1), ("second", 2)))
    (tmp_path / "small.yaml").write_text(SPACE.format(teacher=first))
    asked: dict[str, Any] = {
        "space": str(tmp_path / "small.yaml"),
        "studies_dir": str(tmp_path / "studies"),
        "cold": True,
        "frontier": False,
    }
    events: list[Event] = []
    study = autodistill.search(rows_file, teacher=[second, first], trials=4, max_params="1/2", workers=1, listen=events.append, **asked)
    teachers = study.teachers
    assert [(part.model, part.max_steps) for part in teachers] == [(second, 8), (first, 0)]
    assert len({ref.folder for ref in teachers.values()}) == 2
    assert study.limits.max_params == (teachers[list(teachers)[1]].params or 0) // 2  # of the smaller one
    texts = [event.text for event in events if isinstance(event, SearchMessage)]
    assert any("1/2 of the parameters of first, the smallest teacher" in text for text in texts)
    assert any(text.startswith("2 teachers to choose from: second, accuracy ") for text in texts)

    # Each trial learns from the teacher that its recipe names, and the sampler chooses it.
    used = {Recipe.parse(item.recipe).teacher for item in study.trial_records}
    assert used == set(teachers)
    for item in study.trial_records:
        assert item.teacher_score == teachers[Recipe.parse(item.recipe).teacher].score
    searched = [trial for trial in study.optuna_study().trials if trial.user_attrs["proposal"]["role"] == "search"]
    assert {trial.params["teacher.model"] for trial in searched} == {first, second}
    assert {name for item in summary(study, {})["teachers"] for name in [short_name(item["name"])]} == {"first", "second"}

    again = autodistill.search(rows_file, teacher=[second, first], trials=4, max_params="1/2", resume=True, **asked)
    assert len(again.trial_records) == len(study.trial_records)
    with pytest.raises(StudyError, match="has other settings"):
        autodistill.search(rows_file, teacher=[first, second], trials=7, max_params="1/2", resume=True, **asked)
