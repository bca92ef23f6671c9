from __future__ import annotations

from pathlib import Path

import pytest
from generated import generated_study
from made import record

from autodistill.errors import StudyError
from autodistill.limits import Limits
from autodistill.recipe import Recipe
from autodistill.report.choices import choices, distill_command, export_command
from autodistill.settings import DistillSettings

RECORDS = [
    record(0, "no_kd", 0.70, params=100, latency_ms=3.0),
    record(1, score=0.90, params=900, latency_ms=9.0),  # the best
    record(2, score=0.80, params=300, latency_ms=2.0),  # the fastest
    record(3, score=0.85, params=500, latency_ms=9.5),  # small for its score, but slow
    record(4, score=0.75, params=400, latency_ms=4.0),  # beaten by 2 in both
    record(5, score=0.99, params=5000, latency_ms=1.0),  # over the limit
    record(6, "repeat", 0.86, recipe_id="id1", seed=1, params=900, latency_ms=9.0),
]


def test_choices_are_the_two_fronts_with_means_over_seeds() -> None:
    chosen = choices(RECORDS, Limits(max_params=1000))
    assert [(item.record.trial, round(item.score, 4), item.unbeaten) for item in chosen] == [
        (1, 0.88, ("size", "latency")),
        (3, 0.85, ("size",)),
        (2, 0.80, ("size", "latency")),
        (0, 0.70, ("size",)),
    ]
    assert chosen[0].text == "trial 1, bert 3×192, kl: accuracy 0.8800, 900 parameters, 9 ms; unbeaten in size and latency"
    assert choices([], Limits()) == []


def test_the_commands_can_be_pasted() -> None:
    assert distill_command("studies/my reviews", "my reviews", 3) == (
        "autodistill distill 'studies/my reviews' --trial 3 --out 'my reviews-3-student'"
    )
    assert export_command("s", 3) == "autodistill export s-3-student"
    assert (distill_command("studies/s", "s"), export_command("s")) == (
        "autodistill distill studies/s --out s-student", "autodistill export s-student",
    )  # fmt: skip


def test_the_command_of_a_trial_reads_its_recipe_and_the_rows_of_its_study(tmp_path: Path) -> None:
    study = generated_study(tmp_path, 3, repeats=0)
    asked = DistillSettings.read({"recipe": str(study.folder), "trial": 1, "out": "x"})
    assert asked.load_recipe() == Recipe.parse(study.trial_records[1].recipe)
    assert asked.load_recipe() != DistillSettings.read({"recipe": str(study.folder), "out": "x"}).load_recipe()
    assert asked.dataset == "d"
    with pytest.raises(StudyError, match="has no trial 99 that has ended; its trials are 0 to "):
        DistillSettings.read({"recipe": str(study.folder), "trial": 99, "out": "x"}).load_recipe()
    alone = tmp_path / "recipe.yaml"
    alone.write_text(asked.load_recipe().to_yaml(), encoding="utf-8")
    with pytest.raises(StudyError, match=r"recipe\.yaml is not a study's folder"):
        DistillSettings.read({"recipe": str(alone), "dataset": "d", "trial": 1, "out": "x"}).check()
