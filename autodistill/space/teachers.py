"""The teachers of a space: which it can propose, and copies of it for other teachers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from pydantic import ValidationError

from autodistill.components import specs
from autodistill.errors import SpaceError
from autodistill.recipe import BY_EMBEDDINGS, SELF, SLOTS, Teacher
from autodistill.space.domain import NONE, Domain, Scalar, holds, reachable
from autodistill.space.parameters import Parameters
from autodistill.task_types import target_of

TEACHER = "teacher."
"""The prefix of the paths of a teacher's parameters."""
FAMILY, INIT = "student.family", "student.init"
"""The paths of a student's family, and of what its weights start from."""
LEARNED = tuple(f"objective.{slot}" for slot in SLOTS)
"""The slots of a recipe whose objectives compare the student with its teacher."""

SELF_SHARE = "objective.self_distillation"


@dataclass(frozen=True)
class WithTeachers(Parameters):
    """Parameters, some of which are the teacher's."""

    def teachers(self) -> list[Teacher]:
        """Every teacher that the space can propose. The default teacher is first if the choices list their defaults first.

        Raises:
            SpaceError: a teacher's parameter is a range or depends on other parts of the recipe, so that the teachers cannot be listed and
                trained before the trials; or a teacher does not validate.
        """
        choices: list[dict[str, Any]] = [{}]
        for path, domains in self.parameters.items():
            if not path.startswith(TEACHER):
                continue
            for domain in domains:
                if domain.kind not in ("choice", "value") or not all(key.startswith(TEACHER) for key, _ in domain.when):
                    raise SpaceError(
                        f"space {self.name!r}: {path} must be `choice` or `value`, with conditions only on the teacher: "
                        "every teacher is trained before the trials"
                    )
            choices = [values | chosen for values in choices for chosen in _chosen(path, domains, values)]
        try:
            return [Teacher.model_validate({path.removeprefix(TEACHER): value for path, value in values.items()}) for values in choices]
        except ValidationError as cause:
            problem = cause.errors()[0]
            place = ".".join(["teacher", *map(str, problem["loc"])])
            raise SpaceError(f"space {self.name!r} can make a teacher that does not validate: {place}: {problem['msg']}") from None

    def teacher_of(self, model: str) -> Teacher:
        """The first of the space's teachers with this model; the default teacher if there is none."""
        return next((teacher for teacher in self.teachers() if teacher.model == model), self.defaults().teacher)

    def needing_states(self) -> list[str]:
        """The objectives of its recipes that need more of a teacher than logits, by name, sorted."""
        needing = set()
        for slot in LEARNED:
            kinds = {kind for domain in self.parameters.get(f"{slot}.kind", ()) for kind in domain.values}
            needing |= {f"{slot.removeprefix('objective.')} {kind}" for kind in kinds if _reads_states(slot, kind)}
        return sorted(needing)

    def with_teacher_models(self, models: Sequence[str]) -> Self:
        """A copy of the space with these teacher models: one, or a choice of several with the first as default."""
        space = self.fixed("teacher.model", models[0])
        if len(models) == 1:
            return space
        domains = (Domain("choice", models[0], choices=tuple(models), when=domain.when) for domain in space.parameters["teacher.model"])
        return replace(space, parameters={**space.parameters, "teacher.model": tuple(domains)})

    def for_its_teachers(self) -> Self:
        """A copy of the space without the domains that apply to none of its teachers, but only to others that a search may name."""
        parameters: dict[str, tuple[Domain, ...]] = {}
        for path, domains in self.parameters.items():
            kept: list[Domain] = []
            for domain in domains:
                if all(reachable(parameters.get(other, ()), allowed) for other, allowed in domain.when):
                    kept.append(domain)
                if domain.when and all(self._always(other, allowed) for other, allowed in domain.when):
                    break  # it applies to every teacher, so those after it never apply
            if kept:
                parameters[path] = tuple(kept)
        return replace(self, parameters=parameters)

    def _always(self, path: str, allowed: tuple[Scalar, ...]) -> bool:
        """Whether every teacher of the space meets a condition on its model or on its scores."""
        values = [value for domain in self.parameters.get(path, ()) for value in domain.values]
        return path in (f"{TEACHER}model", f"{TEACHER}scores") and bool(values) and all(holds(value, allowed) for value in values)

    def with_teacher_fields(self, model: str, fields: Mapping[str, Any]) -> Self:
        """A copy of the space in which a teacher's model has these fields, whatever else the space says. fields: of its `teacher` part."""
        when = ((f"{TEACHER}model", (model,)),)
        fixed = {f"{TEACHER}{name}": (Domain("value", value, when=when),) for name, value in fields.items()}
        parameters: dict[str, tuple[Domain, ...]] = {}
        for path, domains in self.parameters.items():
            parameters[path] = (*fixed.get(path, ()), *domains)
            if path == f"{TEACHER}model":
                parameters |= {name: domain for name, domain in fixed.items() if name not in self.parameters}
        return replace(self, parameters=parameters)

    def with_assistant(self, model: str, fields: Mapping[str, Any], has_attention: bool) -> Self:
        """A copy of the space in which a teacher's model is a finished student: used as it is, and without what it cannot provide.

        With this teacher, students start from random weights, none is made of its layers, nothing reads the attention of a student that has
        none, and no augmentation looks for synonyms among its words, because they are not stored in transformers' format. fields: of its
        `teacher` part.
        """
        when = ((f"{TEACHER}model", (model,)),)
        added: dict[str, tuple[Domain, ...]] = {}
        if not has_attention:
            added["objective.attention.kind"] = (Domain("value", NONE, when=when),)
        of_layers = [kind for kind, spec in specs("student").items() if "teacher_layers" in spec.options]
        for path, left_out, instead in (
            (FAMILY, set(of_layers), of_layers[0]),
            (INIT, {"teacher", "input_embeddings"}, "random"),
            ("augmentation.kind", {"synonyms"}, NONE),
        ):
            affected = [domain for domain in self.parameters.get(path, ()) if left_out & set(domain.values)]
            added[path] = tuple(replace(domain, when=(*domain.when, *when)).without(left_out, instead) for domain in affected)
        if INIT not in self.parameters:
            starting = tuple(
                family for domain in self.parameters.get(FAMILY, ()) for family in domain.values if _starts_from_teacher(family)
            )
            added[INIT] = (Domain("value", "random", when=(*when, (FAMILY, starting))),)
        space = self.with_teacher_fields(model, fields)
        parameters = {path: (*added.pop(path, ()), *domains) for path, domains in space.parameters.items()}
        return replace(space, parameters=parameters | {path: domains for path, domains in added.items() if domains})

    def with_teacher(self, teacher: Teacher) -> Self:
        """A copy of the space with this teacher and no other."""
        usual = Teacher(model=teacher.model).model_dump()
        fields = {name: value for name, value in teacher.model_dump().items() if name == "model" or value != usual[name]}
        own = {f"{TEACHER}{name}": (Domain("value", value),) for name, value in fields.items()}
        return replace(self, parameters=own | {path: domains for path, domains in self.parameters.items() if not path.startswith(TEACHER)})

    def with_random_teacher(self) -> Self:
        """A copy of the space whose teachers keep random weights, as a control for gains that come from regularisation alone."""
        return replace(self, parameters={**self.parameters, "teacher.init": (Domain("value", "random"),)})

    def with_self_teacher(self) -> Self:
        """A copy of the space without a teacher: students learn from labels and from their own past predictions (Kim et al. 2021, PS-KD).

        What compares them with a teacher is left out (`left_out_without_teacher`).

        Raises:
            SpaceError: the task does not have one class per row.
        """
        if not target_of(self.task).has_self_distillation:
            raise SpaceError(
                f"the teacher is `{SELF}`, and self-distillation needs one class per row, but the task is {self.task}; give a teacher"
            )
        parameters = {path: domains for path, domains in self.parameters.items() if not path.startswith((*LEARNED, "augmentation.mix"))}
        fixed = {"teacher.init": SELF, "objective.hard_label_weight": 1.0}
        parameters |= {path: (Domain("value", value),) for path, value in fixed.items()}
        return replace(self, parameters={SELF_SHARE: (Domain("float", 0.8, low=0.2, high=1.0),)} | parameters)

    def left_out_without_teacher(self) -> list[str]:
        """The objectives of its recipes, which need a teacher, by name, sorted; and mixup, whose rows have no past predictions."""
        kinds = {
            f"{slot.removeprefix('objective.')} {kind}"
            for slot in LEARNED
            for domain in self.parameters.get(f"{slot}.kind", ())
            for kind in domain.values
            if kind != NONE
        }
        return sorted(kinds) + (["mixup"] if "augmentation.mixup" in self.parameters else [])

    def with_teacher_scores(self, fingerprint: str) -> Self:
        """A copy of the space whose teacher is a file of scores. It has only logits, so nothing that reads states is proposed."""
        parameters = {**self.parameters, "teacher.scores": (Domain("value", fingerprint),)}
        for path, domains in self.parameters.items():
            slot, _, tag = path.rpartition(".")
            if slot in LEARNED and tag == "kind":
                left_out, neutral = {kind for domain in domains for kind in domain.values if _reads_states(slot, kind)}, NONE
            elif path == "training.unlabelled_choice":
                left_out, neutral = {BY_EMBEDDINGS}, "all"
            else:
                continue
            parameters[path] = tuple(domain.without(left_out, neutral) for domain in domains)
        return replace(self, parameters=parameters)


def _chosen(path: str, domains: Iterable[Domain], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each value that a path can have together with these, as a mapping; only an empty mapping if none of its domains applies."""
    for domain in domains:
        if domain.applies(values):
            return [{path: value} for value in domain.values]
    return [{}]


def _starts_from_teacher(family: Scalar) -> bool:
    """Whether the students of a family start from their teacher by default."""
    init = specs("student")[str(family).partition(":")[0]].fields.model_fields.get("init")
    return init is not None and init.default == "teacher"


def _reads_states(slot: str, kind: Scalar) -> bool:
    """Whether an objective of this kind needs more of a teacher than logits."""
    return kind != NONE and specs(slot)[str(kind)].reads_states
