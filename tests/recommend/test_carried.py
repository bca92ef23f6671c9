"""Recorded students that are made of their teacher's layers, as students of another teacher."""

from __future__ import annotations

from collections import Counter

from recorded import study

from autodistill.recipe import Recipe
from autodistill.recommender.candidates import comparable
from autodistill.recommender.carried import carried_over
from autodistill.recommender.library import RecordedStudy, shipped
from autodistill.recommender.recommender import Recommender
from autodistill.space import Space
from autodistill.teacher_fit import fit_depths

TASK = "text-classification"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MPNET = "sentence-transformers/all-mpnet-base-v2"


def space(model: str, depth: int | None = 12) -> Space:
    return fit_depths(Space.load("text", TASK).with_teacher_models([model]), {model: depth})


def students(space: Space) -> set[str]:
    """What becomes of a half, a third and a narrow student of the default teacher, and of a CNN."""
    made = study(0, recipes=4)
    parts = [
        {"family": "bert", "layers": 3, "hidden_size": 384, "heads": 12},
        {"family": "bert", "layers": 2, "hidden_size": 384, "heads": 12},
        {"family": "bert", "layers": 3, "hidden_size": 192},
        {"family": "cnn"},
    ]
    own = [
        record.model_copy(update={"recipe": Recipe.parse(record.recipe | {"teacher": {"model": MINILM}, "student": part}).model_dump()})
        for record, part in zip(made.records[:4], parts, strict=True)
    ]
    made.records[:] = own
    (carried,) = carried_over([made], space)
    assert made.records == own, "the study itself stays as it is"
    return {f"{record.recipe['student']['family']} {record.recipe['student'].get('layers')}" for record in carried.records}


def test_half_of_one_teacher_becomes_half_of_another_and_other_shares_are_left_out() -> None:
    assert students(space("owner/large", 24)) == {"shallow 12", "bert 3", "cnn None"}
    assert students(space("owner/base")) == {"shallow 6", "bert 3", "cnn None"}
    assert students(space("owner/tiny", 2)) == {"bert 3", "bert 2", "cnn None"}  # it has no half
    assert students(space(MINILM, 6)) == {"bert 3", "bert 2", "cnn None"}
    assert students(Space.load("text", TASK).with_teacher_scores("0123")) == {"bert 3", "bert 2", "cnn None"}


def test_it_is_trained_at_the_rate_of_such_students() -> None:
    carried = carried_over(shipped(), space("owner/base"))
    halves = [record.recipe for one in carried for record in one.records if record.recipe["student"]["family"] == "shallow"]
    assert len(halves) >= 30
    assert {recipe["training"]["learning_rate"] for recipe in halves} == {2e-4}
    assert {recipe["training"]["steps"] for recipe in halves} >= {250, 500, 1000}


def test_recorded_students_of_a_larger_teachers_own_layers_stay_with_it() -> None:
    assert [one.records for one in carried_over(shipped(), Space.load("text", TASK))] == [one.records for one in shipped()]


def test_under_another_teacher_the_first_recommendation_is_half_of_it() -> None:
    held = next(one for one in shipped() if one.name == "trec-few")
    others = [one for one in shipped() if one.group != held.group and one.task == TASK]
    own = space("owner/base")
    first = Recommender(carried_over(others, own)).recommend(held.features, own, top=1, rows=500).recipes[0].recipe
    assert first.student.model_dump()["layers"] == 6
    assert first.student.name == "shallow"
    assert own.contains(first)


def test_where_none_of_the_task_is_recorded_students_of_others_learn_by_its_losses() -> None:
    own = Space.load("text", "text-multilabel")
    studies = comparable([one for one in shipped() if one.task != own.task], own.task, {MINILM})
    carried = carried_over(studies, own)

    def kinds(of: list[RecordedStudy]) -> Counter[str]:
        return Counter(
            record.recipe["objective"]["prediction"]["kind"] for one in of for record in one.records if one.task == "text-classification"
        )

    before, after = kinds(studies), kinds(carried)
    assert before["kl"] > 100
    assert (after["binary_kl"], after["binary_pseudo_label"]) == (before["kl"], before["pseudo_label"])
    assert after["kl"] == after["pseudo_label"] == 0
    assert {kind: after[kind] for kind in before.keys() - {"kl", "pseudo_label"}} == {
        kind: before[kind] for kind in before.keys() - {"kl", "pseudo_label"}
    }


def test_half_of_the_teacher_is_first_for_several_labels_as_it_is_for_one() -> None:
    own = Space.load("text", "text-multilabel")
    held = next(one for one in shipped() if one.name == "trec-few")
    studies = comparable([one for one in shipped() if one.group != held.group], own.task, {MINILM})
    first = Recommender(carried_over(studies, own)).recommend(held.features, own, top=1, rows=500).recipes[0].recipe
    assert first.student.name == "bert"
    assert (first.student.model_dump()["layers"], first.student.model_dump()["hidden_size"]) == (3, 384)
    assert first.objective.prediction.name == "binary_kl"
    assert own.contains(first)
