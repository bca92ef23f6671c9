"""The recommender: what recorded studies say of a new dataset. Part of the plan arm: no torch, ray or optuna.

The import system binds this package to the name `autodistill.recommend` as soon as any of its modules is imported, and people call
that name. So the package can be called: it is then `autodistill.recommend_api.recommend`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        from autodistill.recommend_api import recommend  # torch: seconds

        return recommend(*args, **options)


sys.modules[__name__].__class__ = _Callable
