"""Design-space sweeps: a space of designs, who runs its points, and the table of what was found.

The package itself can be called: ``accsim.sweep(space)`` is :func:`accsim.sweep.run.sweep`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that is a function too, since both are named ``accsim.sweep``."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        from accsim.sweep.run import sweep

        return sweep(*arguments, **named)


sys.modules[__name__].__class__ = _Callable
