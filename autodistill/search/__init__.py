"""The rooms of a search. The package can be called too: `autodistill.search(dataset=…)` is `autodistill.api.search`.

Importing any module of this package makes `autodistill.search` the package, whatever the parent says; so that the name means
one thing in any order of imports, the package passes a call on.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **more: Any) -> Any:
        from autodistill.api import search

        return search(*args, **more)


sys.modules[__name__].__class__ = _Callable
