"""The facts about its dataset and teachers that a search needs: plain data, no rows and no weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autodistill.limits import Limits

if TYPE_CHECKING:
    from autodistill.recipe import Recipe


@dataclass(frozen=True)
class DatasetFacts:
    """The facts about its dataset that a search needs.

    constant_score: the metric on the validation split of a constant prediction (such as the most frequent class). It and validation_rows
    are None in older studies. agreement_rows: how many unlabelled rows students are compared on beside the validation split, by what their
    teacher says of them; 0 for none, also in studies that began before this was done.
    """

    name: str
    fingerprint: str
    task: str
    metric: str
    train_rows: int
    unlabelled_rows: int = 0
    validation_rows: int | None = None
    constant_score: float | None = None
    agreement_rows: int = 0


@dataclass(frozen=True)
class TeacherRef:
    """A fine-tuned teacher: its folder, its score on the validation split, its parameters and milliseconds for one row.

    probe_score, linear_score: of its frozen encoder with a linear probe, and of a linear model without an encoder, on the same rows.
    temperature: what its logits were divided by to calibrate its probabilities. calibration_error, calibration_error_before: the
    expected calibration error with and without it. None for values that were not measured. member_scores: of an ensemble's members.
    untaught: the folder of its model before it was fine-tuned, in the same form (with random weights, if it was trained for the task before
    it came here); empty if no student starts from it.
    """

    folder: str
    score: float | None
    params: int | None = None
    latency_ms: float | None = None
    probe_score: float | None = None
    linear_score: float | None = None
    temperature: float | None = None
    calibration_error: float | None = None
    calibration_error_before: float | None = None
    member_scores: tuple[float, ...] = ()
    untaught: str = ""

    def folder_for(self, recipe: Recipe) -> str:
        """The folder that a recipe's student is trained with: of the teacher or, if its objective has none, of the model as it was before.

        A student without a teacher that started from fine-tuned weights would know what the teacher has learned.
        """
        return self.folder if recipe.objective.terms or not self.untaught else self.untaught

    @property
    def is_compared(self) -> bool:
        """Whether there is something to compare its score with: a probe, a linear model, or members."""
        return self.probe_score is not None or self.linear_score is not None or bool(self.member_scores)

    @property
    def ensemble_gain(self) -> float | None:
        """The score of an ensemble minus that of its best member; None for a single teacher."""
        return None if not self.member_scores or self.score is None else self.score - max(self.member_scores)


FOLDERS = ("folder", "untaught")
"""The fields of a TeacherRef that are places on the machine of a search, and of no use elsewhere."""


def study_limits(about: Mapping[str, Any]) -> Limits:
    """The limits of a study, in numbers, from its description. In older descriptions they are among the settings."""
    names = [field.name for field in dataclasses.fields(Limits)]
    kept = about.get("limits") or {name: about.get("settings", {}).get(name) for name in names}
    return Limits(**{name: kept.get(name) for name in names})


def study_epochs(about: Mapping[str, Any]) -> int | None:
    """The most epochs of a trial, from a study's description; None if that is not recorded."""
    return about.get("max_epochs") or about.get("settings", {}).get("max_epochs")
