"""The recorded recipes among which a recommender chooses: of which studies, and in the form that a space's task and limits ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress

from autodistill.errors import RecipeError, StudyError
from autodistill.image_fit import SIZE
from autodistill.limit_fit import LimitFit
from autodistill.recipe import SLOTS, Recipe
from autodistill.recommender.library import RecordedStudy
from autodistill.space import NONE, Space
from autodistill.task_types import has_labels, kin, standing_for

PROVEN = 3
"""A recipe that is recorded on this many datasets (or on all, if there are fewer) is proven. Recommendations come alternately from the
proven recipes and from all. A recipe that a search proposed was recorded because it did well on its dataset, which is a bias that no method
can see in the table; but such a recipe may still be the best."""


def comparable(studies: Sequence[RecordedStudy], task: str, teachers: Collection[str] = ()) -> list[RecordedStudy]:
    """The studies that a recommender for a task learns from: those of datasets with labels or, for a task without, those without.

    The others have another loss mix and other features, and would only add noise. Of these, if at least `PROVEN` studies of the modality
    had one of the teachers, and one of them is of a task type that stands for the task, only such ones: three layers of one teacher are a
    good student of it, three of another a bad one.

    teachers: models; none if the teacher is a file of scores.

    Raises:
        StudyError: there are studies, but none of these.
    """
    kept = [study for study in studies if has_labels(study.task) == has_labels(task)]
    if studies and not kept:
        raise nothing_of(task, [study.task for study in studies])
    ours = [study for study in kept if kin(study.task) == kin(task) and study.teachers & set(teachers)]
    tasks = standing_for(task, (study.task for study in kept))
    return ours if len(ours) >= PROVEN and any(study.task in tasks for study in ours) else kept


def nothing_of(task: str, recorded: Iterable[str]) -> StudyError:
    """The error where no study is of the task's kind of data. recorded: the tasks of those that there are."""
    return StudyError(
        f"no recorded study is of {kin(task)} data, so there is nothing to learn from for {task} "
        f"(recorded: {', '.join(sorted(set(recorded)))}); search first, and add the study with `autodistill studies add FOLDER`"
    )


def alike(studies: Sequence[RecordedStudy], task: str, unlabelled: bool) -> list[RecordedStudy]:
    """The studies whose recipes are candidates: those of the task types that stand for the dataset's. If at least `PROVEN` of them agree
    with it in having unlabelled rows or none, only these: what did well without unlabelled rows is no evidence where there are some.
    """
    tasks = standing_for(task, (study.task for study in studies))
    of_the_task = [study for study in studies if study.task in tasks]
    same = [study for study in of_the_task if study.unlabelled == unlabelled]
    return same if len(same) >= PROVEN else of_the_task


def recorded_recipes(studies: Sequence[RecordedStudy], space: Space) -> Counter[Recipe]:
    """The recorded recipes of the studies `alike` that fit the space's task, with how many of these studies have each. Their students are
    of the space's families.

    They get the space's length of training (their own steps, if the space has them), use of unlabelled rows, class weights and teacher (if
    it has several, the one with the recorded model, else the default), and the fields of students that were added after they were recorded.
    Under a file of scores they lose their objectives on states.
    """
    defaults = space.defaults().model_dump()
    unlabelled = {name: value for name, value in defaults["training"].items() if name.startswith("unlabelled") or name == "stages"}
    shares = [domain.largest for domain in space.parameters.get("training.unlabelled_share", ())]
    sizes = {size for domain in space.parameters.get(SIZE, ()) for size in domain.values}
    teachers: dict[str, dict] = {}
    recorded: Counter[Recipe] = Counter()
    for study in alike(studies, space.task, unlabelled["unlabelled_share"] > 0):
        own = set()
        for record in study.records:
            model = record.recipe["teacher"]["model"]
            if model not in teachers:
                teachers[model] = space.teacher_of(model).model_dump()
            if not space.has_student(record.recipe | {"teacher": teachers[model]}):
                continue  # it was left out, as one that is larger than the teacher is
            training = record.recipe["training"] | space.length_for(record.recipe | {"teacher": teachers[model]})
            used_some = training.get("unlabelled_share", 0.0) > 0
            if not unlabelled["unlabelled_share"] or (not used_some and record.recipe["objective"]["prediction"]["kind"] != "none"):
                training |= unlabelled
            elif used_some:  # it keeps its own use of unlabelled rows, as far as the space has so many of them in a batch
                training["unlabelled_share"] = min(training["unlabelled_share"], max(shares))
            student = space.fixed_later(record.recipe["student"]) | record.recipe["student"]
            if student.get("image_size", 0) not in {0, *sizes}:  # the new dataset's images are as large
                student["image_size"] = 0
            objective = record.recipe["objective"] | {"class_weights": defaults["objective"]["class_weights"]}
            if defaults["teacher"]["scores"] is not None:  # it has no states, so the space lacks what reads them
                objective |= {slot: {"kind": NONE} for slot in SLOTS if not _has_kind(space, slot, objective[slot]["kind"])}
            parts = {"teacher": teachers[model], "student": student, "objective": objective, "training": training}
            with suppress(RecipeError):  # a kind that does not fit this task
                own.add(Recipe.parse(record.recipe | {"task": space.task, **parts}))
        recorded.update(sorted(own, key=lambda recipe: recipe.id))
    return recorded


def _has_kind(space: Space, slot: str, kind: str) -> bool:
    """Whether the space may have this kind of objective in a slot."""
    return any(kind in domain.values for domain in space.parameters.get(f"objective.{slot}.kind", ()))


def within(recorded: Counter[Recipe], fit: LimitFit) -> Counter[Recipe]:
    """The recorded recipes within the limits, those over them with a smaller student, with how many studies have each."""
    fitted: Counter[Recipe] = Counter()
    for recipe, studies in recorded.items():
        within = fit(recipe)
        if within is not None:
            fitted[within] = max(fitted[within], studies)
    return fitted
