"""autodistill: search the whole knowledge-distillation pipeline and get a small student for your dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autodistill.recipe import Recipe
from autodistill.space import Space

if TYPE_CHECKING:
    from autodistill.api import search
    from autodistill.tuning.study import Study

__all__ = ["Recipe", "Space", "Study", "search"]


def __getattr__(name: str) -> Any:
    """Import what needs torch and Ray only when it is asked for: they take seconds."""
    if name == "search":
        from autodistill.api import search

        return search
    if name == "Study":
        from autodistill.tuning.study import Study

        return Study
    raise AttributeError(f"module 'autodistill' has no attribute {name!r}")
