"""The result of a search in one sentence, for readers who did not run it."""

from __future__ import annotations

from collections.abc import Sequence

from autodistill import families
from autodistill.limits import Limits
from autodistill.ranking import Preference, preferred, rank
from autodistill.records import TrialRecord
from autodistill.report import measures, texts


def answer(records: Sequence[TrialRecord], limits: Limits, prefer: Preference = "score") -> str:
    """Which student to take, its size, and its score beside the teacher's; or that there is none."""
    ranked = rank(list(records), limits)
    if not records:
        return "No trial has ended yet, so there is no answer."
    if not ranked or ranked[0].score is None or measures.score_of(ranked[0]) is None:
        failed = sum(record.state == "fail" for record in records)
        why = f"; {texts.plural(failed, 'trial')} failed" if failed else ""
        return f"No student can be recommended: none of the {texts.plural(len(records), 'trial')} has a score within the limits{why}."
    best = preferred(list(records), limits, prefer) or ranked[0]
    name = texts.clean(families.title(best.recipe.get("student", {})))
    size = "" if best.params is None else f" with {texts.params(best.params)} parameters"
    seeds = next(item for item in measures.by_recipe(records) if item.record.recipe_id == best.recipe_id)
    spread = "" if seeds.spread is None else f" ± {seeds.spread:.4f} over {len(seeds.scores)} seeds"
    teacher = "" if seeds.retention is None else f", {texts.percent(seeds.retention)} of the teacher’s {texts.score(best.teacher_score)}"
    article = "An" if name[:1].lower() in "aeiou" else "A"
    return f"{article} {name}{size} reaches {texts.clean(best.metric)} {texts.score(seeds.mean)}{spread}{teacher}."
