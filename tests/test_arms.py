"""The plan arm (recipes, spaces, records) must be usable without torch, ray or optuna: looked up by running its imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

PLAN = [
    "autodistill",
    "autodistill.recipe",
    "autodistill.space",
    "autodistill.records",
    "autodistill.models.pretrained",
    "autodistill.tasks.base",
    "autodistill.train.assignment",
    "autodistill.recommend.evaluate",
    "autodistill.recommend.foreign",
    "autodistill.recommend.recommender",
    "autodistill.recommend.replay",
    "autodistill.report.importance",
]
HEAVY = ["torch", "ray", "optuna", "transformers", "timm"]


@pytest.mark.parametrize("module", PLAN)
def test_the_plan_arm_imports_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_space_is_read_and_sampled_without_a_heavy_library() -> None:
    code = (
        "import sys, random; from autodistill.space import Space\n"
        "Space.load('text', 'text-classification').sample(random.Random(0))\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_says_its_help_without_a_heavy_library() -> None:
    code = (
        "import sys; from autodistill.cli.main import parser; parser().format_help()\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
