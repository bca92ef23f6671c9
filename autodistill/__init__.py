"""autodistill: search the whole knowledge-distillation pipeline and get a small student for your dataset."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from autodistill.recipe import Recipe
from autodistill.space import Space

if TYPE_CHECKING:
    from autodistill.api import search
    from autodistill.export.distill import distill
    from autodistill.export.student import load_student
    from autodistill.pretraining import pretrain
    from autodistill.recommending import recommend
    from autodistill.study import Study

    __version__: str

__all__ = ["Recipe", "Space", "Study", "__version__", "distill", "load_student", "pretrain", "recommend", "search"]

_LATER = {
    "search": "autodistill.api",
    "Study": "autodistill.study",
    "distill": "autodistill.export.distill",
    "load_student": "autodistill.export.student",
    "pretrain": "autodistill.pretraining",
    "recommend": "autodistill.recommending",
}


def __getattr__(name: str) -> Any:
    """Import names that need torch and Ray only when they are used, because that takes seconds. `__version__`: of the installed package."""
    if name == "__version__":
        from importlib.metadata import version

        return version("autodistill-kd")
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'autodistill' has no attribute {name!r}")
