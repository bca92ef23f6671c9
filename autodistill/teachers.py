"""The teachers of a study: the list of them, with scores, costs and names for people."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autodistill.facts import TeacherRef
from autodistill.recipe import Teacher


class Teachers(Mapping[Teacher, TeacherRef]):
    """The teachers of a study by the `teacher` part of its recipes, in the order of the space."""

    def __init__(self, refs: Mapping[Teacher, TeacherRef] | None = None) -> None:
        self._refs = dict(refs or {})

    @classmethod
    def of_study(cls, about: Mapping[str, Any]) -> Teachers:
        """The teachers in a study's description. Facts that older descriptions lack are None."""
        refs = {}
        for item in about.get("teachers") or []:
            measured = {field.name: item[field.name] for field in dataclasses.fields(TeacherRef) if field.name in item}
            measured["member_scores"] = tuple(measured.get("member_scores", ()))
            refs[_part(item)] = TeacherRef(**{"folder": "", "score": about.get("teacher_score"), **measured})
        return cls(refs)

    def __getitem__(self, part: Teacher) -> TeacherRef:
        return self._refs[part]

    def __iter__(self) -> Iterator[Teacher]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)

    def to_list(self) -> list[dict[str, Any]]:
        """The teachers in the form of study.json: for each the fields of its recipe part and of its TeacherRef."""
        return [{**part.model_dump(), **dataclasses.asdict(ref)} for part, ref in self.items()]

    @property
    def names(self) -> dict[Teacher, str]:
        """The name of each for people: its model and, if several have that model, the fields in which they differ."""
        return {part: self._name(part) for part in self}

    def _name(self, part: Teacher) -> str:
        like = [other.model_dump() for other in self if other.title == part.title]
        own = part.model_dump()
        differing = [f"{name} {own[name]}" for name in own if any(other[name] != own[name] for other in like)]
        return part.title + (f" ({', '.join(differing)})" if differing else "")

    def of(self, recipe: Mapping[str, Any]) -> TeacherRef:
        """The teacher of a recipe in plain data; the best teacher if the recipe's own is not among them."""
        return self.get(_part(recipe["teacher"]), self.best) if "teacher" in recipe else self.best

    def name_of(self, recipe: Mapping[str, Any]) -> str:
        """The short name of the teacher of a recipe in plain data."""
        part = _part(recipe["teacher"])
        return short_name(self.names.get(part, part.title))

    @property
    def best(self) -> TeacherRef:
        """The teacher with the highest score; without teachers, a TeacherRef without facts."""
        return max(self.values(), key=_standing, default=TeacherRef("", None))

    @property
    def judge(self) -> str | None:
        """The folder of the teacher by whose decisions students are compared where few rows have labels (train/agreement.py).

        It is the only teacher, if it has learned something. None with several: each would find its own students the best.
        """
        folders = [ref.folder for part, ref in self.items() if not part.is_self and part.init != "random"]
        return folders[0] or None if len(self) == len(folders) == 1 else None

    @property
    def costs(self) -> list[tuple[int, float]]:
        """Parameters and milliseconds for one row, for each teacher for which both were measured."""
        return [(ref.params, ref.latency_ms) for ref in self.values() if ref.params is not None and ref.latency_ms is not None]

    def shares(self, max_params: Any, max_latency_ms: Any) -> str:
        """For people: of which teacher the limits are shares, as in `1/7.5 of its parameters`. Empty if neither is a share.

        max_params, max_latency_ms: the settings; a text is a share.
        """
        parts = []
        for share, cost, name in ((max_params, "params", "parameters"), (max_latency_ms, "latency_ms", "latency")):
            if not isinstance(share, str):
                continue
            measured = [part for part, ref in self.items() if getattr(ref, cost) is not None]
            if len(self) < 2 or not measured:
                parts.append(f"{share} of its {name}")
                continue
            least = min(measured, key=lambda part: float(getattr(self[part], cost)))
            which = "smallest" if cost == "params" else "fastest"
            parts.append(f"{share} of the {name} of {short_name(self.names[least])}, the {which} teacher")
        return " and ".join(parts)

    def descriptions(self, metric: str) -> list[str]:
        """A line for each teacher: its name, its score, and the scores to compare it with."""
        return [describe(short_name(name), metric, self[part]) for part, name in self.names.items()]


def describe(name: str, metric: str, ref: TeacherRef) -> str:
    """A teacher in one line: `big, accuracy 0.9000 (its frozen probe 0.8800, a linear model without it 0.7000)`."""
    score = "" if ref.score is None else f", {metric} {ref.score:.4f}"
    beside = {"its frozen probe": ref.probe_score, "a linear model without it": ref.linear_score}
    listing = [f"{what} {value:.4f}" for what, value in beside.items() if value is not None]
    if ref.ensemble_gain is not None:
        listing.insert(0, f"{ref.ensemble_gain:+.4f} over its best member's {max(ref.member_scores):.4f}")
    return f"{name}{score}" + (f" ({', '.join(listing)})" if listing else "")


def short_name(name: str) -> str:
    """A teacher's name without the owners or folders of its models: `all-MiniLM-L6-v2`, `2 × big + small`."""
    models, space, rest = name.partition(" (")
    return " + ".join(_without_folder(model) for model in models.split(" + ")) + space + rest


def _without_folder(model: str) -> str:
    times, cross, path = model.rpartition(" × ")
    return times + cross + (Path(path).name or path)


def _part(data: Mapping[str, Any]) -> Teacher:
    """The `teacher` part in plain data, which may have other keys too."""
    return Teacher(**{name: data[name] for name in Teacher.model_fields if name in data})


def _standing(ref: TeacherRef) -> float:
    return -math.inf if ref.score is None or math.isnan(ref.score) else ref.score
